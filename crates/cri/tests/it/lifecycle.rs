//! From creation to removal: exits, logs, signals, limits.

use cri::{ContainerState, Error, Resources, RuntimeService};

use crate::node::{Node, exit, output, shell};

#[tokio::test]
async fn a_container_runs_and_logs_and_ends() {
    let node = Node::new().await;
    let sandbox = node.sandbox("simple").await;
    let mut events = node.runtime.events();
    let script = "echo out; echo err >&2; printf partial; exit 7";
    let id = node.runtime.create_container(&sandbox, shell("c", script)).await.expect("a container");
    assert_eq!(node.runtime.container_status(&id).await.expect("known").state, ContainerState::Created);
    node.runtime.start_container(&id).await.expect("it starts");
    let status = node.ended(&id).await;
    assert_eq!(exit(&status), (7, "Error".to_owned()));
    assert!(matches!(status.state, ContainerState::Exited { started_at: Some(_), .. }));
    assert!(status.image_id.starts_with("sha256:") && status.pid.is_none());
    assert_eq!(status.log_path, node.logs().join("simple/c/0.log"));
    let log = std::fs::read_to_string(&status.log_path).expect("a log");
    for part in [" stdout F out\n", " stderr F err\n", " stdout P partial\n"] {
        assert!(log.contains(part), "{log}");
    }
    let mut states = Vec::new();
    while let Ok(event) = events.try_recv() {
        assert_eq!((event.container_id.as_str(), event.pod_uid.as_str()), (id.as_str(), "uid-simple"));
        states.push(event.state);
    }
    assert!(matches!(
        states[..],
        [ContainerState::Created, ContainerState::Running { .. }, ContainerState::Exited { .. }]
    ));
    // A container is started once, and what has ended is stopped and removed without complaint.
    assert!(matches!(node.runtime.start_container(&id).await, Err(Error::WrongState { .. })));
    for _ in 0..2 {
        node.runtime.stop_container(&id, 5).await.expect("stopped is stopped");
        node.runtime.remove_container(&id).await.expect("it goes");
    }
    assert!(matches!(node.runtime.container_status(&id).await, Err(Error::NotFound { .. })));
    assert!(status.log_path.exists(), "logs stay");
    for _ in 0..2 {
        node.runtime.stop_pod_sandbox(&sandbox).await.expect("it stops");
        node.runtime.remove_pod_sandbox(&sandbox).await.expect("it goes");
    }
    node.close().await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told() {
    let node = Node::new().await;
    let sandbox = node.sandbox("missing").await;
    for (command, cause) in [
        ("nosuch", "exec: \"nosuch\": executable file not found in $PATH"),
        ("/no/such", "exec: \"/no/such\": stat /no/such: no such file or directory"),
        ("/etc/passwd", "exec: \"/etc/passwd\": permission denied"),
    ] {
        let mut config = shell("c", "");
        config.command = vec![command.to_owned()];
        let id = node.runtime.create_container(&sandbox, config).await.expect("a container");
        let err = node.runtime.start_container(&id).await.expect_err("it cannot start");
        assert!(matches!(err, Error::Start(_)) && err.to_string().contains(cause), "{err}");
        let status = node.ended(&id).await;
        assert_eq!(exit(&status), (128, "StartError".to_owned()));
        node.runtime.remove_container(&id).await.expect("it goes");
    }
    let mut config = shell("c", "");
    config.image = "kaji.test/none:1".to_owned();
    let err = node.runtime.create_container(&sandbox, config).await.expect_err("no image");
    assert!(matches!(err, Error::NotFound { what: "image", .. }), "{err}");
    node.close().await;
}

#[tokio::test]
async fn stopping_is_polite_then_not() {
    let node = Node::new().await;
    let sandbox = node.sandbox("stop").await;
    let polite =
        node.run(&sandbox, shell("polite", "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 1; done")).await;
    let mut quits = shell("usr1", "trap 'exit 4' USR1; echo up; while :; do sleep 1; done");
    quits.stop_signal = "SIGUSR1".to_owned();
    let usr1 = node.run(&sandbox, quits).await;
    let deaf = node.run(&sandbox, shell("deaf", "trap '' TERM; echo up; while :; do sleep 1; done")).await;
    for id in [&polite, &usr1, &deaf] {
        wait_for_output(&node, id, "up").await;
    }
    node.runtime.stop_container(&polite, 20).await.expect("it stops");
    assert_eq!(exit(&node.ended(&polite).await).0, 3);
    node.runtime.stop_container(&usr1, 20).await.expect("it stops");
    assert_eq!(exit(&node.ended(&usr1).await).0, 4);
    node.runtime.stop_container(&deaf, 1).await.expect("it is killed");
    assert_eq!(exit(&node.ended(&deaf).await), (137, "Error".to_owned()));
    assert_eq!(output(&node.ended(&polite).await.log_path), "up\nbye\n");
    node.close().await;
}

/// Output is in the log before anything else tells of it, so the log is read until it is there.
pub async fn wait_for_output(node: &Node, id: &str, wanted: &str) {
    let path = node.runtime.container_status(id).await.expect("known").log_path;
    let wait = async {
        while !output(&path).contains(wanted) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), wait).await.expect("it does not say so");
}

