//! update: a new state of an object, and the loop that every change of a stored object goes through
//! (upstream: endpoints/handlers/update.go, registry/generic/registry/store.go `Update`, registry/rest/update.go).

use apimachinery::{Object, StatusError};
use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::Value;
use store::{Entry, Expect, Write, Written};

use super::write::{self, Draft};
use super::{Cx, answer, convert, create, decode, fields};
use crate::admission::Operation;
use crate::allocation::Allocators;
use crate::body::Body;
use crate::status;

/// How often a change that does not name a state is tried again when somebody else wrote in between.
/// Each round some writer succeeds; the limit only keeps a storm from going on for ever.
const ATTEMPTS: usize = 100;

/// Which part of the object a write may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All but the status.
    Main,
    /// The status only.
    Status,
    /// A special subresource: the strategy says what it may change; without one, whatever the server made of it.
    Special,
}

/// A change of a stored object.
pub struct Change<'c> {
    /// The part that may change.
    pub part: Part,
    /// How the writer's fields are recorded.
    pub manager: fields::Manager,
    /// Whether the change is made anew when somebody else wrote in between; else it named a state that is gone.
    pub retry: bool,
    /// Makes the new object of the one that stands; both in the version the row serves.
    pub transform: &'c (dyn Fn(&Object) -> Result<Object, StatusError> + Send + Sync),
}

/// Replaces the object by the one in the body.
pub async fn update(cx: &Cx, body: &Bytes) -> Result<Response<Body>, StatusError> {
    let part = part_of(cx);
    let mut object = decode::body(cx, body, &cx.row.gvk)?;
    check_name(cx, &mut object)?;
    create::check_namespace(cx, &mut object)?;
    if part == Part::Main && cx.row.strategy.allow_create_on_update() {
        let exists = cx.registry().find_entry(&cx.row, &cx.info.namespace, &cx.info.name).await?.is_some();
        if !exists && object.uid().is_empty() {
            object.metadata_mut().remove("resourceVersion");
            let created = create::create_object(cx, object).await?;
            return answer::object(cx, StatusCode::CREATED, &created).await;
        }
    }
    if object.resource_version().is_empty() && !cx.row.strategy.allow_unconditional_update() {
        // That there is no such object says more.
        cx.registry().entry(&cx.row, &cx.info.namespace, &cx.info.name).await?;
        return Err(write::version_required(&cx.row, &cx.info.name));
    }
    let manager = fields::Manager::Update(fields::manager_name(cx));
    let retry = object.resource_version().is_empty();
    let transform = |_: &Object| Ok(object.clone());
    let stored = change(cx, &Change { part, manager, retry, transform: &transform }).await?;
    answer::object(cx, StatusCode::OK, &stored).await
}

/// The part that the path names.
pub fn part_of(cx: &Cx) -> Part {
    match cx.info.subresource.as_str() {
        "" => Part::Main,
        "status" => Part::Status,
        _ => Part::Special,
    }
}

/// The body's name is the path's (upstream: endpoints/handlers/rest.go `checkName`).
pub fn check_name(cx: &Cx, object: &mut Object) -> Result<(), StatusError> {
    if object.name().is_empty() {
        object.set_meta_str("name", &cx.info.name);
        return Ok(());
    }
    if object.name() == cx.info.name {
        return Ok(());
    }
    let (name, asked) = (object.name(), &cx.info.name);
    Err(StatusError::bad_request(format!(
        "the name of the object ({name}) does not match the name on the URL ({asked})"
    )))
}

/// Changes the object that the path names, against the state that stands when the write happens. A change that names
/// no resourceVersion is made anew when somebody else wrote in between. Answers the canonical bytes.
pub async fn change(cx: &Cx, change: &Change<'_>) -> Result<Bytes, StatusError> {
    for _ in 0..ATTEMPTS {
        let entry = cx.registry().entry(&cx.row, &cx.info.namespace, &cx.info.name).await?;
        if let Some(bytes) = attempt(cx, change, &entry).await? {
            return Ok(bytes);
        }
    }
    Err(StatusError::stale(&cx.row.group_resource(), &cx.info.name))
}

