//! Frames on the wire (SPDY/3.1 draft, section 2.2 and 2.6).

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

const VERSION: u16 = 3;
/// Most bytes of a control frame.
const MAX_CONTROL: u32 = 64 * 1024;
/// Set when a frame is the last of its sender on a stream.
pub const FIN: u8 = 1;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const SETTINGS: u16 = 4;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;
const WINDOW_UPDATE: u16 = 9;

/// The beginning of a frame; a data frame's content follows on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// Content of a stream.
    Data {
        /// The stream.
        stream: u32,
        /// Whether it is the last.
        fin: bool,
        /// Bytes that follow.
        length: u32,
    },
    /// A new stream.
    SynStream {
        /// Its id.
        stream: u32,
        /// Whether the sender sends nothing on it.
        fin: bool,
        /// Its headers, packed.
        headers: Vec<u8>,
    },
    /// The answer to a new stream.
    SynReply {
        /// The stream.
        stream: u32,
        /// Whether the sender sends nothing on it.
        fin: bool,
        /// Headers, packed.
        headers: Vec<u8>,
    },
    /// A stream ends at once.
    RstStream {
        /// The stream.
        stream: u32,
    },
    /// Further headers of a stream.
    Headers {
        /// The stream.
        stream: u32,
        /// Whether it is the last.
        fin: bool,
        /// Headers, packed.
        headers: Vec<u8>,
    },
    /// Asks for an answer.
    Ping {
        /// Comes back in the answer.
        id: u32,
    },
    /// No new streams.
    GoAway,
    /// What asks for nothing of us: settings, window updates.
    Ignored,
}

fn broken(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Reads the beginning of the next frame; `None` at the end of the connection.
pub async fn read_head<R: AsyncRead + Unpin>(reader: &mut R) -> io::Result<Option<Head>> {
    let mut first = [0; 8];
    match reader.read_exact(&mut first).await {
        Err(err) if err.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    };
    let [a, b, c, d, flags, length @ ..] = first;
    let length = u32::from_be_bytes([0, length[0], length[1], length[2]]);
    let fin = flags & FIN != 0;
    if a & 0x80 == 0 {
        return Ok(Some(Head::Data { stream: u32::from_be_bytes([a, b, c, d]), fin, length }));
    }
    if u16::from_be_bytes([a & 0x7f, b]) != VERSION {
        return Err(broken("not SPDY/3"));
    }
    if length > MAX_CONTROL {
        return Err(broken("control frame too large"));
    }
    let mut payload = vec![0; length as usize];
    reader.read_exact(&mut payload).await?;
    control(u16::from_be_bytes([c, d]), fin, &payload).map(Some)
}

fn control(kind: u16, fin: bool, payload: &[u8]) -> io::Result<Head> {
    let word = |at: usize| -> io::Result<u32> {
        let bytes = payload.get(at..at + 4).and_then(|bytes| bytes.first_chunk::<4>());
        bytes.map(|bytes| u32::from_be_bytes(*bytes)).ok_or_else(|| broken("short control frame"))
    };
    let stream = || word(0).map(|id| id & 0x7fff_ffff);
    let rest = |at: usize| payload.get(at..).map(<[u8]>::to_vec).ok_or_else(|| broken("short control frame"));
    Ok(match kind {
        SYN_STREAM => Head::SynStream { stream: stream()?, fin, headers: rest(10)? },
        SYN_REPLY => Head::SynReply { stream: stream()?, fin, headers: rest(4)? },
        RST_STREAM => Head::RstStream { stream: stream()? },
        HEADERS => Head::Headers { stream: stream()?, fin, headers: rest(4)? },
        PING => Head::Ping { id: word(0)? },
        GOAWAY => Head::GoAway,
        SETTINGS | WINDOW_UPDATE => Head::Ignored,
        _ => Head::Ignored,
    })
}

fn control_frame(kind: u16, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(8 + payload.len());
    frame.extend_from_slice(&(VERSION | 0x8000).to_be_bytes());
    frame.extend_from_slice(&kind.to_be_bytes());
    frame.push(flags);
    frame.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    frame.extend_from_slice(payload);
    frame
}

/// Head of a data frame.
pub fn data_head(stream: u32, fin: bool, length: usize) -> [u8; 8] {
    let [a, b, c, d] = (stream & 0x7fff_ffff).to_be_bytes();
    let [_, x, y, z] = (length as u32).to_be_bytes();
    [a, b, c, d, u8::from(fin), x, y, z]
}

/// A new stream, as a client opens it.
pub fn syn_stream(stream: u32, fin: bool, headers: &[u8]) -> Vec<u8> {
    let mut payload = stream.to_be_bytes().to_vec();
    payload.extend_from_slice(&[0; 6]);
    payload.extend_from_slice(headers);
    control_frame(SYN_STREAM, u8::from(fin), &payload)
}

/// The answer to a new stream.
pub fn syn_reply(stream: u32, headers: &[u8]) -> Vec<u8> {
    let mut payload = stream.to_be_bytes().to_vec();
    payload.extend_from_slice(headers);
    control_frame(SYN_REPLY, 0, &payload)
}

/// Ends a stream at once.
pub fn rst_stream(stream: u32, status: u32) -> Vec<u8> {
    control_frame(RST_STREAM, 0, &[stream.to_be_bytes(), status.to_be_bytes()].concat())
}

/// Asks for an answer, or is one.
pub fn ping(id: u32) -> Vec<u8> {
    control_frame(PING, 0, &id.to_be_bytes())
}

/// Takes no further streams.
pub fn goaway(last_stream: u32) -> Vec<u8> {
    control_frame(GOAWAY, 0, &[last_stream.to_be_bytes(), [0; 4]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8]) -> io::Result<Option<Head>> {
        read_head(&mut &bytes[..]).await
    }

    #[tokio::test]
    async fn what_is_written_is_read() {
        let headers = vec![1, 2, 3];
        for (bytes, expected) in [
            (data_head(5, true, 70_000).to_vec(), Head::Data { stream: 5, fin: true, length: 70_000 }),
            (syn_stream(1, false, &headers), Head::SynStream { stream: 1, fin: false, headers: headers.clone() }),
            (syn_reply(1, &headers), Head::SynReply { stream: 1, fin: false, headers: headers.clone() }),
            (rst_stream(7, 5), Head::RstStream { stream: 7 }),
            (ping(9), Head::Ping { id: 9 }),
            (goaway(3), Head::GoAway),
        ] {
            assert_eq!(read(&bytes).await.expect("a frame"), Some(expected));
        }
    }

    #[tokio::test]
    async fn hostile_frames_are_errors() {
        assert_eq!(read(&[]).await.expect("the end"), None);
        assert!(read(&[0x80, 2, 0, 1, 0, 0, 0, 0]).await.is_err(), "another version");
        assert!(read(&[0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff]).await.is_err(), "too large");
        assert!(read(&[0x80, 3, 0, 1, 0, 0, 0, 2, 0, 0]).await.is_err(), "too short");
        assert!(read(&[0x80, 3, 0, 1, 0, 0, 0, 9, 0]).await.is_err(), "cut off");
        assert_eq!(read(&[0x80, 3, 0, 99, 0, 0, 0, 0]).await.expect("unknown"), Some(Head::Ignored));
    }
}
