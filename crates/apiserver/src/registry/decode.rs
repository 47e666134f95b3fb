//! Bodies into objects: media type, structure, and what to do about fields that nobody knows
//! (upstream: endpoints/handlers/create.go, apimachinery/pkg/runtime/serializer).

use apimachinery::schema::{self, DecodeError, FieldValidation, NodeId, Problem, SchemaSet};
use apimachinery::{GroupKind, GroupVersionKind, Object, StatusError, field};
use bytes::Bytes;
use http::header;
use serde_json::Value;

use super::Cx;

/// The media types that are read.
const READ: [&str; 3] = ["application/json", "application/yaml", protobuf::MEDIA_TYPE];

/// The media type of the body, without parameters; JSON where nothing is said.
pub fn media_type(cx: &Cx) -> &str {
    let value = cx.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match value.split(';').next().unwrap_or_default().trim() {
        "" => "application/json",
        media_type => media_type,
    }
}

/// Parses a body by its media type.
pub fn parse(cx: &Cx, body: &Bytes) -> Result<(Value, Vec<Problem>), StatusError> {
    let broken = |error: &dyn std::fmt::Display| {
        StatusError::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind; {error}",
            cx.row.gvk.kind
        ))
    };
    match media_type(cx) {
        "application/json" => {
            let parsed = apimachinery::codec::json::decode(body).map_err(|error| broken(&error))?;
            Ok((parsed.value, parsed.duplicates))
        }
        "application/yaml" | "application/x-yaml" => yaml(body),
        // There is no message for what somebody defines.
        protobuf::MEDIA_TYPE if cx.row.custom.is_some() => Err(StatusError::unsupported_media_type(&READ[..2])),
        cbor::MEDIA_TYPE => cbor::decode(body).map(|value| (value, Vec::new())).map_err(|error| {
            // Upstream: handlers/rest.go `transformDecodeError`, serializer/cbor/cbor.go.
            StatusError::bad_request(format!(
                "the object provided is unrecognized (must be of type {}): unable to determine group/version/kind: {error} ({})",
                cx.row.gvk.kind,
                summary(body)
            ))
        }),
        protobuf::MEDIA_TYPE => {
            let value = protobuf::decode(body).map_err(|error| broken(&error))?;
            Ok((value, Vec::new()))
        }
        _ => Err(StatusError::unsupported_media_type(&READ)),
    }
}

/// The beginning of a body that is no text (upstream: `summarizeData`).
fn summary(body: &[u8]) -> String {
    const MOST: usize = 30;
    match body {
        [] => "<empty>".to_owned(),
        body if body.len() > MOST => format!("{} ...", hex::encode(&body[..MOST])),
        body => hex::encode(body),
    }
}

/// The object in a body, which must be of this kind.
pub fn body(cx: &Cx, body: &Bytes, expected: &GroupVersionKind) -> Result<Object, StatusError> {
    if media_type(cx) == protobuf::MEDIA_TYPE && !protobuf::knows(&expected.api_version(), &expected.kind) {
        // Custom resources have no protobuf; clients then send JSON.
        return Err(StatusError::unsupported_media_type(&READ[..2]));
    }
    let (value, problems) = parse(cx, body)?;
    let object = Object::from_value(value).ok_or_else(|| {
        StatusError::bad_request("the object provided is unrecognized: the body is not a JSON object")
    })?;
    structured(cx, object, problems, expected)
}

/// Checks an object's type and structure, and judges the problems found so far with those of the structure.
pub fn structured(
    cx: &Cx,
    object: Object,
    problems: Vec<Problem>,
    expected: &GroupVersionKind,
) -> Result<Object, StatusError> {
    structured_by(cx, object, problems, expected, schema::decode)
}

/// The same for what is applied: a part of an object, which stays one.
pub fn applied(cx: &Cx, object: Object, problems: Vec<Problem>) -> Result<Object, StatusError> {
    structured_by(cx, object, problems, &cx.row.gvk, schema::decode_partial)
}

/// [`schema::decode`], or what differs from it.
type Decode = fn(&SchemaSet, NodeId, &mut Object) -> Result<Vec<Problem>, DecodeError>;

