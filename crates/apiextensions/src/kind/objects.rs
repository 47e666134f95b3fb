//! The strategy of custom resources (upstream: apiextensions-apiserver/pkg/registry/customresource/strategy.go,
//! status_strategy.go, validator.go).

use api::resource::{Generation, Strategy, WriteContext};
use apimachinery::Object;
use apimachinery::field::{Error, ErrorType, Path};
use apimachinery::validation;
use serde_json::{Map, Value};

use super::{Compiled, Kind};
use crate::definition::Scale;
use crate::values::{Validator, validate_lists};
use crate::{metadata, schema::Schema};

impl Strategy for Kind {
    fn default(&self, object: &mut Object) {
        let (compiled, gvk) = (self.compiled(), &self.member().gvk);
        compiled.prune(gvk, object);
        compiled.set_defaults(gvk, object);
    }

    fn validate(&self, object: &Object) -> Vec<Error> {
        let compiled = self.compiled();
        let value = Value::Object(object.0.clone());
        let mut errors = Vec::new();
        if let Some(schema) = &compiled.schema {
            errors.extend(Validator::new(&compiled.patterns).validate(schema, &value, &Path::default()));
        }
        self.scale(object, true, &mut errors);
        compiled.embedded(&object.0, &mut errors);
        errors.extend(compiled.repeated(&object.0));
        compiled.rules(&value, None, &mut errors);
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<Error> {
        self.judge_update(object, old).0
    }

    fn judge_update(&self, object: &Object, old: &Object) -> (Vec<Error>, Vec<String>) {
        let compiled = self.compiled();
        let (value, before) = (Value::Object(object.0.clone()), Value::Object(old.0.clone()));
        let mut errors = Vec::new();
        if let Some(schema) = &compiled.schema {
            let validator = Validator::new(&compiled.patterns);
            errors.extend(validator.validate_update(schema, &value, &before, &Path::default()));
        }
        self.scale(object, true, &mut errors);
        compiled.embedded(&object.0, &mut errors);
        if compiled.repeated(&old.0).is_empty() {
            errors.extend(compiled.repeated(&object.0));
        }
        let warnings = compiled.rules(&value, Some(&before), &mut errors);
        (errors, warnings)
    }

    fn judges_updates_alone(&self) -> bool {
        true
    }

    fn status_keeps_metadata(&self) -> bool {
        true
    }

    fn validate_status_update(&self, object: &Object, old: &Object) -> Vec<Error> {
        self.judge_status(object, old).0
    }

    fn judge_status_update(&self, _cx: &WriteContext<'_>, object: &Object, old: &Object) -> (Vec<Error>, Vec<String>) {
        self.judge_status(object, old)
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn generation(&self) -> Generation {
        if self.member().has_status { Generation::Content } else { Generation::All }
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        // Only those that are new are told of: at create all are.
        if !object.resource_version().is_empty() {
            return Vec::new();
        }
        object.finalizers().flat_map(doubtful_finalizer).collect()
    }
}

impl Compiled {
    fn embedded(&self, map: &Map<String, Value>, errors: &mut Vec<Error>) {
        if let Some(schema) = self.embedding() {
            metadata::validate(schema, map, &Path::default(), errors);
        }
    }

    /// Items of sets and list maps that are there twice.
    fn repeated(&self, map: &Map<String, Value>) -> Vec<Error> {
        let mut errors = Vec::new();
        if let Some(schema) = self.schema.as_deref().filter(|_| self.has_lists) {
            let schema: &Schema = schema;
            validate_lists(schema, map, &Path::default(), &mut errors);
        }
        errors
    }

    /// Expressions are judged on objects of the right structure only. Answers warnings.
    fn rules(&self, value: &Value, old: Option<&Value>, errors: &mut Vec<Error>) -> Vec<String> {
        let Some(rules) = &self.rules else { return Vec::new() };
        let blocks = |error: &Error| {
            use ErrorType::{NotSupported, Required, TooLong, TooMany, TypeInvalid};
            matches!(error.kind, NotSupported | Required | TooLong | TooMany | TypeInvalid)
        };
        if errors.iter().any(blocks) {
            let words = "some validation rules were not checked because the object was invalid; correct the existing \
                         errors to complete validation";
            errors.push(Error::invalid(&Path::default(), "null", words));
            return Vec::new();
        }
        let found = rules.judge(&Path::default(), value, old);
        errors.extend(found.errors);
        found.warnings
    }
}

impl Kind {
    /// The rules of a write of `/status`, and what is let pass with a warning.
    fn judge_status(&self, object: &Object, old: &Object) -> (Vec<Error>, Vec<String>) {
        let compiled = self.compiled();
        let mut errors = Vec::new();
        let status = compiled.schema.as_ref().and_then(|schema| schema.properties.get("status"));
        if let (Some(schema), Some(status)) = (status, object.0.get("status")) {
            let (validator, path) = (Validator::new(&compiled.patterns), Path::new("status"));
            errors.extend(match old.0.get("status") {
                Some(old) => validator.validate_update(schema, status, old, &path),
                None => validator.validate(schema, status, &path),
            });
        }
        self.scale(object, false, &mut errors);
        let repeated = compiled.repeated(&object.0);
        if !repeated.is_empty() && compiled.repeated(&old.0).is_empty() {
            errors.extend(repeated);
        }
        let mut warnings = Vec::new();
        if compiled.rules.is_some() {
            let (value, before) = (Value::Object(object.0.clone()), Value::Object(old.0.clone()));
            warnings = compiled.rules(&value, Some(&before), &mut errors);
        }
        (errors, warnings)
    }

    /// The values behind `/scale` have their form, whatever the schema says.
    fn scale(&self, object: &Object, with_spec: bool, errors: &mut Vec<Error>) {
        let Some(Scale { spec_replicas_path, status_replicas_path, label_selector_path }) = &self.member().scale else {
            return;
        };
        let paths = [(spec_replicas_path, with_spec), (status_replicas_path, true)];
        for (path, _) in paths.into_iter().filter(|(_, wanted)| *wanted) {
            errors.extend(wrong_replicas(object, path));
        }
        if let Some(path) = label_selector_path
            && let Some(value) = at(object, path).filter(|value| !value.is_string())
        {
            errors.push(Error::invalid(&Path::new(path), "", accessor(path, value, "string")));
        }
    }
}

fn at<'o>(object: &'o Object, path: &str) -> Option<&'o Value> {
    let steps: Vec<&str> = path.trim_start_matches('.').split('.').collect();
    object.at(&steps)
}

