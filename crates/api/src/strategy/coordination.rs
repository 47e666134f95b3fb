//! Leases (upstream: pkg/apis/coordination/validation/validation.go).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};

use crate::check::{self, Errors, names};
use crate::json::Read;
use crate::resource::{Generation, Strategy};

/// The strategy of leases.
pub(crate) struct Lease;

impl Strategy for Lease {
    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (spec, path) = (object.object("spec"), Path::new("spec"));
        if let Some(seconds) = spec.int("leaseDurationSeconds")
            && seconds <= 0
        {
            errors.push(Error::invalid(&path.child("leaseDurationSeconds"), seconds, "must be greater than 0"));
        }
        check::not_negative(&mut errors, spec, "leaseTransitions", &path);
        if spec.has("strategy") {
            check::named(&mut errors, names::qualified_name, spec.text("strategy"), &path.child("strategy"));
        }
        if spec.has("preferredHolder") && !spec.has("strategy") {
            let (holder, path) = (spec.text("preferredHolder"), path.child("preferredHolder"));
            errors.push(Error::forbidden(&path, format!("must be empty if `strategy` is not set (is {holder:?})")));
        }
        errors
    }

    fn allow_create_on_update(&self) -> bool {
        true
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}