fn structured_by(
    cx: &Cx,
    mut object: Object,
    mut problems: Vec<Problem>,
    expected: &GroupVersionKind,
    decode: Decode,
) -> Result<Object, StatusError> {
    check_type(&object, expected)?;
    let custom = cx.row.custom.as_ref().filter(|_| *expected == cx.row.gvk);
    if custom.is_some() {
        is_typed(&object)?;
    }
    object.set_type(expected);
    if let Some(custom) = custom {
        let refused = |error: field::Error| StatusError::bad_request(cannot_be_handled(expected, &error));
        problems.extend(custom.admit(&mut object).map_err(refused)?);
    } else if let Some((schemas, root)) = cx.row.schema_of(expected) {
        let found = decode(schemas, root, &mut object)
            .map_err(|error| StatusError::bad_request(error.message(&expected.version, &expected.kind)))?;
        problems.extend(found);
    }
    let warnings = field_validation(cx)?
        .judge(problems)
        .map_err(|error| StatusError::bad_request(error.message(&expected.version, &expected.kind)))?;
    for warning in warnings {
        cx.warn(warning);
    }
    Ok(object)
}

/// The request's `fieldValidation`.
pub fn field_validation(cx: &Cx) -> Result<FieldValidation, StatusError> {
    let text = cx.query.get("fieldValidation").unwrap_or_default();
    FieldValidation::parse(text).ok_or_else(|| {
        let error =
            field::Error::not_supported(&field::Path::new("fieldValidation"), text, &["", "Ignore", "Strict", "Warn"]);
        StatusError::invalid(&GroupKind::new("meta.k8s.io", "CreateOptions"), "", &[error])
    })
}

/// Custom resources say what they are: nothing else tells (upstream: unstructured/unstructured.go).
fn is_typed(object: &Object) -> Result<(), StatusError> {
    if object.kind().is_empty() {
        let json = Value::Object(object.0.clone());
        return Err(StatusError::bad_request(format!("Object 'Kind' is missing in '{json}'")));
    }
    Ok(())
}

fn cannot_be_handled(expected: &GroupVersionKind, error: &dyn std::fmt::Display) -> String {
    let GroupVersionKind { version, kind, .. } = expected;
    format!("{kind} in version {version:?} cannot be handled as a {kind}: {error}")
}

fn check_type(object: &Object, expected: &GroupVersionKind) -> Result<(), StatusError> {
    let (version, kind) = (object.api_version(), object.kind());
    if !kind.is_empty() && kind != expected.kind {
        let group_version = if version.is_empty() { expected.api_version() } else { version.to_owned() };
        let given = GroupVersionKind::from_api_version(&group_version, kind);
        let wanted = &expected.kind;
        return Err(StatusError::bad_request(format!(
            "{kind} in version {:?} cannot be handled as a {wanted}: converting ({kind}) to ({wanted}): unknown conversion",
            given.version
        )));
    }
    if !version.is_empty() && version != expected.api_version() {
        return Err(StatusError::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({})",
            expected.api_version()
        )));
    }
    Ok(())
}

/// The body of a delete, if there is one; it must be `DeleteOptions`.
pub fn delete_options(cx: &Cx, body: &Bytes) -> Result<Option<Value>, StatusError> {
    if body.is_empty() {
        return Ok(None);
    }
    let (value, _) = parse(cx, body)?;
    match value.get("kind").and_then(Value::as_str) {
        None | Some("" | "DeleteOptions") => Ok(Some(value)),
        Some(other) => Err(StatusError::bad_request(format!(
            "decoded object cannot be converted to DeleteOptions: unexpected kind {other:?}"
        ))),
    }
}

/// Parses YAML (and JSON, which is YAML too).
pub fn yaml(body: &Bytes) -> Result<(Value, Vec<Problem>), StatusError> {
    let parsed = apimachinery::codec::yaml::decode(body)
        .map_err(|error| StatusError::bad_request(format!("error decoding YAML: {error}")))?;
    Ok((parsed.value, parsed.duplicates))
}
