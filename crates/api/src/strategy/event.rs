//! Events of both versions (upstream: pkg/apis/core/validation/events.go).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};

use crate::check::Errors;
use crate::json::Read;
use crate::resource::{Generation, Strategy};

/// The strategy of events; the field names what the event is about.
pub(crate) struct Event(pub(crate) &'static str);

impl Strategy for Event {
    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let about = object.object(self.0).text("namespace");
        // Events about cluster-scoped objects live in `default`.
        let matches = if about.is_empty() {
            matches!(object.namespace(), "default" | "kube-system")
        } else {
            about == object.namespace()
        };
        if !matches {
            let path = Path::new(self.0).child("namespace");
            errors.push(Error::invalid(&path, about, "does not match event.namespace"));
        }
        errors
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }

    fn allow_create_on_update(&self) -> bool {
        true
    }
}
