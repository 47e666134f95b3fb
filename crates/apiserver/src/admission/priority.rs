//! Priority: the number behind a pod's priorityClassName (upstream: plugin/pkg/admission/priority/admission.go).

use apimachinery::{Object, StatusError};
use async_trait::async_trait;
use serde_json::Value;
use store::RangeRequest;

use super::{Operation, Plugin, Request};
use crate::registry::decode_entry;
use crate::status;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Priority;

/// What a class gives to a pod.
struct Resolved {
    class: Option<String>,
    value: i64,
    preemption: Value,
}

#[async_trait]
impl Plugin for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), StatusError> {
        if request.operation == Operation::Update && request.is_main("", "Pod") {
            keep(request);
        }
        if !request.creates("", "Pod") {
            return Ok(());
        }
        let Some(pod) = request.object.take() else { return Ok(()) };
        let admitted = resolve(request, pod).await;
        request.object = Some(admitted?);
        Ok(())
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), StatusError> {
        let is_class = request.writes() && request.is_main("scheduling.k8s.io", "PriorityClass");
        let Some(class) = request.object.as_ref().filter(|_| is_class) else { return Ok(()) };
        if class.0.get("globalDefault") != Some(&Value::Bool(true)) {
            return Ok(());
        }
        match global_default(request).await?.class {
            Some(default) if default != class.name() => Err(request.forbidden(format!(
                "PriorityClass {default} is already marked as default. Only one default can exist"
            ))),
            _ => Ok(()),
        }
    }
}

/// An update that does not speak of the priority does not take it away.
fn keep(request: &mut Request<'_>) {
    let Some(old) = request.old.as_ref().and_then(|old| old.0.get("spec")).and_then(Value::as_object) else { return };
    let Some(spec) = request.object.as_mut().and_then(|pod| pod.0.get_mut("spec")).and_then(Value::as_object_mut)
    else {
        return;
    };
    for field in ["priority", "preemptionPolicy"] {
        if let (None, Some(value)) = (spec.get(field), old.get(field)) {
            spec.insert(field.into(), value.clone());
        }
    }
}

async fn resolve(request: &Request<'_>, mut pod: Object) -> Result<Object, StatusError> {
    let class = pod.str_at(&["spec", "priorityClassName"]).unwrap_or_default().to_owned();
    let resolved = if class.is_empty() { global_default(request).await? } else { named(request, &class).await? };
    let Some(spec) = pod.0.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(pod) };
    if let Some(given) = spec.get("priority").and_then(Value::as_i64).filter(|given| *given != resolved.value) {
        let value = resolved.value;
        return Err(request.forbidden(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
             computed {value} from the given PriorityClass name"
        )));
    }
    if let Some(class) = resolved.class {
        spec.insert("priorityClassName".into(), class.into());
    }
    spec.insert("priority".into(), resolved.value.into());
    match spec.get("preemptionPolicy") {
        None | Some(Value::Null) => {
            spec.insert("preemptionPolicy".into(), resolved.preemption);
        }
        Some(given) if *given != resolved.preemption => {
            let given = given.as_str().unwrap_or_default().to_owned();
            let wanted = resolved.preemption.as_str().unwrap_or_default().to_owned();
            return Err(request.forbidden(format!(
                "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission \
                 controller computed {wanted} from the given PriorityClass name"
            )));
        }
        Some(_) => {}
    }
    Ok(pod)
}

async fn named(request: &Request<'_>, class: &str) -> Result<Resolved, StatusError> {
    let registry = request.cx.registry();
    let row = registry.row("scheduling.k8s.io", "v1", "priorityclasses")?;
    match registry.find(&row, "", class).await? {
        Some(object) => Ok(of_class(&object, false)),
        None => Err(request.forbidden(format!("no PriorityClass with name {class} was found"))),
    }
}

/// The class marked as default with the lowest value; without any the priority is 0.
async fn global_default(request: &Request<'_>) -> Result<Resolved, StatusError> {
    let registry = request.cx.registry();
    let row = registry.row("scheduling.k8s.io", "v1", "priorityclasses")?;
    let range = RangeRequest { prefix: row.key_prefix(), ..RangeRequest::default() };
    let range = registry.store().range(&range).await.map_err(|error| status::of_store(&error))?;
    let mut chosen: Option<Resolved> = None;
    for entry in &range.entries {
        let class = decode_entry(entry)?;
        if class.0.get("globalDefault") == Some(&Value::Bool(true)) {
            let candidate = of_class(&class, true);
            if chosen.as_ref().is_none_or(|chosen| candidate.value < chosen.value) {
                chosen = Some(candidate);
            }
        }
    }
    Ok(chosen.unwrap_or(Resolved { class: None, value: 0, preemption: "PreemptLowerPriority".into() }))
}

fn of_class(class: &Object, sets_name: bool) -> Resolved {
    Resolved {
        class: sets_name.then(|| class.name().to_owned()),
        value: class.0.get("value").and_then(Value::as_i64).unwrap_or(0),
        preemption: class.0.get("preemptionPolicy").cloned().unwrap_or_else(|| "PreemptLowerPriority".into()),
    }
}
