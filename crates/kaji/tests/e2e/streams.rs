//! logs, exec, attach, cp, port-forward, debug.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::kit::{self, BUSYBOX};

#[test]
fn logs_are_read_and_followed() {
    let cluster = kit::cluster_with_busybox("logs");
    cluster.apply(&kit::pod("talks", "for i in 1 2 3; do echo line $i; done; sleep 1000"));
    cluster.wait("condition=Ready", &["pod/talks"]);
    let mut followed = cluster.start_kubectl(&["logs", "-f", "talks"]);
    followed.line_with("line 3");
    cluster.kubectl(&["logs", "talks", "--tail=1"]).says("line 3");
    cluster.kubectl(&["logs", "talks", "-c", "main", "--timestamps"]).says("Z line 1");
    cluster.kubectl(&["logs", "-l", "app=talks"]).says("line 2");
    cluster.kubectl(&["logs", "talks", "-c", "other"]).fails_with("other");
    cluster.kubectl(&["logs", "absent"]).fails_with("not found");
}

#[test]
fn exec_attach_and_cp_carry_bytes_and_exit_codes() {
    let cluster = kit::cluster_with_busybox("exec");
    cluster.apply(&kit::pod("shell", "sleep 1000"));
    cluster.wait("condition=Ready", &["pod/shell"]);
    cluster.kubectl(&["exec", "shell", "--", "echo", "hello"]).says("hello\n");
    let failed = cluster.kubectl(&["exec", "shell", "--", "sh", "-c", "echo bad >&2; exit 7"]);
    assert_eq!((failed.code, failed.stderr.contains("bad")), (7, true), "{failed}");
    cluster.kubectl(&["exec", "shell", "--", "no-such-program"]).fails_with("no-such-program");
    let echoed = cluster.kubectl_with_input(&["exec", "-i", "shell", "--", "cat"], "through\n").ok();
    assert_eq!(echoed, "through\n");
    cluster
        .shell("script -qec 'kubectl exec -it shell -- sh -c \"test -t 0 && echo a terminal\"' /dev/null")
        .says("a terminal");
    let blob: String = (0..200_000).map(|i| char::from(b'a' + (i % 26) as u8)).collect();
    let local = cluster.machine.file("blob", &blob);
    cluster.kubectl(&["cp", &local, "shell:/tmp/blob"]).ok();
    cluster.kubectl(&["cp", "shell:/tmp/blob", &format!("{local}.back")]).ok();
    assert_eq!(std::fs::read_to_string(format!("{local}.back")).expect("copied back"), blob);
    let ran = cluster.kubectl_with_input(
        &["run", "once", &format!("--image={BUSYBOX}"), "-i", "--rm", "--restart=Never", "--", "cat"],
        "attached\n",
    );
    assert!(ran.clone().ok().contains("attached"), "{ran}");
}

#[test]
fn a_running_container_is_attached_to() {
    let cluster = kit::cluster_with_busybox("attach");
    cluster.apply(&kit::pod("ticks", "while sleep 0.1; do echo tick; done"));
    cluster.apply(
        &kit::pod("reads", "read line; echo got $line; sleep 1000").replace("command:", "stdin: true\n    command:"),
    );
    cluster.wait("condition=Ready", &["pod/ticks", "pod/reads"]);
    cluster.start_kubectl(&["attach", "ticks"]).line_with("tick");
    let mut attached = cluster.start_kubectl(&["attach", "-i", "reads"]);
    attached.stdin().write_all(b"a line\n").expect("sent");
    attached.line_with("got a line");
}

#[test]
fn ports_are_forwarded_to_pods_and_services() {
    let cluster = kit::cluster_with_hello("forward");
    let pod = cluster.kubectl(&["get", "pods", "-o", "name"]).ok();
    let pod = pod.lines().next().expect("a pod").to_owned();
    for target in [&*pod, "service/hello-server-external"] {
        let mut forward = cluster.start_kubectl(&["port-forward", target, ":8081"]);
        let line = forward.line_with("Forwarding from 127.0.0.1:");
        let port: u16 = line.split(':').nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).expect("a port");
        for _ in 0..3 {
            let answer = cluster.machine.inside(|| {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the forwarded port");
                stream.write_all(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").expect("sent");
                let mut answer = String::new();
                stream.read_to_string(&mut answer).expect("answered");
                answer
            });
            assert!(answer.ends_with("Hello, world!\n"), "{target}: {answer:?}");
        }
    }
}

#[test]
fn debug_shares_the_targets_processes() {
    let cluster = kit::cluster_with_hello("debug");
    let archive = kit::save(&cluster, "busybox.tar", vec![kit::busybox(&[BUSYBOX])]);
    kit::load(&cluster, &archive).ok();
    let pod = cluster.kubectl(&["get", "pods", "-o", "name"]).ok();
    let pod = pod.lines().next().expect("a pod").to_owned();
    cluster
        .kubectl(&[
            "debug",
            &pod,
            &format!("--image={BUSYBOX}"),
            "--target=hello-server",
            "-c",
            "look",
            "--profile=general",
            "--",
            "sh",
            "-c",
            "ps; sleep 1000",
        ])
        .ok();
    cluster.wait("jsonpath={.status.ephemeralContainerStatuses[0].state.running.startedAt}", &[&pod]);
    let mut logs = cluster.start_kubectl(&["logs", "-f", &pod, "-c", "look"]);
    logs.line_with("/hello-server");
}
