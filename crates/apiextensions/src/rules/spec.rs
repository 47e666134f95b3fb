//! `spec` as a whole, and the names (upstream: validation.go, `validateCustomResourceDefinitionSpec`).
//!
//! Parts that are the same in all versions are told of at the place where they once were written once: upstream folds
//! them together before it judges, and tools know the paths (`spec.validation.openAPIV3Schema...`).

use apimachinery::field::{Error, Path};
use apimachinery::{meta, validation};

use super::options::Options;
use super::{conversion, schemas, versions};
use crate::definition::{Definition, Names, Spec, Version};
use crate::expressions::Compiler;
use crate::schema::Schema;

pub(super) fn validate(
    spec: &Spec,
    options: &Options,
    old: Option<&Definition>,
    compiler: Option<&dyn Compiler>,
    errors: &mut Vec<Error>,
) {
    let path = Path::new("spec");
    group_and_scope(spec, &path, errors);
    let mut options = options.clone();
    let roots = || spec.versions.iter().filter_map(|version| version.root());
    let has = |asked: &dyn Fn(&Schema) -> bool| roots().any(|root| root.has(asked));
    missing_schemas(spec, &options, &path, errors);
    let has_defaults = has(&|schema| schema.default.is_some());
    if has_defaults && spec.preserve_unknown_fields {
        let words = "must be false in order to use defaults in the schema";
        errors.push(Error::invalid(&path.child("preserveUnknownFields"), true, words));
    }
    if has_defaults || !spec.preserve_unknown_fields || has(&has_extensions) {
        options.structural = true;
    }
    version_list(spec, &path, errors);
    let schema_judge = schemas::Judge { options: &options, compiler };
    each(
        spec,
        &path,
        ("validation", "schema"),
        |version| &version.schema,
        |versions, path, folded| {
            let Some(version) = versions.first() else { return };
            let Some(root) = version.root() else { return };
            let status = if folded { spec.versions.iter().any(Version::has_status) } else { version.has_status() };
            let before = old.and_then(|old| old.spec.versions.iter().find(|old| old.name == version.name));
            let before = before.and_then(|version| version.root()).map(|root| &**root);
            schema_judge.root(root, before, status, &path.child("openAPIV3Schema"), errors);
        },
    );
    each(
        spec,
        &path,
        ("subresources", "subresources"),
        |version| &version.subresources,
        |versions, path, _| {
            let sub = versions.first().and_then(|version| version.subresources.as_ref());
            sub.into_iter().for_each(|sub| versions::subresources(sub, path, errors));
        },
    );
    let (columns, fields) = ("additionalPrinterColumns", "selectableFields");
    each(
        spec,
        &path,
        (columns, columns),
        |version| &version.additional_printer_columns,
        |versions, path, _| {
            versions.first().into_iter().for_each(|version| versions::columns(version, path, errors));
        },
    );
    each(
        spec,
        &path,
        (fields, fields),
        |version| &version.selectable_fields,
        |versions, path, _| {
            versions
                .first()
                .into_iter()
                .for_each(|version| versions::selectable_fields(version, &options, path, errors));
        },
    );
    required_names(&spec.names, &path.child("names"), errors);
    errors.extend(validate_names(&spec.names, &path.child("names")));
    if let Some(conversion) = &spec.conversion {
        if conversion.strategy != "None" && spec.preserve_unknown_fields {
            let words = "must be None if spec.preserveUnknownFields is true";
            let path = path.child("conversion").child("strategy");
            errors.push(Error::invalid(&path, conversion.strategy.as_str(), words));
        }
        conversion::validate(conversion, &options, &path.child("conversion"), errors);
    }
    if let Some(old) = old {
        immutable(spec, &old.spec, &options, &path, errors);
    }
}

