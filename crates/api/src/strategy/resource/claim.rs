//! Resource claims and their templates.

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};

use super::{allocation, disabled, request};
use crate::check::{self, Errors};
use crate::json::{Read, Write};
use crate::resource::{Generation, Strategy, WriteContext};

/// As many consumers a claim may have.
const MAX_CONSUMERS: usize = 256;

/// The strategy of resource claims.
pub(crate) struct ResourceClaim;

impl Strategy for ResourceClaim {
    fn default(&self, object: &mut Object) {
        if let Some(spec) = object.object_at("spec") {
            request::default_claim(spec);
        }
    }

    fn prepare_for_create(&self, cx: &WriteContext<'_>, object: &mut Object) {
        self.prepare_for_update(cx, object, &Object::default());
    }

    fn prepare_for_update(&self, _cx: &WriteContext<'_>, object: &mut Object, old: &Object) {
        if let Some(spec) = object.object_at("spec") {
            disabled::claim(spec, old.object("spec"));
        }
    }

    fn prepare_for_status_update(&self, _cx: &WriteContext<'_>, object: &mut Object, old: &Object) {
        if let Some(status) = object.object_at("status") {
            disabled::claim_status(status, old.object("status"));
            allocation::forget_given_back(status, old.object("status"));
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        request::claim(&mut errors, object.object("spec"), &Path::new("spec"));
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        check::same_spec(object, old)
    }

    fn judges_updates_alone(&self) -> bool {
        true
    }

    fn status_keeps_metadata(&self) -> bool {
        true
    }

    /// Who uses a claim has it; an allocation stays until nobody does.
    fn validate_status_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (spec, path) = (old.object("spec"), Path::new("status"));
        let (new, old) = (object.object("status"), old.object("status"));
        let consumers = new.list("reservedFor");
        if consumers.len() > MAX_CONSUMERS {
            errors.push(Error::too_many(&path.child("reservedFor"), consumers.len(), MAX_CONSUMERS));
        }
        for (index, consumer) in consumers.iter().enumerate() {
            let path = path.child("reservedFor").index(index);
            for field in ["resource", "name", "uid"] {
                check::required(&mut errors, consumer.fields(), field, &path);
            }
            if consumers[..index].iter().any(|other| other.text("uid") == consumer.text("uid")) {
                errors.push(Error::duplicate(&path.child("uid"), consumer.text("uid")));
            }
        }
        allocation::devices(&mut errors, new, &path);
        let adds = consumers.iter().any(|consumer| !old.list("reservedFor").contains(consumer));
        if !consumers.is_empty() && !new.has("allocation") {
            let detail = "may not be specified when `allocated` is not set";
            errors.push(Error::forbidden(&path.child("reservedFor"), detail));
        } else if object.is_deleting() && adds {
            let detail = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
            errors.push(Error::forbidden(&path.child("reservedFor"), detail));
        }
        if old.has("allocation") && new.has("allocation") {
            let (new, old) = (new.value("allocation"), old.value("allocation"));
            check::immutable(&mut errors, new, old, &path.child("allocation"));
        } else if new.has("allocation") {
            allocation::allocation(&mut errors, new.object("allocation"), spec, &path.child("allocation"));
        }
        errors
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}

/// The strategy of templates of claims.
pub(crate) struct ResourceClaimTemplate;

impl Strategy for ResourceClaimTemplate {
    fn default(&self, object: &mut Object) {
        if let Some(spec) = object.object_at("spec").and_then(|template| template.object_at("spec")) {
            request::default_claim(spec);
        }
    }

    fn prepare_for_create(&self, cx: &WriteContext<'_>, object: &mut Object) {
        self.prepare_for_update(cx, object, &Object::default());
    }

    fn prepare_for_update(&self, _cx: &WriteContext<'_>, object: &mut Object, old: &Object) {
        if let Some(spec) = object.object_at("spec").and_then(|template| template.object_at("spec")) {
            disabled::claim(spec, old.object("spec").object("spec"));
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let path = Path::new("spec").child("spec");
        request::claim(&mut errors, object.object("spec").object("spec"), &path);
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        check::same_spec(object, old)
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}
