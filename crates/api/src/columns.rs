//! The columns of `kubectl get`, one file a family of kinds (upstream: pkg/printers/internalversion/printers.go).

use std::sync::Arc;

use apimachinery::Object;
use jiff::Timestamp;
use serde_json::Value;

use crate::resource::Column;

mod cluster;
mod duration;
mod events;
mod jobs;
mod network;
mod nodes;
mod pods;
mod policy;
mod storage;
mod text;
mod workloads;

pub(crate) use cluster::*;
pub(crate) use events::*;
pub(crate) use jobs::*;
pub(crate) use network::*;
pub(crate) use nodes::*;
pub(crate) use pods::*;
pub(crate) use policy::*;
pub(crate) use storage::*;
pub(crate) use workloads::*;

pub use duration::human_duration;

/// A column that is always shown.
fn col<F>(name: &str, kind: &'static str, cell: F) -> Column
where
    F: Fn(&Object, Timestamp) -> Value + Send + Sync + 'static,
{
    Column { name: name.to_owned(), kind, format: "", priority: 0, description: None, cell: Arc::new(cell) }
}

/// A text column.
fn string<F, T>(name: &str, cell: F) -> Column
where
    F: Fn(&Object) -> T + Send + Sync + 'static,
    T: Into<Value>,
{
    col(name, "string", move |object, _| cell(object).into())
}

/// A column of whole numbers.
fn integer<F, T>(name: &str, cell: F) -> Column
where
    F: Fn(&Object) -> T + Send + Sync + 'static,
    T: Into<Value>,
{
    col(name, "integer", move |object, _| cell(object).into())
}

/// The same column, announced as text: upstream calls many numbers so.
fn as_text(column: Column) -> Column {
    Column { kind: "string", ..column }
}

/// The same column, shown with `-o wide` alone.
fn wide(column: Column) -> Column {
    Column { priority: 1, ..column }
}

/// The name column.
fn name() -> Column {
    Column { format: "name", ..string("Name", |object| object.name().to_owned()) }
}

/// How long ago the object was made.
fn age() -> Column {
    col("Age", "string", |object, now| duration::since(object.meta_str("creationTimestamp"), now).into())
}

/// When the object was made.
fn created_at() -> Column {
    col("Created At", "date", |object, _| object.meta_str("creationTimestamp").into())
}

/// What a kind without columns of its own shows: name and creation time
/// (upstream: apiserver/pkg/registry/rest/table.go).
pub(crate) fn basic() -> Vec<Column> {
    vec![name(), created_at()]
}

/// Name and age.
pub(crate) fn named() -> Vec<Column> {
    vec![name(), age()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RESOURCES;

    /// The cells of a row, those of `-o wide` after a bar.
    pub(super) fn row(columns: &[Column], object: Value) -> String {
        let object = Object::from_value(object).expect("an object");
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().expect("a time");
        let cells = |priority: i32| {
            let cells = columns.iter().filter(move |column| column.priority == priority);
            let texts = cells.map(|column| match (column.cell)(&object, now) {
                Value::String(text) => text,
                other => other.to_string(),
            });
            texts.collect::<Vec<_>>().join("  ")
        };
        format!("{} | {}", cells(0), cells(1))
    }

    #[test]
    fn every_cell_can_be_made_of_an_empty_object() {
        for resource in RESOURCES.iter() {
            assert!(!resource.columns.is_empty());
            row(&resource.columns, serde_json::json!({}));
            row(&resource.columns, serde_json::json!({"metadata": 1, "spec": [], "status": "x"}));
        }
    }
}
