//! [`Object`]: any object of the API as untyped JSON, with typed access to what all kinds share.
//!
//! The API server handles objects in this form because typed structs drop unknown fields and invent
//! missing ones; a schema checks the structure, typed structs serve only semantic validation.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

macro_rules! group_name {
    ($(#[$doc:meta])* $name:ident { $($field:ident),+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "the fields are the type's name taken apart")]
        pub struct $name { $(pub $field: String),+ }

        impl $name {
            #[doc = "Builds the name from its parts; the core group is the empty string."]
            pub fn new($($field: impl Into<String>),+) -> Self {
                Self { $($field: $field.into()),+ }
            }
        }
    };
}

group_name! {
    /// A kind in its group, as in `Deployment.apps`.
    GroupKind { group, kind }
}
group_name! {
    /// A resource in its group, as in `deployments.apps`.
    GroupResource { group, resource }
}
group_name! {
    /// A kind at one version of its group.
    GroupVersionKind { group, version, kind }
}
group_name! {
    /// A resource at one version of its group.
    GroupVersionResource { group, version, resource }
}

impl fmt::Display for GroupResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() { f.write_str(&self.resource) } else { write!(f, "{}.{}", self.resource, self.group) }
    }
}

impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() { f.write_str(&self.kind) } else { write!(f, "{}.{}", self.kind, self.group) }
    }
}

impl GroupVersionKind {
    /// `v1` or `apps/v1`, as objects carry it.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Takes an `apiVersion` apart: `apps/v1` is group `apps`, `v1` is the core group.
    pub fn from_api_version(api_version: &str, kind: &str) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self::new(group, version, kind)
    }
}

/// One object of the API: a JSON object, with typed access to type and metadata.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Object(pub Map<String, Value>);

impl Object {
    /// The object in `value`, or `None` when it is not a JSON object.
    pub fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Object(map) => Some(Self(map)),
            _ => None,
        }
    }

    /// The object as a plain JSON value.
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// `apiVersion`, or the empty string.
    pub fn api_version(&self) -> &str {
        self.0.get("apiVersion").and_then(Value::as_str).unwrap_or_default()
    }

    /// `kind`, or the empty string.
    pub fn kind(&self) -> &str {
        self.0.get("kind").and_then(Value::as_str).unwrap_or_default()
    }

    /// Sets `apiVersion` and `kind`.
    pub fn set_type(&mut self, gvk: &GroupVersionKind) {
        self.0.insert("apiVersion".into(), gvk.api_version().into());
        self.0.insert("kind".into(), gvk.kind.clone().into());
    }

    /// The value at a path of field names, or `None` where a step is missing.
    pub fn at(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.0.get(*first)?, |value, name| value.get(name))
    }

    /// The string at a path of field names, or `None` where it is missing or no string.
    pub fn str_at(&self, path: &[&str]) -> Option<&str> {
        self.at(path)?.as_str()
    }

    /// `metadata`, when it is there and an object.
    pub fn metadata(&self) -> Option<&Map<String, Value>> {
        self.0.get("metadata").and_then(Value::as_object)
    }

    /// `metadata`, made when missing; a `metadata` that is no object is replaced.
    pub fn metadata_mut(&mut self) -> &mut Map<String, Value> {
        let value = self.0.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        if !value.is_object() {
            *value = Value::Object(Map::new());
        }
        value.as_object_mut().expect("made an object above")
    }

    /// A string field of the metadata, or the empty string.
    pub fn meta_str(&self, field: &str) -> &str {
        self.metadata().and_then(|metadata| metadata.get(field)).and_then(Value::as_str).unwrap_or_default()
    }

    /// Sets a field of the metadata to what it was in `old`.
    pub fn keep_meta(&mut self, old: &Self, field: &str) {
        match old.metadata().and_then(|metadata| metadata.get(field)).cloned() {
            Some(value) => self.metadata_mut().insert(field.to_owned(), value),
            None => self.metadata_mut().remove(field),
        };
    }

    /// Sets a field of the metadata; an empty string removes it.
    pub fn set_meta_str(&mut self, field: &str, value: &str) {
        if value.is_empty() {
            self.metadata_mut().remove(field);
        } else {
            self.metadata_mut().insert(field.into(), value.into());
        }
    }

    /// `metadata.name`, or the empty string.
    pub fn name(&self) -> &str {
        self.meta_str("name")
    }

    /// `metadata.namespace`, or the empty string.
    pub fn namespace(&self) -> &str {
        self.meta_str("namespace")
    }

    /// `metadata.uid`, or the empty string.
    pub fn uid(&self) -> &str {
        self.meta_str("uid")
    }

    /// `metadata.resourceVersion`, or the empty string.
    pub fn resource_version(&self) -> &str {
        self.meta_str("resourceVersion")
    }

    /// `metadata.generation`, or 0.
    pub fn generation(&self) -> i64 {
        self.metadata().and_then(|metadata| metadata.get("generation")).and_then(Value::as_i64).unwrap_or_default()
    }

    /// `metadata.labels` in order of their keys; values that are no strings are passed over.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.string_map("labels")
    }

    /// `metadata.annotations` in order of their keys; values that are no strings are passed over.
    pub fn annotations(&self) -> impl Iterator<Item = (&str, &str)> {
        self.string_map("annotations")
    }

    /// `metadata.finalizers`.
    pub fn finalizers(&self) -> impl Iterator<Item = &str> {
        let list = self.metadata().and_then(|metadata| metadata.get("finalizers")).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str)
    }

    /// Whether deletion has begun (`metadata.deletionTimestamp` is set).
    pub fn is_deleting(&self) -> bool {
        !self.meta_str("deletionTimestamp").is_empty()
    }

    fn string_map(&self, field: &str) -> impl Iterator<Item = (&str, &str)> {
        let map = self.metadata().and_then(|metadata| metadata.get(field)).and_then(Value::as_object);
        map.into_iter().flatten().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn metadata_is_read_and_written() {
        let mut object = Object::from_value(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "labels": {"app": "web", "bad": 1}, "generation": 3},
        }))
        .expect("an object");
        assert_eq!((object.name(), object.namespace(), object.generation()), ("web", "", 3));
        assert_eq!(object.labels().collect::<Vec<_>>(), [("app", "web")]);
        object.set_meta_str("namespace", "shop");
        assert_eq!(object.namespace(), "shop");
    }

    #[test]
    fn api_versions_come_apart_and_together() {
        for api_version in ["v1", "apps/v1", "networking.k8s.io/v1beta1"] {
            assert_eq!(GroupVersionKind::from_api_version(api_version, "X").api_version(), api_version);
        }
    }
}