fn wrong_replicas(object: &Object, path: &str) -> Option<Error> {
    let value = at(object, path)?;
    let field = Path::new(path);
    match value.as_i64() {
        None => Some(Error::invalid(&field, 0, accessor(path, value, "int64"))),
        Some(number) if number < 0 => Some(Error::invalid(&field, number, "should be a non-negative integer")),
        Some(number) if number > i64::from(i32::MAX) => {
            Some(Error::invalid(&field, number, format!("should be less than or equal to {}", i32::MAX)))
        }
        Some(_) => None,
    }
}

/// As Go tells of a value of another type.
fn accessor(path: &str, value: &Value, wanted: &str) -> String {
    let (shown, kind) = match value {
        Value::Null => ("<nil>".to_owned(), "<nil>"),
        Value::Bool(value) => (value.to_string(), "bool"),
        Value::Number(number) => (number.to_string(), if number.is_f64() { "float64" } else { "int64" }),
        Value::String(text) => (text.clone(), "string"),
        Value::Array(_) => (value.to_string(), "[]interface {}"),
        Value::Object(_) => (value.to_string(), "map[string]interface {}"),
    };
    format!("{path} accessor error: {shown} is of the type {kind}, expected {wanted}")
}

/// Upstream: `validateKubeFinalizerName`.
fn doubtful_finalizer(finalizer: &str) -> Vec<String> {
    let tell = |words: &str| format!("metadata.finalizers: {finalizer:?}: {words}");
    let mut warnings: Vec<String> = validation::qualified_name(finalizer).iter().map(|words| tell(words)).collect();
    let is_standard = matches!(finalizer, "orphan" | "foregroundDeletion" | "kubernetes");
    if !finalizer.contains('/') && !is_standard {
        let with_path = if finalizer.contains('.') { " including a path (/)" } else { "" };
        let words = format!(
            "prefer a domain-qualified finalizer name{with_path} to avoid accidental conflicts with other finalizer writers"
        );
        warnings.push(tell(&words));
    }
    warnings
}
