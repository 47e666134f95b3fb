//! Whether a value is as its schema says (upstream: k8s.io/kube-openapi/pkg/validation/validate, its words, and
//! apiextensions-apiserver/pkg/apiserver/validation for how they become field errors).
//!
//! At an update a part that did not change is not judged anew ("ratcheting"): an object that was valid under an older
//! schema stays writable. Parts are found again by name, and in lists by their keys.

mod formats;
mod lists;
mod scalars;

use std::collections::HashMap;
use std::fmt::Write as _;

use apimachinery::field::{Error, Path};
use regex::Regex;
use serde_json::Value;

use crate::schema::{Schema, SchemaOrBool};

pub(crate) use formats::is_known as is_known_format;
pub(crate) use lists::validate as validate_lists;

/// A schema that is ready to judge.
#[derive(Debug)]
pub(crate) struct Validator<'s> {
    patterns: &'s Patterns,
}

/// The compiled patterns of a schema.
#[derive(Debug, Default)]
pub(crate) struct Patterns(HashMap<String, Regex>);

impl Patterns {
    /// Compiles every pattern; what is no regular expression was refused with the definition and matches nothing.
    pub(crate) fn of(schema: &Schema) -> Self {
        let mut patterns = Self::default();
        patterns.collect(schema);
        patterns
    }

    fn collect(&mut self, schema: &Schema) {
        if !schema.pattern.is_empty()
            && let Ok(regex) = Regex::new(&schema.pattern)
        {
            self.0.insert(schema.pattern.clone(), regex);
        }
        schema.children().for_each(|child| self.collect(child));
    }
}

/// What was found: errors, and how many checks were made, by which the closest alternative is chosen.
#[derive(Debug, Default)]
struct Outcome {
    errors: Vec<Error>,
    checks: usize,
}

impl Outcome {
    fn merge(&mut self, other: Self) {
        self.errors.extend(other.errors);
        self.checks += other.checks;
    }
}

/// What a part was before the update.
#[derive(Clone, Copy, Debug)]
enum Old<'v> {
    /// Nobody knows: it is judged for itself.
    Unknown,
    /// This.
    Known(&'v Value),
}

/// A part of an object on its way through a schema.
#[derive(Clone, Copy)]
struct Part<'v, 's> {
    value: &'v Value,
    old: Old<'v>,
    /// The schema that gives the structure, where a nested one only narrows values.
    structure: Option<&'s Schema>,
}

impl<'s> Validator<'s> {
    pub(crate) fn new(patterns: &'s Patterns) -> Self {
        Self { patterns }
    }

    /// Judges a new value.
    pub(crate) fn validate(&self, schema: &Schema, value: &Value, root: &Path) -> Vec<Error> {
        let part = Part { value, old: Old::Unknown, structure: Some(schema) };
        rooted(self.part(schema, part, &mut String::new()).errors, root)
    }

    /// Judges what an update changed.
    pub(crate) fn validate_update(&self, schema: &Schema, value: &Value, old: &Value, root: &Path) -> Vec<Error> {
        let part = Part { value, old: Old::Known(old), structure: Some(schema) };
        rooted(self.part(schema, part, &mut String::new()).errors, root)
    }

    /// `path` grows and shrinks on the way: only an error makes a text of it.
    fn part(&self, schema: &Schema, part: Part<'_, '_>, path: &mut String) -> Outcome {
        let mut outcome = self.judge(schema, part, path);
        if !outcome.errors.is_empty()
            && let Old::Known(old) = part.old
            && old == part.value
        {
            outcome.errors.clear();
        }
        outcome
    }

