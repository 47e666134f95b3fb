//! WebSocket messages: as channels (one byte says which), or as one stream of bytes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tokio_util::sync::PollSender;

/// Most bytes of one message.
const MAX_MESSAGE: usize = 1024 * 1024;
/// Most bytes of one message we send.
const CHUNK: usize = 32 * 1024;
/// Messages a reader or the writer may be behind.
const BUFFER: usize = 8;
/// Bytes a reader may be behind, or one message: until it has read more, nothing more is read of the connection, and the
/// client cannot send.
const WINDOW: u32 = 256 * 1024;
/// Channel on which v5 clients close others.
const CLOSE: u8 = 255;

/// How channel numbers and content are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// A byte, then the content.
    Binary,
    /// A digit, then the content in base64, as text.
    Base64,
}

impl Encoding {
    fn encode(self, channel: u8, content: &[u8]) -> Message {
        match self {
            Self::Binary => {
                let mut message = Vec::with_capacity(content.len() + 1);
                message.push(channel);
                message.extend_from_slice(content);
                Message::Binary(message.into())
            }
            Self::Base64 => Message::Text(format!("{channel}{}", STANDARD.encode(content)).into()),
        }
    }

    /// Channel and content of a message; `None` for what is neither.
    fn decode(self, message: &Message) -> Option<(u8, Bytes)> {
        let bytes: Bytes = match message {
            Message::Binary(bytes) => bytes.clone(),
            Message::Text(text) => Bytes::copy_from_slice(text.as_bytes()),
            _ => return None,
        };
        let channel = *bytes.first()?;
        match self {
            Self::Binary => Some((channel, bytes.slice(1..))),
            Self::Base64 => Some((channel.checked_sub(b'0')?, STANDARD.decode(&bytes[1..]).ok()?.into())),
        }
    }
}

/// A WebSocket over an upgraded connection.
pub async fn server<IO: AsyncRead + AsyncWrite + Unpin>(io: IO) -> WebSocketStream<IO> {
    let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await
}

/// The end of a session that went well; clients take a close without a code for a failure.
fn goodbye() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() }))
}

fn to_io(err: tungstenite::Error) -> io::Error {
    match err {
        tungstenite::Error::Io(err) => err,
        err => io::Error::new(io::ErrorKind::InvalidData, err),
    }
}

/// A message, and its part of its channel's window.
struct Chunk {
    bytes: Bytes,
    part: OwnedSemaphorePermit,
}

/// Where a channel's messages go.
struct ChannelSender {
    chunks: mpsc::Sender<Chunk>,
    window: Arc<Semaphore>,
}

impl ChannelSender {
    /// Waits until there is room; false when nobody reads any more.
    async fn send(&self, bytes: Bytes) -> bool {
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX).min(WINDOW);
        let room = tokio::select! {
            room = self.window.clone().acquire_many_owned(size) => room,
            () = self.chunks.closed() => return false,
        };
        let Ok(part) = room else { return false };
        self.chunks.send(Chunk { bytes, part }).await.is_ok()
    }
}

/// What the client sends on a channel.
pub struct ChannelReader {
    chunks: mpsc::Receiver<Chunk>,
    rest: Bytes,
    /// Of the message that `rest` is of.
    part: Option<OwnedSemaphorePermit>,
}

fn channel() -> (ChannelSender, ChannelReader) {
    let (sender, chunks) = mpsc::channel(BUFFER);
    let window = Arc::new(Semaphore::new(WINDOW as usize));
    (ChannelSender { chunks: sender, window }, ChannelReader { chunks, rest: Bytes::new(), part: None })
}

impl ChannelReader {
    /// The next message, whole; `None` at the end.
    pub async fn next(&mut self) -> Option<Bytes> {
        self.chunks.recv().await.map(|chunk| chunk.bytes)
    }
}

impl AsyncRead for ChannelReader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(self.chunks.poll_recv(cx)) {
                Some(Chunk { bytes, part }) => (self.rest, self.part) = (bytes, Some(part)),
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest.split_to(length));
        if self.rest.is_empty() {
            self.rest = Bytes::new();
            self.part = None;
        }
        Poll::Ready(Ok(()))
    }
}

/// What the client gets on a channel.
#[derive(Clone)]
pub struct ChannelWriter {
    channel: u8,
    encoding: Encoding,
    messages: PollSender<Message>,
}

impl ChannelWriter {
    /// Sends one message, also an empty one.
    pub async fn send(&mut self, content: &[u8]) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_send(cx, content)).await
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, content: &[u8]) -> Poll<io::Result<()>> {
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "the connection is closed");
        ready!(self.messages.poll_reserve(cx)).map_err(|_| gone())?;
        let message = self.encoding.encode(self.channel, content);
        Poll::Ready(self.messages.send_item(message).map_err(|_| gone()))
    }
}

impl AsyncWrite for ChannelWriter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let length = buffer.len().min(CHUNK);
        ready!(self.poll_send(cx, &buffer[..length]))?;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The channels of one connection: readers for `readable`, one writer for each of `writable`.
pub struct Channels {
    /// By the order of `readable`.
    pub readers: Vec<ChannelReader>,
    /// By the order of `writable`.
    pub writers: Vec<ChannelWriter>,
}

