//! Volume attachments.

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::{Map, Value};

use super::super::volume;
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
        check::named(&mut errors, names::dns1123_subdomain, spec.text("nodeName"), &path.child("nodeName"));
        errors.extend(self.validate_status_update(object, object));
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        check::same_spec(object, old)
    }

    fn status_keeps_metadata(&self) -> bool {
        true
    }

    fn validate_status_update(&self, object: &Object, _old: &Object) -> Vec<field::Error> {
        const LONGEST: usize = 1024 * 256;
        let mut errors = Errors::new();
        let (status, path) = (object.object("status"), Path::new("status"));
        let metadata = status.object("attachmentMetadata").iter();
        if metadata.map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum::<usize>() > LONGEST {
            errors.push(Error::too_long(&path.child("attachmentMetadata"), LONGEST));
        }
        for field in ["attachError", "detachError"] {
            let error = status.object(field);
            if error.text("message").len() > LONGEST {
                errors.push(Error::too_long(&path.child(field).child("message"), LONGEST));
            }
            if let Some(code) = error.int("errorCode").filter(|code| *code < 0) {
                let path = path.child(field).child("errorCode");
                errors.push(Error::invalid(&path, code, names::inclusive_range_error(0, i64::from(i32::MAX))));
            }
        }
        errors
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }

    fn allow_unconditional_update(&self) -> bool {
        false
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
        (false, true) => {}
        (true, false) => {
            volume::inline_volume(errors, source.object("inlineVolumeSpec"), &path.child("inlineVolumeSpec"));
        }
    }
}
