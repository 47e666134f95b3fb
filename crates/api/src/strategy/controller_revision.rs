//! Controller revisions: history that nobody rewrites (upstream: `ValidateControllerRevision`).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};

use crate::check::{self, Errors};
use crate::json::Read;
use crate::resource::{Generation, Strategy};

/// The strategy of controller revisions.
pub(crate) struct ControllerRevision;

impl Strategy for ControllerRevision {
    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        if !object.has("data") {
            errors.push(Error::required(&Path::new("data"), "data is mandatory"));
        }
        check::not_negative(&mut errors, &object.0, "revision", &Path::default());
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        check::immutable(&mut errors, object.value("data"), old.value("data"), &Path::new("data"));
        errors
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn data_stay() {
        let revision = |data| Object::from_value(json!({"revision": 1, "data": data})).expect("an object");
        assert!(ControllerRevision.validate(&revision(json!({"a": 1}))).is_empty());
        let errors = ControllerRevision.validate_update(&revision(json!({"a": 2})), &revision(json!({"a": 1})));
        assert_eq!(errors[0].to_string(), r#"data: Invalid value: {"a":2}: field is immutable"#);
    }
}
