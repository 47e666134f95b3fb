//! JSON patch (RFC 6902) with the texts of the library upstream uses (`gopkg.in/evanphx/json-patch.v4`).

use serde::Deserialize;
use serde_json::Value;

/// The most operations a patch may have (upstream: `endpoints/handlers/patch.go`).
pub const MAX_OPERATIONS: usize = 10_000;

/// The most bytes that copy operations may add, together (upstream: `jsonpatch.AccumulatedCopySizeLimit`).
const MAX_COPIED_BYTES: usize = 3 * 1024 * 1024;

/// The most levels of lists and maps that a patched document may have: copies into themselves could otherwise
/// make it so deep that nothing can walk it.
const MAX_DEPTH: usize = crate::codec::json::MAX_DEPTH;

/// Why a patch cannot be read or applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonPatchError {
    /// The patch is no list of operations.
    #[error("error decoding patch: {0}")]
    Decode(String),
    /// More operations than allowed.
    #[error("The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {0}")]
    TooManyOperations(usize),
    /// An operation does not fit the document.
    #[error("{0}")]
    Apply(String),
    /// The copies make the document too large.
    #[error(
        "Unable to complete the copy, the accumulated size increase of copy is {0}, exceeding the limit {MAX_COPIED_BYTES}"
    )]
    TooLarge(usize),
    /// A value at a place where the document would nest too deeply.
    #[error("Unable to write path {0}, the document would exceed the limit of {MAX_DEPTH} nested levels")]
    TooDeep(String),
}

/// A patch: operations in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPatch(Vec<Operation>);

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Operation {
    op: String,
    path: String,
    #[serde(default)]
    from: Option<String>,
    // Some(Null) where the patch has an explicit null.
    #[serde(default, deserialize_with = "present")]
    value: Option<Value>,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl JsonPatch {
    /// Reads a patch.
    pub fn parse(patch: Value) -> Result<Self, JsonPatchError> {
        if let Some(count) = patch.as_array().map(Vec::len).filter(|count| *count > MAX_OPERATIONS) {
            return Err(JsonPatchError::TooManyOperations(count));
        }
        serde_json::from_value(patch).map(Self).map_err(|err| JsonPatchError::Decode(err.to_string()))
    }

    /// Applies the operations; at the first that fails the document is in between and of no use.
    pub fn apply(&self, document: &mut Value) -> Result<(), JsonPatchError> {
        let mut copied = 0;
        for operation in &self.0 {
            operation.apply(document, &mut copied)?;
        }
        Ok(())
    }

    /// The paths that the operations write; the caller may refuse some.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|operation| operation.path.as_str())
    }
}

impl Operation {
    fn apply(&self, document: &mut Value, copied: &mut usize) -> Result<(), JsonPatchError> {
        let path = self.path.as_str();
        match self.op.as_str() {
            "add" => add(document, path, self.value()?),
            "remove" => remove(document, path, "remove").map(drop),
            "replace" => replace(document, path, self.value()?),
            "move" => {
                let value = remove(document, self.from()?, "move").map_err(|_| self.no_source())?;
                add(document, path, value)
            }
            "copy" => {
                let value = get(document, self.from()?).ok_or_else(|| self.no_source())?.clone();
                *copied += value.to_string().len();
                if *copied > MAX_COPIED_BYTES {
                    return Err(JsonPatchError::TooLarge(*copied));
                }
                add(document, path, value)
            }
            "test" => match (get(document, path), &self.value) {
                (Some(found), Some(expected)) if found == expected => Ok(()),
                (None, None | Some(Value::Null)) => Ok(()),
                _ => Err(failed(format!("testing value {path} failed: test failed"))),
            },
            other => Err(failed(format!("Unexpected kind: {other}"))),
        }
    }

    fn value(&self) -> Result<Value, JsonPatchError> {
        Ok(self.value.clone().unwrap_or_default())
    }

    fn from(&self) -> Result<&str, JsonPatchError> {
        self.from
            .as_deref()
            .ok_or_else(|| failed(format!("unable to decode from: {} operation: missing value", self.op)))
    }

    fn no_source(&self) -> JsonPatchError {
        let from = self.from.as_deref().unwrap_or_default();
        failed(format!("{} operation does not apply: doc is missing from path: {from}: missing value", self.op))
    }
}

fn failed(text: String) -> JsonPatchError {
    JsonPatchError::Apply(text)
}

