//! [`Kind`]: a defined kind at one of its versions, as a row of the catalogue knows it.
//!
//! A schema can be large and its kind never used: it is read out of the stored definition (whose bytes the store
//! shares with us) when somebody first asks for it.

mod objects;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use api::custom::{Conversion, ConversionWebhook, Custom, OpenApi, ServiceReference};
use api::resource::Scale;
use api::schemas::Schemas;
use api::{Resource, Scope, Subresources, Verbs};
use apimachinery::field::Error;
use apimachinery::schema::{NodeId, Problem, SchemaSet, apply_defaults, prune, prune_nulls};
use apimachinery::{GroupVersionKind, Object};
use bytes::Bytes;
use serde_json::Value;

use crate::definition::{Definition, Names, Spec, Version};
use crate::expressions::{Compiler, Rules};
use crate::metadata::{self, Malformed};
use crate::schema::Schema;
use crate::values::Patterns;
use crate::{columns, openapi, structure, version};

/// A stored definition that becomes rows.
#[derive(Clone, Debug)]
pub struct Source {
    /// The definition, as it is stored.
    pub bytes: Bytes,
    /// Objects written after this revision have the form of its schemas already.
    pub in_form_since: Arc<AtomicU64>,
    /// Whether it is being deleted; that changes while its rows stay.
    pub is_terminating: Arc<AtomicBool>,
}

/// All versions of a kind.
struct Family {
    source: Source,
    names: Names,
    conversion: Conversion,
    keeps_all: bool,
    members: Vec<Member>,
    compiler: Option<Arc<dyn Compiler>>,
}

/// What is kept of a version.
struct Member {
    gvk: GroupVersionKind,
    has_status: bool,
    scale: Option<crate::definition::Scale>,
    selectable_fields: Vec<String>,
    warnings: Vec<String>,
    compiled: OnceLock<Compiled>,
}

/// The schema of a version, ready to use.
struct Compiled {
    schema: Option<Arc<Schema>>,
    schemas: Schemas,
    patterns: Patterns,
    rules: Option<Box<dyn Rules>>,
    has_embedded: bool,
    has_lists: bool,
}

/// A kind at one of its versions.
pub struct Kind {
    family: Arc<Family>,
    index: usize,
}

/// The rows of a definition: one a served version. The names are those it was given.
pub fn rows(
    definition: &Definition,
    names: &Names,
    source: Source,
    compiler: Option<Arc<dyn Compiler>>,
) -> Vec<Arc<Resource>> {
    let spec = &definition.spec;
    let members = spec.versions.iter().map(|version| Member::of(spec, names, version)).collect();
    let family = Arc::new(Family {
        source,
        names: names.clone(),
        conversion: conversion(spec),
        keeps_all: spec.preserve_unknown_fields,
        members,
        compiler,
    });
    let served = spec.versions.iter().enumerate().filter(|(_, version)| version.served);
    served.map(|(index, version)| Arc::new(row(spec, names, version, &family, index))).collect()
}

fn row(spec: &Spec, names: &Names, version: &Version, family: &Arc<Family>, index: usize) -> Resource {
    let kind = Arc::new(Kind { family: family.clone(), index });
    let member = &family.members[index];
    let path = |path: &str| path.trim_start_matches('.').to_owned();
    let scale = version.scale().map(|scale| Scale {
        spec_replicas: path(&scale.spec_replicas_path),
        status_replicas: path(&scale.status_replicas_path),
        selector: scale.label_selector_path.as_deref().filter(|path| !path.is_empty()).map(path),
    });
    Resource {
        gvk: member.gvk.clone(),
        plural: names.plural.clone(),
        singular: names.singular.clone(),
        short_names: names.short_names.clone(),
        categories: names.categories.clone(),
        scope: if spec.scope == "Cluster" { Scope::Cluster } else { Scope::Namespaced },
        verbs: Verbs::All,
        subresources: Subresources { status: member.has_status, scale, special: Vec::new() },
        storage_version: spec.storage_version().map_or_else(String::new, |version| version.name.clone()),
        storage_group: spec.group.clone(),
        selectable_fields: member.selectable_fields.clone(),
        columns: columns::of(&version.additional_printer_columns),
        strategy: kind.clone(),
        custom: Some(kind),
    }
}

