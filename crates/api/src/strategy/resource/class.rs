//! Device classes.

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use apimachinery::resources::is_extended;

use super::request;
use crate::check::Errors;
use crate::json::Read;
use crate::resource::Strategy;

/// As many configurations a class may have.
const MAX_CONFIGURATIONS: usize = 32;

/// The strategy of device classes.
pub(crate) struct DeviceClass;

impl Strategy for DeviceClass {
    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (spec, path) = (object.object("spec"), Path::new("spec"));
        request::selectors(&mut errors, spec.list("selectors"), &path.child("selectors"));
        let (config, path) = (spec.list("config"), path.child("config"));
        if config.len() > MAX_CONFIGURATIONS {
            errors.push(Error::too_many(&path, config.len(), MAX_CONFIGURATIONS));
        }
        for (index, one) in config.iter().enumerate() {
            request::configuration(&mut errors, one, &path.index(index));
        }
        let name = spec.text("extendedResourceName");
        if spec.has("extendedResourceName") && !is_extended(name) {
            let path = Path::new("spec").child("extendedResourceName");
            errors.push(Error::invalid(&path, name, "must be a valid extended resource name"));
        }
        errors
    }
}
