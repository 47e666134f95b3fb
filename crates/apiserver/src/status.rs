//! Errors into `Status`: the one place where what went wrong becomes a code, a reason and a message.

use apimachinery::StatusError;
use http::{HeaderValue, Response, StatusCode, header};

use crate::body::Body;
use crate::negotiate::{Accepted, Format};
use crate::registry::answer;

/// The `Status` of a failed store operation (upstream: apiserver/pkg/storage/errors and etcd3/errors.go).
pub fn of_store(error: &store::Error) -> StatusError {
    match error {
        store::Error::Compacted { asked, oldest } => too_old(*asked, *oldest),
        store::Error::Future { asked, newest } => too_large_revision(*asked, *newest),
        store::Error::TooSlow => StatusError::expired("too old resource version: the watcher fell behind"),
        // A value that no key opens (upstream: etcd3/watcher.go `transformErrorToEvent`).
        store::Error::Unavailable(cause) if cause.starts_with(encryption::UNREADABLE) => StatusError::internal(cause),
        store::Error::Unavailable(cause) => StatusError::unavailable(format!("storage is unavailable: {cause}")),
        store::Error::Damaged { .. } | store::Error::InUse { .. } => StatusError::internal(error),
    }
}

/// 410: history does not reach back so far.
pub fn too_old(asked: u64, oldest: u64) -> StatusError {
    StatusError::expired(format!("too old resource version: {asked} ({oldest})"))
}

/// 410 for a continue token whose revision was compacted, without a way on (upstream: etcd3/errors.go).
pub fn continue_expired(inconsistent: &str) -> StatusError {
    let mut status = StatusError::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list \
         without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
         results. Continuing with the provided token results in an inconsistent list - objects that were created, \
         modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    status.details = None;
    status.list_continue(inconsistent)
}

/// 504 with the cause that clients look for: the revision asked for has not happened yet.
pub fn too_large_revision(asked: u64, newest: u64) -> StatusError {
    let message = format!("Too large resource version: {asked}, current: {newest}");
    let mut status = StatusError::timeout(message);
    status.details = Some(serde_json::json!({
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }));
    status
}

/// Adds a continue token to the metadata of the answer.
trait ListContinue {
    fn list_continue(self, token: &str) -> Self;
}

/// The key below `details` under which [`continue_expired`] carries its token to [`value`].
const CONTINUE: &str = "continue";

impl ListContinue for StatusError {
    fn list_continue(mut self, token: &str) -> Self {
        self.details = Some(serde_json::json!({ CONTINUE: token }));
        self
    }
}

/// The `v1.Status` object of an error.
pub fn value(error: &StatusError) -> serde_json::Value {
    let mut status = error.to_value();
    let token = status
        .get_mut("details")
        .and_then(serde_json::Value::as_object_mut)
        .and_then(|details| details.remove(CONTINUE));
    if let Some(token) = token {
        status["metadata"] = serde_json::json!({"continue": token});
        if let Some(status) = status.as_object_mut() {
            status.remove("details");
        }
    }
    status
}

/// The answer to a request that failed, as JSON.
pub fn response(error: &StatusError) -> Response<Body> {
    response_in(error, Format::Json)
}

/// The answer to a request that failed, in the format that the client accepts.
pub fn response_in(error: &StatusError, format: Format) -> Response<Body> {
    let accepted = Accepted { format, ..Accepted::default() };
    let code = StatusCode::from_u16(error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = answer::value(&accepted, code, &value(error));
    let headers = response.headers_mut();
    if let Some(seconds) = error.retry_after_s() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if error.code == 401 {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"kubernetes-master\""));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(error: &StatusError, expected: Expect) {
        expected.assert_eq(&value(error).to_string());
    }

    #[test]
    fn store_errors_have_upstreams_words() {
        check(
            &of_store(&store::Error::Compacted { asked: 3, oldest: 9 }),
            expect![[
                r#"{"apiVersion":"v1","code":410,"kind":"Status","message":"too old resource version: 3 (9)","metadata":{},"reason":"Expired","status":"Failure"}"#
            ]],
        );
        check(
            &of_store(&store::Error::Future { asked: 30, newest: 9 }),
            expect![[
                r#"{"apiVersion":"v1","code":504,"details":{"causes":[{"message":"Too large resource version","reason":"ResourceVersionTooLarge"}],"retryAfterSeconds":1},"kind":"Status","message":"Too large resource version: 30, current: 9","metadata":{},"reason":"Timeout","status":"Failure"}"#
            ]],
        );
    }

    #[test]
    fn what_nobody_can_open_is_no_matter_of_waiting() {
        let unreadable = format!("{} \"/registry/core/secrets/a/b\": no key", encryption::UNREADABLE);
        let status = of_store(&store::Error::Unavailable(unreadable.as_str().into()));
        assert_eq!((status.code, status.reason), (500, "InternalError"));
        assert_eq!(status.message, format!("Internal error occurred: {unreadable}"));
        assert_eq!(of_store(&store::Error::Unavailable("closed".into())).code, 503);
    }

    #[test]
    fn an_expired_continue_hands_out_a_new_token() {
        assert_eq!(value(&continue_expired("abc"))["metadata"]["continue"], "abc");
    }
}
