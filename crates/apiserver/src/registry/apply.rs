//! apply: an object's fields as one manager wants them (upstream: endpoints/handlers/patch.go `applyPatcher`).

use apimachinery::{GroupKind, Object, StatusError, field};
use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::Value;

use super::patch::shape;
use super::update::{Change, change, check_name, part_of};
use super::{Cx, answer, create, decode, fields};
use crate::body::Body;

/// Applies the configuration in the body; creates the object where it is not there.
pub async fn apply(cx: &Cx, body: &Bytes) -> Result<Response<Body>, StatusError> {
    let manager = manager(cx)?;
    let force = cx.query.is_true("force");
    let broken = |cause: String| StatusError::bad_request(format!("error decoding patch: {cause}"));
    let parsed = match decode::media_type(cx) {
        cbor::APPLY_MEDIA_TYPE => (cbor::decode(body).map_err(|error| broken(error.to_string()))?, Vec::new()),
        _ => decode::yaml(body).map_err(|error| unreadable(body, &error.to_string()))?,
    };
    let mut applied = match parsed.0 {
        Value::Object(map) => Object(map),
        Value::Null => Object::default(),
        other => {
            let words = shape::map(other).err().unwrap_or_default();
            return Err(broken(format!("error unmarshaling JSON: while decoding JSON: {words}")));
        }
    };
    fields::check(cx, &applied)?;
    check_name(cx, &mut applied)?;
    create::check_namespace(cx, &mut applied)?;
    let applied = decode::applied(cx, applied)?;
    let refused = decode::strictly(cx, parsed.1)?;
    let merged = |live: Option<&Object>| {
        let merged = fields::apply(cx, live, &applied, &manager, force)?;
        refused.clone().map_or(Ok(merged), Err)
    };
    let exists = cx.registry().find_entry(&cx.row, &cx.info.namespace, &cx.info.name).await?.is_some();
    if !exists && cx.info.subresource.is_empty() {
        if !applied.uid().is_empty() {
            return Err(StatusError::conflict(
                &cx.row.group_resource(),
                &cx.info.name,
                &format!(
                    "uid mismatch: the provided object specified uid {}, and no existing object was found",
                    applied.uid()
                ),
            ));
        }
        match create::create_applied(cx, merged(None)?).await {
            Ok(stored) => return answer::object(cx, StatusCode::CREATED, &stored).await,
            // Somebody was faster: what follows changes theirs.
            Err(error) if error.reason == "AlreadyExists" => {}
            Err(error) => return Err(error),
        }
    }
    let transform = |old: &Object| merged(Some(old));
    let change_it = Change { part: part_of(cx), manager: fields::Manager::Applied, retry: true, transform: &transform };
    let stored = change(cx, &change_it).await?;
    answer::object(cx, StatusCode::OK, &stored).await
}

/// YAML that is none. It becomes JSON for the audit log before anything else happens, unless it looks like JSON
/// (upstream: `validateAndTranscodePatch`, apimachinery/pkg/util/yaml `ToJSON`).
fn unreadable(body: &[u8], error: &str) -> StatusError {
    const CONVERTING: &str = "error converting YAML to JSON: ";
    let begins_as_json = body.trim_ascii_start().starts_with(b"{");
    StatusError::bad_request(if begins_as_json {
        format!("error decoding patch: {error}")
    } else {
        format!("error encoding patch: {}", error.strip_prefix(CONVERTING).unwrap_or(error))
    })
}

fn manager(cx: &Cx) -> Result<String, StatusError> {
    cx.query.get("fieldManager").map(str::to_owned).ok_or_else(|| {
        let error = field::Error::required(&field::Path::new("fieldManager"), "is required for apply patch");
        StatusError::invalid(&GroupKind::new("meta.k8s.io", "PatchOptions"), "", &[error])
    })
}
