//! Answers: canonical bytes into the form that was agreed upon.

use std::io::Write;
use std::ops::Deref;
use std::sync::Arc;

use apimachinery::{Object, StatusError};
use bytes::{BufMut, Bytes, BytesMut};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use serde_json::Value;
use store::Finished;

use super::{Cx, convert, scan, table};
use crate::body::{self, Body};
use crate::custom;
use crate::negotiate::{Accepted, Format, Offer, Shape, negotiate_offer};
use crate::status;

/// Answers from this size on are compressed for who reads gzip (upstream: `defaultGzipThresholdBytes`).
const GZIP_FROM_BYTES: usize = 128 * 1024;

/// Larger lists are sent in pieces of about this size, so that no answer is held in memory twice.
const CHUNK_BYTES: usize = 64 * 1024;

/// Answers with one stored object.
pub async fn object(cx: &Cx, code: StatusCode, stored: &Bytes) -> Result<Response<Body>, StatusError> {
    let stored = &custom::convert::bytes(&cx.server, &cx.row, stored).await?;
    let accepted = negotiate_offer(&cx.headers, &cx.query, Offer::of(&cx.row))?;
    match accepted.shape {
        Shape::Whole => Ok(bytes(&accepted, code, convert::served(&cx.row, stored)?)),
        Shape::Metadata(version) => {
            let object = table::partial(&decode(&convert::served(&cx.row, stored)?)?, version);
            Ok(value(&accepted, code, &object))
        }
        Shape::Table(version) => {
            let object = decode(&convert::served(&cx.row, stored)?)?;
            let style = table::Style::parse(&cx.query, version)?;
            let revision = object.resource_version().to_owned();
            let metadata = serde_json::json!({ "resourceVersion": revision });
            Ok(value(&accepted, code, &table::table(&cx.row, &style, metadata, &[object], cx.now)))
        }
    }
}

/// Answers with an object of another kind than the row's: a Scale, an Eviction, a review.
pub fn other(cx: &Cx, code: StatusCode, object: &Value) -> Result<Response<Body>, StatusError> {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let protobuf = protobuf::knows(text("apiVersion"), text("kind"));
    let accepted = negotiate_offer(&cx.headers, &cx.query, Offer { transforms: false, protobuf })?;
    Ok(value(&accepted, code, object))
}

/// `{"kind":"Status","status":"Success"}` with details.
pub fn success(cx: &Cx, details: Value) -> Result<Response<Body>, StatusError> {
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
    });
    other(cx, StatusCode::OK, &status)
}

/// Decodes canonical bytes.
pub fn decode(bytes: &[u8]) -> Result<Object, StatusError> {
    serde_json::from_slice(bytes)
        .map_err(|error| StatusError::internal(format!("a stored object cannot be read: {error}")))
}

/// Writes a value in the agreed format.
pub fn value(accepted: &Accepted, code: StatusCode, value: &Value) -> Response<Body> {
    let mut text = match (accepted.format, accepted.pretty) {
        (Format::Json, false) => value.to_string().into_bytes(),
        (Format::Json, true) => serde_json::to_vec_pretty(value).unwrap_or_default(),
        (Format::Yaml, _) => return finish(accepted, code, to_yaml(value)),
        (Format::Protobuf, _) => return bytes(accepted, code, value.to_string().into()),
        (Format::Cbor, _) => return finish(accepted, code, cbor::encode(value).into()),
    };
    text.push(b'\n');
    finish(accepted, code, text.into())
}

/// Sends JSON bytes, in the agreed format.
pub fn bytes(accepted: &Accepted, code: StatusCode, json: Bytes) -> Response<Body> {
    match accepted.format {
        Format::Json if !accepted.pretty => return finish(accepted, code, json),
        Format::Protobuf => {
            return match to_protobuf(&json) {
                Ok(bytes) => finish(accepted, code, bytes),
                Err(error) => status::response(&error),
            };
        }
        Format::Json | Format::Yaml | Format::Cbor => {}
    }
    match serde_json::from_slice::<Value>(&json) {
        Ok(object) => value(accepted, code, &object),
        Err(_) => finish(accepted, code, json),
    }
}

