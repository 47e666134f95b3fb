//! Volume attachments.

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::{Map, Value};

use super::driver_name;
use crate::check::{self, Errors, names};
use crate::json::Read;
use crate::resource::{Generation, Strategy};

/// The strategy of volume attachments.
pub(crate) struct VolumeAttachment;

impl Strategy for VolumeAttachment {
    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (spec, path) = (object.object("spec"), Path::new("spec"));
        driver_name(&mut errors, spec.text("attacher"), &path.child("attacher"));
        source(&mut errors, spec.object("source"), &path.child("source"));
        check::required_name(&mut errors, names::dns1123_subdomain, spec, "nodeName", &path);
        errors.extend(self.validate_status_update(object, object));
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        check::immutable(&mut errors, object.value("spec"), old.value("spec"), &Path::new("spec"));
        errors
    }

    fn validate_status_update(&self, object: &Object, _old: &Object) -> Vec<field::Error> {
        const LONGEST: usize = 1024 * 256;
        let mut errors = Errors::new();
        let (status, path) = (object.object("status"), Path::new("status"));
        for field in ["attachError", "detachError"] {
            let error = status.object(field);
            if error.text("message").len() > LONGEST {
                errors.push(Error::too_long(&path.child(field).child("message"), LONGEST));
            }
            check::not_negative(&mut errors, error, "errorCode", &path.child(field));
        }
        errors
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}

fn source(errors: &mut Errors, source: &Map<String, Value>, path: &Path) {
    match (source.has("inlineVolumeSpec"), source.has("persistentVolumeName")) {
        (false, false) => {
            let detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
            errors.push(Error::required(path, detail));
        }
        (true, true) => {
            let detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
            errors.push(Error::forbidden(path, detail));
        }
        (false, true) if source.text("persistentVolumeName").is_empty() => {
            errors.push(Error::required(
                &path.child("persistentVolumeName"),
                "must specify non empty persistentVolumeName",
            ));
        }
        _ => {}
    }
}
