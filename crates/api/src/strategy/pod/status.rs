//! What a pod's status may say (upstream: `ValidatePodStatusUpdate`, `ValidateContainerStateTransition`).

use apimachinery::Object;
use apimachinery::field::{Error, Path};
use serde_json::Value;

use crate::check::{self, Errors, names, spelling};
use crate::json::Read;

mod containers;

/// Lists of containers' statuses, each with the list of the spec that it is about.
const CONTAINERS: [(&str, &str); 3] = [
    ("containerStatuses", "containers"),
    ("initContainerStatuses", "initContainers"),
    ("ephemeralContainerStatuses", "ephemeralContainers"),
];

/// Rules of a write of the status.
pub(super) fn validate(object: &Object, old: &Object) -> Errors {
    let mut errors = Errors::new();
    let (new, before, path) = (object.object("status"), old.object("status"), Path::new("status"));
    let (node, before_node) = (new.text("nominatedNodeName"), old.object("spec").text("nodeName"));
    if !node.is_empty() {
        check::named(&mut errors, names::dns1123_subdomain, node, &path.child("nominatedNodeName"));
    }
    addresses(&mut errors, new.list("podIPs"), before.list("podIPs"), &path.child("podIPs"));
    if let Some(first) = new.list("hostIPs").first()
        && first.text("ip") != new.text("hostIP")
    {
        let path = path.child("hostIPs").index(0).child("ip");
        errors.push(Error::invalid(&path, first.text("ip"), "must be equal to `hostIP`"));
    }
    addresses(&mut errors, new.list("hostIPs"), before.list("hostIPs"), &path.child("hostIPs"));
    if !before_node.is_empty() && !node.is_empty() && node != before.text("nominatedNodeName") {
        let detail = "may not be set on pods that are already bound to a node";
        errors.push(Error::forbidden(&path.child("nominatedNodeName"), detail));
    }
    conditions(&mut errors, new.list("conditions"), &path.child("conditions"));
    check::immutable(&mut errors, new.value("qosClass"), before.value("qosClass"), &path.child("qosClass"));
    claims(&mut errors, object, &path.child("resourceClaimStatuses"));
    for (statuses, specs) in CONTAINERS {
        let path = path.child(statuses);
        for (index, status) in new.list(statuses).iter().enumerate() {
            containers::user(&mut errors, status, object, &path.index(index));
            let of = object.object("spec").list(specs).iter().find(|one| one.text("name") == status.text("name"));
            containers::devices(&mut errors, status, of, &path.index(index).child("allocatedResourcesStatus"));
        }
    }
    if object.object("spec").text("restartPolicy") == "Always" {
        return errors;
    }
    for (statuses, specs) in CONTAINERS.into_iter().take(2) {
        let path = path.child(statuses);
        for (index, status) in before.list(statuses).iter().enumerate() {
            if stays_ended(object, specs, status) && goes_on(new.list(statuses), status) {
                let detail = "may not be transitioned to non-terminated state";
                errors.push(Error::forbidden(&path.index(index).child("state"), detail));
            }
        }
    }
    errors
}

/// Words about addresses of the status.
pub(super) fn warnings(object: &Object) -> Vec<String> {
    let mut found = Vec::new();
    for list in ["podIPs", "hostIPs"] {
        for (index, address) in object.object("status").list(list).iter().enumerate() {
            let path = Path::new("status").child(list).index(index).child("ip");
            spelling::of_ip(&mut found, address.text("ip"), &path);
        }
    }
    found
}

/// Addresses, of each family one at most; those that were there before may stay (upstream: `validatePodIPs`).
fn addresses(errors: &mut Errors, new: &[Value], old: &[Value], path: &Path) {
    let is_known = |address: &Value| old.iter().any(|other| other.text("ip") == address.text("ip"));
    for (index, address) in new.iter().enumerate().filter(|(_, address)| !is_known(address)) {
        check::ip_address(errors, address.text("ip"), &path.index(index));
    }
    let of_v6 = new.iter().filter(|address| address.text("ip").contains(':')).count();
    if new.len() > 2 || new.len() == 2 && of_v6 != 1 {
        let detail = "may specify no more than one IP for each IP family";
        errors.push(Error::invalid(path, new.to_vec(), detail));
    }
}

/// Conditions of others have qualified names (upstream: `validatePodConditions`).
fn conditions(errors: &mut Errors, conditions: &[Value], path: &Path) {
    const SYSTEM: &[&str] = &["PodScheduled", "Ready", "Initialized"];
    for (index, condition) in conditions.iter().enumerate() {
        let (kind, path) = (condition.text("type"), path.index(index));
        if let Some(generation) = condition.int("observedGeneration").filter(|generation| *generation < 0) {
            let detail = "must be a non-negative integer";
            errors.push(Error::invalid(&path.child("observedGeneration"), generation, detail));
        }
        if !SYSTEM.contains(&kind) {
            check::named(errors, names::qualified_name, kind, &path.child("Type"));
        }
    }
}

