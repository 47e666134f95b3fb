//! Storage classes and volume attributes classes.

use std::collections::HashSet;

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::Value;

use super::parameters;
use crate::check::{self, Errors, names, old_labels};
use crate::json::{Read, Write};
use crate::resource::{Generation, Strategy};

/// The strategy of storage classes.
pub(crate) struct StorageClass;

impl Strategy for StorageClass {
    fn warnings(&self, object: &Object) -> Vec<String> {
        let mut found = Vec::new();
        for (index, topology) in object.list("allowedTopologies").iter().enumerate() {
            let path = Path::new("allowedTopologies").index(index).child("matchLabelExpressions");
            for (index, expression) in topology.list("matchLabelExpressions").iter().enumerate() {
                let words = old_labels::words(expression.text("key"));
                found.extend(words.map(|words| format!("{}: {words}", path.index(index).child("key"))));
            }
        }
        found
    }

    fn default(&self, object: &mut Object) {
        object.default_to("reclaimPolicy", "Delete");
        object.default_to("volumeBindingMode", "Immediate");
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let root = Path::default();
        if check::required(&mut errors, &object.0, "provisioner", &root) {
            let provisioner = object.text("provisioner").to_lowercase();
            check::named(&mut errors, names::qualified_name, &provisioner, &Path::new("provisioner"));
        }
        if let Some(of) = object.value("parameters") {
            parameters(&mut errors, of, true, &Path::new("parameters"));
        }
        check::one_of(&mut errors, &object.0, "reclaimPolicy", &["Delete", "Retain"], &root);
        let modes = ["Immediate", "WaitForFirstConsumer"];
        check::required_one_of(&mut errors, &object.0, "volumeBindingMode", &modes, &root);
        topologies(&mut errors, object.list("allowedTopologies"), &Path::new("allowedTopologies"));
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        if object.object("parameters") != old.object("parameters") {
            let (new, old) = (object.value("parameters"), old.value("parameters"));
            check::immutable(&mut errors, new, old, &Path::new("parameters"));
        }
        for field in ["provisioner", "reclaimPolicy", "volumeBindingMode"] {
            check::immutable(&mut errors, object.value(field), old.value(field), &Path::new(field));
        }
        errors
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}

fn topologies(errors: &mut Errors, terms: &[Value], path: &Path) {
    let mut seen = Vec::new();
    for (index, term) in terms.iter().enumerate() {
        let path = path.index(index).child("matchLabelExpressions");
        let mut keys = HashSet::new();
        for (index, requirement) in term.list("matchLabelExpressions").iter().enumerate() {
            let path = path.index(index);
            let key = requirement.text("key");
            check::named(errors, names::qualified_name, key, &path.child("key"));
            if !keys.insert(key) {
                errors.push(Error::duplicate(&path.child("key"), key));
            }
            if requirement.list("values").is_empty() {
                errors.push(Error::required(&path.child("values"), ""));
            }
            let mut values = HashSet::new();
            for (index, value) in requirement.texts("values").enumerate() {
                if !values.insert(value) {
                    errors.push(Error::duplicate(&path.child("values").index(index), value));
                }
            }
        }
        if seen.contains(&term) {
            errors.push(Error::duplicate(&path, ""));
        }
        seen.push(term);
    }
}

/// The strategy of volume attributes classes.
pub(crate) struct VolumeAttributesClass;

impl Strategy for VolumeAttributesClass {
    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        // Upstream speaks of a spec that the kind does not have.
        let path = Path::new("spec");
        if check::required(&mut errors, &object.0, "driverName", &path) {
            let driver = object.text("driverName").to_lowercase();
            check::named(&mut errors, names::qualified_name, &driver, &path.child("driverName"));
        }
        let given = object.value("parameters").unwrap_or(&Value::Null);
        parameters(&mut errors, given, false, &path.child("parameters"));
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        for field in ["driverName", "parameters"] {
            if object.value(field) != old.value(field) {
                errors.push(Error::forbidden(&Path::new(field), format!("updates to {field} are forbidden.")));
            }
        }
        errors
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}
