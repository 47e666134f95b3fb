//! Unary gRPC calls over a unix socket, and the little of protobuf that they carry.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream as StdUnixStream};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::future::{Either, select};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;

/// The largest answer.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum GrpcError {
    /// Nobody listens.
    #[error("dial {socket}: {cause}")]
    Connect {
        /// Where.
        socket: String,
        /// What went wrong.
        cause: std::io::Error,
    },
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Transport(String),
    /// It took too long.
    #[error("context deadline exceeded")]
    Timeout,
    /// The other side says so.
    #[error("code = {code} desc = {message}")]
    Status {
        /// gRPC's code.
        code: u32,
        /// Its words.
        message: String,
    },
    /// The answer is no message.
    #[error("the answer cannot be read")]
    Unreadable,
}

/// Calls `path` on the socket (`@name` is an abstract one) and answers the message.
pub async fn call(socket: &str, path: &str, message: &[u8], timeout: Duration) -> Result<Bytes, GrpcError> {
    tokio::time::timeout(timeout, exchange(socket, path, message)).await.map_err(|_| GrpcError::Timeout)?
}

async fn connect(socket: &str) -> std::io::Result<UnixStream> {
    match socket.strip_prefix('@') {
        Some(name) => {
            let stream = StdUnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?;
            stream.set_nonblocking(true)?;
            UnixStream::from_std(stream)
        }
        None => UnixStream::connect(socket).await,
    }
}

async fn exchange(socket: &str, path: &str, message: &[u8]) -> Result<Bytes, GrpcError> {
    let transport = |cause: &dyn std::fmt::Display| GrpcError::Transport(cause.to_string());
    let stream = connect(socket).await.map_err(|cause| GrpcError::Connect { socket: socket.to_owned(), cause })?;
    let (mut sender, connection) = http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .map_err(|cause| transport(&cause))?;
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).map_err(|_| GrpcError::Unreadable)?);
    framed.put_slice(message);
    let request = Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(framed.freeze()))
        .map_err(|cause| transport(&cause))?;
    let answer = async move {
        let response = sender.send_request(request).await.map_err(|cause| transport(&cause))?;
        // A failure may come in the headers alone.
        check_status(response.headers(), false)?;
        let body = Limited::new(response.into_body(), MAX_BYTES).collect().await.map_err(|cause| transport(&cause))?;
        check_status(body.trailers().unwrap_or(&HeaderMap::new()), true)?;
        unframe(body.to_bytes())
    };
    // The connection lives as long as the call.
    match select(Box::pin(answer), Box::pin(connection)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((Err(cause), _)) => Err(transport(&cause)),
        Either::Right((Ok(()), answer)) => answer.await,
    }
}

fn check_status(headers: &HeaderMap, is_required: bool) -> Result<(), GrpcError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status") {
        None if is_required => Err(GrpcError::Unreadable),
        None | Some("0") => Ok(()),
        Some(code) => Err(GrpcError::Status {
            code: code.parse().unwrap_or(2),
            message: text("grpc-message").unwrap_or_default().to_owned(),
        }),
    }
}

fn unframe(mut bytes: Bytes) -> Result<Bytes, GrpcError> {
    if bytes.len() < 5 || bytes.get_u8() != 0 {
        return Err(GrpcError::Unreadable);
    }
    let length = bytes.get_u32() as usize;
    if length > bytes.len() {
        return Err(GrpcError::Unreadable);
    }
    Ok(bytes.split_to(length))
}

/// Writes a field of bytes; empty ones are left out, as proto3 has it.
pub fn put_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_varint(out, u64::from(field << 3 | 2));
        put_varint(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }
}

/// Writes a field of a number.
pub fn put_number(out: &mut Vec<u8>, field: u32, number: u64) {
    if number != 0 {
        put_varint(out, u64::from(field << 3));
        put_varint(out, number);
    }
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// A number.
    Number(u64),
    /// Bytes, a text or a message.
    Bytes(&'a [u8]),
}

/// The fields of a message with their numbers, or nothing when it is none.
pub fn fields(mut message: &[u8]) -> Option<Vec<(u32, Field<'_>)>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let number = u32::try_from(tag >> 3).ok()?;
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut message)?),
            1 => Field::Bytes(take(&mut message, 8)?),
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                Field::Bytes(take(&mut message, length)?)
            }
            5 => Field::Bytes(take(&mut message, 4)?),
            _ => return None,
        };
        fields.push((number, field));
    }
    Some(fields)
}

fn take<'a>(message: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some(taken)
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *take(message, 1)?.first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_apart_as_they_were_put_together() {
        let mut message = Vec::new();
        put_bytes(&mut message, 1, b"abc");
        put_number(&mut message, 5, 300);
        put_bytes(&mut message, 2, b"");
        assert_eq!(fields(&message), Some(vec![(1, Field::Bytes(b"abc")), (5, Field::Number(300))]));
        for broken in [&[0x0a][..], &[0x0a, 5, 1], &[0xff; 12], &[0x0b]] {
            assert_eq!(fields(broken), None, "{broken:?}");
        }
    }
}
