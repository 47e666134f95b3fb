//! Whether a document can be a patch of its type at all, told as Go's JSON decoder tells it
//! (upstream: handlers/patch.go, `applyJSPatch` and `strategicPatchObject`).

use apimachinery::go;
use serde_json::{Map, Value};

/// A patch that is a map; null is an empty one.
pub(in crate::registry) fn map(patch: Value) -> Result<Map<String, Value>, String> {
    match patch {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        other => Err(mismatch(&other, "Go value of type map[string]interface {}")),
    }
}

/// What is no list of operations, and the fields that operations do not have.
pub(super) fn operations(patch: &Value) -> Result<Vec<String>, String> {
    let mut unknown = Vec::new();
    let Some(list) = patch.as_array() else {
        return if patch.is_null() {
            Ok(unknown)
        } else {
            Err(mismatch(patch, "Go value of type []handlers.jsonPatchOp"))
        };
    };
    for (index, operation) in list.iter().enumerate() {
        let Some(operation) = operation.as_object() else {
            return Err(mismatch(operation, "Go value of type handlers.jsonPatchOp"));
        };
        for (name, value) in operation {
            match name.as_str() {
                "op" | "path" | "from" if !value.is_string() && !value.is_null() => {
                    return Err(mismatch(value, &format!("Go struct field jsonPatchOp.{name} of type string")));
                }
                "op" | "path" | "from" | "value" => {}
                _ => unknown.push(format!("[{index}].{name}")),
            }
        }
    }
    Ok(unknown)
}

fn mismatch(value: &Value, place: &str) -> String {
    format!("json: cannot unmarshal {} into {place}", go::json_kind(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_no_patch_is_told_as_gos_decoder_does() {
        let of_map = |patch: Value| map(patch).expect_err("refused");
        assert_eq!(of_map(json!([])), "json: cannot unmarshal array into Go value of type map[string]interface {}");
        assert_eq!(map(Value::Null), Ok(Map::new()));
        for (patch, expected) in [
            (json!({}), Err("json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp")),
            (json!(["x"]), Err("json: cannot unmarshal string into Go value of type handlers.jsonPatchOp")),
            (
                json!([{"op": 1}]),
                Err("json: cannot unmarshal number into Go struct field jsonPatchOp.op of type string"),
            ),
            (json!([{"op": "add", "path": "/a", "value": 1}, {"op": "add", "vale": 1}]), Ok(vec!["[1].vale"])),
        ] {
            let found = operations(&patch);
            let expected = expected.map(|paths| paths.into_iter().map(str::to_owned).collect()).map_err(str::to_owned);
            assert_eq!(found, expected, "{patch}");
        }
    }
}
