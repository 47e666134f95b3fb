//! How requests travel: in one process a function call, else TLS (`kube::Client::try_from(Config)`).

use std::task::{Context, Poll};

use apimachinery::UserInfo;
use bytes::Bytes;
use http::{Request, Response};
use kube::Client;
use tower::{BoxError, Service};

/// A client that calls `service` (the API server's) directly, as `user`.
///
/// The identity travels as a request extension, which no socket can set; authorization, admission and audit hold for
/// it as for any other.
pub fn in_process<S, B>(service: S, user: UserInfo) -> Client
where
    S: Service<Request<kube::client::Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    Client::new(Identified { service, user }, "default")
}

/// Puts an identity on every request.
#[derive(Clone, Debug)]
struct Identified<S> {
    service: S,
    user: UserInfo,
}

impl<S, B> Service<Request<B>> for Identified<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        request.extensions_mut().insert(self.user.clone());
        if let Ok(agent) = http::HeaderValue::from_str(&format!("kaji/{}", self.user.username)) {
            request.headers_mut().entry(http::header::USER_AGENT).or_insert(agent);
        }
        self.service.call(request)
    }
}
