//! Priority classes and runtime classes (upstream: pkg/apis/scheduling/validation, pkg/apis/node/validation).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::Map;

use super::pod::{resource_requirements, tolerations};
use crate::check::{self, Errors, names, old_labels};
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
            if let Some(wrong) = not_the_systems(object, value) {
                let detail = format!(
                    "priority class names with 'system-' prefix are reserved for system use only. error: {wrong}"
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

/// Why this is none of the classes that the server makes itself (upstream: `IsKnownSystemPriorityClass`).
fn not_the_systems(object: &Object, value: i64) -> Option<String> {
    let name = object.name();
    match SYSTEM.iter().find(|(known, _)| *known == name) {
        None => Some(format!("{name} is not a known system priority class")),
        Some((_, right)) if *right != value => Some(format!("value of {name} PriorityClass must be {right}")),
        Some(_) if object.flag("globalDefault") => Some(format!("globalDefault of {name} PriorityClass must be false")),
        Some(_) => None,
    }
}

/// The strategy of runtime classes.
pub(crate) struct RuntimeClass;

impl Strategy for RuntimeClass {
    fn warnings(&self, object: &Object) -> Vec<String> {
        let labels = object.object("scheduling").object("nodeSelector").keys();
        labels
            .filter_map(|key| old_labels::words(key))
            .map(|words| format!("scheduling.nodeSelector: {words}"))
            .collect()
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        check::named(&mut errors, names::dns1123_label, object.text("handler"), &Path::new("handler"));
        if object.has("overhead") {
            let limits =
                Map::from_iter([("limits".to_owned(), object.object("overhead").object("podFixed").clone().into())]);
            resource_requirements(&mut errors, &limits, &Path::new("overhead"));
        }
        let (scheduling, path) = (object.object("scheduling"), Path::new("scheduling"));
        check::labels(&mut errors, scheduling.object("nodeSelector"), &path.child("nodeSelector"));
        let (wanted, path) = (scheduling.list("tolerations"), path.child("tolerations"));
        tolerations(&mut errors, wanted, &path);
        for (index, toleration) in wanted.iter().enumerate() {
            if wanted[..index].contains(toleration) {
                errors.push(Error::duplicate(&path.index(index), toleration.clone()));
            }
        }
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

    fn allow_unconditional_update(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn lines(strategy: &dyn Strategy, value: Value) -> Vec<String> {
        let mut object = Object::from_value(value).expect("an object");
        strategy.default(&mut object);
        strategy.validate(&object).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_of_the_system_are_the_systems() {
        let class = |name: &str, value: i64, global: bool| {
            lines(&PriorityClass, json!({"metadata": {"name": name}, "value": value, "globalDefault": global})).join("")
        };
        assert_eq!(class("system-node-critical", 2_000_001_000, false), "");
        for (name, value, global, expected) in [
            ("system-mine", 1, false, "system-mine is not a known system priority class"),
            ("system-node-critical", 1, false, "value of system-node-critical PriorityClass must be 2000001000"),
            (
                "system-node-critical",
                2_000_001_000,
                true,
                "globalDefault of system-node-critical PriorityClass must be false",
            ),
        ] {
            assert!(class(name, value, global).ends_with(expected), "{name}");
        }
    }

    #[test]
    fn runtime_classes_are_checked() {
        let toleration = json!({"key": "a", "operator": "Exists"});
        let found = lines(
            &RuntimeClass,
            json!({
                "handler": "Run C", "overhead": {"podFixed": {"cpu": "-1"}},
                "scheduling": {"nodeSelector": {"a b": ""}, "tolerations": [toleration, toleration]},
            }),
        );
        let fields: Vec<&str> = found.iter().map(|line| line.split(": ").next().unwrap_or_default()).collect();
        assert_eq!(fields, ["handler", "overhead.limits[cpu]", "scheduling.nodeSelector", "scheduling.tolerations[1]"]);
    }
}