fn conversion(spec: &Spec) -> Conversion {
    use base64::Engine as _;
    let Some(conversion) = spec.conversion.as_ref().filter(|conversion| conversion.strategy == "Webhook") else {
        return Conversion::None;
    };
    let webhook = conversion.webhook.clone().unwrap_or_default();
    let config = webhook.client_config.unwrap_or_default();
    let bundle = base64::engine::general_purpose::STANDARD.decode(config.ca_bundle).unwrap_or_default();
    Conversion::Webhook(ConversionWebhook {
        url: config.url,
        service: config.service.map(|service| ServiceReference {
            namespace: service.namespace,
            name: service.name,
            path: service.path.unwrap_or_default(),
            port: service.port.and_then(|port| u16::try_from(port).ok()).unwrap_or(443),
        }),
        ca_bundle: if bundle.iter().all(u8::is_ascii_whitespace) { Vec::new() } else { bundle },
        review_versions: webhook.conversion_review_versions,
    })
}

impl Member {
    fn of(spec: &Spec, names: &Names, version: &Version) -> Self {
        let field = |field: &crate::definition::SelectableField| field.json_path.trim_start_matches('.').to_owned();
        Self {
            gvk: GroupVersionKind::new(spec.group.clone(), version.name.clone(), names.kind.clone()),
            has_status: version.has_status(),
            scale: version.scale().cloned(),
            selectable_fields: version.selectable_fields.iter().map(field).collect(),
            warnings: deprecation(spec, version),
            compiled: OnceLock::new(),
        }
    }
}

/// What clients of a deprecated version are told (upstream: `defaultDeprecationWarning`).
fn deprecation(spec: &Spec, version: &Version) -> Vec<String> {
    if !version.deprecated {
        return Vec::new();
    }
    if let Some(words) = &version.deprecation_warning {
        return vec![words.clone()];
    }
    let (group, kind) = (&spec.group, &spec.names.kind);
    let newer =
        |other: &&Version| other.served && !other.deprecated && version::compare(&other.name, &version.name).is_gt();
    let better = spec.versions.iter().filter(newer).max_by(|a, b| version::compare(&a.name, &b.name));
    let advice = better.map(|better| format!("; use {group}/{} {kind}", better.name)).unwrap_or_default();
    vec![format!("{group}/{} {kind} is deprecated{advice}", version.name)]
}

impl Family {
    /// Brings an object into the form of a version.
    fn admit(&self, index: usize, object: &mut Object) -> Result<Vec<Problem>, Error> {
        let compiled = self.compiled(index);
        let mut problems = metadata::coerce(compiled.embedding(), object, Malformed::Refuse)?;
        problems.extend(compiled.prune(&self.members[index].gvk, object));
        Ok(problems)
    }

    fn compiled(&self, index: usize) -> &Compiled {
        let member = &self.members[index];
        member.compiled.get_or_init(|| {
            let object: Object = serde_json::from_slice(&self.source.bytes).unwrap_or_default();
            let definition = Definition::parse(&object).unwrap_or_default();
            let schema = definition.spec.versions.get(index).and_then(Version::root).cloned();
            let schema = schema.filter(|_| !self.keeps_all);
            let root = schema.as_deref();
            let list_kind = &self.names.list_kind;
            let schemas = structure::schemas(&member.gvk, list_kind, root)
                .or_else(|_| structure::schemas(&member.gvk, list_kind, None))
                .unwrap_or_default();
            let has = |asked: &dyn Fn(&Schema) -> bool| root.is_some_and(|root| root.has(asked));
            Compiled {
                schemas,
                patterns: root.map(Patterns::of).unwrap_or_default(),
                rules: self.compiler.as_ref().zip(root).and_then(|(compiler, root)| compiler.compile(root)),
                has_embedded: has(&|schema| schema.embedded_resource),
                has_lists: has(&|schema| matches!(schema.list_type(), "set" | "map")),
                schema,
            }
        })
    }
}

