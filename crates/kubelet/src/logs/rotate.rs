//! Rotation of logs that grew large (upstream: pkg/kubelet/logs/container_log_manager.go).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::rotated;

/// A log is rotated from this size on.
pub const MAX_SIZE: u64 = 10 * 1024 * 1024;
/// Most files of one log, the current one counted.
pub const MAX_FILES: usize = 5;

/// Whether the log has grown too large.
pub fn is_due(log: &Path) -> bool {
    fs::metadata(log).is_ok_and(|metadata| metadata.len() >= MAX_SIZE)
}

/// Moves the log aside and removes the oldest ones. The writer must then open the log anew. Blocks.
pub fn rotate(log: &Path, now: Timestamp) -> io::Result<()> {
    let old = rotated(log);
    // The current log becomes one of the old ones, and a new one begins.
    let keep = MAX_FILES - 2;
    for gone in &old[..old.len().saturating_sub(keep)] {
        fs::remove_file(gone)?;
    }
    let mut aside = log.as_os_str().to_owned();
    aside.push(now.strftime(".%Y%m%d-%H%M%S").to_string());
    fs::rename(log, PathBuf::from(aside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("0.log");
        for second in 0..7 {
            fs::write(&log, format!("{second}")).expect("a log");
            let at: Timestamp = format!("2026-01-01T00:00:0{second}Z").parse().expect("a time");
            rotate(&log, at).expect("rotated");
        }
        let kept: Vec<String> = rotated(&log).iter().map(|file| fs::read_to_string(file).expect("a file")).collect();
        assert_eq!(kept, ["3", "4", "5", "6"]);
        assert!(!is_due(&log));
    }
}
