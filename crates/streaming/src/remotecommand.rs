//! exec and attach: stdin, stdout, stderr, terminal sizes and the outcome (upstream: kubelet/pkg/cri/streaming/
//! remotecommand, apiserver util/wsstream).
//!
//! | transport | protocols |
//! |---|---|
//! | SPDY/3.1 | `v4.channel.k8s.io` (Status on the error stream, resize), `v3` (resize), `v2`, `v1` |
//! | WebSocket | `v5` (half close), `v4`, `v4.base64`, and `channel`, `base64.channel`, none (plain error text) |

use std::future::Future;
use std::io;
use std::time::Duration;

use component_base::Scope;
use http::{Request, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::Error;
use crate::spdy::{self, Incoming};
use crate::status::Outcome;
use crate::upgrade::{self, Offer, Transport};
use crate::websocket::{self, ChannelWriter, Channels, Encoding};

const V5: &str = "v5.channel.k8s.io";
const V4: &str = "v4.channel.k8s.io";
const V3: &str = "v3.channel.k8s.io";
const V2: &str = "v2.channel.k8s.io";
const V1: &str = "channel.k8s.io";
const V4_BASE64: &str = "v4.base64.channel.k8s.io";
const V1_BASE64: &str = "base64.channel.k8s.io";

const SPDY_PROTOCOLS: [&str; 4] = [V4, V3, V2, V1];
const WEBSOCKET_PROTOCOLS: [&str; 5] = [V5, V4, V4_BASE64, V1, V1_BASE64];

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;

/// How long a SPDY client may take to open its streams.
const STREAM_CREATION: Duration = Duration::from_secs(30);
/// Terminal sizes that may wait; only the latest counts in the end.
const SIZES: usize = 8;

/// Which streams a session has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The client sends.
    pub stdin: bool,
    /// The client wants output.
    pub stdout: bool,
    /// The client wants errors apart (never with a terminal).
    pub stderr: bool,
    /// The session has a terminal.
    pub tty: bool,
}

/// Columns and rows of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// A stream to read from.
pub type Input = Box<dyn AsyncRead + Send + Unpin>;
/// A stream to write to.
pub type Output = Box<dyn AsyncWrite + Send + Unpin>;

/// The streams of a session; those not asked for are `None`. `S` is the caller's own type of terminal sizes.
pub struct Streams<S> {
    /// From the client.
    pub stdin: Option<Input>,
    /// To the client.
    pub stdout: Option<Output>,
    /// To the client.
    pub stderr: Option<Output>,
    /// Sizes of the client's terminal.
    pub resize: Option<mpsc::Receiver<S>>,
}

/// Answers the upgrade and runs `session` on its streams in a task of `scope`.
///
/// `size` makes the caller's terminal size of ours.
pub fn serve<R, B, S, F, Fut>(
    mut request: Request<R>,
    options: Options,
    scope: &Scope,
    size: fn(TerminalSize) -> S,
    session: F,
) -> Response<B>
where
    B: Default,
    S: Send + 'static,
    F: FnOnce(Streams<S>) -> Fut + Send + 'static,
    Fut: Future<Output = Outcome> + Send + 'static,
{
    let Some(transport) = upgrade::requested(&request) else { return upgrade::not_an_upgrade() };
    let offer = Offer::of(&request, transport);
    let upgraded = hyper::upgrade::on(&mut request);
    match transport {
        Transport::Spdy => {
            let protocol = match offer.choose(&SPDY_PROTOCOLS) {
                Some(protocol) => protocol,
                None if offer.offered.is_empty() => V1,
                None => return upgrade::refuse(&SPDY_PROTOCOLS),
            };
            scope.spawn("remotecommand", async move {
                if let Err(err) = over_spdy(upgraded, protocol, options, size, session).await {
                    tracing::debug!(error = %err, "a session over SPDY ended early");
                }
            });
            upgrade::spdy_response(Some(protocol))
        }
        Transport::WebSocket => {
            let protocol = offer.choose(&WEBSOCKET_PROTOCOLS);
            if protocol.is_none() && !offer.offered.is_empty() {
                return upgrade::refuse(&WEBSOCKET_PROTOCOLS);
            }
            let Some(response) = upgrade::websocket_response(&request, protocol) else {
                return upgrade::not_an_upgrade();
            };
            scope.spawn("remotecommand", async move {
                if let Err(err) = over_websocket(upgraded, protocol.unwrap_or(V1), options, size, session).await {
                    tracing::debug!(error = %err, "a session over WebSocket ended early");
                }
            });
            response
        }
    }
}

