//! [`StatusError`]: an error as the API answers it, with upstream's codes, reasons and wording
//! (`apimachinery/pkg/api/errors`).

use serde_json::{Map, Value, json};

use crate::field;
use crate::object::{GroupKind, GroupResource};

/// An error that becomes a `v1.Status` answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct StatusError {
    /// The HTTP status code.
    pub code: u16,
    /// The machine-readable reason, as `NotFound`; empty for none.
    pub reason: &'static str,
    /// The message for people.
    pub message: String,
    /// `details`: name, group, kind, uid, causes, retryAfterSeconds.
    pub details: Option<Value>,
}

impl StatusError {
    /// An error without details.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None }
    }

    fn on_resource(mut self, resource: &GroupResource, name: &str) -> Self {
        self.details = Some(details(&resource.group, &resource.resource, name));
        self
    }

    /// 404: no such object.
    pub fn not_found(resource: &GroupResource, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{resource} {name:?} not found")).on_resource(resource, name)
    }

    /// 404: the path names no resource that is served.
    pub fn unknown_path() -> Self {
        let mut status = Self::new(404, "NotFound", "the server could not find the requested resource");
        status.details = Some(json!({}));
        status
    }

    /// 409: an object of this name exists.
    pub fn already_exists(resource: &GroupResource, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{resource} {name:?} already exists")).on_resource(resource, name)
    }

    /// 409: the write was made against an older state.
    pub fn conflict(resource: &GroupResource, name: &str, cause: &str) -> Self {
        Self::new(409, "Conflict", format!("Operation cannot be fulfilled on {resource} {name:?}: {cause}"))
            .on_resource(resource, name)
    }

    /// 409 with the text every client knows: somebody else wrote first.
    pub fn stale(resource: &GroupResource, name: &str) -> Self {
        let cause = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, cause)
    }

    /// 422: the object breaks rules; one cause a field.
    pub fn invalid(kind: &GroupKind, name: &str, errors: &[field::Error]) -> Self {
        let mut texts: Vec<String> = Vec::new();
        for error in errors {
            let text = error.to_string();
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let list = if texts.len() == 1 { texts.remove(0) } else { format!("[{}]", texts.join(", ")) };
        let message = if errors.is_empty() {
            format!("{kind} {name:?} is invalid")
        } else {
            format!("{kind} {name:?} is invalid: {list}")
        };
        let causes: Vec<Value> = errors
            .iter()
            .map(|error| json!({"reason": error.kind.reason(), "message": error.body(), "field": error.field}))
            .collect();
        let mut details = details(&kind.group, &kind.kind, name);
        if !causes.is_empty() {
            details["causes"] = causes.into();
        }
        Self { code: 422, reason: "Invalid", message, details: Some(details) }
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 401: nobody known asks.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 403: the caller may not do this to the object.
    pub fn forbidden(resource: &GroupResource, name: &str, cause: &str) -> Self {
        let message = if name.is_empty() {
            format!("{resource} is forbidden: {cause}")
        } else {
            format!("{resource} {name:?} is forbidden: {cause}")
        };
        Self::new(403, "Forbidden", message).on_resource(resource, name)
    }

    /// 405: the resource does not know the verb.
    pub fn method_not_allowed(resource: &GroupResource, verb: &str) -> Self {
        Self::new(
            405,
            "MethodNotAllowed",
            format!("{verb} is not supported on resources of kind {:?}", resource.to_string()),
        )
        .on_resource(resource, "")
    }

    /// 406: the server cannot answer in any form the client accepts.
    pub fn not_acceptable(accepted: &[&str]) -> Self {
        Self::new(406, "NotAcceptable", format!("only the following media types are accepted: {}", accepted.join(", ")))
    }

    /// 410: the revision asked for is gone; list again.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 413: the body is larger than the server reads.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(413, "RequestEntityTooLarge", message)
    }

    /// 415: the server does not read this media type.
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        Self::new(
            415,
            "UnsupportedMediaType",
            format!(
                "the body of the request was in an unknown format - accepted media types include: {}",
                accepted.join(", ")
            ),
        )
    }

    /// 429: try again after `retry_after_s` seconds.
    pub fn too_many_requests(message: impl Into<String>, retry_after_s: u32) -> Self {
        let mut status = Self::new(429, "TooManyRequests", message);
        status.details = Some(json!({"retryAfterSeconds": retry_after_s}));
        status
    }

    /// 500: the server failed; `cause` says at what.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        let mut status = Self::new(500, "InternalError", format!("Internal error occurred: {cause}"));
        status.details = Some(json!({"causes": [{"message": cause.to_string()}]}));
        status
    }

    /// 503: a part the request needs is not there now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    /// 504: the work took longer than it may.
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(504, "Timeout", message)
    }

    /// Adds causes to the details: reason, message, field.
    pub fn with_causes(mut self, causes: Vec<Value>) -> Self {
        self.details.get_or_insert_with(|| json!({}))["causes"] = causes.into();
        self
    }

    /// Seconds after which a client may try again.
    pub fn retry_after_s(&self) -> Option<u64> {
        self.details.as_ref()?.get("retryAfterSeconds")?.as_u64()
    }

    /// The `v1.Status` object.
    pub fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Failure", "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status
    }
}

fn details(group: &str, kind: &str, name: &str) -> Value {
    let mut details = Map::new();
    for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
        if !value.is_empty() {
            details.insert(key.into(), value.into());
        }
    }
    Value::Object(details)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Path;

    #[test]
    fn not_found_reads_like_upstreams() {
        let status = StatusError::not_found(&GroupResource::new("apps", "deployments"), "web");
        assert_eq!(status.message, r#"deployments.apps "web" not found"#);
        assert_eq!(status.to_value()["details"], json!({"name": "web", "group": "apps", "kind": "deployments"}));
    }

    #[test]
    fn invalid_lists_every_field_once() {
        let path = Path::new("spec").child("replicas");
        let errors = [field::Error::invalid(&path, -1, "must be greater than or equal to 0")];
        let status = StatusError::invalid(&GroupKind::new("apps", "Deployment"), "web", &errors);
        assert_eq!(
            status.message,
            r#"Deployment.apps "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"#
        );
        assert_eq!(status.to_value()["details"]["causes"][0]["field"], "spec.replicas");
    }
}
