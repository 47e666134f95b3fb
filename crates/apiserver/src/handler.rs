//! [`Handler`]: a special subresource or a review, served by code of its own.

use std::collections::HashMap;
use std::sync::Arc;

use apimachinery::StatusError;
use async_trait::async_trait;
use http::Response;

use crate::body::Body;
use crate::registry::Cx;

/// A request as a special handler sees it: authenticated, authorized, its row found.
pub struct Call {
    /// The request.
    pub cx: Cx,
    /// Its method, URI, headers and extensions (an upgrade among them).
    pub parts: http::request::Parts,
    /// Its body, unread.
    pub body: Body,
}

/// Serves one special subresource, or a resource that is answered and not stored.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Answers the request.
    async fn handle(&self, call: Call) -> Result<Response<Body>, StatusError>;
}

/// Handlers by group, resource and subresource.
#[derive(Clone, Default)]
pub struct Handlers {
    handlers: HashMap<String, Arc<dyn Handler>>,
    documents: HashMap<String, Document>,
}

/// A JSON document that does not change while the server runs.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its media type.
    pub media_type: &'static str,
    /// Its text.
    pub text: bytes::Bytes,
}

impl Handlers {
    /// Adds or replaces the handler of `resource/subresource` of a group; an empty subresource is the resource itself.
    pub fn register(&mut self, group: &str, resource: &str, subresource: &str, handler: Arc<dyn Handler>) {
        self.handlers.insert(key(group, resource, subresource), handler);
    }

    /// The handler, if there is one.
    pub fn find(&self, group: &str, resource: &str, subresource: &str) -> Option<&Arc<dyn Handler>> {
        self.handlers.get(&key(group, resource, subresource))
    }

    /// Serves a document at a path that names no resource.
    pub fn document(&mut self, path: &str, media_type: &'static str, value: &serde_json::Value) {
        let text = value.to_string().into();
        self.documents.insert(path.to_owned(), Document { media_type, text });
    }

    /// The document at a path, if there is one.
    pub fn find_document(&self, path: &str) -> Option<&Document> {
        self.documents.get(path)
    }

    /// Adds those of `other` that are not there yet.
    pub fn extend(&mut self, other: Self) {
        for (key, handler) in other.handlers {
            self.handlers.entry(key).or_insert(handler);
        }
        for (path, document) in other.documents {
            self.documents.entry(path).or_insert(document);
        }
    }
}

fn key(group: &str, resource: &str, subresource: &str) -> String {
    [group, resource, subresource].join("/")
}

impl std::fmt::Debug for Handlers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.handlers.keys()).entries(self.documents.keys()).finish()
    }
}