/// One try; `None` when the object changed meanwhile and the change may be made anew.
async fn attempt(cx: &Cx, change: &Change<'_>, entry: &Entry) -> Result<Option<Bytes>, StatusError> {
    let row = &cx.row;
    let old = convert::current(&cx.server, row, entry).await?;
    let mut object = (change.transform)(&old)?;
    check_preconditions(cx, &object, &old)?;
    before_update(&mut object, &old);
    restore_parts(row, change.part, &mut object, &old);
    row.strategy.default(&mut object);
    Allocators::carry_over(row, &mut object, &old);
    let dry_run = cx.dry_run()?;
    let mut draft = Draft::update(cx, object, old, dry_run);
    let admitted = !is_on_behalf(cx, change.part);
    if admitted {
        draft.mutate(Operation::Update).await?;
    }
    let old = draft.old.take().unwrap_or_default();
    let object = &mut draft.object;
    row.strategy.default(object);
    match change.part {
        Part::Status => row.strategy.prepare_for_status_update(&cx.write_context(), object, &old),
        part if is_judged(cx, part) => row.strategy.prepare_for_update(&cx.write_context(), object, &old),
        _ => {}
    }
    if row.strategy.generation().begins(object) && row.strategy.generation().moves(object, &old) {
        object.metadata_mut().insert("generation".into(), (old.generation() + 1).into());
    }
    fields::track_update(cx, &change.manager, object, &old);
    if same(object, &old) && !cx.registry().store().is_stale(&entry.key) {
        return Ok(Some(entry.finished.value.clone()));
    }
    let mut errors = write::validate_metadata_update(object, &old);
    errors.extend(rules(cx, change.part, object, &old));
    write::refuse_if_invalid(row, &cx.info.name, &errors)?;
    draft.old = Some(old);
    if admitted {
        draft.validate(Operation::Update).await?;
    }
    let reservation = draft.reserve().await?;
    let old = draft.old.take().unwrap_or_default();
    let gone = is_gone(row, &draft.object, &old);
    let object = draft.object;
    let value = write::encode(convert::stored(&cx.server, row, object).await?)?;
    if dry_run {
        return Ok(Some(super::finish::with_revision(&value, entry.modified)));
    }
    let write =
        Write { key: entry.key.to_string(), expect: Expect::At(entry.modified), value: (!gone).then(|| value.clone()) };
    match cx.registry().store().write(write).await.map_err(|error| status::of_store(&error))? {
        Written::Done(written) => {
            reservation.keep();
            crate::custom::convert::landed(&cx.server, row, &written);
            if gone {
                cx.server.allocators.release(row, &old);
                return Ok(Some(super::finish::with_revision(&value, written.modified)));
            }
            Ok(Some(written.finished.value.clone()))
        }
        Written::Refused(_) if !change.retry => Err(StatusError::stale(&row.group_resource(), &cx.info.name)),
        Written::Refused(_) => Ok(None),
    }
}

/// A write that names a state or an object must mean the one that stands.
fn check_preconditions(cx: &Cx, object: &Object, old: &Object) -> Result<(), StatusError> {
    let resource = cx.row.group_resource();
    let (uid, present) = (object.uid(), old.uid());
    if !uid.is_empty() && uid != present {
        let cause = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {present}");
        return Err(StatusError::conflict(&resource, &cx.info.name, &cause));
    }
    let version = object.resource_version();
    if !version.is_empty() && version != "0" && version != old.resource_version() {
        return Err(StatusError::stale(&resource, &cx.info.name));
    }
    Ok(())
}

/// Upstream: registry/rest/update.go `BeforeUpdate`: what only the system sets stays as it is.
fn before_update(object: &mut Object, old: &Object) {
    for name in ["uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        match old.metadata().and_then(|metadata| metadata.get(name)) {
            Some(value) => object.metadata_mut().insert(name.into(), value.clone()),
            None => object.metadata_mut().remove(name),
        };
    }
    object.metadata_mut().remove("selfLink");
    if object.meta_str("generateName").is_empty() {
        object.set_meta_str("generateName", old.meta_str("generateName"));
    }
    object.set_meta_str("resourceVersion", old.resource_version());
}

