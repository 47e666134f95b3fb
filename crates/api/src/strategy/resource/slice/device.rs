//! A device of a slice (upstream: `validateDevice`).

use apimachinery::field::{Error, Path};
use serde_json::{Map, Value};

use super::super::allocation::binding;
use super::super::request::{key_too_long, qualified};
use super::super::taint_rule;
use super::{capacity, one_of};
use crate::check::{self, Errors, names};
use crate::json::Read;

const MAX_FACTS: usize = 32;
const MAX_TEXT: usize = 64;
const MAX_TAINTS: usize = 16;
const MAX_CONSUMPTIONS: usize = 2;
const MAX_COUNTERS: usize = 32;

/// From where a device can be reached that has a place of its own.
const NODES: &[&str] = &["nodeName", "nodeSelector", "allNodes"];

/// Judges a device; what it has as before is not judged again.
pub(super) fn device(errors: &mut Errors, device: &Value, old: Option<&Value>, per_device: bool, path: &Path) {
    check::required_name(errors, names::dns1123_label, device.fields(), "name", path);
    facts(errors, device, old, path);
    let stays = |field: &str| old.is_some_and(|old| old.list(field) == device.list(field));
    let (taints, at) = (device.list("taints"), path.child("taints"));
    if taints.len() > MAX_TAINTS {
        errors.push(Error::too_many(&at, taints.len(), MAX_TAINTS));
    } else if !stays("taints") {
        for (index, taint) in taints.iter().enumerate() {
            taint_rule::taint(errors, taint.fields(), &at.index(index));
        }
    }
    consumptions(errors, device.list("consumesCounters"), &path.child("consumesCounters"));
    if per_device {
        let words = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when \
                     `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
        let words = [words.to_owned(), words.to_owned()];
        one_of(errors, device.fields(), NODES, "must not be empty", &words, path);
    } else if NODES.iter().any(|field| device.has(field)) {
        let detail = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to \
                      true in the ResourceSlice spec";
        errors.push(Error::invalid(path, Value::Null, detail));
    }
    binding(errors, device, path);
}

/// What a device is and has.
fn facts(errors: &mut Errors, device: &Value, old: Option<&Value>, path: &Path) {
    let (attributes, amounts) = (device.object("attributes"), device.object("capacity"));
    if attributes.len() + amounts.len() > MAX_FACTS {
        let detail = format!("the total number of attributes and capacities must not exceed {MAX_FACTS}");
        errors.push(Error::invalid(path, attributes.len() + amounts.len(), detail));
    }
    let at = path.child("attributes");
    for (name, value) in attributes {
        qualified(errors, name, false, &at);
        attribute(errors, value, &at.key(&key_too_long(name)));
    }
    if old.is_some_and(|old| old.object("capacity") == amounts) {
        return;
    }
    let at = path.child("capacity");
    for (name, amount) in amounts {
        qualified(errors, name, false, &at);
        let at = at.key(&key_too_long(name)).child("requestPolicy");
        match amount.value("requestPolicy") {
            None => {}
            Some(policy) if device.flag("allowMultipleAllocations") => {
                capacity::policy(errors, amount.value("value"), policy, &at);
            }
            Some(_) => errors.push(Error::forbidden(&at, "allowMultipleAllocations must be true")),
        }
    }
}

fn attribute(errors: &mut Errors, value: &Value, path: &Path) {
    const LISTS: [&str; 4] = ["bools", "ints", "strings", "versions"];
    for field in ["string", "version"] {
        if value.has(field) {
            fact(errors, field, value.text(field), &path.child(field));
        }
    }
    for list in LISTS.iter().filter(|list| value.has(list)) {
        if value.list(list).is_empty() {
            errors.push(Error::invalid(&path.child(list), Value::Array(Vec::new()), "must not be empty if specified"));
        }
        for (index, item) in value.texts(list).enumerate() {
            fact(errors, list.trim_end_matches('s'), item, &path.child(list).index(index));
        }
    }
    match ["bool", "int", "string", "version"].iter().chain(&LISTS).filter(|kind| value.has(kind)).count() {
        0 => errors.push(Error::invalid(path, "", "exactly one value must be specified")),
        1 => {}
        _ => errors.push(Error::invalid(path, value.clone(), "exactly one value must be specified")),
    }
}

/// A text, or a version.
fn fact(errors: &mut Errors, kind: &str, text: &str, path: &Path) {
    if kind == "version" && !is_semver(text) {
        errors.push(Error::invalid(path, text, "must be a string compatible with semver.org spec 2.0.0"));
    }
    if text.len() > MAX_TEXT {
        errors.push(Error::too_long(path, MAX_TEXT));
    }
}

/// A semantic version: numbers, then what is before a release, then the build.
fn is_semver(text: &str) -> bool {
    let word = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let plain = |part: &str| part == "0" || !part.starts_with('0');
    let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (core, before) = text.split_once('-').map_or((text, None), |(core, before)| (core, Some(before)));
    core.split('.').count() == 3
        && core.split('.').all(|part| is_number(part) && plain(part))
        && before.is_none_or(|before| before.split('.').all(|part| word(part) && (!is_number(part) || plain(part))))
        && build.is_none_or(|build| build.split('.').all(word))
}

/// What a device takes of the counters that it shares with others.
fn consumptions(errors: &mut Errors, consumptions: &[Value], path: &Path) {
    if consumptions.len() > MAX_CONSUMPTIONS {
        errors.push(Error::too_many(path, consumptions.len(), MAX_CONSUMPTIONS));
        return;
    }
    for (index, one) in consumptions.iter().enumerate() {
        let path = path.index(index);
        counters(errors, one, "counterSet", &path);
        if consumptions[..index].iter().any(|other| other.text("counterSet") == one.text("counterSet")) {
            errors.push(Error::duplicate(&path, one.text("counterSet")));
        }
    }
}

/// The name of a set of counters, and the counters (upstream: `validateCounterSet`,
/// `validateDeviceCounterConsumption`).
pub(super) fn counters(errors: &mut Errors, set: &Value, name: &str, path: &Path) {
    check::required_name(errors, names::dns1123_label, set.fields(), name, path);
    let (counters, path): (&Map<String, Value>, Path) = (set.object("counters"), path.child("counters"));
    match counters.len() {
        0 => errors.push(Error::required(&path, "")),
        count if count > MAX_COUNTERS => errors.push(Error::too_many(&path, count, MAX_COUNTERS)),
        _ => counters.keys().for_each(|name| check::named(errors, names::dns1123_label, name, &path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn check(mut value: Value, per_device: bool, expected: &Expect) {
        value["name"] = "gpu".into();
        let mut errors = Errors::new();
        device(&mut errors, &value, None, per_device, &Path::new("d"));
        expected.assert_eq(&errors.iter().map(|error| format!("{error}\n")).collect::<String>());
    }

    #[test]
    fn versions_are_semantic() {
        for right in ["0.0.0", "1.2.3", "1.2.3-alpha.1", "1.2.3-0a.x-y+build.007"] {
            assert!(is_semver(right), "{right}");
        }
        for wrong in ["", "1", "1.2", "01.2.3", "1.2.3.4", "1.2.3-", "1.2.3-01", "1.2.3+", "v1.2.3", "1.2.x"] {
            assert!(!is_semver(wrong), "{wrong}");
        }
    }

    #[test]
    fn devices_are_checked() {
        check(
            json!({
                "attributes": {"version": {"version": "1"}, "both": {"string": "x", "int": 1}, "a/b/c": {"bool": true}},
                "capacity": {"memory": {"value": "8Gi", "requestPolicy": {}}},
                "consumesCounters": [
                    {"counterSet": "a", "counters": {"memory": {"value": "1Gi"}}}, {"counterSet": "a", "counters": {}},
                ],
                "nodeName": "n", "bindingConditions": ["ready"],
            }),
            false,
            &expect![[r#"
                d.attributes: Invalid value: "a/b/c": must not contain more than one slash
                d.attributes[both]: Invalid value: {"int":1,"string":"x"}: exactly one value must be specified
                d.attributes[version].version: Invalid value: "1": must be a string compatible with semver.org spec 2.0.0
                d.capacity[memory].requestPolicy: Forbidden: allowMultipleAllocations must be true
                d.consumesCounters[1].counters: Required value
                d.consumesCounters[1]: Duplicate value: "a"
                d: Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec
                d.bindingFailureConditions: Invalid value: null: bindingFailureConditions are required to use bindingConditions
            "#]],
        );
        check(
            json!({"nodeName": "", "allNodes": false}),
            true,
            &expect![[r#"
                d.nodeName: Invalid value: "": must not be empty
                d.allNodes: Invalid value: false: must be either unset or set to true
                d: Required value: exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec
            "#]],
        );
    }
}
