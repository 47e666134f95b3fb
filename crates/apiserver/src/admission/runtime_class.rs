//! RuntimeClass: a pod pays the overhead of its runtime and runs where the runtime is
//! (upstream: plugin/pkg/admission/runtimeclass/admission.go).

use apimachinery::json::{Read, Write};
use apimachinery::{Object, StatusError};
use async_trait::async_trait;
use quota::resources::ResourceList;
use serde_json::{Map, Value, json};

use super::{Handles, Plugin, Request};

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct RuntimeClass;

#[async_trait]
impl Plugin for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.admits(Handles::CREATES).validates(Handles::CREATES)
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), StatusError> {
        if !request.creates("", "Pod") {
            return Ok(());
        }
        let Some(class) = class_of(request).await? else { return Ok(()) };
        let Some(spec) = request.object.as_mut().and_then(|pod| pod.object_made("spec")) else { return Ok(()) };
        let done = set_overhead(&class, spec).and_then(|()| set_scheduling(&class, spec));
        done.map_err(|cause| request.forbidden(cause))
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), StatusError> {
        if !request.creates("", "Pod") {
            return Ok(());
        }
        let class = class_of(request).await?;
        let Some(pod) = &request.object else { return Ok(()) };
        check_overhead(class.as_ref(), pod.object("spec")).map_err(|cause| request.forbidden(cause))
    }
}

async fn class_of(request: &Request<'_>) -> Result<Option<Object>, StatusError> {
    let name = request.object.as_ref().and_then(|pod| pod.str_at(&["spec", "runtimeClassName"]));
    let Some(name) = name else { return Ok(None) };
    let registry = request.cx.registry();
    let row = registry.row("node.k8s.io", "v1", "runtimeclasses")?;
    match registry.find(&row, "", name).await? {
        Some(class) => Ok(Some(class)),
        None => Err(request.forbidden(format!("pod rejected: RuntimeClass {name:?} not found"))),
    }
}

const DIFFERS: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";

fn fixed(class: &Object) -> Option<&Map<String, Value>> {
    class.value("overhead").map(|overhead| overhead.object("podFixed"))
}

fn set_overhead(class: &Object, spec: &mut Map<String, Value>) -> Result<(), String> {
    let Some(fixed) = fixed(class) else { return Ok(()) };
    if spec.has("overhead") && ResourceList::read(spec.object("overhead")) != ResourceList::read(fixed) {
        return Err(DIFFERS.into());
    }
    if fixed.is_empty() {
        spec.remove("overhead");
    } else {
        spec.insert("overhead".into(), fixed.clone().into());
    }
    Ok(())
}

fn check_overhead(class: Option<&Object>, spec: &Map<String, Value>) -> Result<(), String> {
    match class.and_then(fixed) {
        Some(fixed) if ResourceList::read(spec.object("overhead")) == ResourceList::read(fixed) => Ok(()),
        Some(_) => Err(DIFFERS.into()),
        None if spec.has("overhead") => {
            Err("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead".into())
        }
        None => Ok(()),
    }
}

fn set_scheduling(class: &Object, spec: &mut Map<String, Value>) -> Result<(), String> {
    let Some(scheduling) = class.value("scheduling") else { return Ok(()) };
    let selector = scheduling.object("nodeSelector");
    if !selector.is_empty() {
        let Some(own) = spec.object_made("nodeSelector") else { return Ok(()) };
        for (key, value) in selector {
            if let Some(other) = own.get(key).filter(|other| *other != value) {
                let (ours, theirs) = (value.as_str().unwrap_or_default(), other.as_str().unwrap_or_default());
                return Err(format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {ours}; pod.spec.nodeSelector[{key}] = {theirs}"
                ));
            }
            own.insert(key.clone(), value.clone());
        }
    }
    let further = scheduling.list("tolerations");
    if !further.is_empty() {
        let merged = merge_tolerations(spec.list("tolerations").iter().chain(further).cloned().collect());
        spec.insert("tolerations".into(), json!(merged));
    }
    Ok(())
}

/// Leaves out what another toleration covers; of equal ones the first stays
/// (upstream: pkg/util/tolerations/tolerations.go `MergeTolerations`).
fn merge_tolerations(all: Vec<Value>) -> Vec<Value> {
    let mut merged: Vec<Value> = Vec::with_capacity(all.len());
    for (index, one) in all.iter().enumerate() {
        let later = all[index + 1..].iter().any(|other| !equal(other, one) && covers(other, one));
        if !later && !merged.iter().any(|other| covers(other, one)) {
            merged.push(one.clone());
        }
    }
    merged
}

fn operator(toleration: &Value) -> &str {
    match toleration.text("operator") {
        "" => "Equal",
        operator => operator,
    }
}

fn equal(one: &Value, other: &Value) -> bool {
    ["key", "value", "effect"].iter().all(|field| one.text(field) == other.text(field))
        && operator(one) == operator(other)
        && one.int("tolerationSeconds") == other.int("tolerationSeconds")
}

/// Whether `wide` tolerates all that `narrow` does (upstream: `isSuperset`).
fn covers(wide: &Value, narrow: &Value) -> bool {
    if equal(wide, narrow) {
        return true;
    }
    let key_covered =
        narrow.text("key") == wide.text("key") || (wide.text("key").is_empty() && operator(wide) == "Exists");
    let effect_covered = narrow.text("effect") == wide.text("effect") || wide.text("effect").is_empty();
    if !key_covered || !effect_covered {
        return false;
    }
    if let Some(limit) = wide.int("tolerationSeconds").filter(|_| wide.text("effect") == "NoExecute")
        && narrow.int("tolerationSeconds").is_none_or(|seconds| seconds > limit)
    {
        return false;
    }
    match operator(wide) {
        "Equal" => operator(narrow) == "Equal" && narrow.text("value") == wide.text("value"),
        "Exists" => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(value: Value) -> Object {
        Object::from_value(value).expect("an object")
    }

    #[test]
    fn overhead_is_the_classs() {
        let class = class(json!({"overhead": {"podFixed": {"cpu": "100m"}}}));
        let mut spec = Map::new();
        set_overhead(&class, &mut spec).expect("set");
        assert_eq!(spec["overhead"]["cpu"], "100m");
        spec["overhead"]["cpu"] = "0.1".into();
        set_overhead(&class, &mut spec).expect("the same amount");
        spec.insert("overhead".into(), json!({"cpu": "1"}));
        assert_eq!(set_overhead(&class, &mut spec).expect_err("refused"), DIFFERS);
        assert_eq!(check_overhead(Some(&class), &spec).expect_err("refused"), DIFFERS);
        let text = check_overhead(None, &spec).expect_err("refused");
        assert_eq!(text, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead");
    }

    #[test]
    fn scheduling_is_merged() {
        let class = class(json!({"scheduling": {
            "nodeSelector": {"runtime": "kata"}, "tolerations": [{"key": "kata", "operator": "Exists"}],
        }}));
        let mut spec = Map::from_iter([("tolerations".to_owned(), json!([{"key": "kata", "value": "x"}]))]);
        set_scheduling(&class, &mut spec).expect("merged");
        assert_eq!(
            Value::Object(spec.clone()),
            json!({
                "nodeSelector": {"runtime": "kata"}, "tolerations": [{"key": "kata", "operator": "Exists"}],
            })
        );
        spec["nodeSelector"]["runtime"] = "runc".into();
        assert_eq!(
            set_scheduling(&class, &mut spec).expect_err("refused"),
            "conflict: runtimeClass.scheduling.nodeSelector[runtime] = kata; pod.spec.nodeSelector[runtime] = runc"
        );
    }
}
