//! Control groups: v1 (each hierarchy mounted on its own), hybrid and v2 behind one trait.

use crate::runtime::{Error, Resources};

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

/// Makes, limits, measures and removes control groups. Paths are absolute from the root of the hierarchies, as
/// `/kaji/node/kubepods/burstable/pod<uid>`. All calls are idempotent, and quick enough for an async task but
/// [`CgroupManager::remove`], which may wait for processes to die and belongs on the blocking pool.
pub trait CgroupManager: Send + Sync + 'static {
    /// Makes the group with its parents and sets its limits.
    fn ensure(&self, path: &str, resources: &Resources) -> Result<(), Error>;

    /// Kills what is left in the group and in those below it, and removes them.
    fn remove(&self, path: &str) -> Result<(), Error>;

    /// What the group has used; `NotFound` when it is not there.
    fn stats(&self, path: &str) -> Result<CgroupStats, Error>;

    /// Process ids in the group itself.
    fn processes(&self, path: &str) -> Result<Vec<i32>, Error>;
}

/// The manager that fits this machine.
pub fn detect() -> Result<Box<dyn CgroupManager>, Error> {
    Err(Error::Failed { doing: "finding control groups".to_owned(), cause: "not built yet".to_owned() })
}