    fn judge(&self, schema: &Schema, part: Part<'_, '_>, path: &mut String) -> Outcome {
        let mut outcome = Outcome::default();
        outcome.errors.extend(scalars::wrong_type(schema, part.value, path));
        outcome.checks += 1;
        if !part.value.is_null() {
            outcome.merge(self.alternatives(schema, part, path));
            match part.value {
                Value::String(text) => {
                    outcome.errors.extend(scalars::wrong_text(self.pattern(schema), schema, text, path));
                    outcome.errors.extend(formats::wrong_format(schema, text, path));
                }
                Value::Number(number) => scalars::wrong_number(schema, number, path, &mut outcome.errors),
                Value::Array(list) => outcome.merge(self.list(schema, part, list, path)),
                Value::Object(_) | Value::Bool(_) | Value::Null => {}
            }
            outcome.checks += 1;
        }
        outcome.errors.extend(scalars::not_in_enum(schema, part.value, path));
        if let Value::Object(map) = part.value {
            outcome.merge(self.object(schema, part, map, path));
        }
        outcome.checks += 1;
        outcome
    }

    fn pattern(&self, schema: &Schema) -> Option<&Regex> {
        self.patterns.0.get(&schema.pattern)
    }

    fn list(&self, schema: &Schema, part: Part<'_, '_>, list: &[Value], path: &mut String) -> Outcome {
        let mut outcome = Outcome::default();
        if let Some(items) = schema.item() {
            for (index, value) in list.iter().enumerate() {
                let structure = part.structure.and_then(Schema::item);
                let part = Part { value, old: lists::old_item(part.structure, part.old, value), structure };
                let length = path.len();
                // Writing to a String does not fail.
                let _ = write!(path, "[{index}]");
                outcome.merge(self.part(items, part, path));
                path.truncate(length);
            }
        }
        let size = list.len() as i64;
        if schema.min_items.is_some_and(|least| size < least) {
            let least = schema.min_items.unwrap_or_default();
            outcome.errors.push(broken(path, size, &format!("should have at least {least} items")));
        }
        if let Some(most) = schema.max_items.filter(|most| size > *most) {
            outcome.errors.push(Error::too_many(&at(path), list.len(), usize::try_from(most).unwrap_or_default()));
        }
        if schema.unique_items && list.iter().enumerate().any(|(index, value)| list[..index].contains(value)) {
            outcome.errors.push(broken(path, "", "shouldn't contain duplicates"));
        }
        outcome.checks += 1;
        outcome
    }

    fn object(
        &self,
        schema: &Schema,
        part: Part<'_, '_>,
        map: &serde_json::Map<String, Value>,
        path: &mut String,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let size = map.len() as i64;
        if let Some(least) = schema.min_properties.filter(|least| size < *least) {
            outcome.errors.push(broken(path, size, &format!("should have at least {least} properties")));
        }
        if let Some(most) = schema.max_properties.filter(|most| size > *most) {
            outcome.errors.push(Error::too_many(&at(path), map.len(), usize::try_from(most).unwrap_or_default()));
        }
        let additional = schema.additional_properties.as_deref();
        for (name, value) in map {
            match (schema.properties.get(name), additional) {
                (Some(child), _) | (None, Some(SchemaOrBool::Schema(child))) => {
                    let part = entry(part, name, value, path);
                    let length = path.len();
                    if length > 0 {
                        path.push('.');
                    }
                    path.push_str(name);
                    outcome.merge(self.part(child, part, path));
                    path.truncate(length);
                }
                (None, Some(SchemaOrBool::Bool(false))) => {
                    let words = format!("{path}.{name} in body is a forbidden property");
                    outcome.errors.push(Error::invalid(&at(path), "", words));
                }
                (None, Some(SchemaOrBool::Bool(true)) | None) => {}
            }
        }
        for name in schema.required.iter().filter(|name| !map.contains_key(*name)) {
            outcome.errors.push(Error::required(&at(&format!("{path}.{name}")), ""));
        }
        outcome
    }

