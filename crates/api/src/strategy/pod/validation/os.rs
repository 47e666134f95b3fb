//! What a pod of one operating system may not ask for (upstream: `validateLinux`, `validateWindows`).

use apimachinery::field::{Error, Path};
use serde_json::{Map, Value};

use crate::check::{self, Errors};
use crate::json::Read;

const NOT_ON_WINDOWS: &str = "cannot be set for a windows pod";

const WINDOWS_SPEC: &[&str] = &["hostPID", "hostIPC", "hostUsers", "shareProcessNamespace"];

const WINDOWS_POD: &[&str] = &[
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "sysctls",
    "runAsUser",
    "runAsGroup",
    "supplementalGroups",
    "supplementalGroupsPolicy",
];

const WINDOWS_CONTAINER: &[&str] = &[
    "appArmorProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
    "seLinuxOptions",
    "seccompProfile",
];

/// Rules of `spec.os`.
pub(super) fn os(errors: &mut Errors, spec: &Map<String, Value>, path: &Path) {
    if spec.has("os") {
        check::required_one_of(errors, spec.object("os"), "name", &["linux", "windows"], &path.child("os"));
    }
    let system = spec.object("os").text("name");
    let (pod_fields, container_fields, detail): (&[&str], &[&str], &str) = match system {
        "windows" => {
            unwanted(errors, spec, WINDOWS_SPEC, NOT_ON_WINDOWS, path);
            (WINDOWS_POD, WINDOWS_CONTAINER, NOT_ON_WINDOWS)
        }
        "linux" => (&["windowsOptions"], &["windowsOptions"], "windows options cannot be set for a linux pod"),
        _ => (&[], &[], ""),
    };
    unwanted(errors, spec.object("securityContext"), pod_fields, detail, &path.child("securityContext"));
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for (index, container) in spec.list(list).iter().enumerate() {
            let path = path.child(list).index(index);
            let context = container.object("securityContext");
            unwanted(errors, context, container_fields, detail, &path.child("securityContext"));
            if system.is_empty() {
                let detail = "may not be set for containers with empty `spec.os.name`";
                unwanted(errors, container.object("lifecycle"), &["stopSignal"], detail, &path.child("lifecycle"));
            }
        }
    }
}

fn unwanted(errors: &mut Errors, of: &Map<String, Value>, fields: &[&str], detail: &str, path: &Path) {
    let present = fields.iter().filter(|field| of.has(field));
    errors.extend(present.map(|field| Error::forbidden(&path.child(field), detail)));
}
