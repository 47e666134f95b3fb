//! Nodes (upstream: pkg/registry/core/node/strategy.go, `ValidateNode`, `ValidateNodeUpdate`).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::{Map, Value};

use super::pod::resource_list;
use crate::check::{self, Errors, names};
use crate::json::{Read, Write};
use crate::resource::{Generation, Strategy};

/// The strategy of nodes.
pub(crate) struct Node;

impl Strategy for Node {
    fn default(&self, object: &mut Object) {
        if let Some(spec) = object.object_made("spec") {
            let cidr = spec.text("podCIDR").to_owned();
            if !cidr.is_empty() && spec.list("podCIDRs").is_empty() {
                spec.insert("podCIDRs".into(), vec![cidr].into());
            }
        }
        if let Some(status) = object.object_at("status")
            && let Some(capacity) = status.get("capacity").cloned()
        {
            status.default_to("allocatable", capacity);
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (spec, path) = (object.object("spec"), Path::new("spec"));
        taints(&mut errors, spec.list("taints"), &path.child("taints"));
        let cidrs: Vec<&str> = spec.texts("podCIDRs").collect();
        for (index, cidr) in cidrs.iter().enumerate() {
            check::cidr(&mut errors, cidr, &path.child("podCIDRs").index(index));
        }
        if cidrs.len() > 2 {
            let detail = "may specify no more than one CIDR for each IP family";
            errors.push(Error::invalid(&path.child("podCIDRs"), cidrs, detail));
        }
        resource_list(&mut errors, object.object("status").object("capacity"), &Path::new("status").child("capacity"));
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (new, old, path) = (object.object("spec"), old.object("spec"), Path::new("spec"));
        for (field, of) in [("podCIDRs", "podCIDR"), ("providerID", "providerID")] {
            if old.has(field) && new.value(field) != old.value(field) {
                let detail = format!("node updates may not change {of} except from \"\" to valid");
                errors.push(Error::forbidden(&path.child(field), detail));
            }
        }
        let fixed = |spec: &Map<String, Value>| -> Map<String, Value> {
            let changeable = ["taints", "unschedulable", "podCIDR", "podCIDRs", "providerID", "configSource"];
            let fields = spec.iter().filter(|(name, _)| !changeable.contains(&name.as_str()));
            fields.map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        if fixed(new) != fixed(old) {
            let detail = "node updates may only change labels, taints, or capacity (or configSource, if the \
                DynamicKubeletConfig feature gate is enabled)";
            errors.push(Error::forbidden(&path, detail));
        }
        errors
    }

    fn keeps_status_at_create(&self) -> bool {
        true
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}

fn taints(errors: &mut Errors, taints: &[Value], path: &Path) {
    let mut seen = std::collections::HashSet::new();
    for (index, taint) in taints.iter().enumerate() {
        let path = path.index(index);
        check::named(errors, names::qualified_name, taint.text("key"), &path.child("key"));
        check::named(errors, names::label_value, taint.text("value"), &path.child("value"));
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        check::required_one_of(errors, taint.fields(), "effect", &effects, &path);
        if !seen.insert((taint.text("key"), taint.text("effect"))) {
            let mut error = Error::duplicate(&path, taint.clone());
            error.detail = "taints must be unique by key and effect pair".into();
            errors.push(error);
        }
    }
}
