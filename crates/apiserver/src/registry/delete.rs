//! delete: at once, after a grace period, or when finalizers allow (upstream: endpoints/handlers/delete.go,
//! registry/generic/registry/store.go `Delete`, registry/rest/delete.go `BeforeDelete`).
//!
//! ```text
//! delete --+-- finalizers or grace left --> deletionTimestamp set --(last finalizer removed, or delete with grace 0)--> gone
//!          +-- neither ---------------------------------------------------------------------------------------------> gone
//! ```

use std::time::Duration;

use api::Resource;
use apimachinery::{Object, StatusError};
use bytes::Bytes;
use component_base::clock::rfc3339_seconds;
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use store::{Entry, Expect, Write, Written};

use super::options::{DeleteOptions, Propagation};
use super::{Cx, answer, convert, decode, finish, write};
use crate::admission::conversion::Conversions;
use crate::admission::reinvocation::Reinvocation;
use crate::admission::{Operation, Request};
use crate::body::Body;
use crate::status;

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// How often a delete is tried again when somebody else wrote in between.
const ATTEMPTS: usize = 100;

/// What came of a delete.
#[derive(Clone, Debug)]
pub struct Deleted {
    /// The object's last bytes.
    pub object: Bytes,
    /// Whether it is gone; else it waits for its grace period or its finalizers.
    pub gone: bool,
}

/// Deletes the object that the path names.
pub async fn delete(cx: &Cx, body: &Bytes) -> Result<Response<Body>, StatusError> {
    let options = DeleteOptions::parse(decode::delete_options(cx, body)?, &cx.query)?;
    let deleted = delete_object(cx, &cx.info.namespace, &cx.info.name, &options).await?;
    if deleted.gone && !returns_deleted(&cx.row) {
        let mut details = json!({ "name": cx.info.name, "kind": cx.row.plural });
        if !cx.row.gvk.group.is_empty() {
            details["group"] = cx.row.gvk.group.as_str().into();
        }
        if let Some(uid) = super::scan::at(&deleted.object, &["metadata", "uid"]).and_then(super::scan::text) {
            details["uid"] = (*uid).into();
        }
        return answer::success(cx, details);
    }
    let waits =
        !deleted.gone && options.propagation == Some(Propagation::Background) && cx.query.has("orphanDependents");
    answer::object(cx, if waits { StatusCode::ACCEPTED } else { StatusCode::OK }, &deleted.object).await
}

/// Kinds whose last state is answered in place of a Status (upstream: `ReturnDeletedObject`).
fn returns_deleted(row: &Resource) -> bool {
    row.gvk.group.is_empty()
        && matches!(
            row.gvk.kind.as_str(),
            "Pod"
                | "PodTemplate"
                | "PersistentVolume"
                | "PersistentVolumeClaim"
                | "ResourceQuota"
                | "Service"
                | "ServiceAccount"
        )
}

/// Deletes one object of the row, if admission lets it; made anew when somebody else wrote in between.
pub async fn delete_object(
    cx: &Cx,
    namespace: &str,
    name: &str,
    options: &DeleteOptions,
) -> Result<Deleted, StatusError> {
    delete_with(cx, namespace, name, options, Admission::Asked).await
}

/// The same for a delete that has been admitted as something else: an eviction.
pub async fn delete_admitted(
    cx: &Cx,
    namespace: &str,
    name: &str,
    options: &DeleteOptions,
) -> Result<Deleted, StatusError> {
    delete_with(cx, namespace, name, options, Admission::Given).await
}

/// Whether admission has a say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admission {
    Asked,
    Given,
}

async fn delete_with(
    cx: &Cx,
    namespace: &str,
    name: &str,
    options: &DeleteOptions,
    admission: Admission,
) -> Result<Deleted, StatusError> {
    for _ in 0..ATTEMPTS {
        let entry = cx.registry().entry(&cx.row, namespace, name).await?;
        let old = convert::current(&cx.server, &cx.row, &entry).await?;
        check_preconditions(&cx.row, &old, options)?;
        if admission == Admission::Asked {
            admit(cx, &old, options).await?;
        }
        if let Some(deleted) = attempt(cx, &entry, &old, options).await? {
            return Ok(deleted);
        }
    }
    Err(StatusError::stale(&cx.row.group_resource(), name))
}

async fn admit(cx: &Cx, old: &Object, options: &DeleteOptions) -> Result<(), StatusError> {
    let mut request = Request {
        cx,
        row: &cx.row,
        operation: Operation::Delete,
        namespace: old.namespace(),
        name: old.name().to_owned(),
        subresource: "",
        object: None,
        old: Some(old.clone()),
        dry_run: options.dry_run,
        reinvocation: Reinvocation::default(),
        conversions: Conversions::default(),
    };
    cx.server.admission.admit(&mut request).await?;
    cx.server.admission.validate(&request).await
}