/// Which claim stands for which of the spec (upstream: `validatePodResourceClaimStatuses`).
fn claims(errors: &mut Errors, pod: &Object, path: &Path) {
    let known = pod.object("spec").list("resourceClaims");
    let statuses = pod.object("status").list("resourceClaimStatuses");
    for (index, status) in statuses.iter().enumerate() {
        let (name, path) = (status.text("name"), path.index(index));
        if !known.iter().any(|claim| claim.text("name") == name) {
            let detail = "must match the name of an entry in `spec.resourceClaims`";
            errors.push(Error::invalid(&path.child("name"), name, detail));
        }
        if statuses[..index].iter().any(|other| other.text("name") == name) {
            errors.push(Error::duplicate(&path.child("name"), name));
        }
        if status.has("resourceClaimName") {
            let claim = status.text("resourceClaimName");
            check::named(errors, names::dns1123_subdomain, claim, &path.child("resourceClaimName"));
        }
    }
}

/// Whether a container has ended and nothing restarts it.
fn stays_ended(pod: &Object, specs: &str, status: &Value) -> bool {
    let spec = pod.object("spec");
    let container = spec.list(specs).iter().find(|container| container.text("name") == status.text("name"));
    let own_policy = container.is_some_and(|container| container.has("restartPolicy"));
    let ended = status.object("state").object("terminated");
    let failed = ended.int("exitCode").unwrap_or_default() != 0;
    let restarts = failed && spec.text("restartPolicy") == "OnFailure";
    status.object("state").has("terminated") && !own_policy && !restarts
}

fn goes_on(statuses: &[Value], old: &Value) -> bool {
    let new = statuses.iter().find(|status| status.text("name") == old.text("name"));
    new.is_some_and(|new| !new.object("state").has("terminated"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_is_of_its_pod() {
        let pod = |node: &str, status: Value| {
            let spec = json!({"nodeName": node, "restartPolicy": "Always", "resourceClaims": [{"name": "gpu"}]});
            Object::from_value(json!({"spec": spec, "status": status})).expect("an object")
        };
        let old = json!({"qosClass": "Burstable"});
        for (node, status, expected) in [
            ("", json!({"qosClass": "Burstable", "nominatedNodeName": "n1"}), ""),
            ("n1", json!({"qosClass": "Burstable", "nominatedNodeName": "n2"}), "status.nominatedNodeName"),
            ("", json!({"qosClass": "BestEffort"}), "status.qosClass"),
            (
                "",
                json!({"qosClass": "Burstable", "conditions": [{"type": "Ready"}, {"type": "a b"}]}),
                "status.conditions[1].Type",
            ),
            ("", json!({"qosClass": "Burstable", "podIPs": [{"ip": "::1"}, {"ip": "010.0.0.1"}]}), "status.podIPs[1]"),
            ("", json!({"qosClass": "Burstable", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]}), "status.podIPs"),
            (
                "",
                json!({"qosClass": "Burstable", "hostIP": "10.0.0.1", "hostIPs": [{"ip": "10.0.0.2"}, {"ip": "::1"}]}),
                "status.hostIPs[0].ip",
            ),
            (
                "",
                json!({"qosClass": "Burstable", "resourceClaimStatuses": [{"name": "gpu"}, {"name": "x"}]}),
                "status.resourceClaimStatuses[1].name",
            ),
        ] {
            let errors = validate(&pod(node, status), &pod(node, old.clone()));
            let fields: Vec<String> = errors.iter().map(|error| error.field.to_string()).collect();
            assert_eq!(fields.join(" "), expected);
        }
    }

    #[test]
    fn what_has_ended_stays_so() {
        let pod = |policy: &str, state: Value| {
            let text = json!({
                "spec": {"restartPolicy": policy, "containers": [{"name": "a"}]},
                "status": {"containerStatuses": [{"name": "a", "state": state}]},
            });
            Object::from_value(text).expect("an object")
        };
        let (ended, failed) = (json!({"terminated": {"exitCode": 0}}), json!({"terminated": {"exitCode": 1}}));
        for (policy, before, refused) in [
            ("Never", &ended, true),
            ("OnFailure", &failed, false),
            ("OnFailure", &ended, true),
            ("Always", &ended, false),
        ] {
            let errors = validate(&pod(policy, json!({"running": {}})), &pod(policy, before.clone()));
            assert_eq!(!errors.is_empty(), refused, "{policy} {before}");
        }
    }
}