/// Judges a part once where all versions have the same, else for each version; the names are those of the two places.
fn each<'s, T: PartialEq + 's>(
    spec: &'s Spec,
    path: &Path,
    (folded, own): (&str, &str),
    part: impl Fn(&'s Version) -> &'s T,
    mut judge: impl FnMut(&[&'s Version], &Path, bool),
) {
    let Some(first) = spec.versions.first() else { return };
    if spec.versions.iter().all(|version| part(version) == part(first)) {
        let all: Vec<&Version> = spec.versions.iter().collect();
        return judge(&all, &path.child(folded), true);
    }
    for (index, version) in spec.versions.iter().enumerate() {
        judge(&[version], &path.child("versions").index(index).child(own), false);
    }
}

fn group_and_scope(spec: &Spec, path: &Path, errors: &mut Vec<Error>) {
    let group = path.child("group");
    let wrong = validation::dns1123_subdomain(&spec.group);
    if spec.group.is_empty() {
        errors.push(Error::required(&group, ""));
    } else if !wrong.is_empty() {
        errors.push(Error::invalid(&group, spec.group.as_str(), wrong.join(",")));
    } else if !spec.group.contains('.') {
        errors.push(Error::invalid(&group, spec.group.as_str(), "should be a domain with at least one dot"));
    }
    match spec.scope.as_str() {
        "Cluster" | "Namespaced" => {}
        "" => errors.push(Error::required(&path.child("scope"), "")),
        other => errors.push(Error::not_supported(&path.child("scope"), other, &["Cluster", "Namespaced"])),
    }
}

fn missing_schemas(spec: &Spec, options: &Options, path: &Path, errors: &mut Vec<Error>) {
    for (index, version) in spec.versions.iter().enumerate().filter(|(_, version)| version.root().is_none()) {
        let path = path.child("versions").index(index).child("schema").child("openAPIV3Schema");
        if options.schema {
            errors.push(Error::required(&path, ""));
        } else if !spec.preserve_unknown_fields && version.served {
            errors.push(Error::required(&path, "because otherwise all fields are pruned"));
        }
    }
}

fn has_extensions(schema: &Schema) -> bool {
    schema.embedded_resource
        || schema.preserve_unknown_fields.is_some()
        || schema.int_or_string
        || !schema.list_map_keys.is_empty()
        || schema.list_type.is_some()
        || !schema.validations.is_empty()
}

fn version_list(spec: &Spec, path: &Path, errors: &mut Vec<Error>) {
    let versions = path.child("versions");
    for (index, version) in spec.versions.iter().enumerate() {
        let path = versions.index(index);
        let wrong = validation::dns1035_label(&version.name);
        if !wrong.is_empty() {
            errors.push(Error::invalid(&path.child("name"), version.name.as_str(), wrong.join(",")));
        }
        versions::deprecation(version, &path.child("deprecationWarning"), errors);
    }
    let names: Vec<&str> = spec.versions.iter().map(|version| version.name.as_str()).collect();
    if names.iter().enumerate().any(|(index, name)| names[..index].contains(name)) {
        errors.push(Error::invalid(&versions, names.clone(), "must contain unique version names"));
    }
    if spec.versions.iter().filter(|version| version.storage).count() != 1 {
        let words = "must have exactly one version marked as storage version";
        errors.push(Error::invalid(&versions, names, words));
    }
}

fn required_names(names: &Names, path: &Path, errors: &mut Vec<Error>) {
    for (field, name) in [
        ("plural", &names.plural),
        ("singular", &names.singular),
        ("kind", &names.kind),
        ("listKind", &names.list_kind),
    ] {
        if name.is_empty() {
            errors.push(Error::required(&path.child(field), ""));
        }
    }
}

/// The form of names, wherever they are (upstream: `ValidateCustomResourceDefinitionNames`).
pub(super) fn validate_names(names: &Names, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    let mut label = |path: Path, name: &str| {
        let wrong = validation::dns1035_label(name);
        if !name.is_empty() && !wrong.is_empty() {
            errors.push(Error::invalid(&path, name, wrong.join(",")));
        }
    };
    label(path.child("plural"), &names.plural);
    label(path.child("singular"), &names.singular);
    for (field, list) in [("shortNames", &names.short_names), ("categories", &names.categories)] {
        list.iter().enumerate().for_each(|(index, name)| label(path.child(field).index(index), name));
    }
    for (field, name) in [("kind", &names.kind), ("listKind", &names.list_kind)] {
        let wrong = validation::dns1035_label(&name.to_lowercase());
        if !name.is_empty() && !wrong.is_empty() {
            let words = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
            errors.push(Error::invalid(&path.child(field), name.as_str(), words));
        }
    }
    if !names.kind.is_empty() && names.kind == names.list_kind {
        let words = "kind and listKind may not be the same";
        errors.push(Error::invalid(&path.child("listKind"), names.list_kind.as_str(), words));
    }
    errors
}

/// Upstream: `ValidateCustomResourceDefinitionStoredVersions`.
pub(super) fn validate_stored_versions(definition: &Definition, path: &Path, errors: &mut Vec<Error>) {
    let stored = &definition.status.stored_versions;
    if stored.is_empty() {
        return errors.push(Error::invalid(path, stored.clone(), "must have at least one stored version"));
    }
    let versions = &definition.spec.versions;
    for version in versions.iter().filter(|version| version.storage && !stored.contains(&version.name)) {
        let words = format!("must have the storage version {}", version.name);
        errors.push(Error::invalid(path, stored.clone(), words));
    }
    for (index, name) in stored.iter().enumerate().filter(|(_, name)| !versions.iter().any(|one| one.name == **name)) {
        let words = format!(
            "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions \
             until a storage migration ensures no data remains persisted in {name} and removes {name} from \
             status.storedVersions"
        );
        errors.push(Error::invalid(&path.index(index), name.as_str(), words));
    }
}

/// What an update may not change (upstream: `validateCustomResourceDefinitionSpecUpdate`).
fn immutable(spec: &Spec, old: &Spec, options: &Options, path: &Path, errors: &mut Vec<Error>) {
    let mut same = |path: Path, new: &str, old: &str| {
        if new != old {
            errors.push(Error::invalid(&path, new, meta::FIELD_IMMUTABLE));
        }
    };
    let names = path.child("names");
    if options.immutable_names {
        same(path.child("scope"), &spec.scope, &old.scope);
        same(names.child("kind"), &spec.names.kind, &old.names.kind);
    }
    same(path.child("group"), &spec.group, &old.group);
    same(names.child("plural"), &spec.names.plural, &old.names.plural);
}
