//! deletecollection: every selected object, one by one (upstream: registry/store.go `DeleteCollection`).

use apimachinery::StatusError;
use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::delete::delete_object;
use super::options::{DeleteOptions, ListOptions};
use super::selection::Selection;
use super::{Cx, answer, convert, decode, list};
use crate::body::Body;

/// Deletes the selected objects and answers with them as a list.
pub async fn delete_collection(cx: &Cx, body: &Bytes) -> Result<Response<Body>, StatusError> {
    let options = DeleteOptions::parse(decode::delete_options(cx, body)?, &cx.query)?;
    let list_options = ListOptions::parse(&cx.query, false)?;
    let selection = Selection::parse(&cx.row, &cx.info, &list_options)?;
    let page = list::selected(cx, &selection, &list_options).await?;
    let mut items: Vec<Value> = Vec::with_capacity(page.entries.len());
    for entry in &page.entries {
        let object = convert::current(&cx.server, &cx.row, entry).await?;
        match delete_object(cx, object.namespace(), object.name(), &options).await {
            Ok(_) => items.push(object.into_value()),
            // Somebody else was faster; it is gone all the same.
            Err(error) if error.reason == "NotFound" => {}
            Err(error) => return Err(error),
        }
    }
    let list = json!({
        "kind": cx.row.list_kind(), "apiVersion": cx.row.gvk.api_version(),
        "metadata": { "resourceVersion": page.revision.to_string() }, "items": items,
    });
    answer::other(cx, StatusCode::OK, &list)
}
