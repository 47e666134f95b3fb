//! Tables and partial metadata: what `kubectl get` and metadata informers ask for
//! (upstream: endpoints/handlers/response.go, pkg/printers).

use api::Resource;
use apimachinery::{Object, StatusError};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::request::Query;

/// How much of each object a row carries (`includeObject`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Include {
    None,
    Metadata,
    Object,
}

/// How a table is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    version: &'static str,
    include: Include,
}

impl Style {
    /// Reads `includeObject`.
    pub fn parse(query: &Query, version: &'static str) -> Result<Self, StatusError> {
        let include = match query.get("includeObject") {
            None | Some("Metadata") => Include::Metadata,
            Some("None") => Include::None,
            Some("Object") => Include::Object,
            Some(other) => {
                return Err(StatusError::bad_request(format!("unrecognized includeObject value: {other:?}")));
            }
        };
        Ok(Self { version, include })
    }
}

/// A `meta.k8s.io` Table of these objects.
pub fn table(row: &Resource, style: &Style, metadata: Value, objects: &[Object], now: Timestamp) -> Value {
    let mut table = headless(row, style, metadata, objects, now);
    table["columnDefinitions"] = columns(row);
    table
}

/// A table without column definitions: every event of a watch but the first.
pub fn headless(row: &Resource, style: &Style, metadata: Value, objects: &[Object], now: Timestamp) -> Value {
    let mut objects: Vec<&Object> = objects.iter().collect();
    objects.sort_by_key(|object| row.strategy.row_rank(object));
    let rows: Vec<Value> = objects.into_iter().map(|object| table_row(row, style, object, now)).collect();
    json!({
        "kind": "Table", "apiVersion": format!("meta.k8s.io/{}", style.version), "metadata": metadata,
        "columnDefinitions": null, "rows": rows,
    })
}

fn columns(row: &Resource) -> Value {
    let columns = row.columns.iter().map(|column| {
        json!({
            "name": column.name, "type": column.kind, "format": column.format, "description": column.description.as_deref().unwrap_or(&column.name),
            "priority": column.priority,
        })
    });
    columns.collect()
}

fn table_row(row: &Resource, style: &Style, of: &Object, now: Timestamp) -> Value {
    let cells: Vec<Value> = row.columns.iter().map(|column| (column.cell)(of, now)).collect();
    let object = match style.include {
        Include::None => Value::Null,
        Include::Metadata => partial(of, style.version),
        Include::Object => Value::Object(of.0.clone()),
    };
    match row.strategy.row_conditions(of) {
        Value::Null => json!({ "cells": cells, "object": object }),
        conditions => json!({ "cells": cells, "conditions": conditions, "object": object }),
    }
}

/// The object's metadata as `PartialObjectMetadata`.
pub fn partial(object: &Object, version: &str) -> Value {
    let metadata = object.metadata().cloned().unwrap_or_else(Map::new);
    json!({ "kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata })
}