/// The container that holds the last token of `path`, and that token unescaped.
fn container<'d>(document: &'d mut Value, path: &str) -> Option<(&'d mut Value, String)> {
    let (parent, last) = path.rsplit_once('/')?;
    if !parent.is_empty() && !parent.starts_with('/') {
        return None;
    }
    let mut value = document;
    for token in parent.split('/').skip(1) {
        let token = unescape(token);
        value = match value {
            Value::Object(map) => map.get_mut(&token)?,
            Value::Array(list) => {
                let index = index(&token, list.len())?;
                list.get_mut(index)?
            }
            _ => return None,
        };
    }
    matches!(value, Value::Object(_) | Value::Array(_)).then(|| (value, unescape(last)))
}

fn get<'d>(document: &'d Value, path: &str) -> Option<&'d Value> {
    if path.is_empty() {
        return Some(document);
    }
    path.strip_prefix('/')?.split('/').try_fold(document, |value, token| match value {
        Value::Object(map) => map.get(&unescape(token)),
        Value::Array(list) => list.get(index(token, list.len())?),
        _ => None,
    })
}

fn unescape(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

/// An index into a list of `length`; a negative one counts from the end, as upstream's library does.
fn index(token: &str, length: usize) -> Option<usize> {
    match token.strip_prefix('-') {
        Some(back) => length.checked_sub(back.parse().ok()?),
        None => token.parse().ok(),
    }
}

fn check_depth(path: &str, value: &Value) -> Result<(), JsonPatchError> {
    fn depth(value: &Value) -> usize {
        match value {
            Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or_default(),
            Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or_default(),
            _ => 0,
        }
    }
    let above = path.bytes().filter(|byte| *byte == b'/').count();
    if above + depth(value) > MAX_DEPTH { Err(JsonPatchError::TooDeep(path.to_owned())) } else { Ok(()) }
}

fn add(document: &mut Value, path: &str, value: Value) -> Result<(), JsonPatchError> {
    check_depth(path, &value)?;
    if path.is_empty() {
        *document = value;
        return Ok(());
    }
    let missing = || failed(format!("add operation does not apply: doc is missing path: \"{path}\": missing value"));
    let (container, token) = container(document, path).ok_or_else(missing)?;
    match container {
        Value::Object(map) => {
            map.insert(token, value);
        }
        Value::Array(list) if token == "-" => list.push(value),
        Value::Array(list) => {
            // Behind the last item is a place too, and a negative index counts with it.
            let at = index(&token, list.len() + 1).filter(|at| *at <= list.len()).ok_or_else(|| {
                failed(format!(
                    "error in add for path: '{path}': Unable to access invalid index: {token}: invalid index referenced"
                ))
            })?;
            list.insert(at, value);
        }
        _ => return Err(missing()),
    }
    Ok(())
}

fn remove(document: &mut Value, path: &str, operation: &str) -> Result<Value, JsonPatchError> {
    let missing =
        || failed(format!("{operation} operation does not apply: doc is missing path: \"{path}\": missing value"));
    let (container, token) = container(document, path).ok_or_else(missing)?;
    match container {
        Value::Object(map) => map.remove(&token).ok_or_else(|| {
            failed(format!(
                "error in remove for path: '{path}': Unable to remove nonexistent key: {token}: missing value"
            ))
        }),
        Value::Array(list) => {
            let at = index(&token, list.len()).filter(|at| *at < list.len()).ok_or_else(|| {
                failed(format!(
                    "error in remove for path: '{path}': Unable to access invalid index: {token}: invalid index referenced"
                ))
            })?;
            Ok(list.remove(at))
        }
        _ => Err(missing()),
    }
}

fn replace(document: &mut Value, path: &str, value: Value) -> Result<(), JsonPatchError> {
    check_depth(path, &value)?;
    if path.is_empty() {
        *document = value;
        return Ok(());
    }
    let missing =
        |what| failed(format!("replace operation does not apply: doc is missing {what}: {path}: missing value"));
    let (container, token) = container(document, path).ok_or_else(|| missing("path"))?;
    let place = match container {
        Value::Object(map) => map.get_mut(&token),
        Value::Array(list) => match index(&token, list.len()) {
            Some(at) => list.get_mut(at),
            None => None,
        },
        _ => None,
    };
    *place.ok_or_else(|| missing("key"))? = value;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn run(document: Value, patch: Value) -> Result<Value, JsonPatchError> {
        let mut document = document;
        JsonPatch::parse(patch)?.apply(&mut document)?;
        Ok(document)
    }

    #[test]
    fn operations_change_the_document() {
        for (document, patch, result) in [
            (
                json!({"a": 1}),
                json!([{"op": "add", "path": "/b", "value": {"c": null}}]),
                json!({"a": 1, "b": {"c": null}}),
            ),
            (json!({"a": [1, 3]}), json!([{"op": "add", "path": "/a/1", "value": 2}]), json!({"a": [1, 2, 3]})),
            (json!({"a": [1]}), json!([{"op": "add", "path": "/a/-", "value": 2}]), json!({"a": [1, 2]})),
            (json!({"a": [1, 2]}), json!([{"op": "remove", "path": "/a/0"}]), json!({"a": [2]})),
            (json!({"a": [1, 2]}), json!([{"op": "remove", "path": "/a/-1"}]), json!({"a": [1]})),
            (
                json!({"a/b": {"~": 1}}),
                json!([{"op": "replace", "path": "/a~1b/~0", "value": 2}]),
                json!({"a/b": {"~": 2}}),
            ),
            (json!({"a": {"b": 1}}), json!([{"op": "move", "from": "/a/b", "path": "/c"}]), json!({"a": {}, "c": 1})),
            (
                json!({"a": {"b": 1}}),
                json!([{"op": "copy", "from": "/a", "path": "/c"}]),
                json!({"a": {"b": 1}, "c": {"b": 1}}),
            ),
            (
                json!({"a": [1]}),
                json!([{"op": "test", "path": "/a", "value": [1]}, {"op": "remove", "path": "/a"}]),
                json!({}),
            ),
            (json!({}), json!([{"op": "test", "path": "/a", "value": null}]), json!({})),
            (json!({"a": 1}), json!([{"op": "add", "path": "", "value": {}}]), json!({})),
        ] {
            assert_eq!(run(document.clone(), patch.clone()), Ok(result), "{document} + {patch}");
        }
    }

    #[test]
    fn what_does_not_apply_is_told() {
        let check = |document: Value, patch: Value, expect: Expect| {
            expect.assert_eq(&run(document, patch).expect_err("fails").to_string());
        };
        check(
            json!({}),
            json!([{"op": "add", "path": "/a/b", "value": 1}]),
            expect![[r#"add operation does not apply: doc is missing path: "/a/b": missing value"#]],
        );
        check(
            json!({}),
            json!([{"op": "remove", "path": "/a"}]),
            expect!["error in remove for path: '/a': Unable to remove nonexistent key: a: missing value"],
        );
        check(
            json!({}),
            json!([{"op": "replace", "path": "/a", "value": 1}]),
            expect!["replace operation does not apply: doc is missing key: /a: missing value"],
        );
        check(
            json!({"a": 1}),
            json!([{"op": "test", "path": "/a", "value": 2}]),
            expect!["testing value /a failed: test failed"],
        );
        check(
            json!({"a": []}),
            json!([{"op": "add", "path": "/a/2", "value": 2}]),
            expect!["error in add for path: '/a/2': Unable to access invalid index: 2: invalid index referenced"],
        );
        check(
            json!({"a": []}),
            json!([{"op": "remove", "path": "/a/-7"}]),
            expect!["error in remove for path: '/a/-7': Unable to access invalid index: -7: invalid index referenced"],
        );
        check(
            json!({}),
            json!([{"op": "copy", "from": "/x", "path": "/a"}]),
            expect!["copy operation does not apply: doc is missing from path: /x: missing value"],
        );
        check(json!({}), json!([{"op": "spoil", "path": "/a"}]), expect!["Unexpected kind: spoil"]);
        check(json!({}), json!({"op": "add"}), expect!["error decoding patch: invalid type: map, expected a sequence"]);
        check(
            json!({}),
            json!(vec![json!({"op": "test", "path": "/a"}); 10_001]),
            expect!["The allowed maximum operations in a JSON patch is 10000, got 10001"],
        );
    }

    #[test]
    fn copies_cannot_blow_up_the_document() {
        let long = "x".repeat(100_000);
        let patch: Vec<Value> =
            (0..100).map(|index| json!({"op": "copy", "from": "/a", "path": format!("/{index}")})).collect();
        let error = run(json!({"a": long}), patch.into()).expect_err("too large");
        assert!(matches!(error, JsonPatchError::TooLarge(_)));
        let patch: Vec<Value> = (0..500)
            .map(|depth| json!({"op": "copy", "from": "", "path": format!("{}/a", "/a".repeat(depth))}))
            .collect();
        assert!(matches!(run(json!({}), patch.into()), Err(JsonPatchError::TooDeep(_))));
    }
}
