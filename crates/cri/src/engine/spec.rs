//! The OCI configuration of a container. Upstream: containerd's internal/cri/server/container_create_linux.go.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::capabilities;
use super::user::Identity;
use crate::cgroup::DeviceRule;
use crate::images::ImageDefaults;
use crate::runtime::{ContainerConfig, Error, Mount, MountPropagation, NamespaceMode, SandboxConfig};

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const MASKED_PATHS: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What every container may do with devices: make any, and use the harmless ones.
pub(super) const DEVICE_RULES: [DeviceRule; 11] = {
    const fn any(kind: char) -> DeviceRule {
        DeviceRule { kind, major: None, minor: None, access: "m" }
    }
    const fn chars(major: u32, minor: Option<u32>) -> DeviceRule {
        DeviceRule { kind: 'c', major: Some(major), minor, access: "rwm" }
    }
    [
        any('c'),
        any('b'),
        chars(1, Some(3)),
        chars(1, Some(5)),
        chars(1, Some(7)),
        chars(1, Some(8)),
        chars(1, Some(9)),
        chars(5, Some(0)),
        chars(5, Some(1)),
        chars(5, Some(2)),
        chars(136, None),
    ]
};

/// What a container's configuration is made from.
pub(super) struct Parts<'a> {
    pub(super) sandbox: &'a SandboxConfig,
    pub(super) config: &'a ContainerConfig,
    pub(super) defaults: &'a ImageDefaults,
    pub(super) identity: &'a Identity,
    pub(super) rootfs: &'a Path,
    pub(super) shm: &'a Path,
    pub(super) cgroup: &'a str,
    /// Directory names and directories of the container's control group.
    pub(super) cgroups: &'a [(String, PathBuf)],
    /// The PID namespace to join: the pod's init or the target container.
    pub(super) pid_namespace: Option<PathBuf>,
}