/// An object, given as JSON, as protobuf.
pub fn to_protobuf(json: &[u8]) -> Result<Bytes, StatusError> {
    let text = |field: &str| scan::at(json, &[field]).and_then(scan::text).unwrap_or_default();
    // Discovery has documents that name their kind alone.
    let api_version = Some(text("apiVersion")).filter(|version| !version.is_empty()).unwrap_or("v1".into());
    protobuf::encode(&api_version, &text("kind"), json).map(Bytes::from).map_err(StatusError::internal)
}

fn to_yaml(value: &Value) -> Bytes {
    apimachinery::codec::yaml::encode(value).unwrap_or_default().into()
}

fn finish(accepted: &Accepted, code: StatusCode, bytes: Bytes) -> Response<Body> {
    let squeeze = accepted.gzip && bytes.len() >= GZIP_FROM_BYTES;
    let body = if squeeze { gzip(&bytes) } else { bytes };
    let mut response = typed(accepted, code, body::full(body));
    if squeeze {
        mark_gzip(&mut response);
    }
    response
}

fn typed(accepted: &Accepted, code: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let media_type = match accepted.format {
        Format::Json => "application/json",
        Format::Yaml => "application/yaml",
        Format::Protobuf => protobuf::MEDIA_TYPE,
        Format::Cbor => cbor::MEDIA_TYPE,
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

fn mark_gzip(response: &mut Response<Body>) {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
}

fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::fast());
    // Writing to a Vec does not fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default().into()
}

/// An object of a list as it is sent: the store's own bytes, or others.
#[derive(Clone, Debug)]
pub enum Item {
    /// As the store has it.
    Stored(Arc<Finished>),
    /// Made of what the store has.
    Made(Bytes),
}

impl Deref for Item {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Stored(finished) => &finished.value,
            Self::Made(bytes) => bytes,
        }
    }
}

/// A list as JSON: what comes before the items, the items, and the end.
#[derive(Debug)]
pub struct ListParts {
    /// As `{"kind":"PodList",...,"items":[`.
    pub head: Bytes,
    /// Canonical bytes, shared with the store.
    pub items: Vec<Item>,
    kind: String,
    api_version: String,
    metadata: String,
}

impl ListParts {
    /// The opening of a list of `kind` with its metadata.
    pub fn new(kind: &str, api_version: &str, metadata: &Value, items: Vec<Item>) -> Self {
        let metadata = metadata.to_string();
        let head =
            format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":{metadata},\"items\":[");
        Self { head: head.into(), items, kind: kind.to_owned(), api_version: api_version.to_owned(), metadata }
    }

    fn size(&self) -> usize {
        self.head.len() + self.items.iter().map(|item| item.len() + 1).sum::<usize>() + 3
    }

    fn whole(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.size());
        out.put_slice(&self.head);
        for (index, item) in self.items.iter().enumerate() {
            if index > 0 {
                out.put_u8(b',');
            }
            out.put_slice(item);
        }
        out.put_slice(b"]}\n");
        out.freeze()
    }

    /// The list as protobuf, in the pieces it was made of.
    fn protobuf(&self) -> Result<[Vec<u8>; 3], protobuf::ProtobufError> {
        let mut list = protobuf::List::new(&self.api_version, &self.kind, self.metadata.as_bytes())?;
        self.items.iter().try_for_each(|item| list.push(item))?;
        Ok(list.finish())
    }

    /// The list as CBOR, in the pieces it was made of.
    fn cbor(&self) -> Result<[Vec<u8>; 3], cbor::CborError> {
        let metadata = self.metadata.as_bytes();
        let mut list = cbor::List::new(&self.api_version, &self.kind, metadata, self.items.len())?;
        self.items.iter().try_for_each(|item| list.push(item))?;
        Ok(list.finish())
    }

    /// The list in pieces of about [`CHUNK_BYTES`].
    fn into_chunks(self) -> impl Iterator<Item = Bytes> {
        let mut items = self.items.into_iter().enumerate();
        let mut head = Some(self.head);
        let mut done = false;
        std::iter::from_fn(move || {
            if done {
                return None;
            }
            let mut out = BytesMut::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 4);
            if let Some(head) = head.take() {
                out.put_slice(&head);
            }
            while out.len() < CHUNK_BYTES {
                let Some((index, item)) = items.next() else {
                    out.put_slice(b"]}\n");
                    done = true;
                    break;
                };
                if index > 0 {
                    out.put_u8(b',');
                }
                out.put_slice(&item);
            }
            Some(out.freeze())
        })
    }
}

