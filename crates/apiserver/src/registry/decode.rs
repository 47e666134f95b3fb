//! Bodies into objects: media type, structure, and what to do about fields that nobody knows
//! (upstream: endpoints/handlers/create.go, apimachinery/pkg/runtime/serializer).

use apimachinery::codec::yaml::YamlError;
use apimachinery::schema::{self, DecodeError, FieldValidation, NodeId, Problem, SchemaSet, StrictError};
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
    // Upstream: handlers/rest.go `transformDecodeError`.
    let unrecognized = |cause: String| {
        let (kind, summary) = (&cx.row.gvk.kind, summary(body));
        StatusError::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): {cause} ({summary})"
        ))
    };
    match media_type(cx) {
        "application/json" => {
            let broken = |error| unrecognized(format!("couldn't get version/kind; json parse error: {error}"));
            let parsed = apimachinery::codec::json::decode(body).map_err(broken)?;
            Ok((parsed.value, parsed.duplicates))
        }
        "application/yaml" | "application/x-yaml" => yaml(body).map_err(|error| unrecognized(error.to_string())),
        // There is no message for what somebody defines.
        protobuf::MEDIA_TYPE if cx.row.custom.is_some() => Err(StatusError::unsupported_media_type(&READ[..2])),
        cbor::MEDIA_TYPE => {
            let broken = |error| unrecognized(format!("unable to determine group/version/kind: {error}"));
            cbor::decode(body).map(|value| (value, Vec::new())).map_err(broken)
        }
        protobuf::MEDIA_TYPE => {
            let broken = |error| unrecognized(format!("couldn't get version/kind; {error}"));
            protobuf::decode(body).map(|value| (value, Vec::new())).map_err(broken)
        }
        _ => Err(StatusError::unsupported_media_type(&READ)),
    }
}

/// The beginning of a body: what is no JSON in hexadecimal digits (upstream: `summarizeData`).
fn summary(body: &[u8]) -> String {
    const MOST: usize = 30;
    let (shown, rest) = body.split_at(body.len().min(MOST));
    let more = if rest.is_empty() { "" } else { " ..." };
    match body {
        [] => "<empty>".to_owned(),
        [b'{', ..] => format!("{}{more}", String::from_utf8_lossy(shown)),
        _ => format!("{}{more}", hex::encode(shown)),
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
    let validation = field_validation(cx)?;
    let (object, found) = structured(cx, object, expected, schema::decode)?;
    let problems = in_order(cx, body, problems, found);
    judge(cx, validation, problems).map_err(|error| Unfit::Strict(error).refused(expected))?;
    Ok(object)
}

/// What is known of a patch besides what it made.
pub struct OfPatch<'p> {
    /// What strict decoding objects to in its own text.
    pub problems: &'p [Problem],
    /// What stands before each of them.
    pub prefix: &'static str,
    /// How it is told that a value is of another type.
    pub words: fn(&DecodeError) -> String,
}

/// The object that a patch made. What is wrong with it is wrong with the patch.
pub fn patched(
    cx: &Cx,
    object: Object,
    patch: &OfPatch<'_>,
    expected: &GroupVersionKind,
    shown: impl Fn() -> String,
) -> Result<Object, StatusError> {
    let validation = field_validation(cx)?;
    let refused = |words: String| {
        let error = field::Error::invalid(&field::Path::new("patch"), shown(), words);
        StatusError::invalid(&GroupKind::new("", ""), "", &[error])
    };
    let (object, found) = fitted(cx, object, expected, schema::decode).map_err(|unfit| match unfit {
        Unfit::Type(error) => error,
        Unfit::Value(error) => refused((patch.words)(&error)),
        unfit => refused(unfit.to_string()),
    })?;
    if !patch.prefix.is_empty() && !patch.problems.is_empty() {
        let own = patch.problems.iter().map(|problem| format!("{}{problem}", patch.prefix));
        let all: Vec<String> = own.chain(found.iter().map(ToString::to_string)).collect();
        match validation {
            FieldValidation::Ignore => {}
            FieldValidation::Warn => all.into_iter().for_each(|warning| cx.warn(warning)),
            FieldValidation::Strict => return Err(refused(format!("strict decoding error: {}", all.join(", ")))),
        }
        return Ok(object);
    }
    let problems = patch.problems.iter().cloned().chain(found).collect();
    judge(cx, validation, problems).map_err(|error| refused(Unfit::Strict(error).to_string()))?;
    Ok(object)
}

/// A part of an object that is applied, which stays one. It was checked against the schema before.
pub fn applied(cx: &Cx, object: Object) -> Result<Object, StatusError> {
    structured(cx, object, &cx.row.gvk, schema::decode_partial).map(|(object, _)| object)
}

