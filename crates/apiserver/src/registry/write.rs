//! What all writes share: the draft on its way through admission, metadata rules, encoding.

use api::Resource;
use apimachinery::field::{self, Path};
use apimachinery::{GroupKind, Object, StatusError, meta};
use bytes::Bytes;

use super::Cx;
use crate::admission::conversion::Conversions;
use crate::admission::reinvocation::Reinvocation;
use crate::admission::{Operation, Request};
use crate::allocation::Reservation;

/// An object that is about to be written.
pub struct Draft<'a> {
    cx: &'a Cx,
    /// The object as it will be written.
    pub object: Object,
    /// The object as it stands, at an update.
    pub old: Option<Object>,
    dry_run: bool,
}

impl<'a> Draft<'a> {
    /// A new object.
    pub fn create(cx: &'a Cx, object: Object, dry_run: bool) -> Self {
        Self { cx, object, old: None, dry_run }
    }

    /// A changed object.
    pub fn update(cx: &'a Cx, object: Object, old: Object, dry_run: bool) -> Self {
        Self { cx, object, old: Some(old), dry_run }
    }

    /// What admission makes of an object that is not stored as it is: a binding, an eviction, a review.
    pub async fn admitted(cx: &'a Cx, object: Object) -> Result<Object, StatusError> {
        let mut draft = Self::create(cx, object, cx.dry_run()?);
        draft.mutate(Operation::Create).await?;
        draft.validate(Operation::Create).await?;
        Ok(draft.object)
    }

    /// Lets the mutating plugins work on the object.
    pub async fn mutate(&mut self, operation: Operation) -> Result<(), StatusError> {
        let mut request = self.request(operation);
        self.cx.server.admission.admit(&mut request).await?;
        self.object = request.object.unwrap_or_default();
        self.old = request.old;
        Ok(())
    }

    /// Lets the validating plugins judge the object.
    pub async fn validate(&mut self, operation: Operation) -> Result<(), StatusError> {
        let request = self.request(operation);
        let judged = self.cx.server.admission.validate(&request).await;
        self.object = request.object.unwrap_or_default();
        self.old = request.old;
        judged
    }

    /// Takes what the object needs from finite ranges: cluster IPs and node ports. Dry runs take nothing for good.
    pub async fn reserve(&mut self) -> Result<Reservation, StatusError> {
        let allocators = &self.cx.server.allocators;
        allocators.reserve(&self.cx.row, &mut self.object, self.old.as_ref(), self.dry_run)
    }

    fn request(&mut self, operation: Operation) -> Request<'a> {
        Request {
            cx: self.cx,
            row: &self.cx.row,
            operation,
            namespace: &self.cx.info.namespace,
            name: self.object.name().to_owned(),
            subresource: &self.cx.info.subresource,
            object: Some(std::mem::take(&mut self.object)),
            old: self.old.take(),
            dry_run: self.dry_run,
            reinvocation: Reinvocation::default(),
            conversions: Conversions::default(),
        }
    }
}

/// The largest object that is stored (upstream: etcd's `--max-request-bytes`).
const MAX_OBJECT_BYTES: usize = 1536 * 1024;

/// The bytes that are handed to the store: without a resourceVersion, which is the write's own.
pub fn encode(mut object: Object) -> Result<Bytes, StatusError> {
    object.metadata_mut().remove("resourceVersion");
    let bytes = Bytes::from(apimachinery::codec::encode(&object));
    if bytes.len() > MAX_OBJECT_BYTES {
        return Err(StatusError::too_large("etcdserver: request is too large"));
    }
    Ok(bytes)
}

/// The rules of metadata at create.
pub fn validate_metadata(row: &Resource, object: &Object) -> Vec<field::Error> {
    let path = Path::new("metadata");
    let mut errors = meta::validate_object_meta(object, row.is_namespaced(), |_, _| Vec::new(), &path);
    for (field, is_prefix) in [("generateName", true), ("name", false)] {
        let value = object.meta_str(field);
        if !value.is_empty() {
            let wrong = row.strategy.name_errors(value, is_prefix);
            errors.extend(wrong.into_iter().map(|words| field::Error::invalid(&path.child(field), value, words)));
        }
    }
    errors
}

/// The rules of metadata between two states.
pub fn validate_metadata_update(object: &Object, old: &Object) -> Vec<field::Error> {
    meta::validate_object_meta_update(object, old, &Path::new("metadata"))
}

/// A 422 that names every broken rule.
pub fn refuse_if_invalid(row: &Resource, name: &str, errors: &[field::Error]) -> Result<(), StatusError> {
    if errors.is_empty() { Ok(()) } else { Err(StatusError::invalid(&group_kind(row), name, errors)) }
}

/// An update that must say which state it changes (upstream: `AllowUnconditionalUpdate`).
pub fn version_required(row: &Resource, name: &str) -> StatusError {
    let path = Path::new("metadata").child("resourceVersion");
    StatusError::invalid(&group_kind(row), name, &[field::Error::invalid(&path, 0, "must be specified for an update")])
}

/// Group and kind of the row, as Status details name them.
pub fn group_kind(row: &Resource) -> GroupKind {
    GroupKind::new(row.gvk.group.clone(), row.gvk.kind.clone())
}
