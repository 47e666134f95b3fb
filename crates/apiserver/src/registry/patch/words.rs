//! What is wrong with a strategic merge patch, in the words and with the codes of upstream
//! (upstream: apimachinery/pkg/util/{strategicpatch,mergepatch}, apimachinery/pkg/runtime/converter.go,
//! handlers/patch.go `interpretStrategicMergePatchError`).
//!
//! Upstream merges Go's maps and converts the result without JSON in between: it shows maps and names types as Go does.

use apimachinery::StatusError;
use apimachinery::patch::strategic::StrategicError;
use apimachinery::schema::{DecodeError, TypeError};
use serde_json::Value;

use super::{go, unprocessable};

/// The answer to a patch that cannot be merged. Most of upstream's errors have no code of their own.
pub(super) fn of_merge(error: &StrategicError) -> StatusError {
    let unknown = |words: String| StatusError::new(500, "", words);
    match error {
        StrategicError::BadPrimitiveList | StrategicError::BadRetainKeys | StrategicError::BadElementOrder => {
            StatusError::bad_request(error.to_string())
        }
        StrategicError::ListOfLists => unprocessable(&error.to_string()),
        StrategicError::NoMergeKey { item, key } => {
            unknown(format!("map: {} does not contain declared merge key: {key}", shown(item)))
        }
        StrategicError::BadType { expected, found } => {
            unknown(format!("expected a {}, but received a {}", go_type(expected), go_type(found)))
        }
        StrategicError::BadDirective(directive, map) => {
            let directive = serde_json::from_str::<String>(directive).unwrap_or_else(|_| directive.clone());
            let mut map: Value = serde_json::from_str(map).unwrap_or_default();
            if let Some(map) = map.as_object_mut() {
                map.entry("$patch").or_insert_with(|| directive.clone().into());
            }
            unknown(format!("unknown patch type: {directive} in map: {}", go::value(&map)))
        }
        StrategicError::MergeDirective => unknown(error.to_string()),
        StrategicError::NoKeyDeclared(_) => unknown("cannot merge lists without merge key for struct".to_owned()),
        StrategicError::OrderMismatch { patch, order } => unknown(format!(
            "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
            shown(patch),
            shown(order)
        )),
    }
}

/// A value that is told as JSON, as Go prints it.
fn shown(json: &str) -> String {
    serde_json::from_str(json).map_or_else(|_| json.to_owned(), |value| go::value(&value))
}

/// The Go type of a JSON value.
fn go_type(name: &str) -> &str {
    match name {
        "nil" => "<nil>",
        "number" => "int64",
        "slice" => "[]interface {}",
        "map" => "map[string]interface {}",
        other => other,
    }
}

/// Why the merged object is none of its kind (upstream: `fromUnstructured`).
pub(super) fn of_conversion(error: &DecodeError) -> String {
    let DecodeError::Type(TypeError { value, go_type, .. }) = error else { return error.to_string() };
    let (kind, number) = value.split_once(' ').unwrap_or((value, ""));
    let kind = match kind {
        "object" => "map",
        "array" => "slice",
        "number" if number.contains(['.', 'e', 'E']) => "float64",
        "number" => "int64",
        other => other,
    };
    match go_type.as_str() {
        list if list.starts_with("[]") => format!("cannot restore slice from {kind}"),
        map if map.starts_with("map[") => format!("cannot restore map from {kind}"),
        "string" if kind == "int64" => "cannot convert int64 to string".to_owned(),
        "int32" | "int64" if matches!(kind, "int64" | "float64") => format!("cannot convert {kind} to {go_type}"),
        "string" | "bool" | "int32" | "int64" | "float64" => format!("unrecognized type: {go_type}"),
        _ => format!("cannot restore struct from: {kind}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_fail_in_gos_words() {
        let words = |error: StrategicError| {
            let status = of_merge(&error);
            format!("{} {}: {}", status.code, status.reason, status.message)
        };
        for (error, expected) in [
            (
                StrategicError::NoMergeKey { item: r#"{"image":"x","a":[1]}"#.into(), key: "name".into() },
                "500 : map: map[a:[1] image:x] does not contain declared merge key: name",
            ),
            (
                StrategicError::BadDirective("spoil".into(), r#"{"b":true}"#.into()),
                "500 : unknown patch type: spoil in map: map[$patch:spoil b:true]",
            ),
            (
                StrategicError::BadDirective(r#""spoil""#.into(), r#"{"$patch":"spoil","name":"a"}"#.into()),
                "500 : unknown patch type: spoil in map: map[$patch:spoil name:a]",
            ),
            (
                StrategicError::BadType { expected: "slice", found: "string" },
                "500 : expected a []interface {}, but received a string",
            ),
            (StrategicError::BadRetainKeys, "400 BadRequest: invalid patch format of retainKeys"),
            (
                StrategicError::ListOfLists,
                "422 Invalid: the server rejected our request due to an error in our request",
            ),
            (
                StrategicError::OrderMismatch { patch: r#"[{"name":"b"}]"#.into(), order: r#"["a","b"]"#.into() },
                "500 : The order in patch list:\n[map[name:b]]\n doesn't match $setElementOrder list:\n[a b]\n",
            ),
        ] {
            assert_eq!(words(error), expected);
        }
    }

    #[test]
    fn conversions_fail_in_the_converters_words() {
        for (value, wanted, expected) in [
            ("string", "int32", "unrecognized type: int32"),
            ("number 1.5", "int32", "cannot convert float64 to int32"),
            ("number", "string", "cannot convert int64 to string"),
            ("bool", "string", "unrecognized type: string"),
            ("object", "[]v1.Container", "cannot restore slice from map"),
            ("string", "map[string]string", "cannot restore map from string"),
            ("array", "v1.PodSpec", "cannot restore struct from: slice"),
        ] {
            let (struct_name, path) = ("PodSpec".to_owned(), "spec.x".to_owned());
            let error = TypeError { value: value.to_owned(), struct_name, path, go_type: wanted.to_owned() };
            assert_eq!(of_conversion(&error.into()), expected, "{value} {wanted}");
        }
        assert_eq!(of_conversion(&DecodeError::Scalar("as it is".into())), "as it is");
    }
}
