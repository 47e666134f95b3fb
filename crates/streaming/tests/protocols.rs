//! Small clients of each protocol against the server side, over HTTP upgrades in memory.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use component_base::Scope;
use futures::{SinkExt, StreamExt};
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use streaming::remotecommand::{self, Options, Streams, TerminalSize};
use streaming::spdy::frame::{self, Head};
use streaming::spdy::headers::{Headers, Packer, Unpacker};
use streaming::status::Outcome;
use streaming::{portforward, spdy};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

const DEADLINE: Duration = Duration::from_secs(30);

/// Serves what `answer` makes of each request, and answers the client's end after `request` was sent.
fn serve<F>(scope: &Scope, answer: F) -> DuplexStream
where
    F: Fn(Request<Incoming>, Scope) -> Response<Empty<Bytes>> + Send + Sync + 'static,
{
    let (client, server) = tokio::io::duplex(64 * 1024);
    let inner = scope.clone();
    let answer = std::sync::Arc::new(answer);
    scope.spawn("server", async move {
        let service = service_fn(move |request| {
            let response = answer(request, inner.clone());
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(server), service);
        // A client that goes away ends it.
        let _ = connection.with_upgrades().await;
    });
    client
}

async fn upgrade(client: &mut DuplexStream, method: &str, headers: &str) -> String {
    let request = format!("{method} /x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n{headers}\r\n");
    client.write_all(request.as_bytes()).await.expect("the request is sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(client.read_u8().await.expect("an answer"));
    }
    String::from_utf8(answer).expect("text")
}

async fn websocket(mut client: DuplexStream, protocol: &str) -> WebSocketStream<DuplexStream> {
    let headers = format!(
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: {protocol}\r\n"
    );
    let answer = upgrade(&mut client, "GET", &headers).await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
    WebSocketStream::from_raw_socket(client, Role::Client, None).await
}

/// A session that says what it got: sizes, then stdin in upper case; it exits with 7.
async fn shout(streams: Streams<TerminalSize>) -> Outcome {
    let (Some(mut stdin), Some(mut stdout)) = (streams.stdin, streams.stdout) else {
        return Outcome::Failed("stdin and stdout are wanted".into());
    };
    if let Some(mut sizes) = streams.resize
        && let Some(size) = sizes.recv().await
    {
        let text = format!("{}x{} ", size.width, size.height);
        stdout.write_all(text.as_bytes()).await.expect("written");
    }
    let mut text = Vec::new();
    stdin.read_to_end(&mut text).await.expect("read");
    stdout.write_all(&text.to_ascii_uppercase()).await.expect("written");
    Outcome::Exited(7)
}

fn shouting(scope: &Scope, options: Options) -> DuplexStream {
    serve(scope, move |request, scope| remotecommand::serve(request, options, &scope, |size| size, shout))
}

const INTERACTIVE: Options = Options { stdin: true, stdout: true, stderr: false, tty: true };

async fn over_websocket(protocol: &str, base64: bool) -> (String, String) {
    let scope = Scope::root();
    let socket = websocket(shouting(&scope, INTERACTIVE), protocol).await;
    let (mut sink, mut source) = socket.split();
    let encode = |channel: u8, content: &[u8]| {
        use base64::Engine as _;
        let engine = base64::engine::general_purpose::STANDARD;
        match base64 {
            true => Message::Text(format!("{channel}{}", engine.encode(content)).into()),
            false => Message::Binary([&[channel], content].concat().into()),
        }
    };
    sink.send(encode(4, br#"{"Width":80,"Height":24}"#)).await.expect("sent");
    sink.send(encode(0, b"hello")).await.expect("sent");
    if protocol == "v5.channel.k8s.io" {
        sink.send(Message::Binary(vec![255, 0].into())).await.expect("sent");
    } else {
        sink.close().await.expect("closed");
    }
    let (mut stdout, mut error) = (String::new(), String::new());
    while let Some(Ok(message)) = source.next().await {
        let bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Close(frame) => {
                assert_eq!(frame.map(|frame| u16::from(frame.code)), Some(1000), "a failure to clients otherwise");
                continue;
            }
            _ => continue,
        };
        let text = String::from_utf8_lossy(&bytes[1..]);
        match bytes[0] {
            1 => stdout.push_str(&text),
            3 => error.push_str(&text),
            _ => {}
        }
    }
    assert!(scope.shutdown(DEADLINE).await);
    (stdout, error)
}

#[tokio::test]
async fn a_session_over_websocket_v5() {
    let (stdout, error) = over_websocket("v5.channel.k8s.io", false).await;
    assert_eq!(stdout, "80x24 HELLO");
    let status: serde_json::Value = serde_json::from_str(&error).expect("a Status");
    assert_eq!(status["reason"], "NonZeroExitCode");
    assert_eq!(status["details"]["causes"][0]["message"], "7");
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_session() {
    for (protocol, base64) in [("v4.channel.k8s.io", false), ("v4.base64.channel.k8s.io", true)] {
        over_websocket(protocol, base64).await;
    }
}

#[tokio::test]
async fn unknown_protocols_are_refused() {
    let scope = Scope::root();
    let mut client = shouting(&scope, INTERACTIVE);
    let answer = upgrade(&mut client, "POST", "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v9\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(answer.contains("x-accepted-stream-protocol-versions: v4.channel.k8s.io"), "{answer}");
    assert!(scope.shutdown(DEADLINE).await);
}

/// A SPDY client.
struct Client<IO> {
    io: IO,
    packer: Packer,
    unpacker: Unpacker,
    next: u32,
    /// The streams whose other half has ended.
    ended: Vec<u32>,
}

impl<IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Client<IO> {
    fn new(io: IO) -> Self {
        Self { io, packer: Packer::new().expect("a packer"), unpacker: Unpacker::default(), next: 1, ended: Vec::new() }
    }

    async fn open(&mut self, headers: &[(&str, &str)]) -> u32 {
        let headers: Headers = headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let packed = self.packer.pack(&headers).expect("packed");
        let id = self.next;
        self.next += 2;
        self.io.write_all(&frame::syn_stream(id, false, &packed)).await.expect("sent");
        id
    }

    async fn send(&mut self, stream: u32, content: &[u8], fin: bool) {
        self.io.write_all(&frame::data_head(stream, fin, content.len())).await.expect("sent");
        self.io.write_all(content).await.expect("sent");
    }

    /// Everything that comes for each stream until each of `streams` has ended.
    async fn collect(&mut self, streams: &[u32]) -> Vec<String> {
        let mut texts = vec![Vec::new(); streams.len()];
        let mut open = streams.len();
        while open > 0 {
            match frame::read_head(&mut self.io).await.expect("a frame") {
                None => break,
                Some(Head::Data { stream, fin, length }) => {
                    let mut content = vec![0; length as usize];
                    self.io.read_exact(&mut content).await.expect("content");
                    self.ended.extend(fin.then_some(stream));
                    if let Some(at) = streams.iter().position(|known| *known == stream) {
                        texts[at].extend_from_slice(&content);
                        open -= usize::from(fin);
                    }
                }
                Some(Head::SynReply { headers, .. }) => {
                    self.unpacker.unpack(&headers).expect("headers");
                }
                Some(_) => {}
            }
        }
        texts.into_iter().map(|text| String::from_utf8(text).expect("text")).collect()
    }
}

#[tokio::test]
async fn a_session_over_spdy() {
    let scope = Scope::root();
    let mut io = shouting(&scope, INTERACTIVE);
    let headers = "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n";
    let answer = upgrade(&mut io, "POST", headers).await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    let mut client = Client::new(io);
    let error = client.open(&[("streamType", "error")]).await;
    let stdin = client.open(&[("streamType", "stdin")]).await;
    let stdout = client.open(&[("streamType", "stdout")]).await;
    let resize = client.open(&[("streamType", "resize")]).await;
    client.send(resize, br#"{"Width":1,"Height":2}"#, false).await;
    client.io.write_all(&frame::ping(1)).await.expect("sent");
    client.send(stdin, b"over ", false).await;
    client.send(stdin, b"spdy", true).await;
    let texts = client.collect(&[error, stdout]).await;
    assert_eq!(texts[1], "1x2 OVER SPDY");
    assert!(!client.ended.contains(&stdin), "a client that sees it end before the program does sends nothing more");
    assert!(texts[0].contains("NonZeroExitCode"), "{}", texts[0]);
    assert!(scope.shutdown(DEADLINE).await);
}

async fn forward<IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(io: IO) {
    let mut client = Client::new(io);
    let long = "x".repeat(100_000);
    for (id, port, text, answer, failure) in [
        ("0", "80", "abc", "cba", ""),
        ("1", "9", "", "", "error forwarding port 9 to pod p, uid : connection refused"),
        ("2", "80", long.as_str(), long.as_str(), ""),
    ] {
        let error = client.open(&[("streamType", "error"), ("port", port), ("requestID", id)]).await;
        let data = client.open(&[("streamType", "data"), ("port", port), ("requestID", id)]).await;
        for part in text.as_bytes().chunks(40_000) {
            client.send(data, part, false).await;
        }
        client.send(data, b"", true).await;
        let texts = client.collect(&[error, data]).await;
        assert_eq!((texts[0].as_str(), texts[1].as_str()), (failure, answer));
    }
}

fn forwarding(scope: &Scope) -> DuplexStream {
    serve(scope, |request, scope| portforward::serve(request, &scope, "p".into(), piped))
}

/// A port that answers what it gets, reversed, once the client is done; port 9 is closed.
async fn piped(port: u16) -> Result<Reverser, String> {
    if port == 9 { Err("connection refused".into()) } else { Ok(Reverser::default()) }
}

/// Gives back what was written, reversed, once it was shut down.
#[derive(Default)]
struct Reverser {
    text: Vec<u8>,
    closed: bool,
    waker: Option<std::task::Waker>,
}

impl tokio::io::AsyncRead for Reverser {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        if !self.closed {
            self.waker = Some(cx.waker().clone());
            return std::task::Poll::Pending;
        }
        while buffer.remaining() > 0
            && let Some(byte) = self.text.pop()
        {
            buffer.put_slice(&[byte]);
        }
        std::task::Poll::Ready(Ok(()))
    }
}

impl tokio::io::AsyncWrite for Reverser {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buffer: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        self.text.extend_from_slice(buffer);
        std::task::Poll::Ready(Ok(buffer.len()))
    }

    fn poll_flush(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        self.closed = true;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        std::task::Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn port_forward_over_spdy() {
    let scope = Scope::root();
    let mut io = forwarding(&scope);
    let headers = "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: portforward.k8s.io\r\n";
    let answer = upgrade(&mut io, "POST", headers).await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    forward(io).await;
    assert!(scope.shutdown(DEADLINE).await);
}

#[tokio::test]
async fn port_forward_through_a_websocket() {
    let scope = Scope::root();
    let socket = websocket(forwarding(&scope), "SPDY/3.1+portforward.k8s.io").await;
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (mut read, mut write) = tokio::io::split(far);
    let (mut sink, mut source) = socket.split();
    let tunnel = async {
        let outward = async {
            let mut buffer = vec![0; 4096];
            while let Ok(length @ 1..) = read.read(&mut buffer).await {
                sink.send(Message::Binary(Bytes::copy_from_slice(&buffer[..length]))).await.expect("sent");
            }
        };
        let inward = async {
            while let Some(Ok(message)) = source.next().await {
                if let Message::Binary(bytes) = message {
                    write.write_all(&bytes).await.expect("written");
                }
            }
        };
        tokio::join!(outward, inward);
    };
    tokio::select! {
        () = forward(near) => {}
        () = tunnel => panic!("the tunnel ended early"),
    }
    assert!(scope.shutdown(DEADLINE).await);
}

#[tokio::test]
async fn hostile_peers_end_the_connection() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff],
        &[0x80, 3, 0, 1, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
        &[0x80, 9, 0, 1, 0, 0, 0, 0],
    ] {
        let (mut client, server) = tokio::io::duplex(1024);
        let (mut incoming, driver) = spdy::accept(server);
        let attack = async {
            client.write_all(bytes).await.expect("sent");
            client.shutdown().await.expect("closed");
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).await
        };
        let streams = async { while incoming.next().await.is_some() {} };
        let all = async { tokio::join!(driver, attack, streams) };
        tokio::time::timeout(DEADLINE, all).await.map(drop).expect("the connection ends");
    }
}
