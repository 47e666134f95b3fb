//! Which capabilities a container gets. Upstream: containerd's pkg/oci/spec.go and internal/cri/opts.

use std::collections::BTreeSet;
use std::fs;

use crate::runtime::{Error, SecurityContext};

/// By number, as linux/capability.h has them.
#[rustfmt::skip]
const NAMES: [&str; 41] = [
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
];

#[rustfmt::skip]
const DEFAULT: [&str; 14] = [
    "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP",
    "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
];

/// Every capability that this kernel has and this process may hand on.
pub(super) fn all() -> BTreeSet<String> {
    let mask = bounding_set().unwrap_or(u64::MAX);
    NAMES
        .iter()
        .enumerate()
        .filter(|(number, _)| mask >> number & 1 == 1)
        .map(|(_, name)| format!("CAP_{name}"))
        .collect()
}

fn bounding_set() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapBnd:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// The container's set, as `CAP_...`. Those that this machine cannot give are left out of the defaults.
pub(super) fn capabilities(security: &SecurityContext) -> Result<BTreeSet<String>, Error> {
    let possible = all();
    if security.privileged {
        return Ok(possible);
    }
    let named = |list: &[String]| list.iter().map(|name| canonical(name)).collect::<Result<Vec<_>, _>>();
    let (added, dropped) = (named(&security.add_capabilities)?, named(&security.drop_capabilities)?);
    let mut set: BTreeSet<String> = DEFAULT.iter().map(|name| format!("CAP_{name}")).collect();
    let is_all = |name: &String| name == "CAP_ALL";
    if added.iter().any(is_all) {
        set = possible.clone();
    }
    if dropped.iter().any(is_all) {
        set.clear();
    }
    set.extend(added.into_iter().filter(|name| !is_all(name)));
    for name in &dropped {
        set.remove(name);
    }
    set.retain(|name| possible.contains(name));
    Ok(set)
}

fn canonical(name: &str) -> Result<String, Error> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if bare == "ALL" || NAMES.contains(&bare) {
        Ok(format!("CAP_{bare}"))
    } else {
        Err(Error::failed("setting capabilities", format!("unknown capability {name:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(add: &[&str], drop: &[&str]) -> Vec<String> {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        let security =
            SecurityContext { add_capabilities: names(add), drop_capabilities: names(drop), ..Default::default() };
        capabilities(&security).expect("known capabilities").into_iter().collect()
    }

    #[test]
    fn drop_all_leaves_what_is_added() {
        assert_eq!(of(&["NET_BIND_SERVICE"], &["ALL"]), ["CAP_NET_BIND_SERVICE"]);
        assert!(!of(&[], &["cap_chown"]).contains(&"CAP_CHOWN".to_owned()));
        assert!(of(&["ALL"], &["MKNOD"]).iter().all(|name| name != "CAP_MKNOD"));
    }

    #[test]
    fn unknown_names_are_refused() {
        let security = SecurityContext { add_capabilities: vec!["FLY".to_owned()], ..Default::default() };
        assert!(capabilities(&security).is_err());
    }
}
