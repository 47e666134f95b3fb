//! One SPDY connection, server side: streams that the peer opens, each a reader and a writer.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::PollSender;

use super::frame::{self, Head};
use super::headers::{Headers, Packer, Unpacker, get};

/// Chunks a stream's reader may be behind.
const STREAM_BUFFER: usize = 8;
/// Most bytes that all streams of a connection together may be behind.
const CONNECTION_BUFFER: usize = 4 * 1024 * 1024;
/// Frames the connection's writer may be behind.
const WRITE_BUFFER: usize = 16;
/// Most bytes of one chunk and one data frame we send.
const CHUNK: usize = 32 * 1024;
/// Most streams open at a time.
const MAX_STREAMS: usize = 1024;
/// Streams that wait to be taken.
const BACKLOG: usize = 16;

const PROTOCOL_ERROR: u32 = 1;
const REFUSED_STREAM: u32 = 3;

enum Outgoing {
    Reply(u32),
    Data { stream: u32, content: Bytes, fin: bool },
    Reset { stream: u32, status: u32 },
    Ping(u32),
}

/// A stream that the peer opened.
pub struct Stream {
    /// Its id.
    pub id: u32,
    /// Its headers.
    pub headers: Headers,
    /// What the peer sends.
    pub reader: StreamReader,
    /// What the peer gets.
    pub writer: StreamWriter,
}

impl Stream {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        get(&self.headers, name)
    }
}

/// Bytes with their place in the connection's buffer.
#[derive(Default)]
struct Chunk {
    bytes: Bytes,
    _place: Option<OwnedSemaphorePermit>,
}

/// What the peer sends on a stream.
pub struct StreamReader {
    chunks: mpsc::Receiver<Chunk>,
    rest: Chunk,
}

impl AsyncRead for StreamReader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.rest.bytes.is_empty() {
            match ready!(self.chunks.poll_recv(cx)) {
                Some(chunk) => self.rest = chunk,
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = self.rest.bytes.len().min(buffer.remaining());
        buffer.put_slice(&self.rest.bytes.split_to(length));
        if self.rest.bytes.is_empty() {
            self.rest = Chunk::default();
        }
        Poll::Ready(Ok(()))
    }
}

/// What the peer gets on a stream. Shutting it down closes our half.
pub struct StreamWriter {
    stream: u32,
    frames: PollSender<Outgoing>,
    closed: bool,
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the connection is closed")
}

impl StreamWriter {
    fn poll_send(&mut self, cx: &mut Context<'_>, content: Bytes, fin: bool) -> Poll<io::Result<()>> {
        ready!(self.frames.poll_reserve(cx)).map_err(|_| gone())?;
        let frame = Outgoing::Data { stream: self.stream, content, fin };
        Poll::Ready(self.frames.send_item(frame).map_err(|_| gone()))
    }

    /// Ends the stream at once, in both directions.
    pub async fn reset(mut self) {
        let ready = std::future::poll_fn(|cx| self.frames.poll_reserve(cx)).await;
        if ready.is_ok() {
            // A connection that is gone has no streams.
            let _ = self.frames.send_item(Outgoing::Reset { stream: self.stream, status: PROTOCOL_ERROR });
        }
    }
}