impl Compiled {
    fn node(&self, gvk: &GroupVersionKind) -> Option<(&SchemaSet, NodeId)> {
        Some((&self.schemas.set, self.schemas.of(gvk)?))
    }

    /// Removes unknown fields and the nulls that nobody may write; answers what was unknown.
    fn prune(&self, gvk: &GroupVersionKind, object: &mut Object) -> Vec<Problem> {
        let Some((set, root)) = self.node(gvk) else { return Vec::new() };
        let removed = prune(set, root, &mut object.0);
        walked(object, |value| prune_nulls(set, root, value));
        removed.into_iter().map(Problem::Unknown).collect()
    }

    fn set_defaults(&self, gvk: &GroupVersionKind, object: &mut Object) {
        if let Some((set, root)) = self.node(gvk) {
            walked(object, |value| apply_defaults(set, root, value));
        }
    }

    /// The schema, where objects may be embedded somewhere.
    fn embedding(&self) -> Option<&Schema> {
        self.schema.as_deref().filter(|_| self.has_embedded)
    }
}

/// Lets a walk over values see the object.
fn walked(object: &mut Object, walk: impl FnOnce(&mut Value)) {
    let mut value = Value::Object(std::mem::take(&mut object.0));
    walk(&mut value);
    if let Value::Object(map) = value {
        object.0 = map;
    }
}

impl Kind {
    fn member(&self) -> &Member {
        &self.family.members[self.index]
    }

    fn compiled(&self) -> &Compiled {
        self.family.compiled(self.index)
    }
}

impl Custom for Kind {
    fn list_kind(&self) -> &str {
        &self.family.names.list_kind
    }

    fn schemas(&self) -> &Schemas {
        &self.compiled().schemas
    }

    fn admit(&self, object: &mut Object) -> Result<Vec<Problem>, Error> {
        self.family.admit(self.index, object)
    }

    fn restore(&self, object: &mut Object) {
        let stored = object.api_version().to_owned();
        let Some(index) = self.family.members.iter().position(|member| member.gvk.api_version() == stored) else {
            return;
        };
        let (compiled, gvk) = (self.family.compiled(index), &self.family.members[index].gvk);
        // What is stored is not refused.
        let _ = metadata::coerce(compiled.embedding(), object, Malformed::Drop);
        compiled.prune(gvk, object);
        compiled.set_defaults(gvk, object);
    }

    fn converted(&self, object: &mut Object) -> Result<(), Error> {
        // On its way to the store it is of another version than its row.
        let version = object.api_version().to_owned();
        let index = self.family.members.iter().position(|member| member.gvk.api_version() == version);
        self.family.admit(index.unwrap_or(self.index), object).map(drop)
    }

    fn conversion(&self) -> &Conversion {
        &self.family.conversion
    }

    fn in_form_since(&self) -> u64 {
        self.family.source.in_form_since.load(Ordering::Acquire)
    }

    fn out_of_form(&self, revision: u64) {
        self.family.source.in_form_since.fetch_max(revision, Ordering::AcqRel);
    }

    fn definitions(&self, version: OpenApi) -> Vec<(String, Value)> {
        let (family, member) = (&self.family, self.member());
        let published = openapi::Published {
            gvk: &member.gvk,
            list_kind: &family.names.list_kind,
            plural: &family.names.plural,
            schema: self.compiled().schema.as_deref(),
            keeps_all: family.keeps_all,
            selectable_fields: &member.selectable_fields,
        };
        published.definitions(version)
    }

    fn warnings(&self) -> &[String] {
        &self.member().warnings
    }

    fn is_terminating(&self) -> bool {
        self.family.source.is_terminating.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kind").field("gvk", &self.member().gvk).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
