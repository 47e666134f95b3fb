//! Security contexts of pods and containers.

use apimachinery::field::{Error, Path};
use serde_json::{Map, Value};

use crate::check::{self, Errors};
use crate::json::Read;

/// The pod's security context and its sharing of the host's namespaces.
pub(super) fn pod(errors: &mut Errors, spec: &Map<String, Value>, path: &Path) {
    let context = spec.object("securityContext");
    if spec.flag("shareProcessNamespace") && spec.flag("hostPID") {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(Error::invalid(&path.child("shareProcessNamespace"), true, detail));
    }
    let path = path.child("securityContext");
    for field in ["runAsUser", "runAsGroup", "fsGroup"] {
        id(errors, context.value(field), &path.child(field));
    }
    for (index, group) in context.list("supplementalGroups").iter().enumerate() {
        id(errors, Some(group), &path.child("supplementalGroups").index(index));
    }
    check::one_of(errors, context, "fsGroupChangePolicy", &["Always", "OnRootMismatch"], &path);
    check::one_of(errors, context, "supplementalGroupsPolicy", &["Merge", "Strict"], &path);
    for (index, sysctl) in context.list("sysctls").iter().enumerate() {
        check::required(errors, sysctl.fields(), "name", &path.child("sysctls").index(index));
    }
    profiles(errors, context, &path);
}

/// A container's security context.
pub(super) fn container(errors: &mut Errors, context: &Map<String, Value>, path: &Path) {
    for field in ["runAsUser", "runAsGroup"] {
        id(errors, context.value(field), &path.child(field));
    }
    check::one_of(errors, context, "procMount", &["Default", "Unmasked"], path);
    profiles(errors, context, path);
    let denied = context.value("allowPrivilegeEscalation").and_then(Value::as_bool) == Some(false);
    if denied && context.flag("privileged") {
        let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        errors.push(Error::invalid(path, Value::Object(context.clone()), detail));
    }
    if denied && context.object("capabilities").texts("add").any(|name| name == "CAP_SYS_ADMIN") {
        let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
        errors.push(Error::invalid(path, Value::Object(context.clone()), detail));
    }
}

fn id(errors: &mut Errors, value: Option<&Value>, path: &Path) {
    if let Some(number) = value.and_then(Value::as_i64)
        && !(0..=i64::from(i32::MAX)).contains(&number)
    {
        errors.push(Error::invalid(path, number, "must be between 0 and 2147483647, inclusive"));
    }
}

fn profiles(errors: &mut Errors, context: &Map<String, Value>, path: &Path) {
    for field in ["seccompProfile", "appArmorProfile"] {
        if !context.has(field) {
            continue;
        }
        let (profile, path) = (context.object(field), path.child(field));
        check::required_one_of(errors, profile, "type", &["Localhost", "RuntimeDefault", "Unconfined"], &path);
        match (profile.text("type"), profile.text("localhostProfile")) {
            ("Localhost", "") => {
                let detail = "must be set when seccomp type is Localhost";
                errors.push(Error::required(&path.child("localhostProfile"), detail));
            }
            ("Localhost", file) if field == "seccompProfile" => {
                super::volume::descending(errors, file, &path.child("localhostProfile"));
            }
            ("Localhost", _) | (_, "") => {}
            (_, file) => {
                let detail = "can only be set when seccomp type is Localhost";
                errors.push(Error::invalid(&path.child("localhostProfile"), file, detail));
            }
        }
    }
}
