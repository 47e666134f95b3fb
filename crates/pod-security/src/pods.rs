//! Which objects hold pods, which updates matter, and what to say about pods that are there when a namespace's policy
//! becomes stricter (upstream: admission/admission.go).

use std::collections::{BTreeMap, HashSet};

use apimachinery::Object;
use apimachinery::json::Read;
use serde_json::{Map, Value};

use crate::checks::{Pod, evaluate};
use crate::level::LevelVersion;

/// So many pods of a namespace are checked (upstream: `defaultNamespaceMaxPodsToCheck`).
const MAX_PODS: usize = 3000;

static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);

/// The pod in an object of a workload kind, or the pod itself (upstream: `DefaultPodSpecExtractor`).
pub fn pod_of<'a>(group: &str, resource: &str, object: &'a Object) -> Option<Pod<'a>> {
    let template: &[&str] = match (group, resource) {
        ("", "pods") => &[],
        ("", "podtemplates") => &["template"],
        ("", "replicationcontrollers")
        | ("apps", "replicasets" | "deployments" | "statefulsets" | "daemonsets")
        | ("batch", "jobs") => &["spec", "template"],
        ("batch", "cronjobs") => &["spec", "jobTemplate", "spec", "template"],
        _ => return None,
    };
    let holder = if template.is_empty() { &object.0 } else { object.at(template)?.as_object()? };
    let part = |field: &str| holder.get(field).and_then(Value::as_object).unwrap_or(&EMPTY);
    Some(Pod { metadata: part("metadata"), spec: part("spec") })
}

/// Whether an update of a pod brings other containers or images (upstream: `isSignificantPodUpdate`).
pub fn is_significant_update(pod: &Object, old: &Object) -> bool {
    let (spec, old) = (pod.object("spec"), old.object("spec"));
    let images = |spec: &Map<String, Value>, list: &str| -> Vec<String> {
        spec.list(list).iter().map(|container| container.text("image").to_owned()).collect()
    };
    let changed = ["containers", "initContainers"].iter().any(|list| images(spec, list) != images(old, list));
    let ephemeral = |container: &Value| {
        let mut known = old.list("ephemeralContainers").iter();
        let same = |one: &Value| ["name", "image"].iter().all(|field| one.text(field) == container.text(field));
        !known.any(same)
    };
    changed || spec.list("ephemeralContainers").iter().any(ephemeral)
}

/// What there is to say about the pods of a namespace that is to enforce `policy` from now on
/// (upstream: `EvaluatePodsInNamespace`).
pub fn warnings(
    namespace: &str,
    policy: LevelVersion,
    pods: Vec<Object>,
    is_exempt: impl Fn(&Pod<'_>) -> bool,
) -> Vec<String> {
    let pods: Vec<Object> = pods.into_iter().filter(|pod| !as_pod(pod).is_some_and(|pod| is_exempt(&pod))).collect();
    let (first, further) = one_a_controller(&pods);
    let total = pods.len();
    let mut found: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for object in first.into_iter().chain(further).take(MAX_PODS) {
        let Some(pod) = as_pod(object) else { continue };
        let violations = evaluate(policy, pod);
        if !violations.is_empty() {
            let entry = found.entry(violations.reasons()).or_insert_with(|| (object.name().to_owned(), 0));
            if object.name() < entry.0.as_str() {
                entry.0 = object.name().to_owned();
            }
            entry.1 += 1;
        }
    }
    let mut warnings = Vec::new();
    if total > MAX_PODS {
        warnings.push(format!(
            "new PodSecurity enforce level only checked against the first {MAX_PODS} of {total} existing pods"
        ));
    }
    if !found.is_empty() {
        warnings.push(format!(
            "existing pods in namespace {namespace:?} violate the new PodSecurity enforce level \"{policy}\""
        ));
    }
    let mut lines: Vec<String> = found
        .into_iter()
        .map(|(reasons, (name, count))| match count {
            1 => format!("{name}: {reasons}"),
            2 => format!("{name} (and 1 other pod): {reasons}"),
            count => format!("{name} (and {} other pods): {reasons}", count - 1),
        })
        .collect();
    lines.sort();
    warnings.extend(lines);
    warnings
}

fn as_pod(object: &Object) -> Option<Pod<'_>> {
    pod_of("", "pods", object)
}

/// The first pod of each controller and those of none; then the others.
fn one_a_controller(pods: &[Object]) -> (Vec<&Object>, Vec<&Object>) {
    let mut seen = HashSet::new();
    pods.iter().partition(|pod| pod.controller_reference().is_none_or(|owner| seen.insert(owner.uid)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level::{Level, Version};
    use serde_json::json;

    fn object(value: Value) -> Object {
        Object::from_value(value).expect("an object")
    }

    #[test]
    fn templates_are_found() {
        let template = json!({"spec": {"hostNetwork": true}});
        for (group, resource, value) in [
            ("", "pods", template.clone()),
            ("apps", "deployments", json!({"spec": {"template": template}})),
            ("batch", "cronjobs", json!({"spec": {"jobTemplate": {"spec": {"template": template}}}})),
            ("", "podtemplates", json!({"template": template})),
        ] {
            let object = object(value);
            let pod = pod_of(group, resource, &object).expect("a pod");
            assert!(pod.spec.flag("hostNetwork"), "{resource}");
        }
        assert!(pod_of("", "configmaps", &object(json!({}))).is_none());
    }

    #[test]
    fn only_images_and_containers_matter() {
        let pod = |image: &str| object(json!({"spec": {"containers": [{"image": image}]}}));
        assert!(!is_significant_update(&pod("a"), &pod("a")));
        assert!(is_significant_update(&pod("b"), &pod("a")));
        let debugged =
            object(json!({"spec": {"containers": [{"image": "a"}], "ephemeralContainers": [{"name": "d"}]}}));
        assert!(is_significant_update(&debugged, &pod("a")));
        assert!(!is_significant_update(&debugged, &debugged));
    }

    #[test]
    fn present_pods_are_named() {
        let pod = |name: &str| object(json!({"metadata": {"name": name}, "spec": {"hostNetwork": true}}));
        let policy = LevelVersion { level: Level::Baseline, version: Version::Latest };
        assert_eq!(
            warnings("n", policy, vec![pod("b"), pod("a"), pod("c")], |_| false),
            [
                "existing pods in namespace \"n\" violate the new PodSecurity enforce level \"baseline:latest\"",
                "a (and 2 other pods): host namespaces",
            ]
        );
        assert!(warnings("n", policy, vec![pod("b")], |_| true).is_empty());
    }
}
