//! `fieldRef` and `resourceFieldRef` (upstream: pkg/fieldpath/fieldpath.go, pkg/api/v1/resource/helpers.go).

use std::collections::BTreeMap;

use client::quantity;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;

use crate::pod::spec::spec;

/// What the downward API knows beside the pod object.
#[derive(Clone, Debug, Default)]
pub struct NodeFacts {
    /// The node's addresses.
    pub host_ips: Vec<String>,
    /// The pod's addresses.
    pub pod_ips: Vec<String>,
    /// What the node can give to pods: limits where a container has none.
    pub allocatable: BTreeMap<String, Quantity>,
}

/// Why a reference has no value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The path is not one of those supported.
    #[error("unsupported fieldPath: {0}")]
    Path(String),
    /// The resource is not one of those supported.
    #[error("unsupported container resource: {0}")]
    Resource(String),
    /// The pod has no container of that name.
    #[error("container {0} not found")]
    Container(String),
}

/// The value of a field of the pod.
pub fn field(pod: &Pod, path: &str, facts: &NodeFacts) -> Result<String, FieldError> {
    if let Some(key) = subscript(path, "metadata.labels") {
        return Ok(pod.labels().get(key).cloned().unwrap_or_default());
    }
    if let Some(key) = subscript(path, "metadata.annotations") {
        return Ok(pod.annotations().get(key).cloned().unwrap_or_default());
    }
    let value = match path {
        "metadata.name" => pod.name_any(),
        "metadata.namespace" => pod.namespace().unwrap_or_default(),
        "metadata.uid" => pod.uid().unwrap_or_default(),
        "metadata.labels" => lines(pod.labels()),
        "metadata.annotations" => lines(pod.annotations()),
        "spec.nodeName" => spec(pod).node_name.clone().unwrap_or_default(),
        "spec.serviceAccountName" => spec(pod).service_account_name.clone().unwrap_or_default(),
        "status.hostIP" => facts.host_ips.first().cloned().unwrap_or_default(),
        "status.hostIPs" => facts.host_ips.join(","),
        "status.podIP" => facts.pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => facts.pod_ips.join(","),
        _ => return Err(FieldError::Path(path.to_owned())),
    };
    Ok(value)
}

fn subscript<'a>(path: &'a str, map: &str) -> Option<&'a str> {
    path.strip_prefix(map)?.strip_prefix("['")?.strip_suffix("']")
}

/// `key="value"` by line, sorted, as upstream's FormatMap.
fn lines(map: &BTreeMap<String, String>) -> String {
    let lines: Vec<String> = map.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
    lines.join("\n")
}

/// A request or limit of a container in units of the divisor, rounded up. `own` is used when no container is named.
pub fn resource(
    pod: &Pod,
    own: Option<&Container>,
    selector: &ResourceFieldSelector,
    facts: &NodeFacts,
) -> Result<String, FieldError> {
    let named = selector.container_name.as_deref().filter(|name| !name.is_empty());
    let container = match named {
        Some(name) => {
            let spec = spec(pod);
            let mut all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
            all.find(|container| container.name == name).ok_or_else(|| FieldError::Container(name.to_owned()))?
        }
        None => own.ok_or_else(|| FieldError::Container(String::new()))?,
    };
    let path = selector.resource.as_str();
    let unsupported = || FieldError::Resource(path.to_owned());
    let (list, name) = path.split_once('.').ok_or_else(unsupported)?;
    if !matches!(name, "cpu" | "memory" | "ephemeral-storage") && !name.starts_with("hugepages-") {
        return Err(unsupported());
    }
    let resources = container.resources.as_ref();
    let amount = match list {
        "limits" => {
            let limit = resources.and_then(|r| r.limits.as_ref()?.get(name));
            limit.filter(|limit| quantity::milli_value(limit) != 0).or_else(|| facts.allocatable.get(name))
        }
        "requests" => resources.and_then(|r| r.requests.as_ref()?.get(name).or_else(|| r.limits.as_ref()?.get(name))),
        _ => return Err(unsupported()),
    };
    let divisor = selector.divisor.as_ref().filter(|divisor| quantity::milli_value(divisor) > 0);
    let measure = if name == "cpu" { quantity::milli_value } else { quantity::value };
    let unit = divisor.map_or(if name == "cpu" { 1000 } else { 1 }, measure).max(1);
    let value = amount.map_or(0, measure);
    Ok((value / unit + i64::from(value % unit != 0)).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"b": "2", "a": "say \"x\""},
                "annotations": {"k/x": "v"}},
            "spec": {"nodeName": "node", "serviceAccountName": "sa", "containers": [
                {"name": "c", "resources": {"limits": {"cpu": "1500m", "memory": "100Mi"}, "requests": {"cpu": "250m"}}},
                {"name": "free"}]},
        }))
        .expect("a pod")
    }

    fn facts() -> NodeFacts {
        NodeFacts {
            host_ips: vec!["10.0.0.1".into()],
            pod_ips: vec!["10.1.0.1".into(), "fd00::1".into()],
            allocatable: [("cpu".into(), Quantity("4".into())), ("memory".into(), Quantity("1Gi".into()))].into(),
        }
    }

    #[test]
    fn fields_of_the_pod() {
        for (path, expected) in [
            ("metadata.name", "p"),
            ("metadata.labels['b']", "2"),
            ("metadata.labels['none']", ""),
            ("metadata.annotations['k/x']", "v"),
            ("metadata.labels", "a=\"say \\\"x\\\"\"\nb=\"2\""),
            ("status.podIPs", "10.1.0.1,fd00::1"),
            ("status.hostIP", "10.0.0.1"),
            ("spec.serviceAccountName", "sa"),
        ] {
            assert_eq!(field(&pod(), path, &facts()).as_deref(), Ok(expected), "{path}");
        }
        assert_eq!(field(&pod(), "spec.x", &facts()), Err(FieldError::Path("spec.x".into())));
    }

    #[test]
    fn resources_round_up_and_default_to_the_node() {
        for (container, resource_name, divisor, expected) in [
            ("c", "limits.cpu", None, "2"),
            ("c", "limits.cpu", Some("1m"), "1500"),
            ("c", "limits.memory", Some("1Mi"), "100"),
            ("c", "limits.memory", Some("3Mi"), "34"),
            ("c", "requests.cpu", None, "1"),
            ("c", "requests.memory", None, "104857600"),
            ("free", "limits.cpu", None, "4"),
            ("free", "limits.memory", Some("1Mi"), "1024"),
            ("free", "requests.cpu", None, "0"),
        ] {
            let selector = ResourceFieldSelector {
                container_name: Some(container.into()),
                divisor: divisor.map(|text| Quantity(text.into())),
                resource: resource_name.into(),
            };
            let value = resource(&pod(), None, &selector, &facts());
            assert_eq!(value.as_deref(), Ok(expected), "{container} {resource_name}");
        }
    }
}
