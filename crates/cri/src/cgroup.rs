//! Control groups: v1 (each hierarchy mounted on its own), hybrid and v2 behind one trait.
//!
//! The runtime makes one group per container below the pod's; the kubelet makes those of pods and QoS classes.
//! Upstream: pkg/kubelet/cm/cgroup_manager_linux.go.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::runtime::{Error, Resources};

mod devices;
mod kill;
mod v1;
mod v2;

pub use v1::V1;
pub use v2::V2;

/// What a control group has used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupStats {
    /// CPU time, in ns.
    pub cpu_usage_ns: u64,
    /// Memory in use less inactive page cache, in bytes.
    pub memory_working_set_bytes: u64,
    /// Anonymous memory, in bytes.
    pub memory_rss_bytes: u64,
    /// Processes and threads.
    pub pids: u64,
    /// How often the OOM killer ended one of its processes.
    pub oom_kills: u64,
}

/// A device that the processes of a group may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// `c`, `b`, or `a` for all of both.
    pub kind: char,
    /// Major number; `None` for any.
    pub major: Option<u32>,
    /// Minor number; `None` for any.
    pub minor: Option<u32>,
    /// Of `rwm`: read, write, make.
    pub access: &'static str,
}

impl DeviceRule {
    /// The rule that allows everything, for privileged containers.
    pub const ALL: DeviceRule = DeviceRule { kind: 'a', major: None, minor: None, access: "rwm" };
}

/// Makes, limits, measures and removes control groups. Paths are absolute from the root of the hierarchies, as
/// `/kaji/node/kubepods/burstable/pod<uid>`. All calls are idempotent, and quick enough for an async task but
/// [`CgroupManager::remove`] and [`CgroupManager::kill`], which wait for processes to die and belong on the blocking pool.
pub trait CgroupManager: Send + Sync + 'static {
    /// Makes the group with its parents and sets its limits.
    fn ensure(&self, path: &str, resources: &Resources) -> Result<(), Error>;

    /// Restricts the group's devices to these.
    fn allow_devices(&self, path: &str, rules: &[DeviceRule]) -> Result<(), Error>;

    /// Ends every process in the group and in those below it. A missing group is no error.
    fn kill(&self, path: &str) -> Result<(), Error>;

    /// Kills what is left in the group and in those below it, and removes them. A missing group is no error.
    fn remove(&self, path: &str) -> Result<(), Error>;

    /// What the group has used.
    fn stats(&self, path: &str) -> Result<CgroupStats, Error>;

    /// Process ids in the group itself.
    fn processes(&self, path: &str) -> Result<Vec<i32>, Error>;

    /// The directories of the group with the names their hierarchies have below `/sys/fs/cgroup`; on v2 one with "".
    fn directories(&self, path: &str) -> Vec<(String, PathBuf)>;
}

/// The manager that fits this machine.
pub fn detect() -> Result<Box<dyn CgroupManager>, Error> {
    let doing = "finding the control group file systems";
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|err| Error::failed(doing, err))?;
    let hierarchies = hierarchies(&mounts);
    if hierarchies.v1.iter().any(|(name, _)| name == "memory" || name == "cpu") {
        return Ok(Box::new(V1::new(hierarchies.v1)));
    }
    match hierarchies.v2 {
        Some(root) => Ok(Box::new(V2::new(root))),
        None => Err(Error::failed(doing, "neither cgroup v1 nor v2 is mounted")),
    }
}

/// The cgroup mounts of a mountinfo file.
#[derive(Debug, Default, PartialEq)]
struct Hierarchies {
    /// Directory name (as `cpu`, `cpu,cpuacct`, `systemd`) and mount point.
    v1: Vec<(String, PathBuf)>,
    v2: Option<PathBuf>,
}

fn hierarchies(mountinfo: &str) -> Hierarchies {
    let mut found = Hierarchies::default();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let (Some(point), Some(kind)) = (left.split(' ').nth(4), right.split(' ').next()) else { continue };
        let point = PathBuf::from(point);
        match kind {
            "cgroup2" if found.v2.is_none() => found.v2 = Some(point),
            "cgroup" => {
                let Some(name) = point.file_name().and_then(|name| name.to_str()) else { continue };
                if !found.v1.iter().any(|(seen, _)| seen == name) {
                    found.v1.push((name.to_owned(), point.clone()));
                }
            }
            _ => {}
        }
    }
    found
}

/// `root` joined with a group's path, which must not climb.
fn join(root: &Path, path: &str) -> Result<PathBuf, Error> {
    let relative = Path::new(path.trim_start_matches('/'));
    let plain = relative.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if !plain || relative.as_os_str().is_empty() {
        return Err(Error::failed("naming a control group", format!("{path:?} is not a path below the root")));
    }
    Ok(root.join(relative))
}

fn write(dir: &Path, file: &str, value: impl std::fmt::Display) -> Result<(), Error> {
    let path = dir.join(file);
    fs::write(&path, value.to_string())
        .map_err(|err| Error::failed(format!("writing {value} to {}", path.display()), err))
}

fn read(dir: &Path, file: &str) -> io::Result<String> {
    fs::read_to_string(dir.join(file))
}

fn read_number(dir: &Path, file: &str) -> u64 {
    read(dir, file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// The number behind `key` in a file of `key value` lines.
fn keyed_number(text: &str, key: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0)
}

fn processes_in(dir: &Path) -> io::Result<Vec<i32>> {
    Ok(read(dir, "cgroup.procs")?.lines().filter_map(|line| line.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_mounts_are_told_apart() {
        let found = hierarchies(
            "30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
             31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
             32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
             33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        );
        assert_eq!(found.v2, Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(found.v1.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["cpu", "systemd"]);
    }

    #[test]
    fn a_path_may_not_climb() {
        let root = Path::new("/sys/fs/cgroup");
        assert!(join(root, "/a/../../etc").is_err());
        assert!(join(root, "/").is_err());
        assert_eq!(join(root, "/a/b").expect("a plain path"), root.join("a/b"));
    }

    #[test]
    fn numbers_are_found_by_their_whole_key() {
        assert_eq!(keyed_number("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", "oom_kill"), 3);
        assert_eq!(keyed_number("", "oom_kill"), 0);
    }
}
