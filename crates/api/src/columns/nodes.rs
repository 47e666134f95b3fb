//! Nodes (upstream: `printNode`).

use apimachinery::Object;

use super::text::{condition, join, or, or_none};
use super::{age, name, string, wide};
use crate::json::Read;
use crate::resource::Column;

/// Columns of nodes.
pub(crate) fn nodes() -> Vec<Column> {
    let info = |field: &'static str| {
        move |node: &Object| or(node.object("status").object("nodeInfo").text(field), "<unknown>")
    };
    let address = |kind: &'static str| {
        move |node: &Object| {
            let addresses = node.object("status").list("addresses");
            or_none(
                addresses
                    .iter()
                    .find(|address| address.text("type") == kind)
                    .map_or("", |address| address.text("address")),
            )
        }
    };
    vec![
        name(),
        string("Status", state),
        string("Roles", roles),
        age(),
        string("Version", |node| node.object("status").object("nodeInfo").text("kubeletVersion").to_owned()),
        wide(string("Internal-IP", address("InternalIP"))),
        wide(string("External-IP", address("ExternalIP"))),
        wide(string("OS-Image", info("osImage"))),
        wide(string("Kernel-Version", info("kernelVersion"))),
        wide(string("Container-Runtime", info("containerRuntimeVersion"))),
    ]
}

fn state(node: &Object) -> String {
    let ready = condition(node.object("status"), "Ready").map(|condition| condition.text("status") == "True");
    let word = match ready {
        Some(true) => "Ready",
        Some(false) => "NotReady",
        None => "Unknown",
    };
    if node.object("spec").flag("unschedulable") { format!("{word},SchedulingDisabled") } else { word.into() }
}

fn roles(node: &Object) -> String {
    let mut roles: Vec<&str> = node
        .labels()
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None => (key == "kubernetes.io/role").then_some(value),
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    join(roles)
}

#[cfg(test)]
mod tests {
    use super::super::tests::row;
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_tell_how_nodes_are() {
        let node = json!({
            "metadata": {"name": "n1", "labels": {"node-role.kubernetes.io/control-plane": ""}},
            "spec": {"unschedulable": true},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
                "nodeInfo": {"kubeletVersion": "v1.37.0", "osImage": "Debian"},
            },
        });
        assert_eq!(
            row(&nodes(), node),
            "n1  Ready,SchedulingDisabled  control-plane  <unknown>  v1.37.0 | 10.0.0.1  <none>  Debian  <unknown>  <unknown>"
        );
    }
}
