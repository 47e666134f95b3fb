//! Resource slices: the devices of a pool on a node or of many.

use std::collections::HashSet;

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::{Map, Value};

use super::super::pod::node_selector;
use super::request::driver;
use super::{disabled, taint_rule};
use crate::check::{self, Errors, names};
use crate::json::{Read, Write};
use crate::resource::{Strategy, WriteContext};

mod capacity;
mod device;

/// As many devices a slice may have, and as many where some have taints or share counters.
const MAX_DEVICES: usize = 128;
const MAX_ADVANCED: usize = 64;
const MAX_POOL: usize = 253;
const MAX_COUNTER_SETS: usize = 8;

/// Ways to say from where the devices can be reached.
const NODES: &[&str] = &["nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"];

/// The strategy of resource slices.
pub(crate) struct ResourceSlice;

impl Strategy for ResourceSlice {
    fn prepare_for_create(&self, cx: &WriteContext<'_>, object: &mut Object) {
        self.prepare_for_update(cx, object, &Object::default());
    }

    fn prepare_for_update(&self, cx: &WriteContext<'_>, object: &mut Object, old: &Object) {
        let Some(spec) = object.object_at("spec") else { return };
        for device in spec.items_mut("devices") {
            device.items_mut("taints").for_each(|taint| taint_rule::stamp(taint, cx.now));
        }
        disabled::slice(spec, old.object("spec"));
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        let driver = object.object("spec").text("driver");
        let words =
            || format!("spec.driver: driver names should be lowercase; {driver:?} contains uppercase characters");
        (driver != driver.to_lowercase()).then(words).into_iter().collect()
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        slice(object.object("spec"), None)
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let (new, old, path) = (object.object("spec"), old.object("spec"), Path::new("spec"));
        let mut errors = slice(new, Some(old));
        for field in ["driver", "nodeName"] {
            check::immutable(&mut errors, new.value(field), old.value(field), &path.child(field));
        }
        let (new, old, path) = (new.object("pool"), old.object("pool"), path.child("pool").child("name"));
        check::immutable(&mut errors, new.value("name"), old.value("name"), &path);
        errors
    }

    /// What a device has stays as it was judged once.
    fn judges_updates_alone(&self) -> bool {
        true
    }
}

/// Upstream: `validateResourceSliceSpec`.
fn slice(spec: &Map<String, Value>, old: Option<&Map<String, Value>>) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    driver(&mut errors, spec, "driver", &path);
    pool(&mut errors, spec.object("pool"), &path.child("pool"));
    nodes(&mut errors, spec, &path);
    if spec.has("sharedCounters") && spec.has("devices") {
        errors.push(Error::invalid(&path, "", "only one of `sharedCounters` or `devices` is allowed"));
    }
    devices(&mut errors, spec, old, &path.child("devices"));
    let (sets, path) = (spec.list("sharedCounters"), path.child("sharedCounters"));
    if sets.len() > MAX_COUNTER_SETS {
        errors.push(Error::too_many(&path, sets.len(), MAX_COUNTER_SETS));
        return errors;
    }
    for (index, set) in sets.iter().enumerate() {
        let path = path.index(index);
        device::counters(&mut errors, set, "name", &path);
        if sets[..index].iter().any(|other| other.text("name") == set.text("name")) {
            errors.push(Error::duplicate(&path.child("name"), set.text("name")));
        }
    }
    errors
}

fn devices(errors: &mut Errors, spec: &Map<String, Value>, old: Option<&Map<String, Value>>, path: &Path) {
    let devices = spec.list("devices");
    let is_advanced = |device: &Value| ["taints", "consumesCounters"].iter().any(|list| !device.list(list).is_empty());
    let most = if devices.iter().any(is_advanced) { MAX_ADVANCED } else { MAX_DEVICES };
    if devices.len() > most {
        errors.push(Error::too_many(path, devices.len(), most));
        return;
    }
    let per_device = spec.flag("perDeviceNodeSelection");
    let mut seen = HashSet::new();
    for (index, one) in devices.iter().enumerate() {
        let path = path.index(index);
        let mut before = old.into_iter().flat_map(|old| old.list("devices"));
        let before = before.find(|before| before.text("name") == one.text("name"));
        device::device(errors, one, before, per_device, &path);
        if !seen.insert(one.text("name")) {
            errors.push(Error::duplicate(&path.child("name"), one.text("name")));
        }
    }
}

fn pool(errors: &mut Errors, pool: &Map<String, Value>, path: &Path) {
    pool_name(errors, pool, "name", path);
    if pool.int("resourceSliceCount").unwrap_or_default() <= 0 {
        let count = pool.int("resourceSliceCount").unwrap_or_default();
        errors.push(Error::invalid(&path.child("resourceSliceCount"), count, "must be greater than zero"));
    }
    check::not_negative(errors, pool, "generation", path);
}

/// Subdomains, with slashes between them.
pub(super) fn pool_name(errors: &mut Errors, of: &Map<String, Value>, field: &str, path: &Path) {
    if check::required(errors, of, field, path) {
        let (name, path) = (of.text(field), path.child(field));
        if name.len() > MAX_POOL {
            errors.push(Error::too_long(&path, MAX_POOL));
        }
        for part in name.split('/') {
            let wrong = names::dns1123_subdomain(part);
            errors.extend(wrong.into_iter().map(|sentence| Error::invalid(&path, part, sentence)));
        }
    }
}

fn nodes(errors: &mut Errors, spec: &Map<String, Value>, path: &Path) {
    let all = "`nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection`";
    let words = [
        format!("exactly one of {all} is required"),
        format!("exactly one of {all} is required, but multiple fields are set"),
    ];
    one_of(errors, spec, NODES, "must be either unset or set to a non-empty string", &words, path);
    if spec.has("nodeSelector") {
        let terms = spec.object("nodeSelector").list("nodeSelectorTerms");
        if terms.len() != 1 {
            let path = path.child("nodeSelector").child("nodeSelectorTerms");
            errors.push(Error::invalid(&path, terms.to_vec(), "must have exactly one node selector term"));
        }
    }
}

/// One and only one of the fields that say from where devices can be reached; the words are for none and for many.
fn one_of(
    errors: &mut Errors,
    of: &Map<String, Value>,
    fields: &[&str],
    empty: &str,
    words: &[String; 2],
    path: &Path,
) {
    let mut given: Vec<String> = Vec::new();
    for field in fields {
        let at = path.child(field);
        match of.value(field) {
            None => continue,
            Some(Value::String(name)) if name.is_empty() => {
                errors.push(Error::invalid(&at, "", empty));
                continue;
            }
            Some(Value::String(name)) => check::named(errors, names::dns1123_subdomain, name, &at),
            Some(Value::Bool(false)) => {
                errors.push(Error::invalid(&at, false, "must be either unset or set to true"));
                continue;
            }
            Some(Value::Object(selector)) => node_selector(errors, selector, &at),
            Some(_) => {}
        }
        given.push(format!("`{field}`"));
    }
    match given.len() {
        0 => errors.push(Error::required(path, words[0].as_str())),
        1 => {}
        _ => errors.push(Error::invalid(path, format!("{{{}}}", given.join(", ")), words[1].as_str())),
    }
}
