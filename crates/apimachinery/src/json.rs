//! [`Read`] and [`Write`]: fields of JSON objects whose structure a schema has already checked.
//!
//! Defaults and validation run on every write, so they walk the JSON in place instead of copying it into typed
//! structs. A missing field, a `null` and a wrong type all read as the type's zero value.

use std::sync::LazyLock;

use crate::Object;
use serde_json::{Map, Value};

static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

/// Reads fields by name.
pub trait Read {
    /// The fields; empty when this is no object.
    fn fields(&self) -> &Map<String, Value>;

    /// The field's value, unless missing or null.
    fn value(&self, name: &str) -> Option<&Value> {
        self.fields().get(name).filter(|value| !value.is_null())
    }

    /// Whether the field is there and not null.
    fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The string, or "".
    fn text(&self, name: &str) -> &str {
        self.value(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// The integer, when there.
    fn int(&self, name: &str) -> Option<i64> {
        self.value(name)?.as_i64()
    }

    /// The boolean, or false.
    fn flag(&self, name: &str) -> bool {
        self.value(name).and_then(Value::as_bool).unwrap_or_default()
    }

    /// The items, or none.
    fn list(&self, name: &str) -> &[Value] {
        self.value(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    /// The strings among the items.
    fn texts<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + Clone {
        self.list(name).iter().filter_map(Value::as_str)
    }

    /// The object in the field; empty when missing.
    fn object(&self, name: &str) -> &Map<String, Value> {
        self.value(name).and_then(Value::as_object).unwrap_or(&EMPTY)
    }
}

impl Read for Map<String, Value> {
    fn fields(&self) -> &Map<String, Value> {
        self
    }
}

impl Read for Value {
    fn fields(&self) -> &Map<String, Value> {
        self.as_object().unwrap_or(&EMPTY)
    }
}

impl Read for Object {
    fn fields(&self) -> &Map<String, Value> {
        &self.0
    }
}

/// Writes fields by name.
pub trait Write {
    /// The fields to write to; `None` when this is no object.
    fn fields_mut(&mut self) -> Option<&mut Map<String, Value>>;

    /// Sets the field where it is missing or null.
    fn default_to(&mut self, name: &str, value: impl Into<Value>) {
        if let Some(fields) = self.fields_mut()
            && fields.get(name).is_none_or(Value::is_null)
        {
            fields.insert(name.to_owned(), value.into());
        }
    }

    /// Sets the field where it is missing, null or the empty string.
    fn default_text(&mut self, name: &str, value: &str) {
        if let Some(fields) = self.fields_mut()
            && fields.get(name).is_none_or(|old| old.is_null() || old.as_str() == Some(""))
        {
            fields.insert(name.to_owned(), value.into());
        }
    }

    /// Sets the field where it is missing, null or 0.
    fn default_int(&mut self, name: &str, value: i64) {
        if let Some(fields) = self.fields_mut()
            && fields.get(name).is_none_or(|old| old.is_null() || old.as_i64() == Some(0))
        {
            fields.insert(name.to_owned(), value.into());
        }
    }

    /// The object in the field, when it is there.
    fn object_at(&mut self, name: &str) -> Option<&mut Map<String, Value>> {
        self.fields_mut()?.get_mut(name)?.as_object_mut()
    }

    /// The object in the field, made where missing.
    fn object_made(&mut self, name: &str) -> Option<&mut Map<String, Value>> {
        self.default_to(name, Map::new());
        self.object_at(name)
    }

    /// The objects among the items of the field.
    fn items_mut<'a>(&'a mut self, name: &str) -> impl Iterator<Item = &'a mut Map<String, Value>> {
        let list = self.fields_mut().and_then(|fields| fields.get_mut(name)).and_then(Value::as_array_mut);
        list.into_iter().flatten().filter_map(Value::as_object_mut)
    }
}

impl Write for Map<String, Value> {
    fn fields_mut(&mut self) -> Option<&mut Map<String, Value>> {
        Some(self)
    }
}

impl Write for Value {
    fn fields_mut(&mut self) -> Option<&mut Map<String, Value>> {
        self.as_object_mut()
    }
}

impl Write for Object {
    fn fields_mut(&mut self) -> Option<&mut Map<String, Value>> {
        Some(&mut self.0)
    }
}

/// Takes out every field that is null: a configuration file may name a field and say nothing.
pub fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_missing_reads_as_zero() {
        let value = json!({"a": null, "n": 3, "l": ["x", 1]});
        assert_eq!((value.text("a"), value.has("a"), value.int("n"), value.int("l")), ("", false, Some(3), None));
        assert_eq!(value.texts("l").collect::<Vec<_>>(), ["x"]);
        assert!(value.object("a").text("b").is_empty());
    }

    #[test]
    fn defaults_leave_what_is_there() {
        let mut value = json!({"set": 1, "null": null, "zero": 0, "empty": ""});
        value.default_to("set", 2);
        value.default_to("null", 2);
        value.default_int("zero", 2);
        value.default_text("empty", "x");
        assert_eq!(value, json!({"set": 1, "null": 2, "zero": 2, "empty": "x"}));
    }
}
