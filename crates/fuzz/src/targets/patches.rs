//! JSON patch, merge patch, strategic merge patch: `[document, patch]`.

use api::SCHEMAS;
use apimachinery::patch::json::JsonPatch;
use apimachinery::patch::{merge, strategic};
use apimachinery::{Object, codec, schema};
use serde_json::{Map, Value};

use super::documents::{POD, POD_WORDS};
use super::{depth, pair};
use crate::target::{Memory, Target};

// Copies may add 3 MiB of text.
pub(crate) static JSON_PATCH: Target =
    Target::new("json_patch", check_json).memory(Memory { base: 256 << 20, per_byte: 1024 }).words(&[
        "{\"op\":\"add\",\"path\":\"/a/-\",\"value\":1}",
        "{\"op\":\"copy\",\"from\":\"\",\"path\":\"/a\"}",
        "{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/b\"}",
        "{\"op\":\"test\",\"path\":\"/a\",\"value\":null}",
        "{\"op\":\"remove\",\"path\":\"/a/0\"}",
        "{\"op\":\"replace\",\"path\":\"\",\"value\":[]}",
        "~0",
        "~1",
        "/-",
        "/0",
        "/-1",
        ",",
        "\"a\"",
    ]);

pub(crate) static MERGE: Target =
    Target::new("merge_patch", check_merge).words(&["{\"a\":", "null", "}", ",", "[", "]"]);

pub(crate) static STRATEGIC: Target =
    Target::new("strategic_patch", check_strategic).memory(Memory { base: 1 << 20, per_byte: 2048 }).words(POD_WORDS);

/// A patched document is one that can be written and read, however often it copied itself.
fn check_json(input: &[u8]) {
    let Some((document, patch)) = pair(input) else { return };
    let Ok(patch) = JsonPatch::parse(patch) else { return };
    let mut patched = document.clone();
    if patch.apply(&mut patched).is_err() {
        return;
    }
    assert!(depth(&patched) <= codec::json::MAX_DEPTH, "it nests {} deep", depth(&patched));
    let mut again = document;
    assert_eq!(patch.apply(&mut again), Ok(()));
    assert_eq!(again, patched);
}

/// A merge patch a second time changes nothing (RFC 7386).
fn check_merge(input: &[u8]) {
    let Some((document, patch)) = pair(input) else { return };
    let mut once = document;
    merge::apply(&mut once, patch.clone());
    assert!(depth(&once) <= codec::json::MAX_DEPTH);
    let mut twice = once.clone();
    merge::apply(&mut twice, patch);
    assert_eq!(twice, once);
}

/// An empty patch changes nothing; a patch of maps alone is a merge patch.
fn check_strategic(input: &[u8]) {
    let Some((Value::Object(original), Value::Object(patch))) = pair(input) else { return };
    let mut original = Object(original);
    if schema::decode(&SCHEMAS.set, *POD, &mut original).is_err() {
        return;
    }
    let apply = |patch: Map<String, Value>| strategic::apply(&SCHEMAS.set, *POD, original.0.clone(), patch);
    assert_eq!(apply(Map::new()).as_ref(), Ok(&original.0), "an empty patch");
    let Ok(patched) = apply(patch.clone()) else { return };
    let patched = Value::Object(patched);
    assert!(depth(&patched) <= codec::json::MAX_DEPTH + 1);
    if plain(&Value::Object(patch.clone())) {
        let mut merged = Value::Object(original.0.clone());
        merge::apply(&mut merged, Value::Object(patch));
        assert_eq!(patched, merged, "a patch without lists and directives");
    }
}

/// Neither lists nor directives.
fn plain(patch: &Value) -> bool {
    match patch {
        Value::Array(_) => false,
        Value::Object(fields) => fields.iter().all(|(name, value)| !name.starts_with('$') && plain(value)),
        _ => true,
    }
}
