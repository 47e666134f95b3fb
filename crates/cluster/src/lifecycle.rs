//! What the commands do: create, start, stop, delete.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use rustix::process::Signal;
use serde_json::json;

use crate::home::{ClusterState, Home, NodeState};
use crate::init::InitSpec;
use crate::kubeconfig::{self, Access};
use crate::network;
use crate::node;
use crate::pki::{self, Leaf, Pki};

/// How long a node may take to become Ready.
const READY_DEADLINE: Duration = Duration::from_secs(120);
/// How many of its log's last lines are shown of a node that failed.
const LOG_LINES: usize = 15;

/// Told of each step as it begins.
pub trait Progress {
    /// The step before has been done, `what` begins.
    fn step(&mut self, what: &str);
    /// The last step has been done.
    fn done(&mut self);
}

/// What a new cluster is to be like.
#[derive(Clone, Debug)]
pub struct CreateOptions {
    /// Its name.
    pub name: String,
    /// Port of its API on 127.0.0.1; any free one when `None`.
    pub api_port: Option<u16>,
    /// The kubeconfig that its context is merged into.
    pub kubeconfig: PathBuf,
    /// Further arguments of its nodes' `kaji server`.
    pub server_args: Vec<String>,
}

/// What [`create`] found.
#[derive(Clone, Debug)]
pub enum Created {
    /// A new cluster.
    New(ClusterState),
    /// The cluster was there and runs.
    Present(ClusterState),
    /// The cluster was there and has been started.
    Started(ClusterState),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Namespaces, mounts and cgroups need root.
    #[error("a cluster needs root: run the command with sudo")]
    NotRoot,
    /// The name cannot be used.
    #[error(
        "the name {0:?} must be 1 to 32 lower-case letters, digits and '-', and begin and end with a letter or digit"
    )]
    Name(String),
    /// There is no such cluster.
    #[error("there is no cluster {0:?}: 'kaji cluster list' shows those there are")]
    Missing(String),
    /// The cluster is stopped.
    #[error("cluster {0:?} is stopped: 'kaji cluster start --name {0}' starts it")]
    Stopped(String),
    /// The port is taken.
    #[error("cannot listen on 127.0.0.1:{port}: choose another port with --api-port")]
    Port {
        /// The port.
        port: u16,
        /// Why.
        #[source]
        err: std::io::Error,
    },
    /// Files of the cluster.
    #[error("cannot use the cluster's files")]
    Files(#[source] std::io::Error),
    /// Keys.
    #[error(transparent)]
    Pki(#[from] pki::Error),
    /// The user's kubeconfig.
    #[error(transparent)]
    Kubeconfig(#[from] kubeconfig::Error),
    /// Network.
    #[error(transparent)]
    Network(#[from] network::Error),
    /// A node.
    #[error(transparent)]
    Node(#[from] node::Error),
    /// The client for the new cluster could not be made.
    #[error("cannot make a client for the cluster: {0}")]
    Client(String),
    /// A node did not become Ready.
    #[error("node {node} did not become Ready {why}; the end of its log, {}:\n{tail}", log.display())]
    NotReady {
        /// The node.
        node: String,
        /// `in 120 s`, or `because it ended`.
        why: String,
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
}

/// Creates a cluster of one node, or starts the one that is there.
pub async fn create(home: &Home, options: &CreateOptions, progress: &mut dyn Progress) -> Result<Created, Error> {
    check_name(&options.name)?;
    check_root()?;
    if let Some(mut state) = home.load(&options.name).map_err(Error::Files)? {
        if state.is_running() {
            return Ok(Created::Present(state));
        }
        launch(home, &mut state, None, progress).await?;
        return Ok(Created::Started(state));
    }
    let made = create_new(home, options, progress).await;
    if made.is_err() {
        // The error is what the user needs to see; clearing away is best effort.
        let _ = delete(home, &options.name, &options.kubeconfig).await;
    }
    made.map(Created::New)
}

async fn create_new(home: &Home, options: &CreateOptions, progress: &mut dyn Progress) -> Result<ClusterState, Error> {
    progress.step("Preparing keys and network");
    let listener = listen(options.api_port.unwrap_or(0))?;
    let api_port = listener.local_addr().map_err(Error::Files)?.port();
    let mut used = network::used()?;
    used.extend(home.list().map_err(Error::Files)?.iter().map(|cluster| cluster.network));
    let net = network::pick_network(&used)?;
    let mut state = ClusterState {
        name: options.name.clone(),
        api_port,
        network: net,
        bridge: network::bridge_name(&options.name),
        kubeconfig: options.kubeconfig.clone(),
        server_args: options.server_args.clone(),
        nodes: vec![NodeState {
            name: format!("{}-0", options.name),
            address: net.hosts().nth(1).unwrap_or(Ipv4Addr::UNSPECIFIED),
            process: None,
        }],
    };
    home.save(&state).map_err(Error::Files)?;
    launch(home, &mut state, Some(listener), progress).await?;
    Ok(state)
}

/// Starts a stopped cluster.
pub async fn start(home: &Home, name: &str, progress: &mut dyn Progress) -> Result<ClusterState, Error> {
    check_root()?;
    let mut state = known(home, name)?;
    if !state.is_running() {
        launch(home, &mut state, None, progress).await?;
    }
    Ok(state)
}

/// Stops a cluster: its pods end, its data stays.
pub async fn stop(home: &Home, name: &str) -> Result<(), Error> {
    check_root()?;
    let mut state = known(home, name)?;
    for node in &state.nodes {
        node::end(node, Signal::TERM).await?;
    }
    clear_machine(&state)?;
    state.nodes.iter_mut().for_each(|node| node.process = None);
    home.save(&state).map_err(Error::Files)
}

/// Deletes a cluster with all that it left on this machine. A cluster that is not there is no error; answers whether
/// it was.
pub async fn delete(home: &Home, name: &str, default_kubeconfig: &std::path::Path) -> Result<bool, Error> {
    check_name(name)?;
    check_root()?;
    // A damaged state file must not keep the rest from being cleared away.
    let state = home.load(name).ok().flatten();
    let there = home.cluster_dir(name).exists();
    if let Some(state) = &state {
        for node in &state.nodes {
            node::end(node, Signal::KILL).await?;
        }
        clear_machine(state)?;
        kubeconfig::remove(&state.kubeconfig, &state.context())?;
    } else if there {
        node::remove_cgroups(&format!("/kaji/{name}"))?;
        network::remove_link(&network::bridge_name(name))?;
        kubeconfig::remove(default_kubeconfig, &format!("kaji-{name}"))?;
    }
    home.forget(name).map_err(Error::Files)?;
    Ok(there)
}

/// Removes what running nodes had on this machine: links and cgroups.
fn clear_machine(state: &ClusterState) -> Result<(), Error> {
    for node in &state.nodes {
        network::remove_link(&network::link_name(&format!("{}/{}", state.bridge, node.name)))?;
    }
    network::remove_link(&state.bridge)?;
    Ok(node::remove_cgroups(&state.cgroup())?)
}

async fn launch(
    home: &Home,
    state: &mut ClusterState,
    listener: Option<TcpListener>,
    progress: &mut dyn Progress,
) -> Result<(), Error> {
    let listener = match listener {
        Some(listener) => listener,
        None => listen(state.api_port)?,
    };
    let node = state.nodes[0].clone();
    let pki = Pki::ensure(&home.node_dir(&state.name, &node.name).join("pki"))?;
    let (ca_pem, admin) = (pki.ca_pem()?, pki.ensure_leaf(&admin())?);
    let (context, server) = (state.context(), state.server());
    let access = Access { context: &context, server: &server, ca_pem: &ca_pem, user: &admin };

    progress.step("Starting the node");
    network::ensure_bridge(&state.bridge, state.network)?;
    let process = node::start(home, state, &node, &listener)?;
    state.nodes[0].process = Some(process);
    home.save(state).map_err(Error::Files)?;
    drop(listener);

    progress.step("Waiting for the node to be Ready");
    let client = client(&access).await?;
    let log = InitSpec::log_path(&home.node_dir(&state.name, &node.name));
    let not_ready = |why: String| Error::NotReady { node: node.name.clone(), why, tail: tail(&log), log: log.clone() };
    tokio::select! {
        () = ready(client, &node.name) => {}
        _ = node::ended(process) => return Err(not_ready("because it ended".into())),
        () = tokio::time::sleep(READY_DEADLINE) => {
            return Err(not_ready(format!("in {} s", READY_DEADLINE.as_secs())));
        }
    }
    progress.step("Writing the kubeconfig");
    kubeconfig::merge(&state.kubeconfig, &access)?;
    progress.done();
    Ok(())
}

/// Completes once the node's Ready condition is true.
async fn ready(client: Client, name: &str) {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let nodes = watcher(Api::<Node>::all(client), config).default_backoff().applied_objects();
    let mut ready = std::pin::pin!(nodes.filter(|node| {
        let ready = node.as_ref().is_ok_and(is_ready);
        async move { ready }
    }));
    ready.next().await;
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// A client for a running cluster as its administrator, and the name of its node.
pub async fn connect(home: &Home, name: &str) -> Result<(Client, String), Error> {
    let state = known(home, name)?;
    let node = &state.nodes[0].name;
    if !state.is_running() {
        return Err(Error::Stopped(name.to_owned()));
    }
    let pki = Pki::ensure(&home.node_dir(&state.name, node).join("pki"))?;
    let (ca_pem, admin) = (pki.ca_pem()?, pki.ensure_leaf(&admin())?);
    let access = Access { context: name, server: &state.server(), ca_pem: &ca_pem, user: &admin };
    Ok((client(&access).await?, node.clone()))
}

/// The administrator's certificate, as kubeadm's `admin.conf` holds it.
pub fn admin() -> Leaf<'static> {
    Leaf::client("admin", "kubernetes-admin", "system:masters")
}

/// A client for a cluster, straight from its keys.
async fn client(access: &Access<'_>) -> Result<Client, Error> {
    use base64::Engine;
    let data = |pem: &str| base64::engine::general_purpose::STANDARD.encode(pem);
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {
            "server": access.server, "certificate-authority-data": data(access.ca_pem)}}],
        "users": [{"name": "c", "user": {
            "client-certificate-data": data(&access.user.cert_pem),
            "client-key-data": data(&access.user.key_pem)}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    });
    let failed = |err: &dyn std::fmt::Display| Error::Client(err.to_string());
    let kubeconfig: Kubeconfig = serde_json::from_value(config).map_err(|err| failed(&err))?;
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|err| failed(&err))?;
    Client::try_from(config).map_err(|err| failed(&err))
}

fn listen(port: u16) -> Result<TcpListener, Error> {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).map_err(|err| Error::Port { port, err })
}

fn known(home: &Home, name: &str) -> Result<ClusterState, Error> {
    home.load(name).map_err(Error::Files)?.ok_or_else(|| Error::Missing(name.to_owned()))
}

fn check_root() -> Result<(), Error> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err(Error::NotRoot) }
}

fn check_name(name: &str) -> Result<(), Error> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let edges = !name.starts_with('-') && !name.ends_with('-');
    let fits = (1..=32).contains(&name.len());
    if fits && edges && name.chars().all(inner) { Ok(()) } else { Err(Error::Name(name.to_owned())) }
}

fn tail(log: &std::path::Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LOG_LINES);
    lines[from..].iter().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_host_names_and_paths() {
        for good in ["kaji", "a", "ci-7"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "../x", "a/b", &"a".repeat(33)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