    /// `anyOf`, `oneOf`, `allOf` and `not`: of alternatives that all fail, the closest one says why.
    fn alternatives(&self, schema: &Schema, part: Part<'_, '_>, path: &mut String) -> Outcome {
        let mut outcome = Outcome::default();
        if schema.any_of.is_empty() && schema.one_of.is_empty() && schema.all_of.is_empty() && schema.not.is_none() {
            return outcome;
        }
        let mut tried = |schemas: &[Schema]| -> Vec<Outcome> {
            schemas.iter().map(|schema| self.judge(schema, part, path)).collect()
        };
        let any = any_of(schema).map(&mut tried).unwrap_or_default();
        let (one, all) = (tried(&schema.one_of), tried(&schema.all_of));
        let not = schema.not.as_deref().map(std::slice::from_ref).map(tried).unwrap_or_default();
        let refused = |words: String| Error::invalid(&Path::default(), "", format!("{path:?} must {words}"));
        if !any.is_empty() && any.iter().all(|one| !one.errors.is_empty()) {
            outcome.errors.push(refused("validate at least one schema (anyOf)".into()));
            outcome.merge(closest(any));
        }
        let valid = one.iter().filter(|one| one.errors.is_empty()).count();
        if !one.is_empty() && valid != 1 {
            let found =
                if valid == 0 { "Found none valid".into() } else { format!("Found {valid} valid alternatives") };
            outcome.errors.push(refused(format!("validate one and only one schema (oneOf). {found}")));
            if valid == 0 {
                outcome.merge(closest(one));
            }
        }
        let failed = all.iter().filter(|one| !one.errors.is_empty()).count();
        if failed > 0 {
            let none = if failed == all.len() { ". None validated" } else { "" };
            all.into_iter().for_each(|one| outcome.merge(one));
            outcome.errors.push(refused(format!("validate all the schemas (allOf){none}")));
        }
        if not.iter().any(|one| one.errors.is_empty()) {
            outcome.errors.push(refused("not validate the schema (not)".into()));
        }
        outcome
    }
}

/// `anyOf`, unless it only says again that a value is an integer or a string.
fn any_of(schema: &Schema) -> Option<&[Schema]> {
    let kinds: Vec<&str> = schema.any_of.iter().map(|schema| schema.kind.as_str()).collect();
    (!(schema.int_or_string && kinds == ["integer", "string"])).then_some(&schema.any_of)
}

fn closest(tried: Vec<Outcome>) -> Outcome {
    let mut best: Option<Outcome> = None;
    for one in tried {
        if best.as_ref().is_none_or(|best| one.checks > best.checks) {
            best = Some(one);
        }
    }
    best.unwrap_or_default()
}

/// The entry of an object with what it was before, where names tell entries apart.
fn entry<'v, 's>(part: Part<'v, 's>, name: &str, value: &'v Value, path: &str) -> Part<'v, 's> {
    // A change of apiVersion cannot be seen here: both sides were converted to the same one.
    let is_type = path.is_empty() && matches!(name, "kind" | "apiVersion");
    let structure = part.structure.and_then(|structure| structure.child(name));
    let granular = part.structure.is_some_and(|structure| structure.map_type() != "atomic");
    let old = match part.old {
        Old::Known(Value::Object(old)) if granular && structure.is_some() && !is_type => {
            old.get(name).map_or(Old::Unknown, Old::Known)
        }
        _ => Old::Unknown,
    };
    Part { value, old, structure }
}

/// The path of an error. Upstream's walk begins with a dot below a value without a name.
fn at(path: &str) -> Path {
    let path = path.strip_prefix('.').unwrap_or(path);
    if path.is_empty() { Path::default() } else { Path::new(path) }
}

fn broken(path: &str, value: impl Into<Value>, rule: &str) -> Error {
    Error::invalid(&at(path), value, format!("{path} in body {rule}"))
}

/// The same errors, below another root.
fn rooted(mut errors: Vec<Error>, root: &Path) -> Vec<Error> {
    if *root != Path::default() {
        for error in &mut errors {
            error.field = match error.field.as_str() {
                "<nil>" => root.to_string(),
                field if field.starts_with('[') => format!("{root}{field}"),
                field => format!("{root}.{field}"),
            };
        }
    }
    errors
}

#[cfg(test)]
mod tests;
