//! What containers ask for when they say nothing, and a note of it on the pod
//! (upstream: `mergePodResourceRequirements`).

use apimachinery::Object;
use apimachinery::json::{Read, Write};
use serde_json::{Map, Value};

/// Says what was set, and where.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Sets the defaults of a range where a pod's containers say nothing.
pub(super) fn set(pod: &mut Object, limits: &[Value]) {
    let (mut requests, mut of_limits) = (Map::new(), Map::new());
    for limit in limits.iter().filter(|limit| limit.text("type") == "Container") {
        requests.extend(limit.object("defaultRequest").clone());
        of_limits.extend(limit.object("default").clone());
    }
    if requests.is_empty() && of_limits.is_empty() {
        return;
    }
    let mut notes = Vec::new();
    let Some(spec) = pod.object_at("spec") else { return };
    for (list, what) in [("containers", "container"), ("initContainers", "init container")] {
        for container in spec.items_mut(list) {
            let name = container.text("name").to_owned();
            let (limits, asked) = (merge(container, "limits", &of_limits), merge(container, "requests", &requests));
            for (names, word) in [(asked, "request"), (limits, "limit")] {
                if !names.is_empty() {
                    notes.push(format!("{} {word} for {what} {name}", names.join(", ")));
                }
            }
        }
    }
    if notes.is_empty() {
        return;
    }
    let note = format!("LimitRanger plugin set: {}", notes.join("; "));
    if let Some(annotations) = pod.metadata_mut().object_made("annotations") {
        annotations.insert(ANNOTATION.into(), note.into());
    }
}

/// Sets what is not there; answers the names that were set, in order.
fn merge(container: &mut Map<String, Value>, field: &str, defaults: &Map<String, Value>) -> Vec<String> {
    let own = container.object("resources").object(field);
    let mut missing: Vec<String> = defaults.keys().filter(|name| !own.contains_key(*name)).cloned().collect();
    missing.sort();
    if missing.is_empty() {
        return missing;
    }
    let Some(own) = container.object_made("resources").and_then(|resources| resources.object_made(field)) else {
        return Vec::new();
    };
    for name in &missing {
        own.insert(name.clone(), defaults[name].clone());
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn silent_containers_get_the_defaults() {
        let limits = [json!({
            "type": "Container", "default": {"cpu": "1", "memory": "1Gi"}, "defaultRequest": {"cpu": "100m"},
        })];
        let pod = json!({"metadata": {}, "spec": {
            "containers": [{"name": "a"}, {"name": "b", "resources": {"limits": {"cpu": "2"}}}],
            "initContainers": [{"name": "i"}],
        }});
        let mut pod = Object::from_value(pod).expect("an object");
        set(&mut pod, &limits);
        let note = pod.annotations().find(|(key, _)| *key == ANNOTATION).map(|(_, note)| note);
        assert_eq!(
            note,
            Some(
                "LimitRanger plugin set: cpu request for container a; cpu, memory limit for container a; \
                 cpu request for container b; memory limit for container b; \
                 cpu request for init container i; cpu, memory limit for init container i"
            )
        );
        assert_eq!(pod.0["spec"]["containers"][1]["resources"]["limits"], json!({"cpu": "2", "memory": "1Gi"}));
        let before = pod.clone();
        set(&mut pod, &limits);
        assert_eq!(pod, before, "nothing is left to set");
    }
}
