//! cgroup v2: one hierarchy, controllers handed down level by level.

use std::fs;
use std::path::{Path, PathBuf};

use super::devices::attach;
use super::kill::{kill_tree, remove_tree};
use super::{CgroupManager, CgroupStats, DeviceRule, join, keyed_number, processes_in, read, read_number, write};
use crate::runtime::{Error, Resources};

const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// The unified hierarchy.
#[derive(Debug)]
pub struct V2 {
    root: PathBuf,
}

impl V2 {
    /// `root`: where it is mounted.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn require(&self, path: &str) -> Result<PathBuf, Error> {
        let dir = join(&self.root, path)?;
        if dir.is_dir() { Ok(dir) } else { Err(Error::NotFound { what: "control group", id: path.to_owned() }) }
    }
}

impl CgroupManager for V2 {
    fn ensure(&self, path: &str, resources: &Resources) -> Result<(), Error> {
        let dir = join(&self.root, path)?;
        fs::create_dir_all(&dir).map_err(|err| Error::failed(format!("making {}", dir.display()), err))?;
        let mut parent = self.root.clone();
        for part in dir.strip_prefix(&self.root).unwrap_or(&dir).components() {
            hand_down(&parent);
            parent.push(part);
        }
        if dir.join("cpu.weight").exists() {
            if resources.cpu_shares > 0 {
                write(&dir, "cpu.weight", weight(resources.cpu_shares))?;
            }
            let period = if resources.cpu_period_us > 0 { resources.cpu_period_us } else { 100_000 };
            match resources.cpu_quota_us {
                quota if quota > 0 => write(&dir, "cpu.max", format!("{quota} {period}"))?,
                _ => write(&dir, "cpu.max", format!("max {period}"))?,
            }
        }
        if dir.join("memory.max").exists() {
            write(&dir, "memory.max", number_or_max(resources.memory_limit_bytes))?;
        }
        if dir.join("pids.max").exists() {
            write(&dir, "pids.max", number_or_max(resources.pids_limit))?;
        }
        Ok(())
    }

    fn allow_devices(&self, path: &str, rules: &[DeviceRule]) -> Result<(), Error> {
        let dir = self.require(path)?;
        attach(&dir, rules).map_err(|err| Error::failed(format!("restricting the devices of {}", dir.display()), err))
    }

    fn kill(&self, path: &str) -> Result<(), Error> {
        let dir = join(&self.root, path)?;
        if dir.is_dir() {
            // Both files are missing on older kernels; then every process gets its signal below.
            let _ = write(&dir, "cgroup.freeze", 0);
            let _ = write(&dir, "cgroup.kill", 1);
        }
        kill_tree(&dir)
    }

    fn remove(&self, path: &str) -> Result<(), Error> {
        self.kill(path)?;
        remove_tree(&join(&self.root, path)?)
    }

    fn stats(&self, path: &str) -> Result<CgroupStats, Error> {
        let dir = self.require(path)?;
        let stat = read(&dir, "memory.stat").unwrap_or_default();
        let usage = read_number(&dir, "memory.current");
        Ok(CgroupStats {
            cpu_usage_ns: keyed_number(&read(&dir, "cpu.stat").unwrap_or_default(), "usage_usec") * 1000,
            memory_working_set_bytes: usage.saturating_sub(keyed_number(&stat, "inactive_file")),
            memory_rss_bytes: keyed_number(&stat, "anon"),
            pids: read_number(&dir, "pids.current"),
            oom_kills: keyed_number(&read(&dir, "memory.events").unwrap_or_default(), "oom_kill"),
        })
    }

    fn processes(&self, path: &str) -> Result<Vec<i32>, Error> {
        let dir = self.require(path)?;
        processes_in(&dir).map_err(|err| Error::failed(format!("listing {}", dir.display()), err))
    }

    fn directories(&self, path: &str) -> Vec<(String, PathBuf)> {
        let dir = join(&self.root, path).ok().filter(|dir| dir.is_dir());
        dir.map(|dir| vec![(String::new(), dir)]).unwrap_or_default()
    }
}

/// Gives the children of `dir` every controller that `dir` has. One that is refused (a controller of a hybrid's v1 side,
/// a group with processes) stays off, which shows as a missing file.
fn hand_down(dir: &Path) {
    let available = read(dir, "cgroup.controllers").unwrap_or_default();
    let enabled = read(dir, "cgroup.subtree_control").unwrap_or_default();
    for controller in CONTROLLERS {
        let has = |list: &str| list.split_whitespace().any(|name| name == controller);
        if has(&available) && !has(&enabled) {
            let _ = write(dir, "cgroup.subtree_control", format!("+{controller}"));
        }
    }
}

/// v1 shares (2..=262144) on v2's scale (1..=10000). Upstream: pkg/kubelet/cm/cgroup_manager_linux.go, getCPUWeight.
fn weight(shares: u64) -> u64 {
    let shares = shares.clamp(2, 262_144);
    1 + (shares - 2) * 9_999 / 262_142
}

fn number_or_max(value: i64) -> String {
    if value > 0 { value.to_string() } else { "max".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights() {
        let weights: Vec<u64> = [0, 2, 1024, 262_144].into_iter().map(weight).collect();
        assert_eq!(weights, [1, 1, 39, 10_000]);
    }
}
