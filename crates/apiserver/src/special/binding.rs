//! binding: puts a pod on a node (upstream: pkg/registry/core/pod/storage/storage.go `BindingREST`).

use apimachinery::{GroupVersionKind, Object, StatusError};
use async_trait::async_trait;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::body::{self, Body};
use crate::handler::{Call, Handler};
use crate::registry::update::{Change, Part, change};
use crate::registry::write::Draft;
use crate::registry::{answer, decode, fields};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct PodBinding;

#[async_trait]
impl Handler for PodBinding {
    async fn handle(&self, call: Call) -> Result<Response<Body>, StatusError> {
        if call.cx.info.verb != "create" {
            return Err(StatusError::new(
                405,
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource",
            ));
        }
        let bytes = body::read(call.body).await?;
        let binding = decode::body(&call.cx, &bytes, &GroupVersionKind::new("", "v1", "Binding"))?;
        let pods = call.cx.registry().row("", "v1", "pods")?;
        let name = if call.cx.info.name.is_empty() { binding.name() } else { &call.cx.info.name }.to_owned();
        let name = name.as_str();
        if !binding.name().is_empty() && binding.name() != name {
            return Err(StatusError::bad_request("name in URL does not match name in Binding object"));
        }
        check(&binding)?;
        let binding = Draft::admitted(&call.cx, binding).await?;
        let pod = call.cx.about(&pods, "update", &call.cx.info.namespace, name);
        let transform = |old: &Object| bind(old, &binding);
        let manager = fields::Manager::Update(fields::manager_name(&call.cx));
        change(&pod, &Change { part: Part::Special, manager, retry: true, transform: &transform }).await?;
        let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 });
        answer::other(&call.cx, StatusCode::CREATED, &status)
    }
}

fn check(binding: &Object) -> Result<(), StatusError> {
    use apimachinery::field::{Error, Path};
    let path = Path::new("target");
    let mut errors = Vec::new();
    let kind = binding.str_at(&["target", "kind"]).unwrap_or_default();
    if !matches!(kind, "" | "Node") {
        errors.push(Error::not_supported(&path.child("kind"), kind, &["Node", "<empty>"]));
    }
    let name = binding.str_at(&["target", "name"]).unwrap_or_default();
    if name.is_empty() {
        errors.push(Error::required(&path.child("name"), ""));
    } else if matches!(kind, "" | "Node") {
        let wrong = apimachinery::validation::name_is_dns_subdomain(name, false);
        errors.extend(wrong.into_iter().map(|words| Error::invalid(&path.child("name"), name, words)));
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(StatusError::invalid(&apimachinery::GroupKind::new("", "Binding"), binding.name(), &errors))
    }
}

/// Upstream: `setPodNodeAndMetadata`.
fn bind(old: &Object, binding: &Object) -> Result<Object, StatusError> {
    let resource = apimachinery::GroupResource::new("", "pods/binding");
    let node = binding.str_at(&["target", "name"]).unwrap_or_default();
    let conflict = |cause: String| Err(StatusError::conflict(&resource, old.name(), &cause));
    if !binding.uid().is_empty() && binding.uid() != old.uid() {
        let (asked, present) = (binding.uid(), old.uid());
        return conflict(format!("Precondition failed: UID in precondition: {asked}, UID in object meta: {present}"));
    }
    if old.is_deleting() {
        return conflict(format!("pod {} is being deleted, cannot be assigned to a host", old.name()));
    }
    let present = old.str_at(&["spec", "nodeName"]).unwrap_or_default();
    if !present.is_empty() {
        return conflict(format!("pod {} is already assigned to node {present:?}", old.name()));
    }
    if old.at(&["spec", "schedulingGates"]).and_then(Value::as_array).is_some_and(|gates| !gates.is_empty()) {
        return conflict(format!("pod {} has non-empty .spec.schedulingGates", old.name()));
    }
    let mut pod = old.clone();
    if let Some(spec) = pod.0.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("nodeName".into(), node.into());
    }
    for map in ["annotations", "labels"] {
        let given = binding.metadata().and_then(|metadata| metadata.get(map)).and_then(Value::as_object);
        let Some(given) = given.filter(|given| !given.is_empty()) else { continue };
        let own = pod.metadata_mut().entry(map).or_insert_with(|| json!({}));
        if let Some(own) = own.as_object_mut() {
            own.extend(given.clone());
        }
    }
    mark_scheduled(&mut pod);
    Ok(pod)
}

fn mark_scheduled(pod: &mut Object) {
    let now = component_base::clock::rfc3339_seconds(component_base::now());
    let generation = pod.generation();
    let status = pod.0.entry("status").or_insert_with(|| json!({}));
    let Some(status) = status.as_object_mut() else { return };
    // Upstream: `ClearingNominatedNodeNameAfterBinding`.
    status.remove("nominatedNodeName");
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    let Some(conditions) = conditions.as_array_mut() else { return };
    let scheduled = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now, "observedGeneration": generation,
    });
    match conditions.iter_mut().find(|condition| condition["type"] == "PodScheduled") {
        Some(condition) => *condition = scheduled,
        None => conditions.push(scheduled),
    }
}
