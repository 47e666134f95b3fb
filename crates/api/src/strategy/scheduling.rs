//! Priority classes and runtime classes (upstream: pkg/apis/scheduling/validation, pkg/apis/node/validation).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};

use crate::check::{self, Errors, names};
use crate::json::{Read, Write};
use crate::resource::{Generation, Strategy};

/// The strategy of priority classes.
pub(crate) struct PriorityClass;

/// What users may go up to; beyond is the system's.
const MAX_USER_PRIORITY: i64 = 1_000_000_000;

/// The classes that the server itself makes.
const SYSTEM: &[(&str, i64)] = &[("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

impl Strategy for PriorityClass {
    fn default(&self, object: &mut Object) {
        object.default_to("preemptionPolicy", "PreemptLowerPriority");
        object.default_to("value", 0);
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let value = object.int("value").unwrap_or_default();
        if object.name().starts_with("system-") {
            if !SYSTEM.contains(&(object.name(), value)) {
                let detail = format!(
                    "priority class names with 'system-' prefix are reserved for system use only. error: {} is not a known system priority class",
                    object.name()
                );
                errors.push(Error::forbidden(&Path::new("metadata").child("name"), detail));
            }
        } else if value > MAX_USER_PRIORITY {
            let detail = format!("maximum allowed value of a user defined priority is {MAX_USER_PRIORITY}");
            errors.push(Error::forbidden(&Path::new("value"), detail));
        }
        let policies = ["PreemptLowerPriority", "Never"];
        check::required_one_of(&mut errors, &object.0, "preemptionPolicy", &policies, &Path::default());
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        if object.int("value") != old.int("value") {
            errors.push(Error::forbidden(&Path::new("value"), "may not be changed in an update."));
        }
        let path = Path::new("preemptionPolicy");
        check::immutable(&mut errors, object.value("preemptionPolicy"), old.value("preemptionPolicy"), &path);
        errors
    }

    fn generation(&self) -> Generation {
        Generation::Content
    }
}

/// The strategy of runtime classes.
pub(crate) struct RuntimeClass;

impl Strategy for RuntimeClass {
    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        check::named(&mut errors, names::dns1123_label, object.text("handler"), &Path::new("handler"));
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        check::immutable(&mut errors, object.value("handler"), old.value("handler"), &Path::new("handler"));
        errors
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}
