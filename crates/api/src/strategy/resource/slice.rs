//! Resource slices: the devices of a pool on a node or of many.

use std::collections::HashSet;

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::{Map, Value};

use super::super::pod::{node_selector, not_below_zero};
use super::request::{driver, qualified};
use super::taint_rule;
use crate::check::{self, Errors, names};
use crate::json::{Read, Write};
use crate::resource::{Strategy, WriteContext};

const MAX_DEVICES: usize = 128;
const MAX_POOL: usize = 253;
const MAX_FACTS: usize = 32;
const MAX_TEXT: usize = 64;

/// Ways to say from where the devices can be reached.
const NODES: &[&str] = &["nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"];

/// The strategy of resource slices.
pub(crate) struct ResourceSlice;

impl Strategy for ResourceSlice {
    fn prepare_for_create(&self, cx: &WriteContext<'_>, object: &mut Object) {
        let Some(spec) = object.object_at("spec") else { return };
        for device in spec.items_mut("devices") {
            device.items_mut("taints").for_each(|taint| taint_rule::stamp(taint, cx.now));
        }
    }

    fn prepare_for_update(&self, cx: &WriteContext<'_>, object: &mut Object, _old: &Object) {
        self.prepare_for_create(cx, object);
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (spec, path) = (object.object("spec"), Path::new("spec"));
        driver(&mut errors, spec, "driver", &path);
        pool(&mut errors, spec.object("pool"), &path.child("pool"));
        nodes(&mut errors, spec, &path);
        let (devices, path) = (spec.list("devices"), path.child("devices"));
        if devices.len() > MAX_DEVICES {
            errors.push(Error::too_many(&path, devices.len(), MAX_DEVICES));
        }
        let mut seen = HashSet::new();
        for (index, one) in devices.iter().enumerate() {
            let path = path.index(index);
            device(&mut errors, one, &path);
            if !seen.insert(one.text("name")) {
                errors.push(Error::duplicate(&path.child("name"), one.text("name")));
            }
        }
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (new, old, path) = (object.object("spec"), old.object("spec"), Path::new("spec"));
        for field in ["driver", "nodeName"] {
            check::immutable(&mut errors, new.value(field), old.value(field), &path.child(field));
        }
        let (new, old, path) = (new.object("pool"), old.object("pool"), path.child("pool").child("name"));
        check::immutable(&mut errors, new.value("name"), old.value("name"), &path);
        errors
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
    let given: Vec<&str> = NODES
        .iter()
        .copied()
        .filter(|field| match spec.value(field) {
            Some(Value::Bool(value)) => *value,
            Some(Value::String(text)) => !text.is_empty(),
            other => other.is_some(),
        })
        .collect();
    let all = "`nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection`";
    match given.len() {
        0 => errors.push(Error::required(path, format!("exactly one of {all} is required"))),
        1 => {}
        _ => {
            let given: Vec<String> = given.iter().map(|field| format!("`{field}`")).collect();
            let listed = format!("{{{}}}", given.join(", "));
            let detail = format!("exactly one of {all} is required, but multiple fields are set");
            errors.push(Error::invalid(path, listed, detail));
        }
    }
    if spec.has("nodeSelector") {
        let (selector, path) = (spec.object("nodeSelector"), path.child("nodeSelector"));
        node_selector(errors, selector, &path);
        if selector.list("nodeSelectorTerms").len() > 1 {
            let detail = "must have exactly one node selector term";
            errors.push(Error::invalid_whole(&path.child("nodeSelectorTerms"), detail));
        }
    }
    if !spec.text("nodeName").is_empty() {
        check::named(errors, names::dns1123_subdomain, spec.text("nodeName"), &path.child("nodeName"));
    }
}

fn device(errors: &mut Errors, device: &Value, path: &Path) {
    check::required_name(errors, names::dns1123_label, device.fields(), "name", path);
    let (attributes, capacity) = (device.object("attributes"), device.object("capacity"));
    if attributes.len() + capacity.len() > MAX_FACTS {
        let detail = format!("the total number of attributes and capacities must not exceed {MAX_FACTS}");
        errors.push(Error::invalid(path, attributes.len() + capacity.len(), detail));
    }
    for (name, value) in attributes {
        let path = path.child("attributes").key(name);
        qualified(errors, name, false, &path);
        attribute(errors, value, &path);
    }
    for (name, value) in capacity {
        let path = path.child("capacity").key(name);
        qualified(errors, name, false, &path);
        if let Some(amount) = value.value("value") {
            not_below_zero(errors, amount, &path.child("value"));
        }
    }
    for (index, taint) in device.list("taints").iter().enumerate() {
        taint_rule::taint(errors, taint.fields(), &path.child("taints").index(index));
    }
}

fn attribute(errors: &mut Errors, value: &Value, path: &Path) {
    let kinds = ["bool", "int", "string", "version"];
    match kinds.iter().filter(|kind| value.has(kind)).count() {
        0 => errors.push(Error::required(path, "exactly one value must be specified")),
        1 => {}
        _ => errors.push(Error::invalid(path, value.clone(), "exactly one value must be specified")),
    }
    for kind in ["string", "version"] {
        if value.text(kind).len() > MAX_TEXT {
            errors.push(Error::too_long(&path.child(kind), MAX_TEXT));
        }
    }
}
