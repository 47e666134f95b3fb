//! How a container ended, with its termination message (upstream: kuberuntime_container.go getTerminationMessage).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use cri::ContainerState;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container;

use crate::container::mounts;
use crate::logs::parse;
use crate::pod::container::{Ended, Instance, Life};

/// Most bytes of a termination message.
const MESSAGE: u64 = 4096;
/// Most bytes and lines taken from the log instead.
const LOG_BYTES: u64 = 2048;
const LOG_LINES: usize = 80;

/// An instance from the runtime's view, `None` for one that was never started.
pub fn instance(status: &cri::ContainerStatus, pod_dir: &Path, container: Option<&Container>) -> Option<Instance> {
    let life = match &status.state {
        ContainerState::Created => return None,
        ContainerState::Running { started_at } => Life::Running { since: *started_at },
        ContainerState::Exited { .. } => Life::Ended(ended(status, pod_dir, container)?),
    };
    let image = status.config.annotations.get(crate::container::config::IMAGE);
    Some(Instance {
        id: status.id.clone(),
        attempt: status.config.attempt,
        image: image.cloned().unwrap_or_else(|| status.config.image.clone()),
        image_id: status.image_ref.clone(),
        life,
    })
}

/// How it ended, if it did. Reads files.
pub fn ended(status: &cri::ContainerStatus, pod_dir: &Path, container: Option<&Container>) -> Option<Ended> {
    let ContainerState::Exited { started_at, finished_at, exit_code, reason, message } = &status.state else {
        return None;
    };
    let log = mounts::termination_log(pod_dir, &status.config.name, status.config.attempt);
    let mut text = head(&log, MESSAGE).unwrap_or_default();
    let fallback = container.and_then(|c| c.termination_message_policy.as_deref()) == Some("FallbackToLogsOnError");
    if text.is_empty() && fallback && *exit_code != 0 {
        text = log_tail(&status.log_path).unwrap_or_default();
    }
    if text.is_empty() {
        text.clone_from(message);
    }
    // The epoch means that the runtime does not know.
    let started_at = started_at.filter(|at| *at > Timestamp::UNIX_EPOCH);
    Some(Ended { exit_code: *exit_code, reason: reason.clone(), message: text, started_at, finished_at: *finished_at })
}

fn head(path: &Path, limit: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The last lines of a log, without their times.
fn log_tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    // A line carries some forty bytes of time and stream in front of the text.
    let window = LOG_BYTES + 64 * LOG_LINES as u64;
    let from = length.saturating_sub(window);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(window).read_to_end(&mut bytes)?;
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    if from > 0 {
        lines.next();
    }
    let entries: Vec<Vec<u8>> =
        lines.filter_map(|line| parse::line(line).map(|entry| entry.content.to_vec())).collect();
    let mut text: Vec<u8> = entries[entries.len().saturating_sub(LOG_LINES)..].concat();
    let excess = text.len().saturating_sub(LOG_BYTES as usize);
    text.drain(..excess);
    Ok(String::from_utf8_lossy(&text).into_owned())
}
