//! What a pod's status may say (upstream: `ValidatePodStatusUpdate`, `ValidateContainerStateTransition`).

use apimachinery::Object;
use apimachinery::field::{Error, Path};
use serde_json::Value;

use crate::check::{self, Errors, names};
use crate::json::Read;

/// Rules of a write of the status.
pub(super) fn validate(object: &Object, old: &Object) -> Errors {
    let mut errors = Errors::new();
    let (new, before, path) = (object.object("status"), old.object("status"), Path::new("status"));
    let node = new.text("nominatedNodeName");
    if !node.is_empty() {
        check::named(&mut errors, names::dns1123_subdomain, node, &path.child("nominatedNodeName"));
    }
    for list in ["podIPs", "hostIPs"] {
        for (index, address) in new.list(list).iter().enumerate() {
            check::ip_address(&mut errors, address.text("ip"), &path.child(list).index(index));
        }
        if new.list(list).len() > 2 {
            let detail = "may specify no more than one IP for each IP family";
            errors.push(Error::invalid(&path.child(list), new.list(list).to_vec(), detail));
        }
    }
    for condition in new.list("conditions").iter().filter(|condition| condition.text("type").is_empty()) {
        errors.push(Error::required(&path.child("conditions").child("type"), condition.text("reason")));
    }
    if object.object("spec").text("restartPolicy") == "Always" {
        return errors;
    }
    for (statuses, specs) in [("containerStatuses", "containers"), ("initContainerStatuses", "initContainers")] {
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
