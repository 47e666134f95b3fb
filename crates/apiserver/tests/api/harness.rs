//! A server over a store in memory, driven in process.

use std::sync::Arc;
use std::time::Duration;

use apimachinery::UserInfo;
use apiserver::authenticator::{Authenticator, NobodyKnown};
use apiserver::authorizer::{Attributes, Authorizer, Decision, PrivilegedGroup, Verdict};
use apiserver::{ApiServer, ApiService, Body, Config, Deps};
use component_base::Scope;
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::Value;

/// Longer than anything here takes, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server and an administrator's hands on it.
pub struct Cluster {
    pub server: Arc<ApiServer>,
    service: ApiService,
    user: UserInfo,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub headers: http::HeaderMap,
    pub body: Value,
}

impl Answer {
    /// Code and, for failures, reason and message; for the rest kind and name.
    pub fn line(&self) -> String {
        let text = |pointer: &str| self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        if self.code >= 400 {
            return format!("{} {}: {}", self.code, text("/reason"), text("/message"));
        }
        format!("{} {} {}", self.code, text("/kind"), text("/metadata/name")).trim_end().to_owned()
    }

    pub fn at(&self, pointer: &str) -> &Value {
        self.body.pointer(pointer).unwrap_or(&Value::Null)
    }
}

/// Lets members of `system:masters` do anything, and those of `allowed`, who are nothing special otherwise.
#[derive(Debug)]
struct Members;

impl Authorizer for Members {
    fn at_once(&self, attributes: &Attributes<'_>) -> Option<Verdict> {
        let allowed = attributes.user.groups.iter().any(|group| group == "allowed");
        if allowed { Some(Decision::Allow.into()) } else { PrivilegedGroup.at_once(attributes) }
    }
}

impl Cluster {
    pub async fn new() -> Self {
        Self::with(testserver::config(), Arc::new(NobodyKnown), &Scope::root()).await
    }

    /// A server of these settings, whose sockets know people as `authenticator` does.
    pub async fn with(config: Config, authenticator: Arc<dyn Authenticator>, scope: &Scope) -> Self {
        Self::over(testserver::memory(), config, authenticator, scope).await
    }

    /// A server with access control as a cluster has it, in its administrator's hands.
    pub async fn guarded(scope: &Scope) -> Self {
        let guarded = testserver::TestServer::start(scope).await;
        Self { service: guarded.service(), server: guarded.server, user: UserInfo::new("admin", ["system:masters"]) }
    }

    /// A server over a store that may have content.
    pub async fn over(
        store: Arc<dyn store::Store>,
        config: Config,
        authenticator: Arc<dyn Authenticator>,
        scope: &Scope,
    ) -> Self {
        let deps = Deps { authenticator, authorizer: Arc::new(Members), ..testserver::deps(store, scope) };
        let server = ApiServer::build(config, deps).await.expect("the server is built");
        let service = server.service();
        Self { server, service, user: UserInfo::new("admin", ["system:masters"]) }
    }

    /// The server after a restart: another one over the same store.
    pub async fn restarted(&self) -> Self {
        let store = self.server.registry.store().clone();
        Self::over(store, self.server.config.clone(), Arc::new(NobodyKnown), &Scope::root()).await
    }

    /// The same server in somebody else's hands.
    pub fn acting_as(&self, user: UserInfo) -> Self {
        Self { server: self.server.clone(), service: self.service.clone(), user }
    }

    pub async fn send(&self, request: http::request::Builder, body: impl Into<bytes::Bytes>) -> Response<Body> {
        let body = apiserver::body::full(body);
        let mut request = request.body(body).expect("a request");
        request.extensions_mut().insert(self.user.clone());
        tokio::time::timeout(PATIENCE, self.service.answer(request)).await.expect("an answer in time")
    }

    pub async fn ask(&self, request: http::request::Builder, body: impl Into<bytes::Bytes>) -> Answer {
        let response = self.send(request, body).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a whole body").to_bytes();
        let body =
            serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into());
        Answer { code: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// Code, content type and bytes of an answer.
    pub async fn bytes(
        &self,
        request: http::request::Builder,
        body: impl Into<bytes::Bytes>,
    ) -> (u16, String, bytes::Bytes) {
        let (parts, body) = self.send(request, body).await.into_parts();
        let media_type = parts.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let bytes = body.collect().await.expect("a whole body").to_bytes();
        (parts.status.as_u16(), media_type.to_owned(), bytes)
    }

    pub async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        self.ask(Request::builder().method(method).uri(path), text).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, Value::Null).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, body).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.call("PUT", path, body).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, Value::Null).await
    }

    pub async fn patch(&self, kind: &str, path: &str, body: Value) -> Answer {
        let media_type = match kind {
            "apply" => "application/apply-patch+yaml".to_owned(),
            kind => format!("application/{kind}-patch+json"),
        };
        let request = Request::builder().method("PATCH").uri(path).header("content-type", media_type);
        self.ask(request, body.to_string()).await
    }

    pub async fn watch(&self, path: &str) -> Events {
        let response = self.send(Request::builder().uri(path), "").await;
        assert_eq!(response.status(), 200, "the watch of {path} is opened");
        Events { body: response.into_body(), text: Vec::new() }
    }
}

/// The events of a watch.
pub struct Events {
    body: Body,
    text: Vec<u8>,
}

impl Events {
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.text.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("an event is JSON"));
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("an event in time");
            let frame = frame?.expect("the watch goes on");
            self.text.extend_from_slice(frame.data_ref().expect("data"));
        }
    }

    /// The next event as `ADDED name`.
    pub async fn line(&mut self) -> String {
        match self.next().await {
            Some(event) => {
                let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
                format!("{} {name}", event["type"].as_str().unwrap_or_default()).trim_end().to_owned()
            }
            None => "end".into(),
        }
    }
}
