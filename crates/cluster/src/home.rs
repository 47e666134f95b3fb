//! Where local clusters live on disk, and what is remembered of them.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// The directory of all local clusters: `$KAJI_HOME`, else `/var/lib/kaji`.
#[derive(Clone, Debug)]
pub struct Home(PathBuf);

/// What is remembered of a cluster between commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterState {
    /// Its name.
    pub name: String,
    /// Port of the API on 127.0.0.1.
    pub api_port: u16,
    /// The network between nodes and this machine; its first address is this machine's.
    pub network: Ipv4Net,
    /// The bridge that carries the network.
    pub bridge: String,
    /// The kubeconfig that the context was merged into.
    pub kubeconfig: PathBuf,
    /// Further arguments of its nodes' `kaji server`.
    pub server_args: Vec<String>,
    /// Its nodes.
    pub nodes: Vec<NodeState>,
}

/// What is remembered of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeState {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its first process, while it runs.
    pub process: Option<ProcessId>,
}

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessId {
    /// The number.
    pub pid: i32,
    /// When it started, in clock ticks since boot (`/proc/<pid>/stat`, field 22).
    pub started_ticks: u64,
}

impl ProcessId {
    /// The identity of the process that has this number now.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold spaces; fields are counted after it.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let zombie = fields.first() == Some(&"Z");
        let started_ticks = fields.get(19)?.parse().ok()?;
        (!zombie).then_some(Self { pid, started_ticks })
    }

    /// Whether the very process still runs.
    pub fn is_alive(&self) -> bool {
        Self::of(self.pid) == Some(*self)
    }
}

impl NodeState {
    /// Whether the node runs.
    pub fn is_running(&self) -> bool {
        self.process.is_some_and(|process| process.is_alive())
    }
}

impl ClusterState {
    /// Name of its kubeconfig context.
    pub fn context(&self) -> String {
        format!("kaji-{}", self.name)
    }

    /// Where its API listens on this machine.
    pub fn server(&self) -> String {
        format!("https://127.0.0.1:{}", self.api_port)
    }

    /// Whether all of its nodes run.
    pub fn is_running(&self) -> bool {
        self.nodes.iter().all(NodeState::is_running)
    }

    /// The cgroup that all of its nodes' cgroups are below.
    pub fn cgroup(&self) -> String {
        format!("/kaji/{}", self.name)
    }
}

impl Home {
    /// The directory this process uses.
    pub fn from_env() -> Self {
        Self(std::env::var_os("KAJI_HOME").map_or_else(|| PathBuf::from("/var/lib/kaji"), PathBuf::from))
    }

    /// A directory of one's own, for tests.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    fn clusters_dir(&self) -> PathBuf {
        self.0.join("clusters")
    }

    /// The directory of a cluster.
    pub fn cluster_dir(&self, name: &str) -> PathBuf {
        self.clusters_dir().join(name)
    }

    /// The directory of a node.
    pub fn node_dir(&self, cluster: &str, node: &str) -> PathBuf {
        self.cluster_dir(cluster).join(node)
    }

    /// The remembered state of a cluster, or `None` when there is no such cluster.
    pub fn load(&self, name: &str) -> io::Result<Option<ClusterState>> {
        let path = self.cluster_dir(name).join("cluster.json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|err| {
                let text = format!("{} is damaged ({err}); 'kaji cluster delete' clears it away", path.display());
                io::Error::new(io::ErrorKind::InvalidData, text)
            }),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(err),
        }
    }

    /// Remembers the state of a cluster.
    pub fn save(&self, state: &ClusterState) -> io::Result<()> {
        let dir = self.cluster_dir(&state.name);
        fs::create_dir_all(&dir)?;
        let new = dir.join("cluster.json.new");
        fs::write(&new, serde_json::to_vec_pretty(state).map_err(io::Error::other)?)?;
        fs::rename(new, dir.join("cluster.json"))
    }

    /// Every cluster that is remembered, by name; damaged ones are passed over.
    pub fn list(&self) -> io::Result<Vec<ClusterState>> {
        let mut names: Vec<String> = match fs::read_dir(self.clusters_dir()) {
            Ok(entries) => entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect(),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(err) => return Err(err),
        };
        names.sort();
        Ok(names.iter().filter_map(|name| self.load(name).ok().flatten()).collect())
    }

    /// Forgets a cluster with all its files, and removes directories that are empty afterwards.
    pub fn forget(&self, name: &str) -> io::Result<()> {
        match fs::remove_dir_all(self.cluster_dir(name)) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
            _ => {}
        }
        remove_if_empty(&self.clusters_dir());
        remove_if_empty(&self.0);
        Ok(())
    }
}

fn remove_if_empty(dir: &Path) {
    // Fails when something else is in it, which is the point.
    let _ = fs::remove_dir(dir);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> ClusterState {
        ClusterState {
            name: "a".into(),
            api_port: 6443,
            network: "172.30.0.0/24".parse().expect("a network"),
            bridge: "kaji-a".into(),
            kubeconfig: "/root/.kube/config".into(),
            server_args: Vec::new(),
            nodes: vec![NodeState {
                name: "a-0".into(),
                address: "172.30.0.2".parse().expect("an address"),
                process: ProcessId::of(std::process::id() as i32),
            }],
        }
    }

    #[test]
    fn what_is_saved_is_listed_and_forgotten_without_a_trace() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = Home::at(dir.path().join("home"));
        home.save(&state()).expect("saved");
        assert_eq!(home.list().expect("listed"), [state()]);
        home.forget("a").expect("forgotten");
        assert!(home.load("a").expect("read").is_none());
        assert!(!dir.path().join("home").exists());
    }

    #[test]
    fn a_process_is_known_by_number_and_start() {
        let this = ProcessId::of(std::process::id() as i32).expect("this process runs");
        assert!(this.is_alive());
        assert!(!ProcessId { started_ticks: this.started_ticks + 1, ..this }.is_alive());
    }

    #[test]
    fn a_damaged_state_says_what_to_do() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = Home::at(dir.path());
        home.save(&state()).expect("saved");
        fs::write(home.cluster_dir("a").join("cluster.json"), "{").expect("written");
        assert!(home.load("a").expect_err("damaged").to_string().contains("kaji cluster delete"));
    }
}
