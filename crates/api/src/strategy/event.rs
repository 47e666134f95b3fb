//! Events of both versions (upstream: pkg/apis/core/validation/events.go, pkg/registry/core/event/strategy.go).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::Value;

use crate::check::{self, Errors, names};
use crate::json::Read;
use crate::resource::{Generation, Strategy};

/// The strategy of events; the field names what the event is about: `involvedObject`, or `regarding` in
/// `events.k8s.io`.
pub(crate) struct Event(pub(crate) &'static str);

/// The longest reasons, actions and names of instances.
const MAX_WORD: usize = 128;
const MAX_NOTE: usize = 1024;

/// What a new event of `events.k8s.io` must not carry any more, and what upstream calls it.
const DEPRECATED: &[(&str, &str)] = &[
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("deprecatedSource", "source"),
];

/// What stays once an event of `events.k8s.io` is there, and what upstream calls it.
const FIXED: &[(&str, &str)] = &[
    ("regarding", "involvedObject"),
    ("reason", "reason"),
    ("reportingController", "reportingController"),
    ("reportingInstance", "reportingInstance"),
    ("action", "action"),
    ("note", "note"),
    ("type", "type"),
    ("eventTime", "eventTime"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("deprecatedSource", "source"),
    ("related", "related"),
];

impl Strategy for Event {
    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        self.legacy(&mut errors, object);
        if self.is_core() {
            return errors;
        }
        series(&mut errors, object);
        if object.text("eventTime").is_empty() {
            errors.push(Error::required(&Path::new("eventTime"), ""));
        }
        let kind = object.text("type");
        if !matches!(kind, "Normal" | "Warning") {
            errors.push(Error::invalid(&Path::new("type"), "", format!("has invalid value: {kind}")));
        }
        for (field, words) in DEPRECATED {
            if is_set(object.value(field)) {
                errors.push(Error::invalid(&Path::new(words), "", "needs to be unset"));
            }
        }
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        self.legacy(&mut errors, object);
        if self.is_core() {
            return errors;
        }
        if object.value("series") != old.value("series") {
            series(&mut errors, object);
        }
        for (field, words) in FIXED {
            let unset = |value: &&Value| is_set(Some(value));
            let (new, old) = (object.value(field).filter(unset), old.value(field).filter(unset));
            check::immutable(&mut errors, new, old, &Path::new(words));
        }
        errors
    }

    fn judges_updates_alone(&self) -> bool {
        true
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }

    fn allow_create_on_update(&self) -> bool {
        true
    }
}

impl Event {
    fn is_core(&self) -> bool {
        self.0 == "involvedObject"
    }

    /// Rules of all versions. An event with a time of its own is a new one, and must tell more.
    fn legacy(&self, errors: &mut Errors, object: &Object) {
        let about = object.object(self.0).text("namespace");
        let is_new = !object.text("eventTime").is_empty();
        // Events about cluster-scoped objects live in `default`.
        let matches = match (about, object.namespace()) {
            ("", "" | "default") => true,
            ("", "kube-system") => is_new,
            ("", _) => false,
            (about, namespace) => is_new || about == namespace,
        };
        if !matches {
            let path = Path::new("involvedObject").child("namespace");
            errors.push(Error::invalid(&path, about, "does not match event.namespace"));
        }
        if !is_new {
            return;
        }
        let (reporter, note) =
            if self.is_core() { ("reportingComponent", "message") } else { ("reportingController", "note") };
        check::required(errors, &object.0, reporter, &Path::default());
        check::named(errors, names::qualified_name, object.text(reporter), &Path::new(reporter));
        for field in ["reportingInstance", "action", "reason"] {
            if check::required(errors, &object.0, field, &Path::default()) {
                at_most(errors, object.text(field), field, MAX_WORD);
            }
        }
        at_most(errors, object.text(note), "message", MAX_NOTE);
    }
}

fn at_most(errors: &mut Errors, text: &str, field: &str, most: usize) {
    if text.len() > most {
        errors.push(Error::invalid(&Path::new(field), "", format!("can have at most {most} characters")));
    }
}

/// A series has more than one event, and a last one.
fn series(errors: &mut Errors, object: &Object) {
    let Some(series) = object.value("series") else { return };
    if series.int("count").unwrap_or_default() < 2 {
        errors.push(Error::invalid(&Path::new("series.count"), "", "should be at least 2"));
    }
    if series.text("lastObservedTime").is_empty() {
        errors.push(Error::required(&Path::new("series.lastObservedTime"), ""));
    }
}

/// Whether a value is more than Go's zero.
fn is_set(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Object(fields)) => fields.values().any(|value| is_set(Some(value))),
        Some(other) => other.as_i64() != Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn event(namespace: &str, mut value: Value) -> Object {
        value["metadata"] = json!({"name": "e", "namespace": namespace});
        Object::from_value(value).expect("an object")
    }

    fn check(errors: Vec<Error>, expected: &Expect) {
        expected.assert_eq(&errors.iter().map(|error| format!("{error}\n")).collect::<String>());
    }

    #[test]
    fn old_events_live_where_their_object_lives() {
        for (namespace, about, right) in [
            ("default", "", true),
            ("kube-system", "", false),
            ("shop", "", false),
            ("shop", "shop", true),
            ("default", "shop", false),
        ] {
            let event = event(namespace, json!({"involvedObject": {"namespace": about}}));
            assert_eq!(Event("involvedObject").validate(&event).is_empty(), right, "{namespace} {about}");
        }
    }

    #[test]
    fn new_events_tell_who_saw_what() {
        let time = "2026-01-01T00:00:00.000000Z";
        let right = json!({
            "eventTime": time, "regarding": {"namespace": "shop"}, "reportingController": "example.com/c",
            "reportingInstance": "c-1", "action": "Binding", "reason": "Bound", "type": "Normal",
        });
        check(Event("regarding").validate(&event("shop", right.clone())), &expect![[""]]);
        check(
            Event("regarding").validate(&event("shop", json!({
                "eventTime": time, "action": "x".repeat(129), "type": "Odd", "note": "x".repeat(1025),
                "series": {"count": 1}, "deprecatedCount": 1, "deprecatedSource": {"host": "n"}, "deprecatedFirstTimestamp": null,
            }))),
            &expect![[r#"
                involvedObject.namespace: Invalid value: "": does not match event.namespace
                reportingController: Required value
                reportingController: Invalid value: "": name part must be non-empty
                reportingController: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
                reportingInstance: Required value
                action: Invalid value: "": can have at most 128 characters
                reason: Required value
                message: Invalid value: "": can have at most 1024 characters
                series.count: Invalid value: "": should be at least 2
                series.lastObservedTime: Required value
                type: Invalid value: "": has invalid value: Odd
                count: Invalid value: "": needs to be unset
                source: Invalid value: "": needs to be unset
            "#]],
        );
        let mut changed = right.clone();
        changed["reason"] = json!("Unbound");
        changed["series"] = json!({"count": 2, "lastObservedTime": time});
        check(
            Event("regarding").validate_update(&event("shop", changed), &event("shop", right)),
            &expect![[r#"
                reason: Invalid value: "Unbound": field is immutable
            "#]],
        );
    }
}
