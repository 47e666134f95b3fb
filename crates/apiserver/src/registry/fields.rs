//! Field management: who set which field (upstream: apimachinery/pkg/util/managedfields,
//! endpoints/handlers/fieldmanager).

use std::sync::LazyLock;

use apimachinery::apply::{self, FieldSet, Writer};
use apimachinery::{GroupVersionKind, Object, StatusError, schema};
use http::header;
use serde_json::Value;

use super::Cx;
use super::convert::with_owners_converted;

/// How a writer's fields are recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manager {
    /// An update or patch: the manager owns what it changed.
    Update(String),
    /// An apply: the transform has recorded everything already.
    Applied,
}

/// The manager's name: the query's, or the user agent's first word (upstream: `managerOrUserAgent`).
pub fn manager_name(cx: &Cx) -> String {
    const LONGEST: usize = 128;
    if let Some(name) = cx.query.get("fieldManager") {
        return name.to_owned();
    }
    let agent = cx.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or("unknown");
    let word = agent.split('/').next().unwrap_or_default();
    word.chars().filter(|letter| !letter.is_control()).take(LONGEST).collect()
}

/// Fields that a write of the main resource cannot change (upstream: `GetResetFields` of each strategy).
static STATUS: LazyLock<FieldSet> = LazyLock::new(|| FieldSet::of_fields(&[&["status"]]));

/// Fields that a write of the status cannot change.
static ALL_BUT_STATUS: LazyLock<FieldSet> = LazyLock::new(|| FieldSet::of_fields(&[&["spec"]]));

/// The same for a custom resource, whose metadata stays as well.
static ALL_BUT_CUSTOM_STATUS: LazyLock<FieldSet> = LazyLock::new(|| FieldSet::of_fields(&[&["metadata"], &["spec"]]));

fn writer<'a>(cx: &'a Cx, manager: &'a str, api_version: &'a str) -> Option<Writer<'a>> {
    let (schema, root) = cx.row.schema_of(&cx.row.gvk)?;
    let reset_fields: Option<&FieldSet> = match cx.info.subresource.as_str() {
        "" if cx.row.subresources.status => Some(&STATUS),
        "status" if cx.row.custom.is_some() => Some(&ALL_BUT_CUSTOM_STATUS),
        "status" => Some(&ALL_BUT_STATUS),
        _ => None,
    };
    let subresource = cx.info.subresource.as_str();
    Some(Writer { schema, root, manager, api_version, subresource, now: cx.now, reset_fields })
}

/// Records the creator's fields.
pub fn track_create(cx: &Cx, manager: &Manager, object: &mut Object) {
    if let Manager::Update(name) = manager
        && let Some(writer) = writer(cx, name, &cx.row.gvk.api_version())
    {
        apply::update(&writer, None, object);
    }
}

/// Records what a writer changed.
pub fn track_update(cx: &Cx, manager: &Manager, object: &mut Object, old: &Object) {
    if let Manager::Update(name) = manager
        && let Some(writer) = writer(cx, name, &cx.row.gvk.api_version())
    {
        with_owners_converted(&cx.row, object, Some(old), |object, old| apply::update(&writer, old, object));
    }
}

fn applier<'a>(cx: &'a Cx, manager: &'a str, api_version: &'a str) -> Result<Writer<'a>, StatusError> {
    writer(cx, manager, api_version).ok_or_else(|| {
        StatusError::unsupported_media_type(&["application/json-patch+json", "application/merge-patch+json"])
    })
}

/// Refuses a configuration that does not fit the schema, as it was sent: what is unknown is never passed over.
pub fn check(cx: &Cx, applied: &Object) -> Result<(), StatusError> {
    let api_version = cx.row.gvk.api_version();
    apply::check(&applier(cx, "", &api_version)?, applied).map_err(|error| error.to_status())
}

/// The live object (nothing where there is none) with the applied fields in it, and their owner recorded.
pub fn apply(
    cx: &Cx,
    live: Option<&Object>,
    applied: &Object,
    manager: &str,
    force: bool,
) -> Result<Object, StatusError> {
    let api_version = cx.row.gvk.api_version();
    let writer = applier(cx, manager, &api_version)?;
    let Some(live) = live else {
        let created = apply::apply(&writer, None, applied, force).map_err(|error| error.to_status())?;
        return whole(cx, &writer, created);
    };
    // The answer carries the owners of the live object: what is renamed for the merge gets its names back with it.
    let mut merged = live.clone();
    with_owners_converted(&cx.row, &mut merged, None, |merged, _| {
        *merged = apply::apply(&writer, Some(merged), applied, force)?;
        Ok(())
    })
    .map_err(|error: apply::ApplyError| error.to_status())?;
    whole(cx, &writer, merged)
}

/// What parts were merged into, as Go's types write it. The schema of a custom resource has no such type.
fn whole(cx: &Cx, writer: &Writer<'_>, mut merged: Object) -> Result<Object, StatusError> {
    if cx.row.custom.is_none() {
        let GroupVersionKind { version, kind, .. } = &cx.row.gvk;
        schema::decode(writer.schema, writer.root, &mut merged)
            .map_err(|error| StatusError::bad_request(error.message(version, kind)))?;
    }
    Ok(merged)
}

/// The live object of a kind with the applied fields in it, whoever owned them; the owners that it then names are not
/// of interest.
pub fn merge(cx: &Cx, kind: &GroupVersionKind, live: &Object, applied: &Object) -> Result<Object, StatusError> {
    let (schema, root) = cx.row.schema_of(kind).ok_or_else(|| {
        let kind = &kind.kind;
        StatusError::unavailable(format!(
            "Resource kind {kind} not found. There can be a delay between when CustomResourceDefinitions are created and \
             when they are available."
        ))
    })?;
    let api_version = kind.api_version();
    let writer = Writer {
        schema,
        root,
        manager: "admission-policy",
        api_version: &api_version,
        subresource: "",
        now: cx.now,
        reset_fields: None,
    };
    let mut live = live.clone();
    live.metadata_mut().remove("managedFields");
    let applied = apply::check(&writer, applied).and_then(|()| apply::apply(&writer, Some(&live), applied, true));
    applied.map_err(|error| error.to_status())
}

/// Whether two `managedFields` say the same but for the times.
pub fn same_owners(new: &Value, old: Option<&Value>) -> bool {
    let (Some(new), Some(old)) = (new.as_array(), old.and_then(Value::as_array)) else { return false };
    let timeless = |entry: &Value| {
        let mut entry = entry.clone();
        if let Some(entry) = entry.as_object_mut() {
            entry.remove("time");
        }
        entry
    };
    new.len() == old.len() && new.iter().zip(old).all(|(new, old)| timeless(new) == timeless(old))
}
