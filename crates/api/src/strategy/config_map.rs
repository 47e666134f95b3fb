//! ConfigMaps (upstream: `ValidateConfigMap`).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::{Map, Value};

use crate::check::{self, Errors, names};
use crate::json::Read;
use crate::resource::{Generation, Strategy};

/// The strategy of ConfigMaps.
pub(crate) struct ConfigMap;

/// All values of a ConfigMap or a Secret together.
pub(super) const MAX_SIZE: usize = 1024 * 1024;

impl Strategy for ConfigMap {
    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (data, binary) = (object.object("data"), object.object("binaryData"));
        keys(&mut errors, data, &Path::new("data"));
        keys(&mut errors, binary, &Path::new("binaryData"));
        for key in data.keys().filter(|key| binary.contains_key(*key)) {
            let path = Path::new("data").key(key);
            errors.push(Error::invalid(&path, key.as_str(), "duplicate of key present in binaryData"));
        }
        let text: usize = data.values().filter_map(Value::as_str).map(str::len).sum();
        if text + binary.values().filter_map(Value::as_str).map(decoded_len).sum::<usize>() > MAX_SIZE {
            // Upstream names the field "", which reads so.
            errors.push(Error::too_long(&Path::default().key(""), MAX_SIZE));
        }
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        sealed(object, old, &["data", "binaryData"])
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}

/// Keys are file names.
pub(super) fn keys(errors: &mut Errors, data: &Map<String, Value>, path: &Path) {
    for key in data.keys() {
        check::named(errors, names::config_map_key, key, &path.key(key));
    }
}

/// The number of bytes that a base64 text stands for.
pub(super) fn decoded_len(base64: &str) -> usize {
    base64.trim_end_matches('=').len() * 3 / 4
}

/// Once `immutable`, always so, and the data stay.
pub(super) fn sealed(object: &Object, old: &Object, fields: &[&str]) -> Errors {
    let mut errors = Errors::new();
    if !old.flag("immutable") {
        return errors;
    }
    let detail = "field is immutable when `immutable` is set";
    if !object.flag("immutable") {
        errors.push(Error::forbidden(&Path::new("immutable"), detail));
    }
    for field in fields {
        if object.object(field) != old.object(field) {
            errors.push(Error::forbidden(&Path::new(field), detail));
        }
    }
    errors
}
