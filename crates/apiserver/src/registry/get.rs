//! get: one object, as its canonical bytes (upstream: endpoints/handlers/get.go).

use apimachinery::StatusError;
use http::{Response, StatusCode};

use super::options::revision;
use super::{Cx, answer};
use crate::body::Body;
use crate::status;

/// Answers with the object that the path names.
pub async fn get(cx: &Cx) -> Result<Response<Body>, StatusError> {
    if let Some(asked) = revision(cx.query.get("resourceVersion").unwrap_or_default())? {
        let newest = cx.registry().store().revision();
        if asked > newest {
            return Err(status::too_large_revision(asked, newest));
        }
    }
    let entry = cx.registry().entry(&cx.row, &cx.info.namespace, &cx.info.name).await?;
    answer::object(cx, StatusCode::OK, &entry.finished.value).await
}
