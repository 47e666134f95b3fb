//! Conditions of a definition (upstream: apiextensions-apiserver/pkg/apihelpers/helpers.go).

use apimachinery::Object;
use jiff::Timestamp;
use serde_json::{Value, json};

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// `NamesAccepted`, `Established`, `Terminating`, `NonStructuralSchema` or `KubernetesAPIApprovalPolicyConformant`.
    pub kind: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// A word for machines.
    pub reason: &'static str,
    /// Words for people.
    pub message: String,
}

impl Condition {
    /// A condition.
    pub fn new(kind: &'static str, holds: bool, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, holds, reason, message: message.into() }
    }
}

/// Whether the definition has a condition that holds.
pub fn holds(definition: &Object, kind: &str) -> bool {
    find(definition, kind).is_some_and(|condition| condition["status"] == "True")
}

/// The condition of a kind.
pub fn find<'d>(definition: &'d Object, kind: &str) -> Option<&'d Value> {
    let conditions = definition.at(&["status", "conditions"])?.as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind)
}

/// Sets a condition; its time is that of its last change.
pub fn set(definition: &mut Object, condition: &Condition, now: Timestamp) {
    let status = if condition.holds { "True" } else { "False" };
    let old = find(definition, condition.kind);
    let since = old
        .filter(|old| old["status"] == status)
        .and_then(|old| old["lastTransitionTime"].as_str())
        .map_or_else(|| now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(), str::to_owned);
    let new = json!({
        "type": condition.kind, "status": status, "lastTransitionTime": since,
        "reason": condition.reason, "message": condition.message,
    });
    let Some(list) = list(definition) else { return };
    match list.iter_mut().find(|condition| condition["type"] == new["type"]) {
        Some(old) => *old = new,
        None => list.push(new),
    }
}

/// Removes a condition.
pub fn remove(definition: &mut Object, kind: &str) {
    if find(definition, kind).is_some()
        && let Some(list) = list(definition)
    {
        list.retain(|condition| condition["type"] != kind);
    }
}

fn list(definition: &mut Object) -> Option<&mut Vec<Value>> {
    let status = definition.0.entry("status").or_insert_with(|| json!({})).as_object_mut()?;
    let list = status.entry("conditions").or_insert_with(|| json!([]));
    if list.is_null() {
        *list = json!([]);
    }
    list.as_array_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_that_of_the_last_change() {
        let mut object = Object::default();
        let at = |second| Timestamp::from_second(second).expect("a time");
        let time = |object: &Object| find(object, "Established").expect("set")["lastTransitionTime"].clone();
        set(&mut object, &Condition::new("Established", false, "Installing", "wait"), at(0));
        set(&mut object, &Condition::new("Established", false, "NotAccepted", "no"), at(10));
        assert_eq!((time(&object), holds(&object, "Established")), (json!("1970-01-01T00:00:00Z"), false));
        set(&mut object, &Condition::new("Established", true, "InitialNamesAccepted", "yes"), at(20));
        assert_eq!((time(&object), holds(&object, "Established")), (json!("1970-01-01T00:00:20Z"), true));
        remove(&mut object, "Established");
        assert_eq!(object.0["status"], json!({"conditions": []}));
    }
}
