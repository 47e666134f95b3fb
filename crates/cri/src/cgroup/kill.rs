//! Ending the processes of a directory tree of control groups, and removing it.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use super::processes_in;
use crate::runtime::Error;

/// How long killed processes may take to go.
const DEADLINE: Duration = Duration::from_secs(10);

/// Calls `visit` for every directory of the tree, children before parents. A missing directory is an empty tree.
fn post_order(dir: &Path, visit: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(err) => return Err(err),
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            post_order(&entry.path(), visit)?;
        }
    }
    visit(dir)
}

/// Kills until the tree holds no process. A process that forks while it is being killed is met by the next round.
pub(super) fn kill_tree(dir: &Path) -> Result<(), Error> {
    let failed = |err: io::Error| Error::failed(format!("ending the processes of {}", dir.display()), err);
    let deadline = Instant::now() + DEADLINE;
    loop {
        let mut pids = Vec::new();
        post_order(dir, &mut |dir| {
            pids.extend(processes_in(dir).unwrap_or_default());
            Ok(())
        })
        .map_err(failed)?;
        if pids.is_empty() {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(failed(io::Error::other(format!("processes {pids:?} do not end"))));
        }
        for pid in pids.into_iter().filter_map(Pid::from_raw) {
            kill_and_wait(pid, left);
        }
    }
}

/// A pidfd turns readable when its process has ended, whoever its parent is.
fn kill_and_wait(pid: Pid, at_most: Duration) {
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    let _ = kill_process(pid, Signal::KILL);
    let timeout = Timespec { tv_sec: at_most.as_secs() as i64, tv_nsec: i64::from(at_most.subsec_nanos()) };
    let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout));
}

/// Removes the empty tree. The kernel lets go of a dead process's group a moment after its end, so EBUSY is met again.
pub(super) fn remove_tree(dir: &Path) -> Result<(), Error> {
    let deadline = Instant::now() + DEADLINE;
    let mut pause = Duration::from_micros(200);
    loop {
        let result = post_order(dir, &mut |dir| match fs::remove_dir(dir) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        });
        match result {
            Ok(()) => return Ok(()),
            Err(err) if err.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(50));
                kill_tree(dir)?;
            }
            Err(err) => return Err(Error::failed(format!("removing {}", dir.display()), err)),
        }
    }
}
