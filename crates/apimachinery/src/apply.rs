//! Server-side apply and managed fields: which manager owns which field of an object
//! (upstream: `apimachinery/pkg/util/managedfields`, `structured-merge-diff`).
//!
//! [`update`] runs at every create, update and patch and notes who changed what; [`apply`] merges a manager's
//! configuration into the live object, refuses it where it would take fields from others, and removes what the
//! manager gave up. Fields of entries written at another version of the kind are taken as fields of this one.

mod compare;
mod field_set;
mod last_applied;
mod managers;
mod merge;
mod prune;
mod validate;
mod walk;

pub use field_set::{FieldSet, FieldSetError};

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::object::Object;
use crate::schema::{NodeId, SchemaSet};
use crate::status::StatusError;
use compare::{Comparison, compare, created};
use managers::{Identity, Manager, Managers, Operation};
use walk::At;

/// Who writes, to what, and when.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The schema of the kind.
    pub schema: &'a SchemaSet,
    /// The kind's definition in it.
    pub root: NodeId,
    /// The field manager; empty counts as `unknown`.
    pub manager: &'a str,
    /// The version of the object, as `apps/v1`.
    pub api_version: &'a str,
    /// The subresource written, or "".
    pub subresource: &'a str,
    /// The time of the write.
    pub now: jiff::Timestamp,
    /// Fields that the write cannot change and hence does not own, as `status` in a write of the main resource
    /// (upstream: `GetResetFields`).
    pub reset_fields: Option<&'a FieldSet>,
}

/// A field that another manager owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Who owns it, as `"kubectl-client-side-apply" using apps/v1`.
    pub manager: String,
    /// The field, as `.spec.replicas`.
    pub path: String,
}

/// Why a configuration cannot be applied.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ApplyError {
    /// Other managers own some of the fields with other values.
    #[error("{}", conflict_message(.0))]
    Conflicts(Vec<Conflict>),
    /// The configuration does not fit the schema.
    #[error("failed to create typed patch object ({object}): {errors}")]
    Typed {
        /// `namespace/name; version, Kind=kind`.
        object: String,
        /// What is wrong.
        errors: String,
    },
    /// The configuration carries managedFields.
    #[error("metadata.managedFields must be nil")]
    HasManagedFields,
    /// The configuration is of another version.
    #[error("Incorrect version specified in apply patch. Specified patch version: {0}, expected: {1}")]
    Version(String, String),
}

impl ApplyError {
    /// The error as the API answers it.
    pub fn to_status(&self) -> StatusError {
        match self {
            Self::Conflicts(conflicts) => {
                let cause = |conflict: &Conflict| {
                    json!({"reason": "FieldManagerConflict", "field": conflict.path,
                        "message": format!("conflict with {}", conflict.manager)})
                };
                StatusError::new(409, "Conflict", self.to_string()).with_causes(conflicts.iter().map(cause).collect())
            }
            Self::Typed { .. } => StatusError::new(500, "", self.to_string()),
            Self::HasManagedFields | Self::Version(..) => StatusError::bad_request(self.to_string()),
        }
    }
}

