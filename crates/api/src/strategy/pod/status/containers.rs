//! What a container's status says of who runs in it and of the devices it has
//! (upstream: `validateContainerStatusUsers`, `validateContainerStatusAllocatedResourcesStatus`).

use apimachinery::Object;
use apimachinery::field::{Error, Path};
use serde_json::Value;

use crate::check::{Errors, names};
use crate::json::Read;

const HEALTH: &[&str] = &["Healthy", "Unhealthy", "Unknown"];

/// The user and the groups of the first process.
pub(super) fn user(errors: &mut Errors, status: &Value, pod: &Object, path: &Path) {
    let Some(linux) = status.value("user").and_then(|user| user.value("linux")) else { return };
    let path = path.child("user").child("linux");
    if pod.object("spec").object("os").text("name") == "windows" {
        errors.push(Error::forbidden(&path, "cannot be set for a windows pod"));
        return;
    }
    let mut id = |id: Option<i64>, path: &Path| {
        let id = id.unwrap_or_default();
        errors.extend(names::user_id(id).into_iter().map(|sentence| Error::invalid(path, id, sentence)));
    };
    id(linux.int("uid"), &path.child("uid"));
    id(linux.int("gid"), &path.child("gid"));
    for (index, group) in linux.list("supplementalGroups").iter().enumerate() {
        id(group.as_i64(), &path.child("supplementalGroups").index(index));
    }
}

/// How the devices are that a container got.
pub(super) fn devices(errors: &mut Errors, status: &Value, container: Option<&Value>, path: &Path) {
    for (index, allocated) in status.list("allocatedResourcesStatus").iter().enumerate() {
        let (name, path) = (allocated.text("name"), path.index(index));
        // A container that is not there was, once.
        if let Some(detail) = container.and_then(|container| not_asked_for(container, name)) {
            errors.push(Error::invalid(&path.child("name"), name, detail));
        }
        let devices = allocated.list("resources");
        for (index, device) in devices.iter().enumerate() {
            let path = path.child("resources").index(index);
            let (id, health) = (device.text("resourceID"), device.text("health"));
            if !HEALTH.contains(&health) {
                errors.push(Error::not_supported(&path.child("health"), health, HEALTH));
            }
            if devices[..index].iter().any(|other| other.text("resourceID") == id) {
                errors.push(Error::duplicate(&path.child("resourceID"), id));
            }
        }
    }
}

/// Why a container has no devices of this name: a resource's, or `claim:<name>/<request>`.
fn not_asked_for(container: &Value, name: &str) -> Option<&'static str> {
    let resources = container.object("resources");
    let Some(claim) = name.strip_prefix("claim:") else {
        let found = resources.object("requests").contains_key(name);
        return (!found).then_some("must match one of the container's resource requests");
    };
    let (claim, request) = claim.split_once('/').unwrap_or((claim, ""));
    let found = resources.list("claims").iter().any(|one| one.text("name") == claim && one.text("request") == request);
    (!found).then_some(
        "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or \
         'claim:<claimName>' if request is empty",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn users_are_of_their_system() {
        let check = |os: &str, user: Value| {
            let pod = Object::from_value(json!({"spec": {"os": {"name": os}}})).expect("an object");
            let mut errors = Errors::new();
            super::user(&mut errors, &json!({"user": {"linux": user}}), &pod, &Path::new("s"));
            errors.iter().map(|error| error.field.to_string()).collect::<Vec<_>>()
        };
        assert!(check("linux", json!({"uid": 0, "gid": 7, "supplementalGroups": [1]})).is_empty());
        assert_eq!(
            check("", json!({"uid": -1, "gid": -1, "supplementalGroups": [1, -1]})),
            ["s.user.linux.uid", "s.user.linux.gid", "s.user.linux.supplementalGroups[1]"]
        );
        assert_eq!(check("windows", json!({"uid": 1, "gid": 1})), ["s.user.linux"]);
    }

    #[test]
    fn devices_were_asked_for() {
        let container = json!({"resources": {
            "requests": {"example.com/gpu": "1"}, "claims": [{"name": "net"}, {"name": "fpga", "request": "a"}],
        }});
        let check = |name: &str, resources: Value| {
            let mut errors = Errors::new();
            let status = json!({"allocatedResourcesStatus": [{"name": name, "resources": resources}]});
            devices(&mut errors, &status, Some(&container), &Path::new("s"));
            errors.iter().map(|error| error.field.to_string()).collect::<Vec<_>>()
        };
        for name in ["example.com/gpu", "claim:net", "claim:fpga/a"] {
            assert!(check(name, json!([{"resourceID": "0", "health": "Healthy"}])).is_empty(), "{name}");
        }
        let device = json!({"resourceID": "0", "health": "Fine"});
        assert_eq!(
            check("claim:fpga", json!([device, device])),
            ["s[0].name", "s[0].resources[0].health", "s[0].resources[1].health", "s[0].resources[1].resourceID",]
        );
    }
}
