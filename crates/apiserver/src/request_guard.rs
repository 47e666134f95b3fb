//! What holds for every request, whatever it asks: it ends in time, and a panic ends it alone
//! (upstream: endpoints/filters/request_deadline.go, server/filters/{timeout,wrap}.go).

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use apimachinery::StatusError;
use apimachinery::duration::GoDuration;
use futures::FutureExt;
use http::{Method, Response};

use crate::body::Body;
use crate::flow::is_long_running;
use crate::request::{Query, RequestInfo};
use crate::server::ApiServer;

/// See the module.
pub(crate) struct RequestGuard {
    /// How long it may take; none for what lasts as long as its client likes.
    limit: Result<Option<Duration>, StatusError>,
    method: Method,
    info: Arc<RequestInfo>,
}

impl RequestGuard {
    pub(crate) fn new(server: &ApiServer, info: &Arc<RequestInfo>, query: &Query, method: &Method) -> Self {
        let limit = if is_long_running(info) {
            Ok(None)
        } else {
            limit(query.get("timeout"), server.config.request_timeout).map(Some)
        };
        Self { limit, method: method.clone(), info: info.clone() }
    }

    /// Runs the request.
    pub(crate) async fn run(
        self,
        work: impl Future<Output = Result<Response<Body>, StatusError>>,
    ) -> Result<Response<Body>, StatusError> {
        let work = AssertUnwindSafe(work).catch_unwind();
        let outcome = match self.limit? {
            None => work.await,
            Some(limit) => match tokio::time::timeout(limit, work).await {
                Ok(outcome) => outcome,
                Err(_) => return Err(timed_out()),
            },
        };
        outcome.unwrap_or_else(|panic| {
            tracing::error!(method = %self.method, path = self.info.path, panic = said(&*panic), "a handler panicked");
            let message = "This request caused apiserver to panic. Look in the logs for details.";
            Err(StatusError::new(500, "InternalError", message))
        })
    }
}

/// The query may ask for less time than there is, not for more.
fn limit(asked: Option<&str>, most: Duration) -> Result<Duration, StatusError> {
    let Some(text) = asked else { return Ok(most) };
    let asked: GoDuration = text
        .parse()
        .map_err(|error| StatusError::bad_request(format!("invalid timeout specified in the request URL - {error}")))?;
    Ok(asked.to_std().filter(|asked| !asked.is_zero()).map_or(most, |asked| asked.min(most)))
}

/// Upstream: `NewTimeoutError`.
fn timed_out() -> StatusError {
    StatusError::timeout("Timeout: request did not complete within the allotted timeout")
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(limit: Option<Duration>) -> RequestGuard {
        RequestGuard { limit: Ok(limit), method: Method::GET, info: Arc::default() }
    }

    #[tokio::test]
    async fn a_panic_is_a_500() {
        let error = guard(None).run(async { panic!("of a handler") }).await.expect_err("no answer");
        assert_eq!((error.code, error.reason), (500, "InternalError"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_ends_in_time() {
        let error = guard(Some(Duration::from_secs(60))).run(std::future::pending()).await.expect_err("no answer");
        assert_eq!((error.code, error.reason), (504, "Timeout"));
    }

    #[test]
    fn clients_may_ask_for_less_time() {
        let most = Duration::from_secs(60);
        for (asked, expected) in [(None, 60_000), (Some("500ms"), 500), (Some("10m"), 60_000), (Some("0"), 60_000)] {
            assert_eq!(limit(asked, most), Ok(Duration::from_millis(expected)), "{asked:?}");
        }
        let error = limit(Some("soon"), most).expect_err("no duration");
        assert_eq!(error.message, "invalid timeout specified in the request URL - time: invalid duration \"soon\"");
    }
}
