//! patch: JSON patch, merge patch, strategic merge patch and apply
//! (upstream: endpoints/handlers/patch.go).

use apimachinery::patch::json::{JsonPatch, JsonPatchError};
use apimachinery::patch::{PatchType, merge, strategic};
use apimachinery::schema::Problem;
use apimachinery::{GroupVersionKind, Object, StatusError, go};
use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::update::{Change, change, part_of};
use super::{Cx, answer, decode, fields};
use crate::body::Body;

pub(super) mod shape;
mod words;

/// A patch, parsed.
#[derive(Clone, Debug)]
pub struct Patch {
    content: Content,
    problems: Vec<Problem>,
}

#[derive(Clone, Debug)]
enum Content {
    Json(JsonPatch),
    Merge(Value),
    Strategic(Object),
}

/// Patches the object that the path names.
pub async fn patch(cx: &Cx, body: &Bytes) -> Result<Response<Body>, StatusError> {
    let media_type = decode::media_type(cx);
    if media_type == cbor::APPLY_MEDIA_TYPE || PatchType::parse(media_type) == Some(PatchType::Apply) {
        return super::apply::apply(cx, body).await;
    }
    let patch = Patch::parse(cx, body)?;
    let transform = |old: &Object| patch.apply(cx, old);
    let manager = fields::Manager::Update(fields::manager_name(cx));
    let stored = change(cx, &Change { part: part_of(cx), manager, retry: true, transform: &transform }).await?;
    answer::object(cx, StatusCode::OK, &stored).await
}

impl Patch {
    /// Reads the body by its media type.
    pub fn parse(cx: &Cx, body: &Bytes) -> Result<Self, StatusError> {
        // The schema of a custom resource does not say how its lists merge.
        let merges = |kind: &PatchType| *kind != PatchType::Strategic || cx.row.custom.is_none();
        let unsupported = || {
            let taken: Vec<&str> = PatchType::ALL.into_iter().filter(merges).map(PatchType::media_type).collect();
            StatusError::unsupported_media_type(&taken)
        };
        let kind = PatchType::parse(decode::media_type(cx)).filter(merges).ok_or_else(unsupported)?;
        if cx.query.has("force") {
            return Err(StatusError::invalid(
                &apimachinery::GroupKind::new("meta.k8s.io", "PatchOptions"),
                "",
                &[apimachinery::field::Error::forbidden(
                    &apimachinery::field::Path::new("force"),
                    "may not be specified for non-apply patch",
                )],
            ));
        }
        let parsed =
            apimachinery::codec::json::decode(body).map_err(|_| StatusError::bad_request("invalid JSON patch"))?;
        let undecodable = |words: String| StatusError::bad_request(format!("error decoding patch: {words}"));
        let mut problems = parsed.duplicates;
        let content = match kind {
            PatchType::Json => {
                let unknown = shape::operations(&parsed.value).map_err(undecodable)?;
                problems.extend(unknown.into_iter().map(Problem::Unknown));
                let operations = if parsed.value.is_null() { Value::Array(Vec::new()) } else { parsed.value };
                Content::Json(JsonPatch::parse(operations).map_err(|error| json_patch_error(&error))?)
            }
            PatchType::Merge => Content::Merge(shape::map(parsed.value).map_err(undecodable)?.into()),
            PatchType::Strategic => {
                Content::Strategic(Object(shape::map(parsed.value).map_err(StatusError::bad_request)?))
            }
            PatchType::Apply => return Err(unsupported()),
        };
        Ok(Self { content, problems })
    }

    /// The patched object of the row's kind.
    pub fn apply(&self, cx: &Cx, old: &Object) -> Result<Object, StatusError> {
        self.apply_plain(cx, old, &cx.row.gvk)
    }

    /// The patched object of any kind.
    pub fn apply_plain(&self, cx: &Cx, old: &Object, kind: &GroupVersionKind) -> Result<Object, StatusError> {
        let patched = Object::from_value(self.applied(cx, old, kind)?)
            .ok_or_else(|| unprocessable("the patched document is not a JSON object"))?;
        let shown = || match &self.content {
            Content::Strategic(patch) => go::map(&patch.0),
            Content::Json(_) | Content::Merge(_) => {
                self.applied(cx, old, kind).map(|patched| patched.to_string()).unwrap_or_default()
            }
        };
        let of_patch = decode::OfPatch {
            problems: &self.problems,
            prefix: if matches!(self.content, Content::Json(_)) { "json patch " } else { "" },
            words: if matches!(self.content, Content::Strategic(_)) {
                words::of_conversion
            } else {
                ToString::to_string
            },
        };
        decode::patched(cx, patched, &of_patch, kind, shown)
    }

    fn applied(&self, cx: &Cx, old: &Object, kind: &GroupVersionKind) -> Result<Value, StatusError> {
        let whole = || Value::Object(old.0.clone());
        match &self.content {
            Content::Json(patch) => {
                let mut value = whole();
                patch.apply(&mut value).map_err(|error| json_patch_error(&error)).map(|()| value)
            }
            Content::Merge(patch) => {
                let mut value = whole();
                merge::apply(&mut value, patch.clone());
                Ok(value)
            }
            Content::Strategic(patch) => {
                let (schemas, root) = cx.row.schema_of(kind).ok_or_else(|| {
                    StatusError::unsupported_media_type(&[
                        PatchType::Json.media_type(),
                        PatchType::Merge.media_type(),
                        PatchType::Apply.media_type(),
                    ])
                })?;
                let patched = strategic::apply(schemas, root, old.0.clone(), patch.0.clone());
                patched.map(Value::Object).map_err(|error| words::of_merge(&error))
            }
        }
    }
}

/// Upstream: patch.go `applyJSPatch`.
fn json_patch_error(error: &JsonPatchError) -> StatusError {
    match error {
        JsonPatchError::Decode(_) => StatusError::bad_request(error.to_string()),
        JsonPatchError::TooManyOperations(_) => StatusError::too_large(error.to_string()),
        _ => unprocessable(&error.to_string()),
    }
}

/// Upstream: `NewGenericServerResponse` with 422.
fn unprocessable(cause: &str) -> StatusError {
    let error = StatusError::new(422, "Invalid", "the server rejected our request due to an error in our request");
    error.with_causes(vec![json!({ "reason": "UnexpectedServerResponse", "message": cause })])
}
