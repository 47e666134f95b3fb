//! Small texts that cells are made of.

use apimachinery::labels::Selector;
use serde_json::{Map, Value};

use crate::json::Read;

/// The text, or `<none>`.
pub(super) fn or_none(text: &str) -> String {
    or(text, "<none>")
}

/// The text, or another when it is empty.
pub(super) fn or(text: &str, other: &str) -> String {
    if text.is_empty() { other.to_owned() } else { text.to_owned() }
}

/// The items joined by commas, or `<none>`.
pub(super) fn join<I: AsRef<str>>(items: impl IntoIterator<Item = I>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.as_ref().to_owned()).collect();
    or_none(&items.join(","))
}

/// The first three items joined by commas, and how many more there are.
pub(super) fn first_three(items: &[String]) -> String {
    match items.len() {
        0 => "<none>".into(),
        count @ 4.. => format!("{} + {} more...", items[..3].join(","), count - 3),
        _ => items.join(","),
    }
}

/// A plain selector, `a=b,c=d`.
pub(super) fn labels(map: &Map<String, Value>) -> String {
    join(map.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())))
}

/// A `LabelSelector`, `a=b,c in (d)`.
pub(super) fn selector(value: Option<&Value>) -> String {
    let text = Selector::from_label_selector(value)
        .map(|selector| if selector.is_nothing() { String::new() } else { selector.to_string() });
    or_none(&text.unwrap_or_default())
}

/// The names of a template's containers.
pub(super) fn containers(pod: &Map<String, Value>) -> String {
    let names: Vec<&str> = pod.list("containers").iter().map(|container| container.text("name")).collect();
    names.join(",")
}

/// The images of a template's containers.
pub(super) fn images(pod: &Map<String, Value>) -> String {
    let images: Vec<&str> = pod.list("containers").iter().map(|container| container.text("image")).collect();
    images.join(",")
}

/// The condition of this type.
pub(super) fn condition<'a>(status: &'a Map<String, Value>, kind: &str) -> Option<&'a Value> {
    status.list("conditions").iter().find(|condition| condition.text("type") == kind)
}

/// Whether the condition of this type is true.
pub(super) fn holds(status: &Map<String, Value>, kind: &str) -> bool {
    condition(status, kind).is_some_and(|condition| condition.text("status") == "True")
}

/// A number or a text, as it is written.
pub(super) fn scalar(value: Option<&Value>, other: &str) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => other.to_owned(),
        Some(value) => value.to_string(),
    }
}

/// Access modes in their short form and in a fixed order, `RWO,ROX`.
pub(super) fn access_modes(modes: &Map<String, Value>, field: &str) -> String {
    let all =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let present = all.iter().filter(|(mode, _)| modes.texts(field).any(|text| text == *mode));
    present.map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}
