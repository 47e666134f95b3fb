//! OpenAPI: the schemas that clients validate and explain with
//! (upstream: k8s.io/kube-openapi/pkg/handler and handler3).
//!
//! Documents are written when first asked for and kept compressed: nobody may ever ask, and memory counts.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::Arc;

use api::schemas::SCHEMAS;
use apimachinery::StatusError;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use parking_lot::Mutex;
use serde_json::Value;
use sha2::{Digest, Sha512};

use crate::body::{self, Body};
use crate::negotiate::{Format, MediaRange, accepted_ranges, accepts_gzip, format_of, negotiate};
use crate::registry::{Rows, answer};
use crate::request::Query;
use crate::server::ApiServer;

/// The names of the documents of version 2.
const V2: &str = "v2";
const V2_PROTOBUF: &str = "v2 protobuf";

/// The documents of the rows served now.
#[derive(Debug, Default)]
pub struct Documents {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    rows: Option<Arc<Rows>>,
    documents: HashMap<String, Document>,
    /// What other servers said when the documents of version 2 were written.
    others: Vec<Arc<Value>>,
}

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    /// Of version 2 alone; older clients spell its media type with an `@`.
    Protobuf,
}

impl Form {
    const JSON: &str = "application/json";
    const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    const PROTOBUF_DEPRECATED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

    fn media_type(self) -> &'static str {
        match self {
            Self::Json => Self::JSON,
            Self::Protobuf => Self::PROTOBUF,
        }
    }

    /// The form of version 2 that the client wants most.
    fn of_v2(parts: &Parts) -> Result<Self, StatusError> {
        accepted_ranges(&parts.headers)
            .iter()
            .find_map(|range| match range.media_type {
                Self::PROTOBUF | Self::PROTOBUF_DEPRECATED => Some(Self::Protobuf),
                _ => is_text(range).then_some(Self::Json),
            })
            .ok_or_else(|| StatusError::not_acceptable(&[Self::JSON, Self::PROTOBUF_DEPRECATED, Self::PROTOBUF]))
    }
}

/// Whether JSON will do.
fn is_text(range: &MediaRange<'_>) -> bool {
    matches!(format_of(range.media_type), Some(Format::Json | Format::Yaml))
}

/// One document, compressed.
#[derive(Clone, Debug)]
struct Document {
    form: Form,
    gzip: Bytes,
    hash: String,
}

impl Document {
    fn new(form: Form, plain: &[u8]) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        // Writing to a Vec does not fail.
        let _ = encoder.write_all(plain);
        let gzip = encoder.finish().unwrap_or_default().into();
        Self { form, gzip, hash: hex::encode_upper(Sha512::digest(plain)) }
    }

    fn plain(&self) -> Bytes {
        let mut plain = Vec::new();
        let _ = GzDecoder::new(&self.gzip[..]).read_to_end(&mut plain);
        plain.into()
    }
}

impl Documents {
    /// The document of this name, written by `make` where it is not kept.
    fn document(&self, rows: &Arc<Rows>, name: &str, form: Form, make: impl FnOnce() -> Vec<u8>) -> Document {
        let mut kept = self.kept.lock();
        if !kept.rows.as_ref().is_some_and(|known| Arc::ptr_eq(known, rows)) {
            *kept = Kept { rows: Some(rows.clone()), others: std::mem::take(&mut kept.others), ..Kept::default() };
        }
        if let Some(document) = kept.documents.get(name) {
            return document.clone();
        }
        let document = Document::new(form, &make());
        kept.documents.insert(name.to_owned(), document.clone());
        document
    }

    fn v2(&self, rows: &Arc<Rows>, form: Form, others: Vec<Arc<Value>>) -> Document {
        let (name, make): (_, fn(&[_], &_, &[_]) -> _) = match form {
            Form::Json => (V2, api::openapi::v2),
            Form::Protobuf => (V2_PROTOBUF, api::openapi::v2_protobuf),
        };
        self.follow(&others);
        self.document(rows, name, form, || make(rows.all(), &SCHEMAS, &others))
    }

