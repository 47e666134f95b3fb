//! What comes over upgraded connections: SPDY and WebSocket.

use std::io::Cursor;
use std::pin::Pin;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use streaming::spdy;
use streaming::spdy::headers::{Headers, Packer, Unpacker};
use streaming::websocket::{self, Encoding};
use tokio::io::AsyncReadExt;
use tokio::runtime::{Builder, Runtime};

use crate::target::{Memory, Target};

// A control frame of 64 KiB is reserved before it has come; buffers of the connection, and of zlib.
pub(crate) static SPDY_FRAMES: Target = Target::new("spdy_frames", check_frames)
    .memory(Memory { base: 1 << 20, per_byte: 512 })
    .words(&["\u{0}\u{0}\u{0}\u{1}", "\u{0}\u{3}\u{0}\u{6}"]);

// Most of it is the state of the packer that checks.
pub(crate) static SPDY_HEADERS: Target = Target::new("spdy_headers", check_headers)
    .memory(Memory { base: 2 << 20, per_byte: 256 })
    .words(&["streamtype", "stdin", "port", "requestid"]);

// A message may have 1 MiB; buffers of the library.
pub(crate) static WEBSOCKET: Target = Target::new("websocket", check_websocket)
    .memory(Memory { base: 4 << 20, per_byte: 256 })
    .words(&["\u{0}", "\u{1}", "\u{7f}"]);

fn block_on<F: Future>(future: F) -> F::Output {
    thread_local! {
        static RUNTIME: Runtime = Builder::new_current_thread().build().expect("a runtime");
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// A whole connection: every stream is read to its end or dropped, and no more comes out than went in.
fn check_frames(input: &[u8]) {
    let mut rest = input;
    while let Some(Ok(Some(_))) = spdy::frame::read_head(&mut rest).now_or_never() {}
    let io = tokio::io::join(Cursor::new(input.to_vec()), tokio::io::sink());
    let (mut incoming, driver) = spdy::accept(io);
    let received = block_on(async move {
        let reading = async move {
            let mut open = FuturesUnordered::<Pin<Box<dyn Future<Output = u64>>>>::new();
            let (mut ended, mut received) = (false, 0);
            while !ended || !open.is_empty() {
                tokio::select! {
                    stream = incoming.next(), if !ended => match stream {
                        Some(stream) if stream.id % 5 == 0 => drop(stream),
                        Some(stream) => open.push(Box::pin(count(stream.reader))),
                        None => ended = true,
                    },
                    Some(length) = open.next(), if !open.is_empty() => received += length,
                }
            }
            received
        };
        let (_, received) = tokio::join!(driver, reading);
        received
    });
    assert!(received <= input.len() as u64, "{received} bytes from {}", input.len());
}

async fn count(mut reader: impl tokio::io::AsyncRead + Unpin) -> u64 {
    let (mut buffer, mut length) = ([0; 256], 0);
    while let Ok(read @ 1..) = reader.read(&mut buffer).await {
        length += read as u64;
    }
    length
}

/// Headers that were unpacked pack and unpack again as they are; two blocks of one connection, cut where a zero byte is.
fn check_headers(input: &[u8]) {
    let cut = input.iter().position(|byte| *byte == 0xfe).unwrap_or(input.len());
    let mut unpacker = Unpacker::default();
    let blocks = [&input[..cut], &input[(cut + 1).min(input.len())..]];
    let read: Vec<Headers> = blocks.iter().map_while(|block| unpacker.unpack(block).ok()).collect();
    let (Ok(mut packer), mut unpacker) = (Packer::new(), Unpacker::default()) else { return };
    for headers in read {
        let length: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(length <= 4 * 65536, "{length} bytes of headers");
        let packed = packer.pack(&headers).expect("headers are packed");
        match unpacker.unpack(&packed) {
            Ok(again) => assert_eq!(again, headers),
            // Replaced bytes are longer than those that they replace.
            Err(_) => assert!(length > 60_000, "{length}"),
        }
    }
}

/// The channels and the tunnel of a client that sends these bytes.
fn check_websocket(input: &[u8]) {
    for encoding in [Encoding::Binary, Encoding::Base64] {
        let io = tokio::io::join(Cursor::new(input.to_vec()), tokio::io::sink());
        let (channels, driver) = websocket::channels(io, encoding, &[0, 4], &[1, 2, 3]);
        let received = block_on(async move {
            let writers = channels.writers;
            let reading: FuturesUnordered<_> = channels.readers.into_iter().map(count).collect();
            let reading = reading.fold(0, |sum, length| async move { sum + length });
            let (_, received) = tokio::join!(driver, reading);
            drop(writers);
            received
        });
        assert!(received <= input.len() as u64, "{received} bytes from {}", input.len());
    }
    let io = tokio::io::join(Cursor::new(input.to_vec()), tokio::io::sink());
    let (near, driver) = websocket::tunnel(io);
    let received = block_on(async move {
        let (near, writer) = tokio::io::split(near);
        let (_, received) = tokio::join!(driver, count(near));
        drop(writer);
        received
    });
    assert!(received <= input.len() as u64);
}
