//! Container logs: the CRI format, reading and following, rotation.

pub mod parse;
pub mod read;
pub mod rotate;

use std::path::{Path, PathBuf};

/// Path of the log of one attempt below the pod's log directory.
pub fn path(pod_log_dir: &Path, container: &str, attempt: u32) -> PathBuf {
    pod_log_dir.join(container).join(format!("{attempt}.log"))
}

/// A log with what was rotated away from it, oldest first.
pub fn files(log: &Path) -> Vec<PathBuf> {
    let mut files = rotated(log);
    files.push(log.to_owned());
    files
}

/// What was rotated away from a log, oldest first: `<log>.<time>`.
pub fn rotated(log: &Path) -> Vec<PathBuf> {
    let (Some(dir), Some(name)) = (log.parent(), log.file_name().and_then(|name| name.to_str())) else {
        return Vec::new();
    };
    let prefix = format!("{name}.");
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    // The names end in a time, so their order is that of the times.
    let mut old: Vec<String> = names.filter(|name| name.starts_with(&prefix)).collect();
    old.sort();
    old.into_iter().map(|name| dir.join(name)).collect()
}