impl AsyncWrite for StreamWriter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        if self.closed {
            return Poll::Ready(Err(gone()));
        }
        let length = buffer.len().min(CHUNK);
        ready!(self.poll_send(cx, Bytes::copy_from_slice(&buffer[..length]), false))?;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closed {
            ready!(self.poll_send(cx, Bytes::new(), true))?;
            self.closed = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for StreamWriter {
    /// Closes our half if there is room to say so; if not, the end of the connection says it.
    fn drop(&mut self) {
        if let Some(frames) = self.frames.get_ref().filter(|_| !self.closed) {
            let _ = frames.try_send(Outgoing::Data { stream: self.stream, content: Bytes::new(), fin: true });
        }
    }
}

/// The streams that the peer opens, in order. Dropping it ends the connection once all writers are dropped.
pub struct Incoming {
    streams: mpsc::Receiver<Stream>,
}

impl Incoming {
    /// The next stream; `None` when the connection is over.
    pub async fn next(&mut self) -> Option<Stream> {
        self.streams.recv().await
    }
}

/// Takes over a connection: the streams that come, and the future that moves the frames (to be run beside).
pub fn accept<IO>(io: IO) -> (Incoming, impl Future<Output = io::Result<()>> + Send)
where
    IO: AsyncRead + AsyncWrite + Send + 'static,
{
    let (new_streams, streams) = mpsc::channel(BACKLOG);
    let driver = async move {
        let (reader, writer) = tokio::io::split(io);
        let (frames, outgoing) = mpsc::channel(WRITE_BUFFER);
        let goodbye = new_streams.clone();
        let reading = Reader {
            frames,
            new_streams,
            open: HashMap::new(),
            room: Arc::new(Semaphore::new(CONNECTION_BUFFER)),
            unpacker: Unpacker::default(),
            last_stream: 0,
        };
        let writing = write_frames(writer, outgoing);
        tokio::pin!(writing);
        tokio::select! {
            // The writer ends with an error, or when nobody can send any more.
            result = &mut writing => return result,
            // The peer has gone: there is nobody to send to.
            result = reading.run(BufReader::new(reader)) => return result,
            // We are done; the reader goes, and what is still to be sent goes out.
            () = goodbye.closed() => {}
        }
        writing.await
    };
    (Incoming { streams }, driver)
}

struct Reader {
    frames: mpsc::Sender<Outgoing>,
    new_streams: mpsc::Sender<Stream>,
    open: HashMap<u32, mpsc::Sender<Chunk>>,
    room: Arc<Semaphore>,
    unpacker: Unpacker,
    last_stream: u32,
}

impl Reader {
    async fn run<R: AsyncRead + Unpin>(mut self, mut reader: R) -> io::Result<()> {
        while let Some(head) = frame::read_head(&mut reader).await? {
            match head {
                Head::SynStream { stream, fin, headers } => self.open_stream(stream, fin, &headers).await?,
                Head::Data { stream, fin, length } => self.data(&mut reader, stream, fin, length).await?,
                Head::RstStream { stream } => drop(self.open.remove(&stream)),
                Head::Headers { stream, fin, headers } => {
                    // The packing has a history, so it must be read even when nobody asks for it.
                    self.unpacker.unpack(&headers)?;
                    if fin {
                        self.open.remove(&stream);
                    }
                }
                Head::SynReply { headers, .. } => drop(self.unpacker.unpack(&headers)?),
                // Even ids are answers to pings of ours, which we do not send.
                Head::Ping { id } if id % 2 == 1 => self.send(Outgoing::Ping(id)).await?,
                Head::Ping { .. } | Head::Ignored => {}
                Head::GoAway => {}
            }
        }
        Ok(())
    }

    async fn send(&self, frame: Outgoing) -> io::Result<()> {
        self.frames.send(frame).await.map_err(|_| gone())
    }

    async fn open_stream(&mut self, stream: u32, fin: bool, headers: &[u8]) -> io::Result<()> {
        let headers = self.unpacker.unpack(headers)?;
        self.open.retain(|_, chunks| !chunks.is_closed());
        if stream.is_multiple_of(2) || stream <= self.last_stream {
            return self.send(Outgoing::Reset { stream, status: PROTOCOL_ERROR }).await;
        }
        self.last_stream = stream;
        if self.open.len() >= MAX_STREAMS {
            return self.send(Outgoing::Reset { stream, status: REFUSED_STREAM }).await;
        }
        let (chunks, receiver) = mpsc::channel(STREAM_BUFFER);
        let opened = Stream {
            id: stream,
            headers,
            reader: StreamReader { chunks: receiver, rest: Chunk::default() },
            writer: StreamWriter { stream, frames: PollSender::new(self.frames.clone()), closed: false },
        };
        if !fin {
            self.open.insert(stream, chunks);
        }
        self.send(Outgoing::Reply(stream)).await?;
        // Nobody takes streams any more only when the connection ends.
        self.new_streams.send(opened).await.map_err(|_| gone())
    }

    /// Passes the content of a data frame on, in pieces; what nobody reads is dropped.
    async fn data<R: AsyncRead + Unpin>(
        &mut self,
        reader: &mut R,
        stream: u32,
        fin: bool,
        length: u32,
    ) -> io::Result<()> {
        let mut left = length as usize;
        while left > 0 {
            let size = left.min(CHUNK);
            // What is reserved counts, not what comes: it may come byte by byte.
            let place = self.room.clone().acquire_many_owned(size as u32).await.map_err(|_| gone())?;
            let mut chunk = BytesMut::with_capacity(size);
            let read = (&mut *reader).take(size as u64).read_buf(&mut chunk).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left -= read;
            let closed = match self.open.get(&stream) {
                Some(chunks) => chunks.send(Chunk { bytes: chunk.freeze(), _place: Some(place) }).await.is_err(),
                None => false,
            };
            if closed {
                self.open.remove(&stream);
            }
        }
        if fin {
            self.open.remove(&stream);
        }
        Ok(())
    }
}

async fn write_frames<W: AsyncWrite + Unpin>(mut writer: W, mut outgoing: mpsc::Receiver<Outgoing>) -> io::Result<()> {
    let mut packer = Packer::new()?;
    while let Some(frame) = outgoing.recv().await {
        match frame {
            Outgoing::Reply(stream) => {
                let headers = packer.pack(&Headers::new())?;
                writer.write_all(&frame::syn_reply(stream, &headers)).await?;
            }
            Outgoing::Data { stream, content, fin } => {
                writer.write_all(&frame::data_head(stream, fin, content.len())).await?;
                writer.write_all(&content).await?;
            }
            Outgoing::Reset { stream, status } => writer.write_all(&frame::rst_stream(stream, status)).await?,
            Outgoing::Ping(id) => writer.write_all(&frame::ping(id)).await?,
        }
        if outgoing.is_empty() {
            writer.flush().await?;
        }
    }
    writer.write_all(&frame::goaway(0)).await?;
    writer.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spdy::headers::Packer;
    use std::time::Duration;

    /// A client that fills many streams that nobody reads is stopped by what the connection may hold.
    #[tokio::test(start_paused = true)]
    async fn streams_that_nobody_reads_do_not_fill_the_memory() {
        let (mut client, server) = tokio::io::duplex(CHUNK);
        let (mut incoming, driver) = accept(server);
        let mut written = 0;
        let sending = async {
            let mut packer = Packer::new().expect("a packer");
            for number in 0..1000 {
                let stream = 2 * number + 1;
                let headers = packer.pack(&Headers::new()).expect("packed");
                client.write_all(&frame::syn_stream(stream, false, &headers)).await?;
                client.write_all(&frame::data_head(stream, false, CHUNK)).await?;
                client.write_all(&[0; CHUNK]).await?;
                written += CHUNK;
            }
            Ok::<_, io::Error>(())
        };
        let holding = async {
            let mut held = Vec::new();
            while let Some(stream) = incoming.next().await {
                held.push(stream);
            }
        };
        let answers = tokio::time::timeout(Duration::from_secs(3600), async {
            // The clock goes on only when nothing else does.
            tokio::join!(sending, holding, driver)
        });
        assert!(answers.await.is_err(), "nobody reads, so nothing goes on");
        // Reads that come short reserve more than they bring.
        assert!((CONNECTION_BUFFER / 8..CONNECTION_BUFFER + 4 * CHUNK).contains(&written), "{written}");
    }
}
