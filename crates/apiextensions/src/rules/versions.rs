//! What a version declares beside its schema.

use apimachinery::field::{Error, Path};

use super::options::Options;
use crate::definition::{Subresources, Version};
use crate::schema::Schema;

/// The most selectable fields of a version (upstream: `MaxSelectableFields`).
pub(super) const MOST_SELECTABLE_FIELDS: usize = 8;

const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: [&str; 8] = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];

pub(super) fn deprecation(version: &Version, path: &Path, errors: &mut Vec<Error>) {
    let Some(warning) = version.deprecation_warning.as_deref() else { return };
    let mut wrong = Vec::new();
    if version.deprecated {
        if warning.len() > 256 {
            wrong.push("must be <= 256 characters long".to_owned());
        }
        if warning.is_empty() {
            wrong.push("must not be an empty string".to_owned());
        }
        if let Some((at, _)) = warning.char_indices().find(|(_, letter)| letter.is_control()) {
            let words = "must only contain printable UTF-8 characters; non-printable character found at index";
            wrong.push(format!("{words} {at}"));
        }
    } else {
        wrong.push("can only be set for deprecated versions".to_owned());
    }
    errors.extend(wrong.into_iter().map(|words| Error::invalid(path, warning, words)));
}

pub(super) fn columns(version: &Version, path: &Path, errors: &mut Vec<Error>) {
    for (index, column) in version.additional_printer_columns.iter().enumerate() {
        let path = path.index(index);
        if column.name.is_empty() {
            errors.push(Error::required(&path.child("name"), ""));
        }
        let words = format!("must be one of {}", COLUMN_TYPES.join(","));
        if column.kind.is_empty() {
            errors.push(Error::required(&path.child("type"), words));
        } else if !COLUMN_TYPES.contains(&column.kind.as_str()) {
            errors.push(Error::invalid(&path.child("type"), column.kind.as_str(), words));
        }
        if !column.format.is_empty() && !COLUMN_FORMATS.contains(&column.format.as_str()) {
            let words = format!("must be one of {}", COLUMN_FORMATS.join(","));
            errors.push(Error::invalid(&path.child("format"), column.format.as_str(), words));
        }
        if column.json_path.is_empty() {
            errors.push(Error::required(&path.child("JSONPath"), ""));
        } else {
            errors.extend(simple_path(&column.json_path, &path.child("JSONPath")));
        }
    }
}

fn simple_path(text: &str, path: &Path) -> Option<Error> {
    (!text.starts_with('.')).then(|| Error::invalid(path, text, "must be a simple json path starting with ."))
}

pub(super) fn subresources(declared: &Subresources, path: &Path, errors: &mut Vec<Error>) {
    let Some(scale) = &declared.scale else { return };
    let mut place = |field: &str, text: &str, roots: &[&str], words: &str| {
        let path = path.child(&format!("scale.{field}"));
        if let Some(error) = simple_path(text, &path) {
            errors.push(error);
        } else if !roots.iter().any(|root| text.starts_with(root)) {
            errors.push(Error::invalid(&path, text, format!("should be a json path under {words}")));
        }
    };
    let (spec, status) = (scale.spec_replicas_path.as_str(), scale.status_replicas_path.as_str());
    if !spec.is_empty() {
        place("specReplicasPath", spec, &[".spec."], ".spec");
    }
    if !status.is_empty() {
        place("statusReplicasPath", status, &[".status."], ".status");
    }
    if let Some(selector) = scale.label_selector_path.as_deref().filter(|path| !path.is_empty()) {
        place("labelSelectorPath", selector, &[".spec.", ".status."], "either .spec or .status");
    }
    for (field, _) in
        [("specReplicasPath", spec), ("statusReplicasPath", status)].iter().filter(|(_, text)| text.is_empty())
    {
        errors.push(Error::required(&path.child(&format!("scale.{field}")), ""));
    }
}

pub(super) fn selectable_fields(version: &Version, options: &Options, path: &Path, errors: &mut Vec<Error>) {
    if version.selectable_fields.is_empty() {
        return;
    }
    let Some(root) = version.root() else {
        let words = "may only be set when `version.schema.openAPIV3Schema` is not included";
        return errors.push(Error::invalid(path, "", words));
    };
    let mut seen: Vec<&str> = Vec::new();
    for (index, field) in version.selectable_fields.iter().enumerate() {
        let path = path.index(index).child("jsonPath");
        let text = field.json_path.as_str();
        if text.is_empty() {
            errors.push(Error::required(&path, ""));
            continue;
        }
        let found = match lead(root, text) {
            Ok(found) => found,
            Err(why) => {
                errors.push(Error::invalid(&path, text, format!("is an invalid path: {why}")));
                continue;
            }
        };
        if text == ".metadata" || text.starts_with(".metadata.") {
            errors.push(Error::invalid(&path, text, "must not point to fields in metadata"));
        }
        if !matches!(found.kind.as_str(), "string" | "boolean" | "integer") {
            let words = "must point to a field of type string, boolean or integer. Enum string fields and strings with \
                         formats are allowed.";
            errors.push(Error::invalid(&path, text, words));
        }
        if seen.contains(&text) {
            errors.push(Error::duplicate(&path, text));
        } else {
            seen.push(text);
        }
    }
    if seen.len() > MOST_SELECTABLE_FIELDS && !options.many_selectable_fields.contains(&version.name) {
        errors.push(Error::too_many(path, seen.len(), MOST_SELECTABLE_FIELDS));
    }
}

/// The schema that a path of plain names leads to (upstream: cel/validation.go, `ValidFieldPath`).
pub(super) fn lead<'s>(root: &'s Schema, path: &str) -> Result<&'s Schema, &'static str> {
    if path.contains('[') {
        return Err("array notation is not allowed");
    }
    let Some(rest) = path.strip_prefix('.') else { return Err("expected [ or . but got a name") };
    rest.split('.').try_fold(root, |schema, name| schema.child(name).ok_or("does not refer to a valid field"))
}
