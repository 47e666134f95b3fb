//! scale: the replicas of any kind that has them, as `autoscaling/v1 Scale`
//! (upstream: pkg/registry/apps/deployment/storage/storage.go `ScaleREST`).

use api::resource::Scale;
use apimachinery::{GroupVersionKind, Object, StatusError};
use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::update::{Change, Part, change};
use super::{Cx, answer, convert, decode, fields, patch};
use crate::body::Body;
use crate::custom;

/// Reads, replaces or patches the scale of the object that the path names.
pub async fn answer(cx: &Cx, body: &Bytes) -> Result<Response<Body>, StatusError> {
    let Some(paths) = cx.row.subresources.scale.clone() else { return Err(StatusError::unknown_path()) };
    if cx.info.verb == "get" {
        let entry = cx.registry().entry(&cx.row, &cx.info.namespace, &cx.info.name).await?;
        let object = convert::current(&cx.server, &cx.row, &entry).await?;
        replicas_are_there(cx, &paths, &object)?;
        return answer::other(cx, StatusCode::OK, &scale_of(&paths, &object).into_value());
    }
    let asked = match cx.info.verb.as_str() {
        "update" => Asked::Whole(decode::body(cx, body, &kind())?),
        _ => Asked::Patch(patch::Patch::parse(cx, body)?),
    };
    let transform = |old: &Object| {
        let scale = match &asked {
            Asked::Whole(scale) => scale.clone(),
            Asked::Patch(patch) => patch.apply_plain(cx, &scale_of(&paths, old), &kind())?,
        };
        with_replicas(&paths, old, &scale)
    };
    let manager = fields::Manager::Update(fields::manager_name(cx));
    let retry = !matches!(&asked, Asked::Whole(scale) if !scale.resource_version().is_empty());
    let stored = change(cx, &Change { part: Part::Main, manager, retry, transform: &transform }).await?;
    let object = convert::to_served(&cx.row, answer::decode(&stored)?);
    let object = custom::convert::object(&cx.server, &cx.row, object).await?;
    answer::other(cx, StatusCode::OK, &scale_of(&paths, &object).into_value())
}

enum Asked {
    Whole(Object),
    Patch(patch::Patch),
}

pub(crate) fn kind() -> GroupVersionKind {
    GroupVersionKind::new("autoscaling", "v1", "Scale")
}

/// A custom resource without the field has no scale yet (upstream: registry/customresource/etcd.go).
fn replicas_are_there(cx: &Cx, paths: &Scale, object: &Object) -> Result<(), StatusError> {
    if cx.row.custom.is_some() && at(object, &paths.spec_replicas).is_none() {
        let path = format!(".{}", paths.spec_replicas);
        return Err(StatusError::internal(format!("the spec replicas field {path:?} does not exist")));
    }
    Ok(())
}

pub(crate) fn scale_of(paths: &Scale, object: &Object) -> Object {
    let number = |path: &str| at(object, path).and_then(Value::as_i64).unwrap_or(0);
    let mut metadata = json!({ "name": object.name() });
    for field in ["namespace", "uid", "resourceVersion", "creationTimestamp"] {
        let value = object.meta_str(field);
        if !value.is_empty() {
            metadata[field] = value.into();
        }
    }
    let mut status = json!({ "replicas": number(&paths.status_replicas) });
    if let Some(selector) =
        paths.selector.as_deref().and_then(|path| at(object, path)).map(selector_text).filter(|text| !text.is_empty())
    {
        status["selector"] = selector.into();
    }
    let scale = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": { "replicas": number(&paths.spec_replicas) }, "status": status,
    });
    Object::from_value(scale).unwrap_or_default()
}

/// A selector as text: a plain map (ReplicationController), a LabelSelector, or text already.
fn selector_text(selector: &Value) -> String {
    use apimachinery::labels::Selector;
    match selector {
        Value::String(text) => text.clone(),
        Value::Object(map) if map.contains_key("matchLabels") || map.contains_key("matchExpressions") => {
            Selector::from_label_selector(Some(selector)).map(|selector| selector.to_string()).unwrap_or_default()
        }
        Value::Object(map) => {
            Selector::from_set(map.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))).to_string()
        }
        _ => String::new(),
    }
}

pub(crate) fn with_replicas(paths: &Scale, old: &Object, scale: &Object) -> Result<Object, StatusError> {
    let replicas = scale.at(&["spec", "replicas"]).and_then(Value::as_i64).unwrap_or(0);
    if replicas < 0 {
        let path = apimachinery::field::Path::new("spec").child("replicas");
        let error = apimachinery::field::Error::invalid(&path, replicas, "must be greater than or equal to 0");
        return Err(StatusError::invalid(&apimachinery::GroupKind::new("autoscaling", "Scale"), old.name(), &[error]));
    }
    let mut object = old.clone();
    for field in ["resourceVersion", "uid"] {
        object.set_meta_str(field, scale.meta_str(field));
    }
    let steps: Vec<&str> = paths.spec_replicas.split('.').collect();
    put(&mut object, &steps, replicas.into());
    Ok(object)
}

fn at<'o>(object: &'o Object, path: &str) -> Option<&'o Value> {
    let steps: Vec<&str> = path.split('.').collect();
    object.at(&steps)
}

fn put(object: &mut Object, steps: &[&str], value: Value) {
    let Some((last, parents)) = steps.split_last() else { return };
    let mut map = &mut object.0;
    for step in parents {
        let child = map.entry(*step).or_insert_with(|| json!({}));
        let Some(child) = child.as_object_mut() else { return };
        map = child;
    }
    map.insert((*last).to_owned(), value);
}
