//! Managed fields, and server-side apply with whatever they say.

use api::SCHEMAS;
use apimachinery::apply::{self, FieldSet, Writer};
use apimachinery::{Object, schema};
use serde_json::{Value, json};

use super::documents::{POD, POD_WORDS};
use super::{document, pair};
use crate::target::{Memory, Target};

pub(crate) static FIELDS_V1: Target = Target::new("fields_v1", check_fields).words(&[
    "\"f:a\":{",
    "\"k:{\\\"name\\\":\\\"a\\\"}\":{",
    "\"v:1\":{}",
    "\"i:0\":{}",
    "\".\":{}",
    "}",
    ",",
    "\"f:\"",
    "\"k:{}\"",
]);

pub(crate) static APPLY: Target =
    Target::new("apply", check_apply).memory(Memory { base: 4 << 20, per_byte: 4096 }).words(POD_WORDS);

/// Sets obey the laws of sets, and are written as they are read.
fn check_fields(input: &[u8]) {
    let (one, two) = match document(input) {
        Some(Value::Array(mut list)) if list.len() == 2 => (list[0].take(), list[1].take()),
        Some(tree) => (tree, json!({"f:a": {}})),
        None => return,
    };
    let (Ok(one), Ok(two)) = (FieldSet::parse(&one), FieldSet::parse(&two)) else { return };
    assert_eq!(FieldSet::parse(&one.clone().into_value()).as_ref(), Ok(&one));
    let mut union = one.clone();
    union.add(&two);
    assert!(one.is_subset(&union) && two.is_subset(&union), "a union has both");
    let shared = one.intersection(&two);
    assert!(shared.is_subset(&one) && shared.is_subset(&two), "an intersection is in both");
    let mut rest = one.clone();
    rest.subtract(&two);
    assert!(rest.is_subset(&one), "a difference is in the first");
    assert!(rest.intersection(&two).is_empty(), "and nothing of the second");
    let _ = (union.paths(), rest.paths());
    let mut none = one.clone();
    none.subtract(&one);
    assert!(none.is_empty(), "nothing is left of a set without itself");
}

/// `[live, configuration]`: an apply ends in an object or an error, and the same again changes nothing any more.
fn check_apply(input: &[u8]) {
    let Some((Value::Object(live), Value::Object(config))) = pair(input) else { return };
    let (mut live, mut config) = (Object(live), Object(config));
    for object in [&mut live, &mut config] {
        object.0.insert("apiVersion".into(), "v1".into());
        object.0.insert("kind".into(), "Pod".into());
        match schema::decode(&SCHEMAS.set, *POD, object) {
            Ok(problems) if problems.is_empty() => {}
            _ => return,
        }
    }
    config.metadata_mut().remove("managedFields");
    let writer = Writer {
        schema: &SCHEMAS.set,
        root: *POD,
        manager: "me",
        api_version: "v1",
        subresource: "",
        now: jiff::Timestamp::UNIX_EPOCH,
        reset_fields: None,
    };
    if apply::check(&writer, &config).is_err() {
        return;
    }
    let _ = apply::apply(&writer, Some(&live), &config, false);
    let first = apply::apply(&writer, Some(&live), &config, true).expect("nobody's fields are in the way by force");
    let second = apply::apply(&writer, Some(&first), &config, true).expect("what was applied applies again");
    let third = apply::apply(&writer, Some(&second), &config, true).expect("and again");
    assert_eq!(second, third, "an apply settles");
}
