//! Version 3: one document a group version.

use std::sync::Arc;

use apimachinery::GroupVersionKind;
use serde_json::{Map, Value, json};

use super::operations::{self, Operation, PATCH, PathItem};
use super::parameters::Parameter;
use super::schema::{Flavour, Writer};
use crate::custom::OpenApi;
use crate::resource::Resource;
use crate::schemas::Schemas;

const MEDIA_TYPES: &[&str] = &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const PATCH_TYPES: &[&str] = &[
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// The document of one group version.
pub(super) fn document(group: &str, version: &str, rows: &[Arc<Resource>], schemas: &Schemas) -> Vec<u8> {
    let own: Vec<&Arc<Resource>> =
        rows.iter().filter(|row| row.gvk.group == group && row.gvk.version == version).collect();
    let mut paths = Map::new();
    let mut definitions: Vec<String> = Vec::new();
    for item in own.iter().flat_map(|row| operations::of(row)) {
        definitions.extend(item.operations.iter().flat_map(|one| one.takes.iter().chain(&one.answers)).cloned());
        let (path, value) = path_item(&item, &operations::tag(group, version));
        paths.insert(path, value);
    }
    if own.iter().any(|row| row.custom.is_some()) {
        definitions.extend(super::SHARED.map(str::to_owned));
    }
    let writer = Writer { schemas, flavour: Flavour::V3 };
    let mut components = Map::new();
    for name in writer.reachable(definitions) {
        if let Some(definition) = writer.definition(&name) {
            components.insert(name, definition);
        }
    }
    components.extend(own.iter().filter_map(|row| row.custom.as_ref()).flat_map(|own| own.definitions(OpenApi::V3)));
    let bearer = json!({"type": "apiKey", "description": "Bearer Token authentication", "in": "header", "name": "authorization"});
    let document = json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": super::VERSION},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"BearerToken": bearer}},
    });
    serde_json::to_vec(&document).unwrap_or_default()
}

fn path_item(item: &PathItem, tag: &str) -> (String, Value) {
    let mut out = Map::new();
    for operation in &item.operations {
        out.insert(operation.method.to_owned(), one(operation, tag));
    }
    if !item.in_path.is_empty() {
        let parameters = item.in_path.iter().map(|name| {
            json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "uniqueItems": true}})
        });
        out.insert("parameters".into(), parameters.collect());
    }
    (item.path.clone(), Value::Object(out))
}

fn one(operation: &Operation, tag: &str) -> Value {
    let content = |name: &String, types: &[&str]| -> Value {
        let schema = Flavour::V3.reference(name);
        Value::Object(types.iter().map(|media| ((*media).to_owned(), json!({"schema": schema}))).collect())
    };
    let answer = match &operation.answers {
        Some(name) => json!({"description": "OK", "content": content(name, MEDIA_TYPES)}),
        None => json!({"description": "OK", "content": {"*/*": {"schema": {"type": "string"}}}}),
    };
    let mut responses = Map::new();
    responses.insert("200".into(), answer.clone());
    if matches!(operation.action, "post" | "put" | "patch") {
        responses.insert("201".into(), Value::Object(with_description(&answer, "Created")));
    }
    responses.insert("401".into(), json!({"description": "Unauthorized"}));
    let mut out = json!({
        "tags": [tag],
        "operationId": operation.id,
        "parameters": operation.parameters.iter().map(parameter).collect::<Vec<_>>(),
        "responses": responses,
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": kind(&operation.kind),
    });
    if let Some(name) = &operation.takes {
        let media = if name == PATCH { operation.patches(PATCH_TYPES) } else { vec!["*/*"] };
        out["requestBody"] = json!({"content": content(name, &media), "required": operation.method != "delete"});
    }
    out
}

fn with_description(answer: &Value, word: &str) -> Map<String, Value> {
    let mut answer = answer.as_object().cloned().unwrap_or_default();
    answer.insert("description".into(), word.into());
    answer
}

fn parameter(parameter: &Parameter) -> Value {
    json!({"name": parameter.name, "in": "query", "schema": {"type": parameter.kind, "uniqueItems": true}})
}

/// A kind as an extension names it.
pub(super) fn kind(kind: &GroupVersionKind) -> Value {
    json!({"group": kind.group, "version": kind.version, "kind": kind.kind})
}
