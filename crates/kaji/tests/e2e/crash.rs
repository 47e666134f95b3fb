//! Fail static: the server dies, containers and Services go on, nothing is lost.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use testkit::Cluster;

use crate::kit;

/// Kills the node's server and returns once it has ended.
fn kill_server(cluster: &Cluster) {
    let pid = Pid::from_raw(cluster.server_pid()).expect("a process number");
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).expect("it runs");
    rustix::process::pidfd_send_signal(&pidfd, Signal::KILL).expect("killed");
    let mut fds = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut fds, None).expect("it ends");
}

fn ask(cluster: &Cluster, address: &str) -> String {
    cluster.machine.inside(|| {
        let mut stream = TcpStream::connect(address).expect("the NodePort answers");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        stream.write_all(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer
    })
}

#[test]
fn nothing_is_restarted_and_nothing_is_lost_when_the_server_is_killed() {
    let cluster = kit::cluster_with_hello("crash");
    let address = format!("{}:30599", cluster.node_address());
    let ids = "{range .items[*]}{.metadata.name} {.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}";
    let seen = || cluster.kubectl(&["get", "pods", "-o", &format!("jsonpath={ids}")]).ok();
    let before = seen();
    for round in 0..5 {
        // Writes are under way when the server dies; each that was acknowledged must be there afterwards.
        let acknowledged: Vec<String> = std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut names = Vec::new();
                for number in 0..20 {
                    let name = format!("note-{round}-{number}");
                    let made = cluster.kubectl(&["create", "configmap", &name, "--from-literal=a=b"]);
                    if made.code == 0 {
                        names.push(name);
                    }
                    if number == 5 {
                        kill_server(&cluster);
                        assert!(ask(&cluster, &address).ends_with("Hello, world!\n"));
                    }
                }
                names
            });
            writer.join().expect("the writer ends")
        });
        let present = cluster.kubectl(&["get", "configmaps", "-o", "name"]).ok();
        for name in acknowledged {
            assert!(present.contains(&format!("configmap/{name}\n")), "{name} was acknowledged and is lost");
        }
    }
    cluster.wait("condition=Ready", &["node", &cluster.node()]);
    cluster.wait("condition=Ready", &["pod", "-l", "app=hello-server"]);
    assert_eq!(seen(), before, "nothing was restarted");
    cluster.kubectl(&["scale", "deployment/hello-server", "--replicas=4"]).ok();
    cluster.rolled_out("deployment/hello-server");
}
