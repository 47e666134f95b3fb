//! Priority: the number behind a pod's priorityClassName (upstream: plugin/pkg/admission/priority/admission.go).

use std::sync::Arc;

use apimachinery::{Object, StatusError};
use async_trait::async_trait;
use serde_json::Value;
use store::Store;

use super::cache::{Followed, Objects, follow};
use super::{Handles, Operation, Plugin, Request};

/// See the module.
#[derive(Debug)]
pub struct Priority {
    classes: Followed,
}

impl Priority {
    /// Knows the priority classes of `store`.
    pub fn new(store: &Arc<dyn Store>) -> Self {
        Self { classes: follow(store, "/registry/scheduling.k8s.io/priorityclasses/") }
    }
}

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

    fn handles(&self) -> Handles {
        Handles::NOTHING.admits(Handles::WRITES).validates(Handles::WRITES)
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), StatusError> {
        if request.operation == Operation::Update && request.is_main("", "Pod") {
            keep(request);
        }
        if !request.creates("", "Pod") {
            return Ok(());
        }
        let Some(pod) = request.object.take() else { return Ok(()) };
        request.object = Some(self.resolve(request, pod)?);
        Ok(())
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), StatusError> {
        let is_class = request.writes() && request.is_main("scheduling.k8s.io", "PriorityClass");
        let Some(class) = request.object.as_ref().filter(|_| is_class) else { return Ok(()) };
        if class.0.get("globalDefault") != Some(&Value::Bool(true)) {
            return Ok(());
        }
        match self.global_default().class {
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

impl Priority {
    fn resolve(&self, request: &Request<'_>, mut pod: Object) -> Result<Object, StatusError> {
        let class = pod.str_at(&["spec", "priorityClassName"]).unwrap_or_default().to_owned();
        let resolved = if class.is_empty() { self.global_default() } else { self.named(request, &class)? };
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

    fn named(&self, request: &Request<'_>, class: &str) -> Result<Resolved, StatusError> {
        let known = self.classes.read(|classes| classes.named(class));
        let known = known.ok_or_else(|| request.forbidden(format!("no PriorityClass with name {class} was found")))?;
        Ok(of_class(&known, false))
    }

    /// The class marked as default with the lowest value; without any the priority is 0.
    fn global_default(&self) -> Resolved {
        let classes = self.classes.read(Objects::all);
        let defaults = classes.iter().filter(|class| class.0.get("globalDefault") == Some(&Value::Bool(true)));
        let lowest = defaults.map(|class| of_class(class, true)).min_by_key(|class| class.value);
        lowest.unwrap_or(Resolved { class: None, value: 0, preemption: "PreemptLowerPriority".into() })
    }
}

fn of_class(class: &Object, sets_name: bool) -> Resolved {
    Resolved {
        class: sets_name.then(|| class.name().to_owned()),
        value: class.0.get("value").and_then(Value::as_i64).unwrap_or(0),
        preemption: class.0.get("preemptionPolicy").cloned().unwrap_or_else(|| "PreemptLowerPriority".into()),
    }
}