/// Answers with a list; large ones are streamed.
pub fn list(accepted: &Accepted, parts: ListParts) -> Response<Body> {
    let pieces = match accepted.format {
        Format::Protobuf => Some(parts.protobuf().map_err(StatusError::internal)),
        Format::Cbor => Some(parts.cbor().map_err(StatusError::internal)),
        Format::Json | Format::Yaml => None,
    };
    match pieces {
        Some(Ok(pieces)) if pieces[1].len() <= GZIP_FROM_BYTES => {
            return finish(accepted, StatusCode::OK, pieces.concat().into());
        }
        Some(Ok(pieces)) => return stream(accepted, pieces.into_iter().map(Bytes::from)),
        Some(Err(error)) => return status::response(&error),
        None => {}
    }
    if parts.size() <= GZIP_FROM_BYTES || accepted.format != Format::Json || accepted.pretty {
        return bytes(accepted, StatusCode::OK, parts.whole());
    }
    stream(accepted, parts.into_chunks())
}

/// Sends pieces one after the other, compressed for who reads gzip.
fn stream(accepted: &Accepted, chunks: impl Iterator<Item = Bytes> + Send + 'static) -> Response<Body> {
    let frames: Box<dyn Iterator<Item = Bytes> + Send> =
        if accepted.gzip { Box::new(gzip_chunks(chunks)) } else { Box::new(chunks) };
    let frames = frames.map(|chunk| Ok(http_body::Frame::data(chunk)));
    let body = StreamBody::new(futures::stream::iter(frames)).boxed_unsync();
    let mut response = typed(accepted, StatusCode::OK, body);
    if accepted.gzip {
        mark_gzip(&mut response);
    }
    response
}

fn gzip_chunks(chunks: impl Iterator<Item = Bytes> + Send) -> impl Iterator<Item = Bytes> + Send {
    let mut encoder = Some(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut chunks = chunks.fuse();
    std::iter::from_fn(move || {
        loop {
            let Some(chunk) = chunks.next() else {
                return encoder.take().map(|encoder| encoder.finish().unwrap_or_default().into());
            };
            let open = encoder.as_mut()?;
            // Writing to a Vec does not fail.
            let _ = open.write_all(&chunk);
            if open.get_ref().len() >= CHUNK_BYTES / 4 {
                return Some(std::mem::take(open.get_mut()).into());
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn parts(count: usize) -> ListParts {
        let items = (0..count)
            .map(|index| Item::Made(format!("{{\"n\":{index},\"pad\":\"{}\"}}", "x".repeat(1000)).into()))
            .collect();
        ListParts::new("XList", "v1", &serde_json::json!({"resourceVersion": "1"}), items)
    }

    async fn sent(accepted: &Accepted, count: usize) -> Bytes {
        list(accepted, parts(count)).into_body().collect().await.expect("bytes").to_bytes()
    }

    #[tokio::test]
    async fn a_list_is_the_same_whole_streamed_and_compressed() {
        for count in [0, 1, 3, 1000] {
            let plain = sent(&Accepted::default(), count).await;
            let value: Value = serde_json::from_slice(&plain).expect("JSON");
            assert_eq!(value["items"].as_array().map(Vec::len), Some(count));
            let squeezed = sent(&Accepted { gzip: true, ..Accepted::default() }, count).await;
            let mut text = Vec::new();
            if count == 1000 {
                flate2::read::GzDecoder::new(&squeezed[..]).read_to_end(&mut text).expect("gzip");
                assert_eq!(text, plain);
            }
        }
    }
}