/// [`schema::decode`], or what differs from it.
type Decode = fn(&SchemaSet, NodeId, &mut Object) -> Result<Vec<Problem>, DecodeError>;

/// Why an object is none of its kind.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    /// It says that it is of another one.
    #[error("{0}")]
    Type(StatusError),
    /// Its metadata, or that of what it holds.
    #[error("{0}")]
    Metadata(field::Error),
    /// A value of another type.
    #[error("{0}")]
    Value(DecodeError),
    /// What strict decoding objects to.
    #[error("{0}")]
    Strict(StrictError),
}

impl Unfit {
    /// Upstream: `transformDecodeError`.
    fn refused(self, expected: &GroupVersionKind) -> StatusError {
        match self {
            Self::Type(error) => error,
            unfit => {
                let GroupVersionKind { version, kind, .. } = expected;
                let words = format!("{kind} in version {version:?} cannot be handled as a {kind}: {unfit}");
                StatusError::bad_request(words)
            }
        }
    }
}

/// Checks an object's type and structure; answers what had to be left out.
fn structured(
    cx: &Cx,
    object: Object,
    expected: &GroupVersionKind,
    decode: Decode,
) -> Result<(Object, Vec<Problem>), StatusError> {
    fitted(cx, object, expected, decode).map_err(|unfit| unfit.refused(expected))
}

fn fitted(
    cx: &Cx,
    mut object: Object,
    expected: &GroupVersionKind,
    decode: Decode,
) -> Result<(Object, Vec<Problem>), Unfit> {
    check_type(&object, expected).map_err(Unfit::Type)?;
    let custom = cx.row.custom.as_ref().filter(|_| *expected == cx.row.gvk);
    if custom.is_some() {
        is_typed(&object).map_err(Unfit::Type)?;
    }
    object.set_type(expected);
    let found = match (custom, cx.row.schema_of(expected)) {
        (Some(custom), _) => custom.admit(&mut object).map_err(Unfit::Metadata)?,
        (None, Some((schemas, root))) => decode(schemas, root, &mut object).map_err(Unfit::Value)?,
        (None, None) => Vec::new(),
    };
    Ok((object, found))
}

/// Refuses what strict decoding objects to, or warns of it: as the request wants.
fn judge(cx: &Cx, validation: FieldValidation, problems: Vec<Problem>) -> Result<(), StrictError> {
    for warning in validation.judge(problems)? {
        cx.warn(warning);
    }
    Ok(())
}

/// What was found in a body and in its structure. A JSON document of our own kinds is read but once upstream, which
/// meets both together; anything else twice.
fn in_order(cx: &Cx, body: &Bytes, mut problems: Vec<Problem>, found: Vec<Problem>) -> Vec<Problem> {
    let is_read_once = cx.row.custom.is_none() && media_type(cx) == "application/json";
    let several = problems.len() + found.len() > 1;
    problems.extend(found);
    if is_read_once && several { apimachinery::codec::json::in_reading_order(body, problems) } else { problems }
}

/// The request's `fieldValidation`.
pub fn field_validation(cx: &Cx) -> Result<FieldValidation, StatusError> {
    let text = cx.query.get("fieldValidation").unwrap_or_default();
    FieldValidation::parse(text).ok_or_else(|| {
        let error =
            field::Error::not_supported(&field::Path::new("fieldValidation"), text, &["", "Ignore", "Strict", "Warn"]);
        let options = match cx.info.verb.as_str() {
            "update" => "UpdateOptions",
            "patch" => "PatchOptions",
            _ => "CreateOptions",
        };
        StatusError::invalid(&GroupKind::new("meta.k8s.io", options), "", &[error])
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

/// What strict decoding says about a configuration that is applied: to be refused with once it has been applied, and
/// to be warned of (upstream: patch.go `applyPatchToCurrentObject`).
pub fn strictly(cx: &Cx, problems: Vec<Problem>) -> Result<Option<StatusError>, StatusError> {
    let refused = |error: StrictError| {
        let problems = error.problems();
        StatusError::bad_request(format!("error strict decoding patch: error converting YAML to JSON: {problems}"))
    };
    Ok(judge(cx, field_validation(cx)?, problems).map_err(refused).err())
}

/// Parses YAML (and JSON, which is YAML too).
pub fn yaml(body: &Bytes) -> Result<(Value, Vec<Problem>), YamlError> {
    apimachinery::codec::yaml::decode(body).map(|parsed| (parsed.value, parsed.duplicates))
}
