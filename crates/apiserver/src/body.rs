//! Request and answer bodies: what types they have, and reading one whole, up to a limit.

use std::pin::Pin;
use std::task::{Context, Poll};

use apimachinery::StatusError;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};

/// Any error, boxed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body of a request or an answer: bytes, or a stream of them.
pub type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

/// The largest request body that is read (upstream: 3 MiB, `MaxRequestBodyBytes`).
pub const MAX_REQUEST_BYTES: usize = 3 * 1024 * 1024;

/// A body of these bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body without bytes.
pub fn empty() -> Body {
    full(Bytes::new())
}

/// Boxes any body that carries bytes.
pub fn boxed<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// A body that keeps something until it has been sent, or its reader has gone.
pub fn holding<G: Send + Unpin + 'static>(body: Body, held: G) -> Body {
    Holding { body, _held: held }.boxed_unsync()
}

struct Holding<G> {
    body: Body,
    _held: G,
}

impl<G: Unpin> http_body::Body for Holding<G> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// Reads a body to its end; refuses more than [`MAX_REQUEST_BYTES`].
pub async fn read(body: Body) -> Result<Bytes, StatusError> {
    let mut body = body;
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| StatusError::bad_request(format!("the request body cannot be read: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > MAX_REQUEST_BYTES {
            return Err(StatusError::too_large(format!("Request entity too large: limit is {MAX_REQUEST_BYTES}")));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}
