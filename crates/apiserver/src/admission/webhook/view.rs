//! [`View`]: a request as one webhook gets to see it: the objects in the version that its rules name
//! (upstream: admission/conversion.go `VersionedAttributes`).

use std::sync::Arc;

use api::Resource;
use apimachinery::{GroupVersionKind, Object, StatusError};

use crate::admission::Request;
use crate::registry::scale;

/// The objects of a request in one version.
#[derive(Clone, Debug)]
pub struct View {
    /// The kind of the objects.
    pub kind: GroupVersionKind,
    /// The resource in whose version they are.
    pub row: Arc<Resource>,
    /// The object as it will be.
    pub object: Option<Object>,
    /// The object as it stands.
    pub old: Option<Object>,
}

impl View {
    /// The objects as `row` serves them; [`Request::prepare`] has been waited for.
    pub(super) fn new(request: &Request<'_>, row: &Arc<Resource>) -> Self {
        let shown = |object: &Object| show(request, row, object);
        let kind = match (request.subresource, row.gvk == request.row.gvk) {
            ("scale", _) => scale::kind(),
            (_, true) => request.kind(),
            (_, false) => row.gvk.clone(),
        };
        Self {
            kind,
            row: row.clone(),
            object: request.object.as_ref().map(shown),
            old: request.old.as_ref().map(shown),
        }
    }

    /// The object of a view, changed, as the request's own.
    pub(super) async fn take_back(&self, request: &Request<'_>, changed: Object) -> Result<Object, StatusError> {
        if let ("scale", Some(paths)) = (request.subresource, &request.row.subresources.scale) {
            let object = request.object.as_ref().cloned().unwrap_or_default();
            return scale::with_replicas(paths, &object, &changed);
        }
        request.own(&self.row, changed).await
    }
}

fn show(request: &Request<'_>, row: &Resource, object: &Object) -> Object {
    match (request.subresource, &request.row.subresources.scale) {
        ("scale", Some(paths)) => scale::scale_of(paths, object),
        _ => request.shown(row, object),
    }
}
