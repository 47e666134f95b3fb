//! What is wrong with a strategic merge patch, with the codes of upstream and the words of its converter
//! (upstream: apimachinery/pkg/util/{strategicpatch,mergepatch}, apimachinery/pkg/runtime/converter.go,
//! handlers/patch.go `interpretStrategicMergePatchError`).
//!
//! Upstream merges Go's maps and converts the result without JSON in between: it shows maps and names types as Go does.

use apimachinery::StatusError;
use apimachinery::patch::strategic::StrategicError;
use apimachinery::schema::{DecodeError, TypeError};

use super::unprocessable;

/// The answer to a patch that cannot be merged. Most of upstream's errors have no code of their own.
pub(super) fn of_merge(error: &StrategicError) -> StatusError {
    match error {
        StrategicError::BadPrimitiveList | StrategicError::BadRetainKeys | StrategicError::BadElementOrder => {
            StatusError::bad_request(error.to_string())
        }
        StrategicError::ListOfLists => unprocessable(&error.to_string()),
        _ => StatusError::new(500, "", error.to_string()),
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
    fn merges_fail_with_upstreams_codes() {
        let words = |error: StrategicError| {
            let status = of_merge(&error);
            format!("{} {}: {}", status.code, status.reason, status.message)
        };
        for (error, expected) in [
            (StrategicError::BadRetainKeys, "400 BadRequest: invalid patch format of retainKeys"),
            (
                StrategicError::ListOfLists,
                "422 Invalid: the server rejected our request due to an error in our request",
            ),
            (StrategicError::NoKeyDeclared, "500 : cannot merge lists without merge key for struct"),
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
