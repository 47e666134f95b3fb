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
    if spec.value("hostUsers").and_then(Value::as_bool) == Some(false) {
        for field in ["hostNetwork", "hostPID", "hostIPC"].into_iter().filter(|field| spec.flag(field)) {
            errors.push(Error::forbidden(&path.child(field), "when `hostUsers` is false"));
        }
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
    sysctls(errors, spec, &path.child("sysctls"));
    profiles(errors, context, &path);
}

/// Kernel settings: of a namespace that the pod has for itself, each once (upstream: `validateSysctls`).
fn sysctls(errors: &mut Errors, spec: &Map<String, Value>, path: &Path) {
    const WORD: &str = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
    let is_word = |word: &str| {
        let inside = word.bytes().all(|byte| matches!(byte, b'-' | b'_' | b'a'..=b'z' | b'0'..=b'9'));
        inside && !word.is_empty() && !word.starts_with(['-', '_']) && !word.ends_with(['-', '_'])
    };
    let mut seen = std::collections::HashSet::new();
    for (index, sysctl) in spec.object("securityContext").list("sysctls").iter().enumerate() {
        let (name, path) = (sysctl.text("name"), path.index(index).child("name"));
        if name.is_empty() {
            errors.push(Error::required(&path, ""));
        } else if name.len() > 253 || !name.split(['.', '/']).all(is_word) {
            let detail = format!("must have at most 253 characters and match regex ^({WORD}[\\./])*{WORD}$");
            errors.push(Error::invalid(&path, name, detail));
        } else if !seen.insert(name.replace('/', ".")) {
            errors.push(Error::duplicate(&path, name));
        }
        let dotted = name.replace('/', ".");
        let of_ipc = ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|prefix| dotted.starts_with(prefix))
            || dotted == "kernel.sem";
        for (shared, is_of) in [("hostNetwork", dotted.starts_with("net.")), ("hostIPC", of_ipc)] {
            if is_of && spec.flag(shared) {
                errors.push(Error::invalid(&path, name, format!("may not be specified when '{shared}' is true")));
            }
        }
    }
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
