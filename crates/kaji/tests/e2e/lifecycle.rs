//! `kaji cluster ...`: steps, a second run, stop and start, and nothing left behind.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use testkit::Machine;

use crate::kit::{self, KAJI};

#[test]
fn create_says_what_it_does_and_a_second_run_that_it_is_there() {
    let machine = Machine::new(KAJI);
    let name = format!("steps-{}", std::process::id());
    let created = machine.kaji(&["cluster", "create", "--name", &name]).ok();
    for step in ["✓ Starting the node (", "✓ Waiting for the node to be Ready (", "kubeconfig:"] {
        assert!(created.contains(step), "{step:?} is missing in\n{created}");
    }
    machine.kaji(&["cluster", "create", "--name", &name]).says("there already");
    machine.kaji(&["cluster", "list"]).says(&name);
    machine.kaji(&["cluster", "delete", "--name", &name]).says("deleted");
    machine.kaji(&["cluster", "delete", "--name", &name]).says("There is no cluster");
}

#[test]
fn a_cluster_leaves_nothing_behind() {
    let cluster = kit::cluster_with_hello("trace");
    let name = cluster.name().to_owned();
    let init = cluster.server_pid();
    assert!(!traces(&name, cluster.machine.dir()).is_empty(), "a running cluster can be seen");
    cluster.kaji_here("delete").ok();
    assert!(!Path::new(&format!("/proc/{init}")).exists(), "the server has ended");
    assert_eq!(traces(&name, cluster.machine.dir()), BTreeSet::new());
    assert_eq!(cluster.machine.run("/bin/sh", &["-c", "ip -o link | grep -v ' lo:' || true"]).ok(), "");
    assert!(!cluster.machine.kubeconfig().exists(), "our context was the only one");
    assert!(!cluster.machine.home().exists());
}

/// Mounts, cgroups and processes that name the cluster.
fn traces(name: &str, dir: &Path) -> BTreeSet<String> {
    let mut traces = BTreeSet::new();
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    traces.extend(mounts.lines().filter(|line| line.contains(&*dir.to_string_lossy())).map(str::to_owned));
    for hierarchy in fs::read_dir("/sys/fs/cgroup").expect("cgroups").flatten() {
        let path = hierarchy.path().join("kaji").join(name);
        if path.exists() {
            traces.insert(path.display().to_string());
        }
    }
    for process in fs::read_dir("/proc").expect("processes").flatten() {
        let line = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        if line.contains(name) && line.contains("server") {
            traces.insert(line.replace('\0', " "));
        }
    }
    traces
}

#[test]
fn a_stopped_cluster_starts_with_what_it_had() {
    let cluster = kit::cluster_with_hello("stop");
    cluster.kaji_here("stop").ok();
    cluster.machine.kaji(&["cluster", "list"]).says("stopped");
    cluster.kaji_here("start").ok();
    cluster.rolled_out("deployment/hello-server");
    cluster.wait("condition=Ready", &["pod", "-l", "app=hello-server"]);
}

#[test]
fn wrong_use_is_told_in_one_line() {
    let machine = Machine::new(KAJI);
    machine.kaji(&["cluster", "create", "--name", "No_Good"]).fails_with("lower-case letters");
    machine.kaji(&["cluster", "start", "--name", "absent"]).fails_with("there is no cluster \"absent\"");
    machine.kaji(&["cluster", "create", "--nodes", "0"]).fails_with("--nodes");
    let held = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = held.local_addr().expect("its address").port().to_string();
    let taken = machine.inside(|| std::net::TcpListener::bind(("127.0.0.1", port.parse::<u16>().expect("a port"))));
    let _taken = taken.expect("the port is free inside");
    machine.kaji(&["cluster", "create", "--name", "busy", "--api-port", &port]).fails_with("--api-port");
    machine.kaji(&["check"]).ok();
}
