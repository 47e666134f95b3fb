//! Moving from client-side to server-side apply: what `kubectl apply` noted in its annotation is its own
//! (upstream: `lastappliedmanager.go`, `lastappliedupdater.go`).

use serde_json::Value;

use super::compare::compare;
use super::field_set::FieldSet;
use super::{Conflict, Writer, prune};
use crate::object::Object;

/// The manager that the annotation speaks for.
pub(super) const KUBECTL: &str = "kubectl";

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

fn annotation(object: &Object) -> Option<&str> {
    object.annotations().find(|(key, value)| *key == ANNOTATION && !value.is_empty()).map(|(_, value)| value)
}

/// The conflicts that the annotation does not explain: a field that still has the value which was applied
/// on the client side may be taken over.
pub(super) fn not_covered(writer: &Writer<'_>, live: Option<&Object>, conflicts: Vec<Conflict>) -> Vec<Conflict> {
    match live.and_then(|live| still_applied(writer, live)) {
        Some(covered) => {
            let covered = covered.paths();
            conflicts.into_iter().filter(|conflict| !covered.contains(&conflict.path)).collect()
        }
        None => conflicts,
    }
}

/// The fields of the annotation's object that the live one has unchanged.
fn still_applied(writer: &Writer<'_>, live: &Object) -> Option<FieldSet> {
    let Ok(Value::Object(applied)) = serde_json::from_str(annotation(live)?) else { return None };
    if applied.get("apiVersion").and_then(Value::as_str) != Some(writer.api_version) {
        return None;
    }
    let mut fields = prune::field_set(writer.schema, writer.at(), &applied);
    let found = compare(writer.schema, writer.at(), &applied, &live.0);
    for changed in [found.modified, found.added, found.removed] {
        fields.subtract(&changed);
    }
    Some(fields)
}

/// Writes the new configuration into the annotation where the object has one.
pub(super) fn refresh(writer: &Writer<'_>, mut object: Object, config: &Object) -> Object {
    if writer.manager != KUBECTL || annotation(&object).is_none() {
        return object;
    }
    let mut config = config.clone();
    if let Some(Value::Object(annotations)) = config.metadata_mut().get_mut("annotations") {
        annotations.remove(ANNOTATION);
    }
    // Upstream's encoder ends a document with a line break.
    let text = format!("{}\n", Value::Object(config.0));
    if let Some(Value::Object(annotations)) = object.metadata_mut().get_mut("annotations") {
        annotations.insert(ANNOTATION.into(), text.into());
    }
    object
}
