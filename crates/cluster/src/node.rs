//! Starting and ending a node: its first process, its link, its cgroups.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ipnet::Ipv4Net;
use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::home::{ClusterState, Home, NodeState, ProcessId};
use crate::init::InitSpec;
use crate::network;

/// Port of the API inside the nodes' network.
pub const API_PORT: u16 = 6443;

/// Why a node did not start or end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file, a process or a socket.
    #[error("{doing}")]
    System {
        /// What was being done.
        doing: String,
        /// Why it failed.
        #[source]
        err: io::Error,
    },
    /// The node's network.
    #[error(transparent)]
    Network(#[from] network::Error),
    /// The node's first process ended at once.
    #[error("the node's first process ended; see {}", log.display())]
    Ended {
        /// Its log.
        log: PathBuf,
    },
}

fn system(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let doing = doing.into();
    move |err| Error::System { doing, err }
}

/// Starts a node's first process, links it to the cluster's bridge and lets it go.
///
/// `listener` is the API's socket on this machine; the node inherits it.
pub fn start(
    home: &Home,
    cluster: &ClusterState,
    node: &NodeState,
    listener: &TcpListener,
) -> Result<ProcessId, Error> {
    let dir = home.node_dir(&cluster.name, &node.name);
    fs::create_dir_all(&dir).map_err(system(format!("make {}", dir.display())))?;
    let spec =
        InitSpec { hostname: node.name.clone(), dir: dir.clone(), server_args: server_args(cluster, node, &dir) };
    let spec_path = dir.join("init.json");
    let written =
        serde_json::to_vec_pretty(&spec).map_err(io::Error::other).and_then(|text| fs::write(&spec_path, text));
    written.map_err(system(format!("write {}", spec_path.display())))?;

    let (pid, mut go) = spawn_init(&dir, &spec_path, listener)?;
    let process = ProcessId::of(pid).ok_or_else(|| Error::Ended { log: InitSpec::log_path(&dir) })?;
    // From here on a failure drops `go`, and the first process ends by itself.
    let link = network::link_name(&format!("{}/{}", cluster.bridge, node.name));
    let address = Ipv4Net::new_assert(node.address, cluster.network.prefix_len());
    network::connect_node(&cluster.bridge, &link, pid, address)?;
    go.write_all(b"!").map_err(system("let the node's first process go"))?;
    Ok(process)
}

fn server_args(cluster: &ClusterState, node: &NodeState, dir: &Path) -> Vec<String> {
    let path = |name: &str| dir.join(name).display().to_string();
    let flags = [
        ("--data-dir", path("data")),
        ("--run-dir", "/run/kaji".into()),
        ("--pki-dir", path("pki")),
        ("--node-name", node.name.clone()),
        ("--node-ip", node.address.to_string()),
        ("--bind-address", node.address.to_string()),
        ("--https-listen-port", API_PORT.to_string()),
        ("--cgroup-root", format!("{}/{}", cluster.cgroup(), node.name)),
        ("--resolv-conf", "/run/kaji/resolv.conf".into()),
    ];
    let mut args = vec!["server".to_owned()];
    args.extend(flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]));
    args.extend(cluster.server_args.iter().cloned());
    args
}

/// Spawns stage 1 of the first process; answers the first process's number and the pipe that lets it go.
fn spawn_init(dir: &Path, spec: &Path, listener: &TcpListener) -> Result<(i32, std::process::ChildStdin), Error> {
    let log_path = InitSpec::log_path(dir);
    let log = fs::OpenOptions::new().create(true).append(true).open(&log_path);
    let log = log.map_err(system(format!("open {}", log_path.display())))?;
    let inherited = inheritable(listener).map_err(system("hand down the API's socket"))?;
    let mut child = Command::new("/proc/self/exe")
        .arg("node-init")
        .arg(spec)
        .arg("--listener-fd")
        .arg(inherited.as_raw_fd().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(system("start the node's first process"))?;
    drop(inherited);
    let (Some(go), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(Error::Ended { log: log_path });
    };
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).map_err(system("read the first process's number"))?;
    child.wait().map_err(system("wait for the first process's parent"))?;
    let pid = line.trim().parse().map_err(|_| Error::Ended { log: log_path })?;
    Ok((pid, go))
}

/// A duplicate of the socket that survives exec.
fn inheritable(listener: &TcpListener) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD makes a new descriptor, which is owned from here on.
    unsafe {
        match libc::fcntl(listener.as_raw_fd(), libc::F_DUPFD, 10) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

/// Completes when the process has ended.
pub async fn ended(process: ProcessId) -> io::Result<()> {
    let Some(pid) = Pid::from_raw(process.pid) else { return Ok(()) };
    let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK) {
        Ok(pidfd) => pidfd,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(err) => return Err(err.into()),
    };
    if !process.is_alive() {
        return Ok(());
    }
    // SAFETY: an `OwnedFd` answers the same open descriptor for as long as it lives.
    let pidfd = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE)? };
    let _ = pidfd.readable().await?;
    Ok(())
}

/// Ends a node: by SIGTERM its server stops in order, by SIGKILL everything ends at once. Waits for the end.
pub async fn end(node: &NodeState, signal: Signal) -> Result<(), Error> {
    let Some(process) = node.process.filter(ProcessId::is_alive) else { return Ok(()) };
    let Some(pid) = Pid::from_raw(process.pid) else { return Ok(()) };
    let doing = || format!("end node {}", node.name);
    match rustix::process::kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(err) => return Err(system(doing())(err.into())),
    }
    ended(process).await.map_err(system(doing()))
}

/// Removes the cgroups below `path` in every hierarchy, and its parent when that is empty.
pub fn remove_cgroups(path: &str) -> Result<(), Error> {
    for root in cgroup_mounts().map_err(system("read /proc/self/mountinfo"))? {
        let dir = root.join(path.trim_start_matches('/'));
        if dir.exists() {
            remove_tree(&dir).map_err(system(format!("remove {}", dir.display())))?;
        }
        if let Some(parent) = dir.parent().filter(|parent| *parent != root) {
            // Fails while another cluster has cgroups below it.
            let _ = fs::remove_dir(parent);
        }
    }
    Ok(())
}

fn cgroup_mounts() -> io::Result<Vec<PathBuf>> {
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    let mounts = text.lines().filter_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        let kind = back.split(' ').next()?;
        matches!(kind, "cgroup" | "cgroup2").then(|| front.split(' ').nth(4).map(PathBuf::from))?
    });
    Ok(mounts.collect())
}

/// cgroup directories hold files that cannot be removed; only the directories are, deepest first.
fn remove_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(dir) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
        _ => Ok(()),
    }
}
