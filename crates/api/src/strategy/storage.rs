//! Storage classes and CSI drivers (upstream: pkg/apis/storage/v1/defaults.go, pkg/apis/storage/validation).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};

use crate::check::{self, Errors};
use crate::json::{Read, Write};
use crate::resource::{Generation, Strategy};

/// The strategy of storage classes.
pub(crate) struct StorageClass;

impl Strategy for StorageClass {
    fn default(&self, object: &mut Object) {
        object.default_to("reclaimPolicy", "Delete");
        object.default_to("volumeBindingMode", "Immediate");
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let path = Path::default();
        check::required(&mut errors, &object.0, "provisioner", &path);
        check::one_of(&mut errors, &object.0, "reclaimPolicy", &["Delete", "Retain"], &path);
        let modes = ["Immediate", "WaitForFirstConsumer"];
        check::one_of(&mut errors, &object.0, "volumeBindingMode", &modes, &path);
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        for field in ["parameters", "provisioner"] {
            if object.value(field) != old.value(field) {
                errors.push(Error::forbidden(&Path::new(field), format!("updates to {field} are forbidden.")));
            }
        }
        if object.value("reclaimPolicy") != old.value("reclaimPolicy") {
            errors.push(Error::forbidden(&Path::new("reclaimPolicy"), "updates to reclaimPolicy are forbidden."));
        }
        let path = Path::new("volumeBindingMode");
        check::immutable(&mut errors, object.value("volumeBindingMode"), old.value("volumeBindingMode"), &path);
        errors
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}

/// The strategy of CSI drivers.
pub(crate) struct CsiDriver;

impl Strategy for CsiDriver {
    fn default(&self, object: &mut Object) {
        let Some(spec) = object.object_made("spec") else { return };
        spec.default_to("attachRequired", true);
        spec.default_to("podInfoOnMount", false);
        spec.default_to("storageCapacity", false);
        spec.default_to("fsGroupPolicy", "ReadWriteOnceWithFSType");
        if spec.list("volumeLifecycleModes").is_empty() {
            spec.insert("volumeLifecycleModes".into(), vec!["Persistent"].into());
        }
        spec.default_to("requiresRepublish", false);
        spec.default_to("seLinuxMount", false);
    }
}