async fn attempt(
    cx: &Cx,
    entry: &Entry,
    old: &Object,
    options: &DeleteOptions,
) -> Result<Option<Deleted>, StatusError> {
    match plan(&cx.row, old, options, cx.now)? {
        Plan::Unchanged => Ok(Some(Deleted { object: entry.finished.value.clone(), gone: false })),
        Plan::Mark(object) => mark(cx, entry, object, options.dry_run).await,
        Plan::Remove => remove(cx, entry, old, options.dry_run).await,
    }
}

/// Upstream: `Preconditions.Check`.
fn check_preconditions(row: &Resource, object: &Object, options: &DeleteOptions) -> Result<(), StatusError> {
    let resource = row.group_resource();
    if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != object.uid()) {
        let cause = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", object.uid());
        return Err(StatusError::conflict(&resource, object.name(), &cause));
    }
    if let Some(version) = options.resource_version.as_deref().filter(|version| *version != object.resource_version()) {
        let cause = format!(
            "Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in object meta: {}",
            object.resource_version()
        );
        return Err(StatusError::conflict(&resource, object.name(), &cause));
    }
    Ok(())
}

/// What a delete does to an object.
#[derive(Debug, PartialEq)]
enum Plan {
    /// It is being deleted already, and no faster.
    Unchanged,
    /// It is marked as being deleted and stays for now.
    Mark(Object),
    /// It goes.
    Remove,
}

fn plan(row: &Resource, old: &Object, options: &DeleteOptions, now: Timestamp) -> Result<Plan, StatusError> {
    let mut object = old.clone();
    let finalizers_changed = set_propagation(&mut object, options.propagation);
    if row.gvk.kind == "Namespace" && row.gvk.group.is_empty() {
        return plan_namespace(row, object, old, now);
    }
    row.strategy.prepare_for_delete(&mut object, now);
    let grace = row.strategy.grace_period_seconds(old, options.grace_s).unwrap_or(0);
    let has_finalizers = object.finalizers().next().is_some();
    if old.is_deleting() {
        return Ok(plan_again(object, old, options, finalizers_changed, now));
    }
    if grace == 0 && !has_finalizers {
        return Ok(Plan::Remove);
    }
    set_deletion(&mut object, now, grace);
    if object.generation() > 0 {
        object.metadata_mut().insert("generation".into(), (old.generation() + 1).into());
    }
    Ok(Plan::Mark(object))
}

/// A deletion that runs already can only become shorter.
fn plan_again(
    mut object: Object,
    old: &Object,
    options: &DeleteOptions,
    finalizers_changed: bool,
    now: Timestamp,
) -> Plan {
    let has_finalizers = object.finalizers().next().is_some();
    let left = old.metadata().and_then(|metadata| metadata.get("deletionGracePeriodSeconds")).and_then(Value::as_i64);
    let shorter = left.and_then(|left| options.grace_s.filter(|asked| *asked < left));
    match (left, shorter) {
        (None | Some(0), _) | (_, Some(0)) if !has_finalizers => Plan::Remove,
        (Some(left), Some(asked)) => {
            let began = old.meta_str("deletionTimestamp").parse::<Timestamp>().unwrap_or(now);
            let began = began.checked_sub(Duration::from_secs(left.unsigned_abs())).unwrap_or(now);
            set_deletion(&mut object, began, asked.max(0));
            Plan::Mark(object)
        }
        _ if finalizers_changed => Plan::Mark(object),
        _ => Plan::Unchanged,
    }
}

/// A namespace waits until its content is gone (upstream: pkg/registry/core/namespace/storage/storage.go `Delete`).
fn plan_namespace(row: &Resource, mut object: Object, old: &Object, now: Timestamp) -> Result<Plan, StatusError> {
    if !old.is_deleting() {
        set_deletion(&mut object, now, 0);
        object.metadata_mut().remove("deletionGracePeriodSeconds");
        object.0.entry("status").or_insert_with(|| json!({}))["phase"] = "Terminating".into();
        return Ok(Plan::Mark(object));
    }
    let held = old.at(&["spec", "finalizers"]).and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    if held {
        let cause = "The system is ensuring all content is removed from this namespace.  Upon completion, this namespace \
                     will automatically be purged by the system.";
        return Err(StatusError::conflict(&row.group_resource(), old.name(), cause));
    }
    if object.finalizers().next().is_some() { Ok(Plan::Unchanged) } else { Ok(Plan::Remove) }
}

fn set_deletion(object: &mut Object, from: Timestamp, grace: i64) {
    let at = from.checked_add(Duration::from_secs(grace.unsigned_abs())).unwrap_or(from);
    let metadata = object.metadata_mut();
    metadata.insert("deletionTimestamp".into(), rfc3339_seconds(at).into());
    metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
}