/// Reads terminal sizes, one JSON object after the other, and passes them on.
struct Sizes<S> {
    size: fn(TerminalSize) -> S,
    sender: mpsc::Sender<S>,
}

impl<S> Sizes<S> {
    fn pass(&self, json: &[u8]) -> bool {
        match serde_json::from_slice::<TerminalSize>(json) {
            // A reader that lags gets a later size.
            Ok(size) => !matches!(self.sender.try_send((self.size)(size)), Err(mpsc::error::TrySendError::Closed(_))),
            Err(_) => true,
        }
    }
}

async fn over_websocket<S, F, Fut>(
    upgraded: OnUpgrade,
    protocol: &'static str,
    options: Options,
    size: fn(TerminalSize) -> S,
    session: F,
) -> Result<(), Error>
where
    S: Send + 'static,
    F: FnOnce(Streams<S>) -> Fut + Send,
    Fut: Future<Output = Outcome> + Send,
{
    let io = TokioIo::new(upgraded.await?);
    let encoding = if protocol.contains("base64") { Encoding::Base64 } else { Encoding::Binary };
    let (channels, driver) = websocket::channels(io, encoding, &[STDIN, RESIZE], &[STDOUT, STDERR, ERROR]);
    let structured = !matches!(protocol, V1 | V1_BASE64);
    let work = websocket_session(channels, structured, options, size, session);
    tokio::pin!(work, driver);
    tokio::select! {
        biased;
        result = &mut work => result?,
        result = &mut driver => return Ok(result?),
    }
    // The last messages and the goodbye go out.
    Ok(driver.await?)
}