/// A write of the main resource keeps the status; a write of the status keeps the rest.
fn restore_parts(row: &api::Resource, part: Part, object: &mut Object, old: &Object) {
    match part {
        Part::Main if row.subresources.status => restore(object, old, "status"),
        Part::Main | Part::Special => {}
        Part::Status => {
            let names: Vec<String> = old.0.keys().chain(object.0.keys()).cloned().collect();
            for name in
                names.iter().filter(|name| !matches!(name.as_str(), "status" | "metadata" | "apiVersion" | "kind"))
            {
                restore(object, old, name);
            }
            if row.strategy.status_keeps_metadata() {
                restore_metadata(object, old);
            }
        }
    }
}

/// Such a write of the status changes no metadata but who owns what.
fn restore_metadata(object: &mut Object, old: &Object) {
    let owners = object.metadata_mut().remove("managedFields");
    let mut metadata = old.metadata().cloned().unwrap_or_default();
    metadata.remove("managedFields");
    metadata.extend(owners.map(|owners| ("managedFields".to_owned(), owners)));
    object.0.insert("metadata".into(), Value::Object(metadata));
}

fn restore(object: &mut Object, old: &Object, name: &str) {
    match old.0.get(name) {
        Some(value) => object.0.insert(name.to_owned(), value.clone()),
        None => object.0.remove(name),
    };
}

/// Whether the kind's strategy has a say: in all writes but those the server makes on somebody's behalf.
fn is_judged(cx: &Cx, part: Part) -> bool {
    part == Part::Main || (part == Part::Special && !cx.info.subresource.is_empty())
}

/// Whether the server makes this write on somebody's behalf: what they asked for has been admitted.
fn is_on_behalf(cx: &Cx, part: Part) -> bool {
    part == Part::Special && cx.info.subresource.is_empty()
}

/// The kind's own rules for this write.
fn rules(cx: &Cx, part: Part, object: &Object, old: &Object) -> Vec<apimachinery::field::Error> {
    let strategy = &cx.row.strategy;
    let subresource = cx.info.subresource.as_str();
    match part {
        Part::Status => {
            let (errors, tolerated) = strategy.judge_status_update(&cx.write_context(), object, old);
            tolerated.into_iter().for_each(|warning| cx.warn(warning));
            errors
        }
        Part::Special if subresource.is_empty() => Vec::new(),
        Part::Special => strategy.validate_subresource_update(subresource, object, old),
        Part::Main => {
            for warning in strategy.update_warnings(object, old) {
                cx.warn(warning);
            }
            let alone = strategy.judges_updates_alone();
            let mut errors = if alone { Vec::new() } else { strategy.validate(object) };
            let (wrong, tolerated) = strategy.judge_update(object, old);
            tolerated.into_iter().for_each(|warning| cx.warn(warning));
            errors.extend(wrong);
            errors
        }
    }
}

/// Whether a write would change nothing but the times at which managers last wrote.
fn same(object: &Object, old: &Object) -> bool {
    if object.0.len() != old.0.len() {
        return false;
    }
    let metadata_same = match (object.metadata(), old.metadata()) {
        (Some(new), Some(old)) => {
            new.len() == old.len()
                && new.iter().all(|(key, value)| {
                    let other = old.get(key);
                    other == Some(value) || (key == "managedFields" && fields::same_owners(value, other))
                })
        }
        (new, old) => new == old,
    };
    metadata_same && object.0.iter().all(|(key, value)| key == "metadata" || old.0.get(key) == Some(value))
}

/// Whether a deletion that waited for finalizers is complete with this write
/// (upstream: `ShouldDeleteDuringUpdate`; for namespaces `ShouldDeleteNamespaceDuringUpdate`).
pub fn is_gone(row: &api::Resource, object: &Object, old: &Object) -> bool {
    let no_grace =
        old.metadata().and_then(|metadata| metadata.get("deletionGracePeriodSeconds")).and_then(Value::as_i64)
            == Some(0);
    let held_by_namespace = row.gvk.kind == "Namespace"
        && row.gvk.group.is_empty()
        && object.at(&["spec", "finalizers"]).and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    old.is_deleting()
        && (no_grace || row.gvk.kind == "Namespace")
        && object.finalizers().next().is_none()
        && !held_by_namespace
}