/// Sets or clears the garbage collector's finalizers (upstream: `deletionFinalizersForGarbageCollection`).
fn set_propagation(object: &mut Object, propagation: Option<Propagation>) -> bool {
    let before: Vec<String> = object.finalizers().map(str::to_owned).collect();
    let mut after = before.clone();
    let wanted = match propagation {
        Some(Propagation::Orphan) => Some(ORPHAN),
        Some(Propagation::Foreground) => Some(FOREGROUND),
        Some(Propagation::Background) => None,
        // The object's own finalizers decide.
        None => return false,
    };
    after.retain(|finalizer| Some(finalizer.as_str()) == wanted || !matches!(finalizer.as_str(), ORPHAN | FOREGROUND));
    if let Some(wanted) = wanted.filter(|wanted| !after.iter().any(|finalizer| finalizer == wanted)) {
        after.push(wanted.to_owned());
    }
    if after == before {
        return false;
    }
    if after.is_empty() {
        object.metadata_mut().remove("finalizers");
    } else {
        object.metadata_mut().insert("finalizers".into(), after.into());
    }
    true
}

async fn mark(cx: &Cx, entry: &Entry, object: Object, dry_run: bool) -> Result<Option<Deleted>, StatusError> {
    let value = write::encode(convert::stored(&cx.server, &cx.row, object).await?)?;
    if dry_run {
        return Ok(Some(Deleted { object: finish::with_revision(&value, entry.modified), gone: false }));
    }
    let write = Write { key: entry.key.to_string(), expect: Expect::At(entry.modified), value: Some(value) };
    match cx.registry().store().write(write).await.map_err(|error| status::of_store(&error))? {
        Written::Done(written) => Ok(Some(Deleted { object: written.finished.value.clone(), gone: false })),
        Written::Refused(_) => Ok(None),
    }
}

async fn remove(cx: &Cx, entry: &Entry, old: &Object, dry_run: bool) -> Result<Option<Deleted>, StatusError> {
    if dry_run {
        return Ok(Some(Deleted { object: entry.finished.value.clone(), gone: true }));
    }
    let write = Write { key: entry.key.to_string(), expect: Expect::At(entry.modified), value: None };
    match cx.registry().store().write(write).await.map_err(|error| status::of_store(&error))? {
        Written::Done(_) => {
            cx.server.allocators.release(&cx.row, old);
            Ok(Some(Deleted { object: entry.finished.value.clone(), gone: true }))
        }
        Written::Refused(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(kind: &str, object: Value, options: DeleteOptions) -> String {
        let (plural, group) = if kind == "Pod" { ("pods", "") } else { ("configmaps", "") };
        let gvr = apimachinery::GroupVersionResource::new(group, "v1", plural);
        let row = api::catalogue::by_resource(&gvr).expect("in the catalogue");
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let object = Object::from_value(object).expect("an object");
        match plan(row, &object, &options, now).expect("a plan") {
            Plan::Mark(object) => Value::Object(object.metadata().expect("metadata").clone()).to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn pods_get_their_grace() {
        let scheduled =
            json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 5}});
        assert_eq!(
            planned("Pod", scheduled.clone(), DeleteOptions::default()),
            r#"{"deletionGracePeriodSeconds":5,"deletionTimestamp":"2026-01-01T00:00:05Z","name":"a"}"#
        );
        let at_once = DeleteOptions { grace_s: Some(0), ..DeleteOptions::default() };
        assert_eq!(planned("Pod", scheduled.clone(), at_once.clone()), "Remove");
        let unscheduled = json!({"metadata": {"name": "a"}, "spec": {}});
        assert_eq!(planned("Pod", unscheduled, DeleteOptions::default()), "Remove");
        let deleting = json!({
            "metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:30Z", "deletionGracePeriodSeconds": 30},
            "spec": {"nodeName": "n"},
        });
        assert_eq!(planned("Pod", deleting.clone(), DeleteOptions::default()), "Unchanged");
        assert_eq!(planned("Pod", deleting.clone(), at_once), "Remove");
        let shorter = DeleteOptions { grace_s: Some(10), ..DeleteOptions::default() };
        assert_eq!(
            planned("Pod", deleting, shorter),
            r#"{"deletionGracePeriodSeconds":10,"deletionTimestamp":"2026-01-01T00:00:10Z","name":"a"}"#
        );
    }

    #[test]
    fn finalizers_hold_an_object() {
        let plain = json!({"metadata": {"name": "a"}});
        assert_eq!(planned("ConfigMap", plain.clone(), DeleteOptions::default()), "Remove");
        let foreground = DeleteOptions { propagation: Some(Propagation::Foreground), ..DeleteOptions::default() };
        assert_eq!(
            planned("ConfigMap", plain, foreground),
            r#"{"deletionGracePeriodSeconds":0,"deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["foregroundDeletion"],"name":"a"}"#
        );
        let held = json!({"metadata": {
            "name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 0,
            "finalizers": ["foregroundDeletion"],
        }});
        assert_eq!(planned("ConfigMap", held.clone(), DeleteOptions::default()), "Unchanged");
        // Nobody comes after the last finalizer to remove it.
        let background = DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::default() };
        assert_eq!(planned("ConfigMap", held, background), "Remove");
    }
}
