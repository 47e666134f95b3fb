//! cgroup v1 and hybrid: the same path in every hierarchy.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::kill::{kill_tree, remove_tree};
use super::{CgroupManager, CgroupStats, DeviceRule, join, keyed_number, processes_in, read, read_number, write};
use crate::runtime::{Error, Resources};

/// The v1 hierarchies of this machine.
#[derive(Debug)]
pub struct V1 {
    hierarchies: Vec<Hierarchy>,
}

#[derive(Debug)]
struct Hierarchy {
    name: String,
    root: PathBuf,
}

impl Hierarchy {
    /// Co-mounted controllers share a directory named after all of them, as `cpu,cpuacct`.
    fn has(&self, controller: &str) -> bool {
        self.name.split(',').any(|name| name == controller)
    }
}

impl V1 {
    /// `hierarchies`: directory name and mount point of each.
    pub fn new(hierarchies: Vec<(String, PathBuf)>) -> Self {
        Self { hierarchies: hierarchies.into_iter().map(|(name, root)| Hierarchy { name, root }).collect() }
    }

    fn dir(&self, controller: &str, path: &str) -> Result<Option<PathBuf>, Error> {
        self.hierarchies.iter().find(|h| h.has(controller)).map(|h| join(&h.root, path)).transpose()
    }

    fn require(&self, controller: &str, path: &str) -> Result<PathBuf, Error> {
        let dir = self.dir(controller, path)?.filter(|dir| dir.is_dir());
        dir.ok_or_else(|| Error::NotFound { what: "control group", id: path.to_owned() })
    }
}

impl CgroupManager for V1 {
    fn ensure(&self, path: &str, resources: &Resources) -> Result<(), Error> {
        for hierarchy in &self.hierarchies {
            let dir = join(&hierarchy.root, path)?;
            fs::create_dir_all(&dir).map_err(|err| Error::failed(format!("making {}", dir.display()), err))?;
            if hierarchy.has("cpuset") {
                inherit_cpuset(&hierarchy.root, &dir)?;
            }
            if hierarchy.has("cpu") {
                limit_cpu(&dir, resources)?;
            }
            if hierarchy.has("memory") {
                let limit = if resources.memory_limit_bytes > 0 { resources.memory_limit_bytes } else { -1 };
                write(&dir, "memory.limit_in_bytes", limit)?;
            }
            if hierarchy.has("pids") {
                match resources.pids_limit {
                    limit if limit > 0 => write(&dir, "pids.max", limit)?,
                    _ => write(&dir, "pids.max", "max")?,
                }
            }
        }
        Ok(())
    }

    fn allow_devices(&self, path: &str, rules: &[DeviceRule]) -> Result<(), Error> {
        let Some(dir) = self.dir("devices", path)? else { return Ok(()) };
        if rules.contains(&DeviceRule::ALL) {
            return write(&dir, "devices.allow", "a *:* rwm");
        }
        write(&dir, "devices.deny", "a")?;
        let number = |n: Option<u32>| n.map_or("*".to_owned(), |n| n.to_string());
        for rule in rules {
            let line = format!("{} {}:{} {}", rule.kind, number(rule.major), number(rule.minor), rule.access);
            write(&dir, "devices.allow", line)?;
        }
        Ok(())
    }

    fn kill(&self, path: &str) -> Result<(), Error> {
        if let Some(dir) = self.dir("freezer", path)?.filter(|dir| dir.is_dir()) {
            // A frozen process does not die, so thaw first.
            write(&dir, "freezer.state", "THAWED")?;
        }
        self.hierarchies.iter().try_for_each(|h| kill_tree(&join(&h.root, path)?))
    }

    fn remove(&self, path: &str) -> Result<(), Error> {
        self.kill(path)?;
        self.hierarchies.iter().try_for_each(|h| remove_tree(&join(&h.root, path)?))
    }

    fn stats(&self, path: &str) -> Result<CgroupStats, Error> {
        let memory = self.require("memory", path)?;
        let cpuacct = self.dir("cpuacct", path)?.unwrap_or_default();
        let pids = self.dir("pids", path)?.unwrap_or_default();
        let stat = read(&memory, "memory.stat").unwrap_or_default();
        let usage = read_number(&memory, "memory.usage_in_bytes");
        Ok(CgroupStats {
            cpu_usage_ns: read_number(&cpuacct, "cpuacct.usage"),
            memory_working_set_bytes: usage.saturating_sub(keyed_number(&stat, "total_inactive_file")),
            memory_rss_bytes: keyed_number(&stat, "total_rss"),
            pids: read_number(&pids, "pids.current"),
            oom_kills: keyed_number(&read(&memory, "memory.oom_control").unwrap_or_default(), "oom_kill"),
        })
    }

    fn processes(&self, path: &str) -> Result<Vec<i32>, Error> {
        let dir = self.require("memory", path)?;
        processes_in(&dir).map_err(|err| Error::failed(format!("listing {}", dir.display()), err))
    }

    fn directories(&self, path: &str) -> Vec<(String, PathBuf)> {
        let dir = |h: &Hierarchy| Some((h.name.clone(), join(&h.root, path).ok()?));
        self.hierarchies.iter().filter_map(dir).filter(|(_, dir)| dir.is_dir()).collect()
    }
}

fn limit_cpu(dir: &Path, resources: &Resources) -> Result<(), Error> {
    if resources.cpu_shares > 0 {
        write(dir, "cpu.shares", resources.cpu_shares)?;
    }
    if !dir.join("cpu.cfs_quota_us").exists() {
        return Ok(());
    }
    if resources.cpu_quota_us > 0 {
        let period = if resources.cpu_period_us > 0 { resources.cpu_period_us } else { 100_000 };
        write(dir, "cpu.cfs_period_us", period)?;
        write(dir, "cpu.cfs_quota_us", resources.cpu_quota_us)
    } else {
        write(dir, "cpu.cfs_quota_us", -1)
    }
}

/// A new cpuset is empty and takes no process: each level gets what its parent has.
fn inherit_cpuset(root: &Path, dir: &Path) -> Result<(), Error> {
    let failed = |err: io::Error| Error::failed(format!("filling the cpuset of {}", dir.display()), err);
    let mut parent = root.to_owned();
    for part in dir.strip_prefix(root).unwrap_or(dir).components() {
        let child = parent.join(part);
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if read(&child, file).map_err(failed)?.trim().is_empty() {
                write(&child, file, read(&parent, file).map_err(failed)?.trim())?;
            }
        }
        parent = child;
    }
    Ok(())
}
