//! [`Definition`]: what a CustomResourceDefinition says (upstream: apiextensions/v1/types.go).

use std::sync::Arc;

use apimachinery::Object;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::schema::Schema;

/// A CustomResourceDefinition.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Definition {
    /// What is wanted.
    pub spec: Spec,
    /// What is.
    pub status: Status,
}

/// What is wanted.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Spec {
    /// The API group.
    pub group: String,
    /// The names asked for.
    pub names: Names,
    /// `Cluster` or `Namespaced`.
    pub scope: String,
    /// The versions, served or not.
    pub versions: Vec<Version>,
    /// How versions become one another.
    pub conversion: Option<Conversion>,
    /// Whether nothing is pruned; only definitions of older servers say so.
    pub preserve_unknown_fields: bool,
}

/// The names of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Names {
    /// As paths have it.
    pub plural: String,
    /// As kubectl takes it for one.
    pub singular: String,
    /// Further names.
    pub short_names: Vec<String>,
    /// The kind.
    pub kind: String,
    /// The kind of a list.
    pub list_kind: String,
    /// Groups of kinds, as `all`.
    pub categories: Vec<String>,
}

/// One version.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Version {
    /// As `v1`.
    pub name: String,
    /// Whether it has paths.
    pub served: bool,
    /// Whether objects are stored in it.
    pub storage: bool,
    /// Whether clients are warned.
    pub deprecated: bool,
    /// With which words.
    pub deprecation_warning: Option<String>,
    /// Its schema.
    pub schema: Option<VersionSchema>,
    /// `/status` and `/scale`.
    pub subresources: Option<Subresources>,
    /// Columns of `kubectl get`.
    pub additional_printer_columns: Vec<PrinterColumn>,
    /// Fields that selectors may name.
    pub selectable_fields: Vec<SelectableField>,
}

/// The schema of a version.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct VersionSchema {
    /// The schema; kept behind a pointer, because it is by far the largest part.
    #[serde(rename = "openAPIV3Schema")]
    pub open_api_v3: Option<Arc<Schema>>,
}

/// `/status` and `/scale`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Subresources {
    /// There when there is a `/status`.
    pub status: Option<Value>,
    /// Where `/scale` finds its values.
    pub scale: Option<Scale>,
}

/// Where `/scale` finds its values: paths as `.spec.replicas`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Scale {
    /// Below `.spec`.
    pub spec_replicas_path: String,
    /// Below `.status`.
    pub status_replicas_path: String,
    /// Below either.
    pub label_selector_path: Option<String>,
}

/// A column of `kubectl get`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PrinterColumn {
    /// The header.
    pub name: String,
    /// `integer`, `number`, `string`, `boolean` or `date`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Narrows the type.
    pub format: String,
    /// What it shows.
    pub description: String,
    /// Above 0 it is shown with `-o wide` alone.
    pub priority: i32,
    /// Where the value is.
    pub json_path: String,
}

/// A field that selectors may name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SelectableField {
    /// As `.spec.color`.
    pub json_path: String,
}

/// How versions become one another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Conversion {
    /// `None` or `Webhook`.
    pub strategy: String,
    /// The webhook.
    pub webhook: Option<WebhookConversion>,
}

/// A webhook that converts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WebhookConversion {
    /// Where it is.
    pub client_config: Option<WebhookClientConfig>,
    /// The versions of ConversionReview that it understands, the preferred one first.
    pub conversion_review_versions: Vec<String>,
}

/// Where a webhook is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WebhookClientConfig {
    /// An address.
    pub url: Option<String>,
    /// A Service.
    pub service: Option<ServiceReference>,
    /// The CA of its certificate: base64 of PEM.
    pub ca_bundle: String,
}

/// A Service that is called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServiceReference {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The path to call.
    pub path: Option<String>,
    /// Its port.
    pub port: Option<i64>,
}

/// What is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Status {
    /// The names that are served.
    pub accepted_names: Names,
    /// All versions in which objects may be stored.
    pub stored_versions: Vec<String>,
}

impl Definition {
    /// Reads a definition.
    pub fn parse(object: &Object) -> Result<Self, serde_json::Error> {
        let mut spec = object.0.get("spec").cloned().unwrap_or_default();
        for version in spec.get_mut("versions").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(schema) = version.pointer_mut("/schema/openAPIV3Schema") {
                tidy(schema);
            }
        }
        let status = object.0.get("status").cloned().unwrap_or_else(|| Value::Object(Map::new()));
        Ok(Self { spec: Spec::deserialize(spec)?, status: Status::deserialize(status)? })
    }
}

impl Spec {
    /// The version in which objects are stored.
    pub fn storage_version(&self) -> Option<&Version> {
        self.versions.iter().find(|version| version.storage)
    }

    /// `crontabs.example.com`, as the definition itself must be named.
    pub fn name(&self) -> String {
        format!("{}.{}", self.names.plural, self.group)
    }
}

impl Version {
    /// Its schema.
    pub fn root(&self) -> Option<&Arc<Schema>> {
        self.schema.as_ref()?.open_api_v3.as_ref()
    }

    /// Whether it has `/status`.
    pub fn has_status(&self) -> bool {
        self.subresources.as_ref().is_some_and(|sub| sub.status.is_some())
    }

    /// Its `/scale`.
    pub fn scale(&self) -> Option<&Scale> {
        self.subresources.as_ref()?.scale.as_ref()
    }
}

/// Drops what a schema says as `null`: Go's decoder takes it for not said.
fn tidy(schema: &mut Value) {
    let Some(schema) = schema.as_object_mut() else { return };
    schema.retain(|_, value| !value.is_null());
    for (name, value) in schema.iter_mut() {
        match (name.as_str(), value) {
            ("properties" | "patternProperties" | "definitions", Value::Object(map)) => map.values_mut().for_each(tidy),
            ("items" | "not" | "additionalProperties" | "additionalItems", value @ Value::Object(_)) => tidy(value),
            ("allOf" | "anyOf" | "oneOf" | "items", Value::Array(list)) => list.iter_mut().for_each(tidy),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_definition_is_read_whatever_it_leaves_out() {
        let object = Object::from_value(json!({"spec": {"group": "example.com", "versions": [
            {"name": "v1", "storage": true, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": null, "default": null}}}}},
        ]}}));
        let definition = Definition::parse(&object.expect("an object")).expect("a definition");
        let version = definition.spec.storage_version().expect("a storage version");
        assert!(version.has_status() && version.scale().is_none());
        assert_eq!(version.root().expect("a schema").properties["spec"], Schema::default());
    }
}
