//! Deployments that change while they are used.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use testkit::Cluster;

use crate::kit;

/// Keeps asking through the NodePort while `work` runs; answers how often it was answered, and what went wrong.
fn keep_asking(cluster: &Cluster, work: impl FnOnce()) -> (u64, Vec<String>) {
    let address: SocketAddr = format!("{}:30599", cluster.node_address()).parse().expect("an address");
    let (stop, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let errors = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            cluster.machine.inside(|| {
                let mut errors = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    match ask(address) {
                        Ok(()) => {
                            answered.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(err) => errors.push(format!("after {}: {err}", answered.load(Ordering::SeqCst))),
                    }
                }
                errors
            })
        });
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.store(true, Ordering::SeqCst);
        let errors = asking.join().expect("the client does not panic");
        worked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        errors
    });
    (answered.into_inner(), errors)
}

/// One request on a connection of its own.
fn ask(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: hello\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.ends_with("Hello, world!\n") {
        Ok(())
    } else {
        Err(std::io::Error::other(format!("answered {answer:?}")))
    }
}

#[test]
fn a_rolling_update_loses_no_request() {
    let second = "kaji.local/hello-server:2.0";
    let cluster = kit::cluster_with_hello("roll");
    let archive = kit::save(&cluster, "hello.tar", vec![kit::hello(second)]);
    kit::load(&cluster, &archive).ok();
    let (answered, errors) = keep_asking(&cluster, || {
        let image = format!("hello-server={second}");
        cluster.kubectl(&["set", "image", "deployment/hello-server", &image]).says("image updated");
        cluster.rolled_out("deployment/hello-server");
        cluster.kubectl(&["get", "replicasets", "-o", "wide"]).says(second);
        cluster.kubectl(&["rollout", "restart", "deployment/hello-server"]).ok();
        cluster.rolled_out("deployment/hello-server");
    });
    assert_eq!(errors, Vec::<String>::new());
    assert!(answered > 0);
}

#[test]
fn history_undo_pause_and_resume() {
    let cluster = kit::cluster_with_hello("undo");
    for version in ["2.0", "3.0"] {
        cluster.kubectl(&["set", "env", "deployment/hello-server", &format!("VERSION={version}")]).ok();
        cluster.rolled_out("deployment/hello-server");
    }
    let version = || {
        cluster
            .value("deployment/hello-server", "{.spec.template.spec.containers[0].env[?(@.name==\"VERSION\")].value}")
    };
    assert_eq!(version(), "3.0");
    let history = cluster.kubectl(&["rollout", "history", "deployment/hello-server"]).ok();
    assert_eq!(history.lines().filter(|line| line.starts_with(['1', '2', '3'])).count(), 3, "{history}");
    cluster.kubectl(&["rollout", "undo", "deployment/hello-server"]).says("rolled back");
    cluster.rolled_out("deployment/hello-server");
    assert_eq!(version(), "2.0");
    cluster.kubectl(&["rollout", "undo", "deployment/hello-server", "--to-revision=1"]).says("rolled back");
    cluster.rolled_out("deployment/hello-server");
    assert_eq!(version(), "");
    cluster.kubectl(&["rollout", "pause", "deployment/hello-server"]).says("paused");
    let before = cluster.kubectl(&["get", "replicasets", "-o", "name"]).ok();
    cluster.kubectl(&["set", "env", "deployment/hello-server", "VERSION=4.0"]).ok();
    let generation = cluster.value("deployment/hello-server", "{.metadata.generation}");
    cluster.wait(&format!("jsonpath={{.status.observedGeneration}}={generation}"), &["deployment/hello-server"]);
    assert_eq!(cluster.kubectl(&["get", "replicasets", "-o", "name"]).ok(), before, "paused");
    cluster.kubectl(&["rollout", "resume", "deployment/hello-server"]).says("resumed");
    cluster.rolled_out("deployment/hello-server");
    assert_eq!(version(), "4.0");
}

#[test]
fn a_deleted_pod_is_replaced() {
    let cluster = kit::cluster_with_hello("replace");
    let first = cluster.kubectl(&["get", "pods", "-o", "name"]).ok();
    let victim = first.lines().next().expect("a pod");
    cluster.kubectl(&["delete", victim, "--wait=false"]).ok();
    cluster.wait("jsonpath={.status.readyReplicas}=3", &["deployment/hello-server"]);
    cluster.wait("delete", &[victim]);
    let now = cluster.kubectl(&["get", "pods", "-o", "name"]).ok();
    assert!(!now.contains(victim), "{now}");
    assert_eq!(now.lines().count(), 3, "{now}");
}

#[test]
fn a_deployment_that_recreates_never_has_two_versions() {
    let cluster = kit::cluster("recreate");
    let recreate = kit::HELLO.replace("  replicas: 3\n", "  replicas: 3\n  strategy: {type: Recreate}\n");
    cluster.apply(&recreate);
    cluster.rolled_out("deployment/hello-server");
    cluster.kubectl(&["set", "env", "deployment/hello-server", "VERSION=2.0"]).ok();
    cluster.rolled_out("deployment/hello-server");
    let available = cluster.value("deployment/hello-server", "{.status.availableReplicas}");
    assert_eq!(available, "3");
}