    /// Lets go of what was written of other servers that say something else now.
    fn follow(&self, others: &[Arc<Value>]) {
        let mut kept = self.kept.lock();
        let same = kept.others.len() == others.len()
            && kept.others.iter().zip(others).all(|(known, other)| Arc::ptr_eq(known, other));
        if !same {
            kept.others = others.to_vec();
            kept.documents.retain(|name, _| name != V2 && name != V2_PROTOBUF);
        }
    }

    fn v3(&self, rows: &Arc<Rows>, group: &str, version: &str) -> Document {
        let name = api::openapi::v3_path(group, version);
        self.document(rows, &name, Form::Json, || api::openapi::v3(group, version, rows.all(), &SCHEMAS))
    }
}

/// Answers a path below `/openapi`.
pub fn answer(
    server: &Arc<ApiServer>,
    parts: &Parts,
    query: &Query,
    steps: &[&str],
) -> Result<Response<Body>, StatusError> {
    let rows = server.registry.rows();
    let documents = &server.openapi;
    match steps {
        ["v2"] => {
            let form = Form::of_v2(parts)?;
            let others = server.aggregator.table().specs(&rows);
            Ok(send(parts, query, &documents.v2(&rows, form, others)))
        }
        ["v3"] => {
            let versions = group_versions(&rows);
            let hashes: Vec<String> =
                versions.iter().map(|(group, version)| documents.v3(&rows, group, version).hash).collect();
            let listed =
                versions.iter().zip(hashes).map(|((group, version), hash)| (group.as_str(), version.as_str(), hash));
            let others = server.aggregator.table();
            let listed = listed.chain(others.documents());
            let accepted = negotiate(&parts.headers, query, false)?;
            Ok(answer::value(&accepted, StatusCode::OK, &api::openapi::v3_index(listed)))
        }
        ["v3", "api", version] if rows.has_version("", version) => {
            serve_v3(parts, query, documents, &rows, "", version)
        }
        ["v3", "apis", group, version] if rows.has_version(group, version) => {
            serve_v3(parts, query, documents, &rows, group, version)
        }
        _ => Err(StatusError::unknown_path()),
    }
}

fn serve_v3(
    parts: &Parts,
    query: &Query,
    documents: &Documents,
    rows: &Arc<Rows>,
    group: &str,
    version: &str,
) -> Result<Response<Body>, StatusError> {
    accepts_json(parts)?;
    Ok(send(parts, query, &documents.v3(rows, group, version)))
}

/// Clients that read only the protobuf of version 3 are told so, and ask again for JSON.
fn accepts_json(parts: &Parts) -> Result<(), StatusError> {
    let readable = accepted_ranges(&parts.headers).iter().any(is_text);
    if readable { Ok(()) } else { Err(StatusError::not_acceptable(&[Form::JSON])) }
}

fn send(parts: &Parts, query: &Query, document: &Document) -> Response<Body> {
    let etag = format!("\"{}\"", document.hash);
    let known =
        parts.headers.get(header::IF_NONE_MATCH).and_then(|tag| tag.to_str().ok()).is_some_and(|tag| tag == etag);
    let gzip = accepts_gzip(&parts.headers);
    let mut response = Response::new(match (known, gzip) {
        (true, _) => body::empty(),
        (false, true) => body::full(document.gzip.clone()),
        (false, false) => body::full(document.plain()),
    });
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(document.form.media_type()));
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding, Accept"));
    if gzip && !known {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    // Who names the hash gets the same document for ever (upstream: handler3 `ServeHTTP`).
    let immutable = query.get("hash") == Some(document.hash.as_str());
    let caching = if immutable { "public, immutable, max-age=31536000" } else { "no-cache, private" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    response
}

fn group_versions(rows: &Rows) -> Vec<(String, String)> {
    let mut versions: Vec<(String, String)> = Vec::new();
    for row in rows.all() {
        let version = (row.gvk.group.clone(), row.gvk.version.clone());
        if !versions.contains(&version) {
            versions.push(version);
        }
    }
    versions
}
