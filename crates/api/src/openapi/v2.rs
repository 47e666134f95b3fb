//! Version 2: one document for all, for older clients.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::operations::{self, Operation, PATCH};
use super::schema::{Flavour, Writer};
use super::v3::kind;
use crate::custom::OpenApi;
use crate::resource::Resource;
use crate::schemas::Schemas;

const MEDIA_TYPES: &[&str] = &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const PATCH_TYPES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

/// The document of all rows.
pub(super) fn document(rows: &[Arc<Resource>], schemas: &Schemas) -> Value {
    let mut paths = Map::new();
    let mut names: Vec<String> = Vec::new();
    for row in rows {
        let tag = operations::tag(&row.gvk.group, &row.gvk.version);
        for item in operations::of(row) {
            let mut out = Map::new();
            for operation in &item.operations {
                names.extend(operation.takes.iter().chain(&operation.answers).cloned());
                out.insert(operation.method.to_owned(), one(operation, &tag));
            }
            if !item.in_path.is_empty() {
                let parameters = item.in_path.iter().map(
                    |name| json!({"name": name, "in": "path", "required": true, "type": "string", "uniqueItems": true}),
                );
                out.insert("parameters".into(), parameters.collect());
            }
            paths.insert(item.path, Value::Object(out));
        }
    }
    if rows.iter().any(|row| row.custom.is_some()) {
        names.extend(super::SHARED.map(str::to_owned));
    }
    let writer = Writer { schemas, flavour: Flavour::V2 };
    let mut definitions = Map::new();
    for name in writer.reachable(names) {
        if let Some(definition) = writer.definition(&name) {
            definitions.insert(name, definition);
        }
    }
    definitions.extend(rows.iter().filter_map(|row| row.custom.as_ref()).flat_map(|own| own.definitions(OpenApi::V2)));
    let bearer = json!({"type": "apiKey", "description": "Bearer Token authentication", "in": "header", "name": "authorization"});
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": super::VERSION},
        "paths": paths,
        "definitions": definitions,
        "securityDefinitions": {"BearerToken": bearer},
        "security": [{"BearerToken": []}],
    })
}

fn one(operation: &Operation, tag: &str) -> Value {
    let schema = operation.answers.as_ref().map_or(json!({"type": "string"}), |name| Flavour::V2.reference(name));
    let query = operation
        .parameters
        .iter()
        .map(|parameter| json!({"name": parameter.name, "in": "query", "type": parameter.kind, "uniqueItems": true}));
    let body = operation.takes.as_ref().map(|name| {
        json!({"name": "body", "in": "body", "required": operation.method != "delete", "schema": Flavour::V2.reference(name)})
    });
    let patches = operation.takes.as_deref() == Some(PATCH);
    let consumes = if patches { operation.patches(PATCH_TYPES) } else { vec!["*/*"] };
    json!({
        "tags": [tag],
        "schemes": ["https"],
        "operationId": operation.id,
        "consumes": consumes,
        "produces": MEDIA_TYPES,
        "parameters": body.into_iter().chain(query).collect::<Vec<_>>(),
        "responses": {"200": {"description": "OK", "schema": schema}, "401": {"description": "Unauthorized"}},
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": kind(&operation.kind),
    })
}