impl Parts<'_> {
    /// `config.json`.
    ///
    /// Capabilities and seccomp are not in it as they will be: youki's library would compile the profile at each
    /// start, and load it too late for a container without `no_new_privs`. The helper does both last ([`Launch`]).
    ///
    /// [`Launch`]: crate::shim::protocol::Launch
    pub(super) fn build(&self) -> Result<Value, Error> {
        let security = &self.config.security;
        let (masked, readonly) = match security.privileged {
            true => (Vec::new(), Vec::new()),
            false => (
                security.masked_paths.clone().unwrap_or_else(|| MASKED_PATHS.map(str::to_owned).to_vec()),
                security.readonly_paths.clone().unwrap_or_else(|| READONLY_PATHS.map(str::to_owned).to_vec()),
            ),
        };
        let mut linux = json!({
            "namespaces": self.namespaces(),
            "cgroupsPath": self.cgroup,
            "maskedPaths": masked,
            "readonlyPaths": readonly,
        });
        if security.privileged {
            linux["devices"] = host_devices().into();
        }
        if self.config.mounts.iter().any(|mount| mount.propagation == MountPropagation::Bidirectional) {
            linux["rootfsPropagation"] = "shared".into();
        }
        Ok(json!({
            "ociVersion": "1.2.0",
            "process": self.process()?,
            "root": { "path": self.rootfs, "readonly": security.readonly_rootfs },
            "mounts": self.mounts(),
            "linux": linux,
        }))
    }

    fn process(&self) -> Result<Value, Error> {
        let capabilities = capabilities::all();
        let mut process = json!({
            "terminal": self.config.tty,
            "user": {
                "uid": self.identity.uid,
                "gid": self.identity.gid,
                "additionalGids": self.identity.groups,
            },
            "args": args(self.config, self.defaults)?,
            "env": self.env(),
            "cwd": working_dir(self.config, self.defaults),
            "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
        });
        // Left out where it is not wanted: youki's library takes any value for a wish.
        if self.config.security.no_new_privs {
            process["noNewPrivileges"] = true.into();
        }
        Ok(process)
    }

    /// The image's environment, then the pod's; the last of a name counts.
    fn env(&self) -> Vec<String> {
        let mut env = vec![DEFAULT_PATH.to_owned(), format!("HOME={}", self.identity.home)];
        if self.config.tty {
            env.push("TERM=xterm".to_owned());
        }
        if !self.sandbox.hostname.is_empty() {
            env.push(format!("HOSTNAME={}", self.sandbox.hostname));
        }
        let pod = self.config.env.iter().map(|(name, value)| format!("{name}={value}"));
        for entry in self.defaults.env.iter().cloned().chain(pod) {
            let name = entry.split('=').next().unwrap_or_default().to_owned();
            match env.iter_mut().find(|known| known.split('=').next() == Some(&name)) {
                Some(known) => *known = entry,
                None => env.push(entry),
            }
        }
        env
    }

    /// UTS and IPC are inherited from the helper, which lives in the pod's.
    fn namespaces(&self) -> Vec<Value> {
        let mut namespaces = vec![json!({"type": "mount"})];
        if let Some(path) = &self.sandbox.netns {
            namespaces.push(json!({"type": "network", "path": path}));
        }
        match (&self.pid_namespace, self.pid_mode()) {
            (Some(path), _) => namespaces.push(json!({"type": "pid", "path": path})),
            (None, NamespaceMode::Node) => {}
            (None, _) => namespaces.push(json!({"type": "pid"})),
        }
        if self.is_cgroup_v2() && !self.config.security.privileged {
            namespaces.push(json!({"type": "cgroup"}));
        }
        namespaces
    }

    /// The node's where pod or container ask for it.
    fn pid_mode(&self) -> NamespaceMode {
        if self.sandbox.pid == NamespaceMode::Node { NamespaceMode::Node } else { self.config.security.pid }
    }

    fn is_cgroup_v2(&self) -> bool {
        self.cgroups.iter().any(|(name, _)| name.is_empty())
    }

    /// The default mounts but those that the pod replaces, then the pod's, outer before inner.
    fn mounts(&self) -> Vec<Value> {
        let special = |destination: &str, kind: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": kind, "options": options});
        let access = if self.config.security.privileged { "rw" } else { "ro" };
        let bind = |source: &Path, destination: String, access: &str| {
            let options = ["bind", "nosuid", "nodev", "noexec", access];
            json!({"destination": destination, "type": "bind", "source": source, "options": options})
        };
        let mut mounts = vec![
            special("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            special("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            special("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            special("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            special("/sys", "sysfs", &["nosuid", "noexec", "nodev", access]),
            bind(self.shm, "/dev/shm".to_owned(), "rw"),
        ];
        if self.is_cgroup_v2() {
            mounts.extend(self.cgroups.iter().map(|(_, dir)| bind(dir, "/sys/fs/cgroup".to_owned(), access)));
        } else {
            mounts.push(special("/sys/fs/cgroup", "tmpfs", &["nosuid", "noexec", "nodev", "mode=755", "size=64k"]));
            let binds = self.cgroups.iter().map(|(name, dir)| bind(dir, format!("/sys/fs/cgroup/{name}"), access));
            mounts.extend(binds);
        }
        let replaced = |mount: &Value| {
            let destination = mount["destination"].as_str().map(Path::new).unwrap_or(Path::new(""));
            self.config.mounts.iter().any(|own| destination.starts_with(&own.container_path))
        };
        mounts.retain(|mount| !replaced(mount));
        let mut own: Vec<&Mount> = self.config.mounts.iter().collect();
        own.sort_by_key(|mount| mount.container_path.components().count());
        mounts.extend(own.into_iter().map(bind_mount));
        mounts
    }
}

fn bind_mount(mount: &Mount) -> Value {
    let propagation = match mount.propagation {
        MountPropagation::Private => "rprivate",
        MountPropagation::HostToContainer => "rslave",
        MountPropagation::Bidirectional => "rshared",
    };
    json!({
        "destination": mount.container_path,
        "type": "bind",
        "source": mount.host_path,
        "options": ["rbind", propagation, if mount.readonly { "ro" } else { "rw" }],
    })
}

/// Program and arguments: the image's `Cmd` belongs to the image's `Entrypoint`.
fn args(config: &ContainerConfig, defaults: &ImageDefaults) -> Result<Vec<String>, Error> {
    let (program, args) = match (config.command.is_empty(), config.args.is_empty()) {
        (true, true) => (&defaults.entrypoint, &defaults.cmd),
        (true, false) => (&defaults.entrypoint, &config.args),
        (false, _) => (&config.command, &config.args),
    };
    let whole: Vec<String> = program.iter().chain(args).cloned().collect();
    if whole.is_empty() {
        Err(Error::failed("failed to generate container spec", "no command specified"))
    } else {
        Ok(whole)
    }
}

/// Where the program starts.
pub(super) fn working_dir<'a>(config: &'a ContainerConfig, defaults: &'a ImageDefaults) -> &'a str {
    [config.working_dir.as_str(), defaults.working_dir.as_str()].into_iter().find(|dir| !dir.is_empty()).unwrap_or("/")
}

/// The node's devices, for privileged containers; terminals and shared memory are the container's own.
fn host_devices() -> Vec<Value> {
    let mut devices = Vec::new();
    let mut directories = vec![PathBuf::from("/dev")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
            let own = ["/dev/pts", "/dev/shm", "/dev/fd", "/dev/mqueue", "/dev/console", "/dev/ptmx"];
            if own.iter().any(|own| path == Path::new(own)) {
                continue;
            }
            if kind.is_dir() {
                directories.push(path);
            } else if kind.is_char_device() || kind.is_block_device() {
                let Ok(meta) = entry.metadata() else { continue };
                devices.push(json!({
                    "path": path,
                    "type": if kind.is_char_device() { "c" } else { "b" },
                    "major": rustix::fs::major(meta.rdev()),
                    "minor": rustix::fs::minor(meta.rdev()),
                    "fileMode": meta.mode() & 0o7777,
                    "uid": meta.uid(),
                    "gid": meta.gid(),
                }));
            }
        }
    }
    devices
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(command: &[&str], list: &[&str]) -> ContainerConfig {
        let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        ContainerConfig { command: strings(command), args: strings(list), ..Default::default() }
    }

    #[test]
    fn commands_follow_the_table_of_the_documentation() {
        let image =
            ImageDefaults { entrypoint: vec!["/e".to_owned()], cmd: vec!["c".to_owned()], ..Default::default() };
        for (command, given, whole) in [
            (&[][..], &[][..], &["/e", "c"][..]),
            (&["/p"], &[], &["/p"]),
            (&[], &["a"], &["/e", "a"]),
            (&["/p"], &["a"], &["/p", "a"]),
        ] {
            assert_eq!(args(&config(command, given), &image).expect("a command"), whole);
        }
        assert!(args(&config(&[], &[]), &ImageDefaults::default()).is_err());
    }
}
