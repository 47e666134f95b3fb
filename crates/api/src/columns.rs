//! The columns of `kubectl get`, one file a group (upstream: pkg/printers/internalversion/printers.go).

use std::sync::Arc;

use apimachinery::Object;
use jiff::Timestamp;
use serde_json::Value;

use crate::resource::Column;

/// A column that is always shown.
pub(crate) fn col<F>(name: &str, kind: &'static str, cell: F) -> Column
where
    F: Fn(&Object, Timestamp) -> Value + Send + Sync + 'static,
{
    Column { name: name.to_owned(), kind, format: "", priority: 0, cell: Arc::new(cell) }
}

/// A column of `-o wide`.
pub(crate) fn wide<F>(name: &str, kind: &'static str, cell: F) -> Column
where
    F: Fn(&Object, Timestamp) -> Value + Send + Sync + 'static,
{
    Column { priority: 1, ..col(name, kind, cell) }
}

/// The name column.
pub(crate) fn name() -> Column {
    Column { format: "name", ..col("Name", "string", |object, _| object.name().into()) }
}

/// What a kind without columns of its own shows: name and creation time
/// (upstream: apiserver/pkg/registry/rest/table.go).
pub(crate) fn basic() -> Vec<Column> {
    vec![name(), col("Created At", "date", |object, _| object.meta_str("creationTimestamp").into())]
}