fn conflict_message(conflicts: &[Conflict]) -> String {
    if let [Conflict { manager, path }] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {manager}: {path}");
    }
    let mut managers: Vec<&str> = conflicts.iter().map(|conflict| conflict.manager.as_str()).collect();
    managers.sort_unstable();
    managers.dedup();
    let mut lines = Vec::new();
    for manager in managers {
        lines.push(format!("conflicts with {manager}:"));
        let theirs = conflicts.iter().filter(|conflict| conflict.manager == manager);
        lines.extend(theirs.map(|conflict| format!("- {}", conflict.path)));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

/// What the server itself sets: nobody's fields (upstream: `stripmeta.go`).
static SYSTEM_FIELDS: LazyLock<FieldSet> = LazyLock::new(|| {
    let metadata = |name| ["metadata", name];
    let names = [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ]
    .map(metadata);
    let mut paths: Vec<&[&str]> = vec![&["apiVersion"], &["kind"], &["metadata"]];
    paths.extend(names.iter().map(<[&str; 2]>::as_slice));
    FieldSet::of_fields(&paths)
});

impl Writer<'_> {
    fn at(&self) -> At {
        At::Node(self.root)
    }

    fn identity(&self, operation: Operation) -> Identity {
        let manager = if self.manager.is_empty() { "unknown" } else { self.manager };
        Identity {
            manager: manager.to_owned(),
            operation,
            api_version: self.api_version.to_owned(),
            subresource: self.subresource.to_owned(),
        }
    }

    fn time(&self) -> String {
        self.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    fn compare(&self, old: &Map<String, Value>, new: &Map<String, Value>) -> Comparison {
        self.owned(compare(self.schema, self.at(), old, new))
    }

    fn created(&self, new: &Map<String, Value>) -> Comparison {
        self.owned(created(self.schema, self.root, new))
    }

    /// Without the fields that the write cannot change.
    fn owned(&self, mut found: Comparison) -> Comparison {
        if let Some(ignored) = self.reset_fields {
            found.ignore(ignored);
        }
        found
    }
}

/// Notes in `new.metadata.managedFields` what this write changes against `live` (nothing at create).
pub fn update(writer: &Writer<'_>, live: Option<&Object>, new: &mut Object) {
    let sent = new.0.get_mut("metadata").and_then(Value::as_object_mut).and_then(|map| map.remove("managedFields"));
    let sent = match sent {
        Some(Value::Array(sent)) => Some(sent),
        _ => None,
    };
    let Some(live) = live else {
        let sent = sent.filter(|sent| !is_reset(sent));
        let managers = sent.and_then(|sent| Managers::parse(&sent)).unwrap_or_default();
        return note_changes(writer, writer.created(&new.0), managers).write(new);
    };
    let found = writer.compare(&live.0, &new.0);
    let stored = managers::entries(live);
    let managers = match sent {
        // The usual cases: the writer sends the entries back as they were, or none.
        Some(sent) if stored == Some(&sent) => {
            if found.is_same() {
                new.metadata_mut().insert("managedFields".into(), sent.into());
                return;
            }
            Managers::trusted(sent)
        }
        Some(sent) if writer.subresource.is_empty() && is_reset(&sent) => Managers::default(),
        Some(sent) if writer.subresource.is_empty() => Managers::parse(&sent).unwrap_or_else(|| Managers::of(live)),
        _ => Managers::of(live),
    };
    // An object whose owners are not tracked stays so until somebody applies.
    if !managers.0.is_empty() {
        note_changes(writer, found, managers).write(new);
    }
}

/// `[]` and `[{}]` ask for managedFields to be forgotten.
fn is_reset(sent: &[Value]) -> bool {
    match sent {
        [] => true,
        [only] => only.as_object().is_some_and(Map::is_empty),
        _ => false,
    }
}

/// Takes changed and removed fields from everybody and gives the changed ones to the writer.
fn note_changes(writer: &Writer<'_>, found: Comparison, mut managers: Managers) -> Managers {
    if found.is_same() {
        return managers;
    }
    let (mut changed, removed) = found.into_changed_and_removed();
    take_away(&mut managers, &changed, &removed);
    changed.subtract(&SYSTEM_FIELDS);
    if !changed.is_empty() {
        let (identity, time) = (writer.identity(Operation::Update), Some(writer.time()));
        match managers.find_mut(&identity) {
            Some(manager) => {
                manager.fields.add(&changed);
                manager.time = time;
            }
            None => managers.0.push(Manager { identity, time, fields: changed }),
        }
        managers.cap();
    }
    managers
}

/// Takes fields from all managers; managers without fields go.
fn take_away(managers: &mut Managers, changed: &FieldSet, removed: &FieldSet) {
    managers.0.retain_mut(|manager| {
        manager.fields.subtract(changed);
        manager.fields.subtract(removed);
        !manager.fields.is_empty()
    });
}

/// Applies a manager's configuration, which [`check`] found in order, to the live object (nothing when it is created
/// by this); answers the object to store, before defaults. An apply that changes nothing answers the live object as
/// it is.
pub fn apply(writer: &Writer<'_>, live: Option<&Object>, config: &Object, force: bool) -> Result<Object, ApplyError> {
    match try_apply(writer, live, config, force) {
        Err(ApplyError::Conflicts(conflicts)) if writer.manager == last_applied::KUBECTL => {
            let conflicts = last_applied::not_covered(writer, live, conflicts);
            if !conflicts.is_empty() {
                return Err(ApplyError::Conflicts(conflicts));
            }
            try_apply(writer, live, config, true)
        }
        other => other,
    }
    .map(|object| last_applied::refresh(writer, object, config))
}

/// Checks a configuration as it was sent, before it is brought into form and [`apply`] merges it.
pub fn check(writer: &Writer<'_>, config: &Object) -> Result<(), ApplyError> {
    if config.api_version() != writer.api_version {
        return Err(ApplyError::Version(config.api_version().to_owned(), writer.api_version.to_owned()));
    }
    if config.metadata().is_some_and(|metadata| metadata.get("managedFields").is_some_and(|fields| !fields.is_null())) {
        return Err(ApplyError::HasManagedFields);
    }
    let mut errors = validate::validate(writer.schema, writer.root, &config.0);
    if errors.is_empty() {
        return Ok(());
    }
    let errors = if errors.len() == 1 { errors.remove(0) } else { format!("errors:\n  {}", errors.join("\n  ")) };
    let object = format!("{}/{}; {}, Kind={}", config.namespace(), config.name(), config.api_version(), config.kind());
    Err(ApplyError::Typed { object, errors })
}

fn try_apply(writer: &Writer<'_>, live: Option<&Object>, config: &Object, force: bool) -> Result<Object, ApplyError> {
    let nothing = Map::new();
    let live_map = live.map_or(&nothing, |live| &live.0);
    let mut others = live.map(Managers::of).unwrap_or_default();
    let is_tracked = !others.0.is_empty();
    if !is_tracked && live.is_some() {
        // Somebody made the object before owners were tracked.
        let first = Writer { manager: "before-first-apply", ..*writer };
        others = note_changes(&first, first.created(live_map), others);
    }
    let identity = writer.identity(Operation::Apply);
    let last = others.take(&identity);
    let mut fields = prune::field_set(writer.schema, writer.at(), &config.0);
    if let Some(ignored) = writer.reset_fields {
        fields.subtract_trees(ignored);
    }

    let mut merged = merge::merge(writer.schema, writer.at(), live_map, &config.0);
    if let Some(last) = last.as_ref().filter(|last| !last.fields.is_subset(&fields)) {
        let mut managed = others.all_fields();
        managed.add(&fields);
        merged = prune::prune(writer.schema, writer.at(), merged, &last.fields, &managed);
    }

    fields.subtract(&SYSTEM_FIELDS);
    let found = writer.compare(live_map, &merged);
    let claims_the_same = last.as_ref().is_some_and(|last| last.fields == fields);
    if let (Some(live), true, true) = (live, is_tracked && found.is_same(), claims_the_same) {
        return Ok(live.clone());
    }
    let (changed, removed) = found.into_changed_and_removed();
    let conflicts = if force { Vec::new() } else { conflicts(&others, &changed) };
    if !conflicts.is_empty() {
        return Err(ApplyError::Conflicts(conflicts));
    }
    take_away(&mut others, &changed, &removed);
    if !fields.is_empty() {
        others.0.push(Manager { identity, time: Some(writer.time()), fields });
    }
    let mut object = Object(merged);
    others.write(&mut object);
    Ok(object)
}

fn conflicts(others: &Managers, changed: &FieldSet) -> Vec<Conflict> {
    let of = |manager: &Manager| {
        let spelled = manager.identity.spell();
        let paths = manager.fields.intersection(changed).paths();
        paths.into_iter().map(move |path| Conflict { manager: spelled.clone(), path })
    };
    others.0.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests;