#[tokio::test]
async fn memory_beyond_the_limit_is_an_oom_kill() {
    let node = Node::new().await;
    let (status, _) = node
        .script("oom", |config| {
            config.command = ["dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"].map(str::to_owned).to_vec();
            config.resources = Resources { memory_limit_bytes: 32 << 20, oom_score_adj: 1000, ..Default::default() };
        })
        .await;
    assert_eq!(exit(&status), (137, "OOMKilled".to_owned()));
    node.close().await;
}

#[tokio::test]
async fn limits_are_set_changed_and_measured() {
    let node = Node::new().await;
    let sandbox = node.sandbox("limits").await;
    let mut config = shell("c", "dd if=/dev/zero of=/file bs=1M count=2; echo up; while :; do :; done");
    config.resources = Resources {
        cpu_shares: 512,
        cpu_quota_us: 20_000,
        memory_limit_bytes: 64 << 20,
        pids_limit: 30,
        ..Default::default()
    };
    let id = node.run(&sandbox, config).await;
    wait_for_output(&node, &id, "up").await;
    let limit = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null";
    assert_eq!(node.exec(&id, limit).await.1.trim(), (64 << 20).to_string());
    let (_, refused) = node
        .exec(&id, "echo 1 > /sys/fs/cgroup/memory/memory.limit_in_bytes || echo > /sys/fs/cgroup/memory.max")
        .await;
    assert!(refused.contains("Read-only file system"), "{refused}");
    let stats = node.runtime.container_stats(&id).await.expect("stats");
    assert!(stats.cpu_usage_ns > 0 && stats.memory_working_set_bytes > 0, "{stats:?}");
    assert!(stats.writable_layer_bytes >= 2 << 20, "{stats:?}");
    let larger = Resources { memory_limit_bytes: 96 << 20, ..Default::default() };
    node.runtime.update_container_resources(&id, larger).await.expect("it is changed");
    assert_eq!(node.exec(&id, limit).await.1.trim(), (96 << 20).to_string());
    node.close().await;
}

#[tokio::test]
async fn a_log_that_was_moved_is_opened_anew() {
    let node = Node::new().await;
    let sandbox = node.sandbox("rotate").await;
    let id = node
        .run(&sandbox, shell("c", "echo one; while [ ! -e /go ]; do usleep 10000; done; echo two; sleep 1000"))
        .await;
    wait_for_output(&node, &id, "one").await;
    let log = node.runtime.container_status(&id).await.expect("known").log_path;
    std::fs::rename(&log, log.with_extension("1")).expect("it is moved");
    node.runtime.reopen_container_log(&id).await.expect("it is opened");
    node.exec(&id, "touch /go").await;
    wait_for_output(&node, &id, "two").await;
    assert_eq!(output(&log.with_extension("1")), "one\n");
    assert_eq!(output(&log), "two\n");
    node.close().await;
}

#[tokio::test]
async fn thirty_pods_start_at_once() {
    let node = Node::new().await;
    let pods = (0..30).map(|n| {
        let node = &node;
        async move {
            let sandbox = node.sandbox(&format!("many-{n}")).await;
            let id = node.run(&sandbox, shell("c", &format!("echo {n}"))).await;
            let status = node.ended(&id).await;
            assert_eq!((exit(&status).0, output(&status.log_path)), (0, format!("{n}\n")));
            node.runtime.remove_pod_sandbox(&sandbox).await.expect("it goes");
        }
    });
    futures::future::join_all(pods).await;
    node.close().await;
}
