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
use crate::schema::{MapType, NodeId, SchemaSet, Shape};
use crate::status::StatusError;
use compare::{Comparison, compare};
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
        let mut found = compare(self.schema, self.at(), old, new);
        if let Some(ignored) = self.reset_fields {
            found.ignore(ignored);
        }
        found
    }
}

/// Notes in `new.metadata.managedFields` what this write changes against `live` (nothing at create).
pub fn update(writer: &Writer<'_>, live: Option<&Object>, new: &mut Object) {
    let sent = new.0.get_mut("metadata").and_then(Value::as_object_mut).and_then(|map| map.remove("managedFields"));
    let mut managers = match (live, sent) {
        (None, Some(Value::Array(sent))) if !is_reset(&sent) => Managers::parse(&sent).unwrap_or_default(),
        (None, _) => Managers::default(),
        (Some(live), Some(Value::Array(sent))) if writer.subresource.is_empty() => {
            let stored = live.metadata().and_then(|metadata| metadata.get("managedFields")).and_then(Value::as_array);
            if is_reset(&sent) {
                Managers::default()
            } else if stored == Some(&sent) {
                Managers::of(live)
            } else {
                Managers::parse(&sent).unwrap_or_else(|| Managers::of(live))
            }
        }
        (Some(live), _) => Managers::of(live),
    };
    // An object whose owners are not tracked stays so until somebody applies.
    if managers.0.is_empty() && live.is_some() {
        return;
    }
    note_changes(writer, live.map(|live| &live.0), &new.0, &mut managers);
    managers.cap();
    managers.write(new);
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
fn note_changes(
    writer: &Writer<'_>,
    live: Option<&Map<String, Value>>,
    new: &Map<String, Value>,
    managers: &mut Managers,
) {
    let found = match live {
        Some(live) => writer.compare(live, new),
        None => writer.compare(&empty_object(writer.schema, writer.root), new),
    };
    if found.is_same() {
        return;
    }
    let mut changed = found.changed();
    take_from(managers, &changed, &found.removed, None);
    changed.subtract(&SYSTEM_FIELDS);
    if changed.is_empty() {
        return;
    }
    let (identity, time) = (writer.identity(Operation::Update), Some(writer.time()));
    match managers.find_mut(&identity) {
        Some(manager) => {
            manager.fields.add(&changed);
            manager.time = time;
        }
        None => managers.0.push(Manager { identity, time, fields: changed }),
    }
}

/// Takes fields from all managers but one; managers without fields go.
fn take_from(managers: &mut Managers, changed: &FieldSet, removed: &FieldSet, but: Option<&Identity>) {
    managers.0.retain_mut(|manager| {
        if but.is_none_or(|but| !but.is(&manager.identity)) {
            manager.fields.subtract(changed);
            manager.fields.subtract(removed);
        }
        !manager.fields.is_empty()
    });
}

/// What upstream's empty object of a kind has: the structs that are no pointers. They are there before the
/// creator writes anything, so the creator owns what is in them and not they themselves.
fn empty_object(schema: &SchemaSet, root: NodeId) -> Map<String, Value> {
    let mut empty = Map::new();
    let Shape::Object(fields) = schema.node(root).shape else { return empty };
    for field in schema.fields(fields) {
        let name = schema.text(field.name);
        let is_struct =
            matches!(name, "metadata" | "spec" | "status" | "template" | "strategy" | "updateStrategy" | "jobTemplate");
        let is_granular =
            matches!(schema.node(field.node).shape, Shape::Object(fields) if fields.map_type == MapType::Granular);
        if is_struct && is_granular && field.node != root {
            empty.insert(name.to_owned(), Value::Object(empty_object(schema, field.node)));
        }
    }
    empty
}

/// Applies a manager's configuration to the live object (nothing when it is created by this); answers the object
/// to store, before defaults. An apply that changes nothing answers the live object as it is.
pub fn apply(writer: &Writer<'_>, live: Option<&Object>, config: &Object, force: bool) -> Result<Object, ApplyError> {
    check_config(writer, config)?;
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

fn check_config(writer: &Writer<'_>, config: &Object) -> Result<(), ApplyError> {
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
    let mut managers = live.map(Managers::of).unwrap_or_default();
    let before = managers.clone();
    if let (Some(live), true) = (live, managers.0.is_empty()) {
        // Somebody made the object before owners were tracked.
        let first = Writer { manager: "before-first-apply", ..*writer };
        note_changes(&first, None, &live.0, &mut managers);
    }
    let live_map = live.map_or(&nothing, |live| &live.0);
    let identity = writer.identity(Operation::Apply);
    let mut merged = merge::merge(writer.schema, writer.at(), live_map, &config.0);

    let mut fields = prune::field_set(writer.schema, writer.at(), &config.0);
    if let Some(ignored) = writer.reset_fields {
        fields.subtract_trees(ignored);
    }
    let last = managers.find(&identity).map(|manager| manager.fields.clone());
    claim(&mut managers, &identity, fields.clone());
    if let Some(last) = &last {
        merged = prune::prune(writer.schema, writer.at(), merged, last, &managers.all_fields());
    }

    let found = writer.compare(live_map, &merged);
    let changed = found.changed();
    if !force {
        let conflicts = conflicts(&managers, &changed, &identity);
        if !conflicts.is_empty() {
            return Err(ApplyError::Conflicts(conflicts));
        }
    }
    take_from(&mut managers, &changed, &found.removed, Some(&identity));
    fields.subtract(&SYSTEM_FIELDS);
    let is_same_claim = last.as_ref() == Some(&fields);
    claim(&mut managers, &identity, fields);
    managers.0.retain(|manager| !manager.fields.is_empty());

    if let (Some(live), true, true) = (live, found.is_same(), is_same_claim && managers == before) {
        return Ok(live.clone());
    }
    if let Some(manager) = managers.find_mut(&identity) {
        manager.time = Some(writer.time());
        manager.identity.api_version = writer.api_version.to_owned();
    }
    let mut object = Object(merged);
    managers.write(&mut object);
    Ok(object)
}

/// Gives the applying manager its new set in place of the one it had.
fn claim(managers: &mut Managers, identity: &Identity, fields: FieldSet) {
    match managers.find_mut(identity) {
        Some(manager) => manager.fields = fields,
        None => managers.0.push(Manager { identity: identity.clone(), time: None, fields }),
    }
}

fn conflicts(managers: &Managers, changed: &FieldSet, but: &Identity) -> Vec<Conflict> {
    let others = managers.0.iter().filter(|manager| !but.is(&manager.identity));
    others
        .flat_map(|manager| {
            let spelled = manager.identity.spell();
            let paths = manager.fields.intersection(changed).paths();
            paths.into_iter().map(move |path| Conflict { manager: spelled.clone(), path })
        })
        .collect()
}

#[cfg(test)]
mod tests;
