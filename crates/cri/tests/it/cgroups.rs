//! Control groups of both versions on this kernel, as far as it has them.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use cri::Resources;
use cri::cgroup::{CgroupManager, DeviceRule, V2, detect};

/// A group of a test; what is left in it ends with the test, whatever its end.
struct Group<'a>(&'a dyn CgroupManager, String);

impl Drop for Group<'_> {
    fn drop(&mut self) {
        let _ = self.0.remove(&self.1);
    }
}

/// A child in the group of `directory`.
fn child_in(directory: &Path, script: &str) -> Child {
    let procs = directory.join("cgroup.procs");
    let mut command = Command::new("/bin/busybox");
    command.args(["sh", "-c", script]).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: the closure only writes a file.
    unsafe { command.pre_exec(move || std::fs::write(&procs, "0")) };
    command.spawn().expect("busybox runs")
}

#[test]
fn groups_are_made_limited_killed_and_removed() {
    let manager = detect().expect("this machine has control groups");
    let parent = format!("/kaji-test-{}-groups", std::process::id());
    let _group = Group(&*manager, parent.clone());
    let path = format!("{parent}/besteffort/pod1");
    let resources = Resources {
        cpu_shares: 2,
        cpu_quota_us: 50_000,
        memory_limit_bytes: 64 << 20,
        pids_limit: 100,
        ..Default::default()
    };
    for _ in 0..2 {
        manager.ensure(&path, &resources).expect("it is made");
    }
    manager.ensure(&path, &Resources::default()).expect("limits go away");
    manager.ensure(&path, &resources).expect("and come back");
    let (_, directory) = manager
        .directories(&path)
        .into_iter()
        .find(|(name, _)| name == "memory" || name.is_empty())
        .expect("it is there");
    let mut child = child_in(&directory, "trap '' TERM; sleep 1000 & sleep 1000");
    while manager.processes(&path).expect("a list").len() < 2 {
        std::thread::yield_now();
    }
    // The kernel adds numbers up lazily, so only that there are some is sure.
    manager.stats(&path).expect("stats");
    manager.kill(&path).expect("it is emptied");
    assert!(!child.wait().expect("it ended").success());
    assert!(manager.processes(&path).expect("a list").is_empty());
    for _ in 0..2 {
        manager.remove(&parent).expect("it goes with all below");
    }
    assert!(manager.directories(&parent).is_empty());
    assert!(manager.stats(&path).is_err());
    assert!(manager.ensure("/../etc", &resources).is_err());
}

/// The unified hierarchy of a hybrid machine has no controllers to speak of, but processes and devices.
#[test]
fn version_two_kills_and_restricts_devices() {
    let root = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(PathBuf::from);
    let Some(root) = root.into_iter().find(|root| root.join("cgroup.controllers").exists()) else {
        return;
    };
    let manager = V2::new(root.clone());
    let _group = Group(&manager, format!("/kaji-test-{}-v2", std::process::id()));
    let path = format!("/kaji-test-{}-v2/pod", std::process::id());
    manager.ensure(&path, &Resources::default()).expect("it is made");
    let rules = [
        DeviceRule { kind: 'c', major: Some(1), minor: Some(3), access: "rw" },
        DeviceRule { kind: 'c', major: Some(5), minor: None, access: "rwm" },
    ];
    manager.allow_devices(&path, &rules).expect("they are restricted");
    let directory = root.join(path.trim_start_matches('/'));
    let status = child_in(&directory, "echo x > /dev/null && ! head -c 1 /dev/zero > /dev/null 2>&1").wait();
    assert!(status.expect("it ended").success());
    let mut child = child_in(&directory, "exec sleep 1000");
    manager.remove(&format!("/kaji-test-{}-v2", std::process::id())).expect("it goes");
    assert!(!child.wait().expect("it ended").success());
    assert!(!directory.exists());
}
