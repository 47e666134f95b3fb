//! Servers and helpers that die.

use cri::{Error, RuntimeService};

use crate::lifecycle::wait_for_output;
use crate::node::{Node, exit, output, pids_of, shell};

#[tokio::test]
async fn containers_outlive_the_server_and_are_adopted() {
    let mut node = Node::new().await;
    let sandbox = node.sandbox("adopt").await;
    let runs = node
        .run(&sandbox, shell("runs", "echo up; i=0; while :; do i=$((i+1)); echo $i >> /count; usleep 10000; done"))
        .await;
    let ends =
        node.run(&sandbox, shell("ends", "while [ ! -e /data/go ]; do usleep 10000; done; echo away; exit 42")).await;
    let waits =
        node.runtime.create_container(&sandbox, shell("waits", "echo late; sleep 1000")).await.expect("a container");
    wait_for_output(&node, &runs, "up").await;
    let before = node.runtime.container_status(&runs).await.expect("known");
    let pid = node.runtime.container_status(&ends).await.expect("known").pid.expect("it runs");

    // One ends while nobody is there to hear it.
    let go = std::path::PathBuf::from(format!("/proc/{pid}/root/data"));
    std::fs::create_dir(&go).expect("a directory in the container");
    let log = node.runtime.container_status(&ends).await.expect("known").log_path;
    node.stop_server().await;
    std::fs::write(go.join("go"), "").expect("a file in the container");
    while !output(&log).contains("away") {
        std::thread::yield_now();
    }
    node.restart().await;

    let after = node.runtime.container_status(&runs).await.expect("adopted");
    assert_eq!((after.pid, &after.state, after.created_at), (before.pid, &before.state, before.created_at));
    assert_eq!(exit(&node.ended(&ends).await), (42, "Error".to_owned()));
    assert!(node.runtime.list_pod_sandboxes().await.expect("a list")[0].ready);
    // The adopted are as good as new: exec, start, events, stop.
    assert_eq!(node.exec(&runs, "test -s /count && echo counts").await.1, "counts\n");
    node.runtime.start_container(&waits).await.expect("it starts");
    wait_for_output(&node, &waits, "late").await;
    node.runtime.stop_container(&runs, 0).await.expect("it stops");
    assert_eq!(exit(&node.ended(&runs).await).0, 137);
    assert!(node.images.clone().prepare(crate::node::BUSYBOX).await.is_ok());
    node.close().await;
}

#[tokio::test]
async fn a_helper_that_dies_is_noticed_and_cleaned_up() {
    let mut node = Node::new().await;
    let sandbox = node.sandbox("lost").await;
    let id = node.run(&sandbox, shell("c", "echo up; sleep 1000")).await;
    wait_for_output(&node, &id, "up").await;
    kill_helper(&node, &sandbox);
    let status = node.ended(&id).await;
    assert_eq!(exit(&status), (255, "Unknown".to_owned()));
    assert!(!node.runtime.list_pod_sandboxes().await.expect("a list")[0].ready);
    assert!(node.runtime.create_container(&sandbox, shell("d", "true")).await.is_err());
    let command = ["true".to_owned()];
    assert!(matches!(node.runtime.exec_sync(&id, &command, 5).await, Err(Error::WrongState { .. })));
    node.runtime.remove_pod_sandbox(&sandbox).await.expect("it goes");

    // The same while the server is away.
    let sandbox = node.sandbox("lost-again").await;
    let id = node.run(&sandbox, shell("c", "echo up; sleep 1000")).await;
    node.stop_server().await;
    kill_helper(&node, &sandbox);
    node.restart().await;
    assert_eq!(exit(&node.ended(&id).await), (255, "Unknown".to_owned()));
    node.close().await;
}

fn kill_helper(node: &Node, sandbox: &str) {
    let place = node.directory.path().join("run").join(sandbox);
    let place = place.to_str().expect("UTF-8");
    let helpers = pids_of(place);
    assert_eq!(helpers.len(), 1);
    // SAFETY: a plain call on a process of this test.
    unsafe { libc::kill(helpers[0], libc::SIGKILL) };
}

#[tokio::test]
async fn a_stopped_sandbox_ends_everything() {
    let node = Node::new().await;
    let sandbox = node.sandbox("stopped").await;
    let first = node.run(&sandbox, shell("first", "trap '' TERM; sleep 1000")).await;
    let second = node.run(&sandbox, shell("second", "sleep 1000 & sleep 1000")).await;
    node.runtime.stop_pod_sandbox(&sandbox).await.expect("it stops");
    for id in [first, second] {
        assert_eq!(exit(&node.ended(&id).await).0, 137);
        assert!(matches!(node.runtime.start_container(&id).await, Err(Error::WrongState { .. })));
    }
    assert!(pids_of(node.directory.path().to_str().expect("UTF-8")).is_empty(), "the helper goes with it");
    node.close().await;
}
