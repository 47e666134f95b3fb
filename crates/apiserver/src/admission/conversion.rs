//! The objects of a request in other versions of their kind, as webhooks and policies ask for them
//! (upstream: admission/conversion.go `VersionedAttributes`).
//!
//! Built-in kinds are converted on the spot. Custom ones may need their conversion webhook: it is asked for the object
//! and the old object at once, and what it answered is remembered until the request ends, so that ten policies on the
//! same version cost one call.

use api::Resource;
use apimachinery::{GroupVersionKind, Object, StatusError};
use parking_lot::Mutex;

use super::Request;
use crate::custom;
use crate::registry::convert;

/// So many conversions of one request are remembered.
const MOST: usize = 8;

/// What a request's objects were converted to.
#[derive(Default)]
pub struct Conversions {
    made: Mutex<Vec<Made>>,
}

struct Made {
    to: GroupVersionKind,
    from: Object,
    converted: Object,
}

impl Conversions {
    fn of(&self, to: &GroupVersionKind, from: &Object) -> Option<Object> {
        let made = self.made.lock();
        made.iter().find(|made| made.to == *to && made.from == *from).map(|made| made.converted.clone())
    }

    fn add(&self, to: &GroupVersionKind, from: Vec<Object>, converted: Vec<Object>) {
        let mut made = self.made.lock();
        let excess = (made.len() + from.len()).saturating_sub(MOST).min(made.len());
        made.drain(..excess);
        let pairs = from.into_iter().zip(converted);
        made.extend(pairs.map(|(from, converted)| Made { to: to.clone(), from, converted }));
    }
}

impl Request<'_> {
    /// Whether an object of the request has another form as the row serves it.
    fn differs(&self, row: &Resource, object: &Object) -> bool {
        row.gvk != self.row.gvk && matches!(self.subresource, "" | "status") && object.kind() == self.row.gvk.kind
    }

    /// Has the request's objects converted to the row's version, where somebody must be asked for that:
    /// [`Self::shown`] answers at once then.
    pub async fn prepare(&self, row: &Resource) -> Result<(), StatusError> {
        if row.custom.is_none() {
            return Ok(());
        }
        let objects = [&self.object, &self.old].into_iter().flatten();
        let needed = objects.filter(|object| self.differs(row, object));
        let missing: Vec<Object> =
            needed.filter(|object| self.conversions.of(&row.gvk, object).is_none()).cloned().collect();
        if missing.is_empty() {
            return Ok(());
        }
        let converted = custom::convert::between(&self.cx.server, row, missing.clone()).await?;
        self.conversions.add(&row.gvk, missing, converted);
        Ok(())
    }

    /// An object of the request in the row's version.
    pub fn shown(&self, row: &Resource, object: &Object) -> Object {
        if !self.differs(row, object) {
            return object.clone();
        }
        if row.custom.is_some() {
            return self.conversions.of(&row.gvk, object).unwrap_or_else(|| object.clone());
        }
        convert::to_served(row, convert::to_stored(self.row, object.clone()))
    }

    /// An object that was changed in the row's version, in the request's own.
    pub async fn own(&self, row: &Resource, changed: Object) -> Result<Object, StatusError> {
        if row.gvk == self.row.gvk || !matches!(self.subresource, "" | "status") {
            return Ok(changed);
        }
        if row.custom.is_none() {
            return Ok(convert::to_served(self.row, convert::to_stored(row, changed)));
        }
        let converted = custom::convert::between(&self.cx.server, self.row, vec![changed]).await?;
        converted.into_iter().next().ok_or_else(|| StatusError::internal("a conversion answered nothing"))
    }
}