async fn websocket_session<S, F, Fut>(
    channels: Channels,
    structured: bool,
    options: Options,
    size: fn(TerminalSize) -> S,
    session: F,
) -> io::Result<()>
where
    S: Send + 'static,
    F: FnOnce(Streams<S>) -> Fut + Send,
    Fut: Future<Output = Outcome> + Send,
{
    let [stdin, mut resize]: [_; 2] = channels.readers.try_into().map_err(|_| io::Error::other("two readers"))?;
    let [mut stdout, stderr, mut error]: [ChannelWriter; 3] =
        channels.writers.try_into().map_err(|_| io::Error::other("three writers"))?;
    // An empty message tells the client that the session is up (upstream does the same).
    if options.stdout {
        stdout.send(&[]).await?
    } else {
        error.send(&[]).await?
    }
    let (sender, sizes) = mpsc::channel(SIZES);
    let sizes_in = Sizes { size, sender };
    let streams = Streams {
        stdin: options.stdin.then(|| Box::new(stdin) as Input),
        stdout: options.stdout.then(|| Box::new(stdout) as Output),
        stderr: (options.stderr && !options.tty).then(|| Box::new(stderr) as Output),
        resize: options.tty.then_some(sizes),
    };
    let resizing = async {
        while let Some(json) = resize.next().await {
            if !sizes_in.pass(&json) {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let outcome = tokio::select! {
        outcome = session(streams) => outcome,
        () = resizing => return Ok(()),
    };
    let message = outcome.message(structured);
    if !message.is_empty() {
        error.send(&message).await?;
    }
    Ok(())
}

async fn over_spdy<S, F, Fut>(
    upgraded: OnUpgrade,
    protocol: &'static str,
    options: Options,
    size: fn(TerminalSize) -> S,
    session: F,
) -> Result<(), Error>
where
    S: Send + 'static,
    F: FnOnce(Streams<S>) -> Fut + Send,
    Fut: Future<Output = Outcome> + Send,
{
    let io = TokioIo::new(upgraded.await?);
    let (incoming, driver) = spdy::accept(io);
    let work = spdy_session(incoming, protocol, options, size, session);
    tokio::pin!(work, driver);
    tokio::select! {
        biased;
        result = &mut work => result?,
        result = &mut driver => return Ok(result?),
    }
    // What is still to be sent goes out.
    Ok(driver.await?)
}

/// The streams a SPDY client opened, by their type.
#[derive(Default)]
struct Opened {
    error: Option<spdy::Stream>,
    stdin: Option<spdy::Stream>,
    stdout: Option<spdy::Stream>,
    stderr: Option<spdy::Stream>,
    resize: Option<spdy::Stream>,
}

impl Opened {
    /// Takes streams until all that are expected are there.
    async fn wait(incoming: &mut Incoming, protocol: &str, options: Options) -> Result<Self, Error> {
        let has_resize = options.tty && matches!(protocol, V4 | V3);
        let expected = 1
            + usize::from(options.stdin)
            + usize::from(options.stdout)
            + usize::from(options.stderr && !options.tty)
            + usize::from(has_resize);
        let mut opened = Self::default();
        for _ in 0..expected {
            let stream = incoming.next().await.ok_or(Error::Streams)?;
            let slot = match stream.header("streamtype") {
                Some("error") => &mut opened.error,
                Some("stdin") => &mut opened.stdin,
                Some("stdout") => &mut opened.stdout,
                Some("stderr") => &mut opened.stderr,
                Some("resize") => &mut opened.resize,
                _ => return Err(Error::Protocol("unexpected stream type")),
            };
            if slot.replace(stream).is_some() {
                return Err(Error::Protocol("a stream type came twice"));
            }
        }
        Ok(opened)
    }
}

async fn spdy_session<S, F, Fut>(
    mut incoming: Incoming,
    protocol: &'static str,
    options: Options,
    size: fn(TerminalSize) -> S,
    session: F,
) -> Result<(), Error>
where
    S: Send + 'static,
    F: FnOnce(Streams<S>) -> Fut + Send,
    Fut: Future<Output = Outcome> + Send,
{
    let waiting = Opened::wait(&mut incoming, protocol, options);
    let opened = tokio::time::timeout(STREAM_CREATION, waiting).await.map_err(|_| Error::Streams)??;
    let (sender, sizes) = mpsc::channel(SIZES);
    let (stdin, stdin_half) = opened.stdin.map(|stream| (stream.reader, stream.writer)).unzip();
    let streams = Streams {
        stdin: stdin.map(|reader| Box::new(reader) as Input),
        stdout: opened.stdout.map(|stream| Box::new(stream.writer) as Output),
        stderr: opened.stderr.map(|stream| Box::new(stream.writer) as Output),
        resize: opened.resize.as_ref().map(|_| sizes),
    };
    let resizing = async {
        if let Some(stream) = opened.resize {
            pass_sizes(stream.reader, &Sizes { size, sender }).await;
        }
        std::future::pending::<()>().await;
    };
    let outcome = tokio::select! {
        outcome = session(streams) => outcome,
        () = resizing => return Ok(()),
    };
    if let Some(stream) = opened.error {
        let mut writer = stream.writer;
        let message = outcome.message(protocol == V4);
        writer.write_all(&message).await?;
        writer.shutdown().await?;
    }
    // Clients take the end of our half of stdin for the end of the program, and stop sending
    // (upstream: client-go remotecommand/v2.go copyStdin).
    drop(stdin_half);
    Ok(())
}

/// Sizes on a SPDY stream follow each other without a frame of their own: one ends where its brace does.
async fn pass_sizes<S>(mut reader: spdy::connection::StreamReader, sizes: &Sizes<S>) {
    const MAX: usize = 256;
    let mut pending = Vec::new();
    let mut buffer = [0; 256];
    while let Ok(length @ 1..) = reader.read(&mut buffer).await {
        for byte in &buffer[..length] {
            pending.push(*byte);
            if *byte == b'}' {
                if !sizes.pass(&pending) {
                    return;
                }
                pending.clear();
            }
        }
        if pending.len() > MAX {
            return;
        }
    }
}