/// Splits a connection into channels, and the future that moves the messages (to be run beside).
///
/// The future ends when the client has gone or every writer is dropped; then the connection is closed properly.
pub fn channels<IO>(
    io: IO,
    encoding: Encoding,
    readable: &[u8],
    writable: &[u8],
) -> (Channels, impl Future<Output = io::Result<()>> + Send + use<IO>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (messages, outgoing) = mpsc::channel(BUFFER);
    let mut senders = Vec::new();
    let mut readers = Vec::new();
    for number in readable {
        let (sender, reader) = channel();
        senders.push((*number, Some(sender)));
        readers.push(reader);
    }
    let writers = writable.iter();
    let writers = writers.map(|channel| ChannelWriter {
        channel: *channel,
        encoding,
        messages: PollSender::new(messages.clone()),
    });
    let channels = Channels { readers, writers: writers.collect() };
    (channels, drive(io, encoding, senders, outgoing))
}

type Senders = Vec<(u8, Option<ChannelSender>)>;

async fn drive<IO>(
    io: IO,
    encoding: Encoding,
    mut senders: Senders,
    mut outgoing: mpsc::Receiver<Message>,
) -> io::Result<()>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sink, mut source) = server(io).await.split();
    let reading = async {
        while let Some(message) = source.next().await {
            let message = message.map_err(to_io)?;
            if message.is_close() {
                break;
            }
            let Some((channel, content)) = encoding.decode(&message) else { continue };
            deliver(&mut senders, channel, content).await;
        }
        // The client is gone: readers see the end.
        senders.clear();
        Ok::<_, io::Error>(())
    };
    let writing = async {
        while let Some(message) = outgoing.recv().await {
            sink.send(message).await.map_err(to_io)?;
        }
        // A client that is gone needs no goodbye.
        let _ = sink.send(goodbye()).await;
        Ok::<_, io::Error>(())
    };
    tokio::pin!(reading, writing);
    tokio::select! {
        result = &mut writing => result,
        result = &mut reading => result,
    }
}

async fn deliver(senders: &mut Senders, channel: u8, content: Bytes) {
    let of = |wanted: u8, senders: &mut Senders| senders.iter().position(|(known, _)| *known == wanted);
    if channel == CLOSE {
        if let Some(at) = content.first().and_then(|closed| of(*closed, senders)) {
            senders[at].1 = None;
        }
        return;
    }
    let Some(at) = of(channel, senders) else { return };
    if let Some(sender) = &senders[at].1
        && !sender.send(content).await
    {
        senders[at].1 = None;
    }
}

/// The connection as one stream of bytes in binary messages (upstream: client-go portforward tunnelling), and the
/// future that moves them.
pub fn tunnel<IO>(io: IO) -> (DuplexStream, impl Future<Output = io::Result<()>> + Send)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (near, far) = tokio::io::duplex(2 * CHUNK);
    let driver = async move {
        let (mut sink, mut source) = server(io).await.split();
        let (mut read, mut write) = tokio::io::split(far);
        let inward = async {
            while let Some(message) = source.next().await {
                match message.map_err(to_io)? {
                    Message::Binary(bytes) => write.write_all(&bytes).await?,
                    Message::Close(_) => break,
                    _ => {}
                }
            }
            write.shutdown().await
        };
        let outward = async {
            let mut buffer = vec![0; CHUNK];
            loop {
                let length = read.read(&mut buffer).await?;
                if length == 0 {
                    let _ = sink.send(goodbye()).await;
                    return Ok::<_, io::Error>(());
                }
                let message = Message::Binary(Bytes::copy_from_slice(&buffer[..length]));
                sink.send(message).await.map_err(to_io)?;
            }
        };
        tokio::pin!(inward, outward);
        tokio::select! {
            result = &mut outward => result,
            result = &mut inward => result,
        }
    };
    (near, driver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_encodings_and_nonsense() {
        for encoding in [Encoding::Binary, Encoding::Base64] {
            let message = encoding.encode(2, b"hello");
            assert_eq!(encoding.decode(&message), Some((2, Bytes::from_static(b"hello"))));
            assert_eq!(encoding.decode(&Message::Binary(Bytes::new())), None);
        }
        assert_eq!(Encoding::Base64.decode(&Message::Text("0%%%".into())), None);
        assert_eq!(Encoding::Base64.decode(&Message::Text(" x".into())), None);
    }

    /// Whether a future is done after one look.
    fn is_done<F: Future>(future: &mut Pin<Box<F>>) -> bool {
        future.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())).is_ready()
    }

    #[tokio::test]
    async fn a_reader_that_lags_holds_up_its_client() {
        let half = WINDOW as usize / 2;
        let (sender, mut reader) = channel();
        let message = |size: usize| Bytes::from(vec![7; size]);
        assert!(sender.send(message(half)).await && sender.send(message(half)).await, "there is room for both");
        let mut third = Box::pin(sender.send(message(1)));
        assert!(!is_done(&mut third), "the window is full");
        let mut read = vec![0; half];
        reader.read_exact(&mut read[..half - 1]).await.expect("read");
        assert!(!is_done(&mut third), "a message gives back its part when it was read whole");
        reader.read_exact(&mut read[..1]).await.expect("read");
        assert!(third.await);

        // A message larger than the window has it alone.
        reader.read_exact(&mut read).await.expect("read");
        let mut large = Box::pin(sender.send(message(MAX_MESSAGE)));
        assert!(!is_done(&mut large));
        assert_eq!(reader.next().await.map(|message| message.len()), Some(1));
        assert!(large.await);
        let mut further = Box::pin(sender.send(message(1)));
        assert!(!is_done(&mut further));
        drop(reader);
        assert!(!further.await, "nobody reads any more");
    }
}
