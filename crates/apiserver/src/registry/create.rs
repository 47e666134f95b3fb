//! create: a new object (upstream: endpoints/handlers/create.go, registry/generic/registry/store.go `Create`,
//! registry/rest/create.go `BeforeCreate`).

use apimachinery::{Object, StatusError, names};
use bytes::Bytes;
use http::{Response, StatusCode};
use store::{Expect, Write, Written};

use super::write::{self, Draft};
use super::{Cx, answer, convert, decode, fields};
use crate::admission::Operation;
use crate::body::Body;
use crate::status;

/// How often a name is made anew when the generated one is taken (upstream: `maxNameGenerationCreateAttempts`).
const NAME_ATTEMPTS: usize = 8;

/// Creates the object in the body.
pub async fn create(cx: &Cx, body: &Bytes) -> Result<Response<Body>, StatusError> {
    let object = decode::body(cx, body, &cx.row.gvk)?;
    let stored = create_object(cx, object).await?;
    answer::object(cx, StatusCode::CREATED, &stored).await
}

/// Creates a decoded object of the row's version; answers its canonical bytes.
pub async fn create_object(cx: &Cx, object: Object) -> Result<Bytes, StatusError> {
    create_as(cx, object, &fields::Manager::Update(fields::manager_name(cx))).await
}

/// Creates an object whose fields' owner is recorded already.
pub async fn create_applied(cx: &Cx, object: Object) -> Result<Bytes, StatusError> {
    create_as(cx, object, &fields::Manager::Applied).await
}

async fn create_as(cx: &Cx, object: Object, manager: &fields::Manager) -> Result<Bytes, StatusError> {
    let generates = object.name().is_empty() && !object.meta_str("generateName").is_empty();
    let further_attempts = if generates { NAME_ATTEMPTS - 1 } else { 0 };
    for _ in 0..further_attempts {
        match create_once(cx, object.clone(), manager).await {
            Err(error) if error.reason == "AlreadyExists" => {}
            result => return result,
        }
    }
    create_once(cx, object, manager).await
}

async fn create_once(cx: &Cx, mut object: Object, manager: &fields::Manager) -> Result<Bytes, StatusError> {
    let row = &cx.row;
    check_namespace(cx, &mut object)?;
    if row.custom.as_ref().is_some_and(|custom| custom.is_terminating()) {
        let cause = "create not allowed while custom resource definition is terminating";
        return Err(StatusError::forbidden(&row.group_resource(), object.name(), cause));
    }
    if !object.resource_version().is_empty() {
        return Err(StatusError::bad_request("resourceVersion should not be set on objects to be created"));
    }
    prepare_metadata(cx, &mut object);
    row.strategy.default(&mut object);
    let dry_run = cx.dry_run()?;
    let mut draft = Draft::create(cx, object, dry_run);
    draft.mutate(Operation::Create).await?;
    let object = &mut draft.object;
    row.strategy.default(object);
    if row.subresources.status && !row.strategy.keeps_status_at_create() {
        match row.empty_status() {
            Some(status) => object.0.insert("status".into(), status),
            None => object.0.remove("status"),
        };
    }
    row.strategy.prepare_for_create(&cx.write_context(), object);
    if row.strategy.generation().begins(object) {
        object.metadata_mut().insert("generation".into(), 1.into());
    } else {
        object.metadata_mut().remove("generation");
    }
    fields::track_create(cx, manager, object);
    let mut errors = write::validate_metadata(row, object);
    errors.extend(row.strategy.validate(object));
    write::refuse_if_invalid(row, object.name(), &errors)?;
    for warning in row.strategy.warnings(object) {
        cx.warn(warning);
    }
    draft.validate(Operation::Create).await?;
    let reservation = draft.reserve().await?;
    let object = draft.object;
    let key = row.key(object.namespace(), object.name());
    let name = object.name().to_owned();
    let value = write::encode(convert::stored(&cx.server, row, object).await?)?;
    if dry_run {
        if cx.registry().store().get(&key).await.map_err(|error| status::of_store(&error))?.is_some() {
            return Err(StatusError::already_exists(&row.group_resource(), &name));
        }
        return Ok(value);
    }
    let write = Write { key, expect: Expect::Absent, value: Some(value) };
    match cx.registry().store().write(write).await.map_err(|error| status::of_store(&error))? {
        Written::Done(entry) => {
            reservation.keep();
            crate::custom::convert::landed(&cx.server, row, &entry);
            Ok(entry.finished.value.clone())
        }
        Written::Refused(Some(present)) if is_deleting(&present) => Err(being_deleted(cx, &name)),
        Written::Refused(_) => Err(StatusError::already_exists(&row.group_resource(), &name)),
    }
}

fn is_deleting(entry: &store::Entry) -> bool {
    super::scan::at(&entry.finished.value, &["metadata", "deletionTimestamp"]).is_some()
}

fn being_deleted(cx: &Cx, name: &str) -> StatusError {
    let resource = cx.row.group_resource();
    let mut error = StatusError::already_exists(&resource, name);
    error.message = format!("object is being deleted: {}", error.message);
    error
}

/// The object belongs where the path says (upstream: rest/meta.go `EnsureObjectNamespaceMatchesRequestNamespace`).
pub fn check_namespace(cx: &Cx, object: &mut Object) -> Result<(), StatusError> {
    let asked = if cx.row.is_namespaced() { cx.info.namespace.as_str() } else { "" };
    if object.namespace() == asked {
        return Ok(());
    }
    if object.namespace().is_empty() {
        object.set_meta_str("namespace", asked);
        return Ok(());
    }
    if asked.is_empty() && !cx.row.is_namespaced() {
        object.metadata_mut().remove("namespace");
        return Ok(());
    }
    Err(StatusError::bad_request(
        "the namespace of the provided object does not match the namespace sent on the request",
    ))
}

/// Upstream: rest/meta.go `FillObjectMetaSystemFields` and `BeforeCreate`.
fn prepare_metadata(cx: &Cx, object: &mut Object) {
    let uid = uuid::Uuid::new_v4().to_string();
    let generated = object.name().is_empty().then(|| generate_name(object.meta_str("generateName")));
    let metadata = object.metadata_mut();
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"] {
        metadata.remove(field);
    }
    metadata.insert("creationTimestamp".into(), cx.timestamp().into());
    metadata.insert("uid".into(), uid.into());
    if let Some(name) = generated.filter(|name| !name.is_empty()) {
        metadata.insert("name".into(), name.into());
    }
}

/// `base` and five random letters that form no word.
pub fn generate_name(base: &str) -> String {
    if base.is_empty() { String::new() } else { names::generate_name(base, rand::random()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_keep_within_the_limit() {
        assert_eq!(generate_name("web-").len(), 9);
        assert_eq!(generate_name(&"a".repeat(80)).len(), 63);
        assert_eq!(generate_name(""), "");
    }
}
