//! `kaji server`: builds the control plane and the node, runs them, drains them.

mod access;
mod control_plane;
mod listeners;
mod node;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use cluster::kubeconfig::{self, Access};
use cluster::lifecycle;
use cluster::pki::{Leaf, Pki};
use component_base::Scope;
use component_base::health::Health;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::ServerArgs;

/// How long the parts may take to end in order.
const DRAIN: Duration = Duration::from_secs(15);

/// What every part needs to know, worked out from the arguments once.
struct Settings {
    args: ServerArgs,
    node_name: String,
    node_ip: IpAddr,
    pki: Pki,
    /// Address of Service `kubernetes`: the first of the Services' network.
    kubernetes_ip: Ipv4Addr,
    /// Address of Service `kube-dns`: the tenth, as kubeadm has it.
    dns_ip: Ipv4Addr,
}

impl Settings {
    fn new(args: ServerArgs) -> anyhow::Result<Self> {
        let host_name = || rustix::system::uname().nodename().to_string_lossy().to_lowercase();
        let nth = |n: usize| args.service_cidr.hosts().nth(n - 1).context("--service-cidr is too small");
        let pki_dir: PathBuf = args.pki_dir.clone().unwrap_or_else(|| args.data_dir.join("pki"));
        Ok(Self {
            node_name: args.node_name.clone().unwrap_or_else(host_name),
            node_ip: args.node_ip.unwrap_or(args.bind_address),
            pki: Pki::ensure(&pki_dir)?,
            kubernetes_ip: nth(1)?,
            dns_ip: nth(10)?,
            args,
        })
    }

    /// The API's serving certificate, for all names and addresses that it is asked by.
    fn serving_leaf(&self) -> Leaf<'static> {
        let domain = &self.args.cluster_domain;
        let mut dns_names: Vec<String> =
            ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"].map(str::to_owned).to_vec();
        dns_names.extend([format!("kubernetes.default.svc.{domain}"), self.node_name.clone()]);
        let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(self.kubernetes_ip), self.node_ip];
        if !self.args.bind_address.is_unspecified() {
            addresses.push(self.args.bind_address);
        }
        addresses.dedup();
        Leaf { file: "apiserver", common_name: "kube-apiserver", organization: "", dns_names, addresses }
    }
}

/// The server did not get to run; trying again will not help.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the server cannot start")]
pub struct CannotStart;

async fn start(args: ServerArgs, health: &Health, scope: &Scope) -> anyhow::Result<()> {
    let settings = Settings::new(args)?;
    write_kubeconfig(&settings)?;
    let plane = control_plane::start(&settings, health, scope).await?;
    if !settings.args.disable_agent {
        node::start(&settings, &plane, scope).await?;
    }
    tracing::info!(node = settings.node_name, "kaji {} runs", component_base::VERSION);
    Ok(())
}

/// Runs until SIGTERM or SIGINT, then drains. A second signal ends the process at once.
pub async fn run(args: ServerArgs, scope: &Scope) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let delay = args.serving.shutdown_delay_duration;
    let health = Health::default();
    start(args, &health, scope).await.context(CannotStart)?;

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    let hurried = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    linger(&health, delay, hurried).await;
    tokio::select! {
        done = scope.shutdown(DRAIN) => {
            if !done {
                tracing::warn!("some parts had not ended after {} s", DRAIN.as_secs());
            }
        }
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Serves on for a while as one that is not ready: load balancers see it and send nobody any more
/// (`--shutdown-delay-duration`). Who is hurried does not wait.
async fn linger(health: &Health, delay: Duration, hurried: impl Future<Output = ()>) {
    health.fail("shutdown", "process is shutting down");
    tokio::select! {
        () = tokio::time::sleep(delay) => {}
        () = hurried => {}
    }
}

fn write_kubeconfig(settings: &Settings) -> anyhow::Result<()> {
    let Some(path) = &settings.args.write_kubeconfig else { return Ok(()) };
    let address = match settings.args.bind_address {
        any if any.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        address => address,
    };
    let server = format!("https://{}", std::net::SocketAddr::new(address, settings.args.https_listen_port));
    let (ca_pem, user) = (settings.pki.ca_pem()?, settings.pki.ensure_leaf(&lifecycle::admin())?);
    kubeconfig::merge(path, &Access { context: "kaji", server: &server, ca_pem: &ca_pem, user: &user })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{Instant, timeout};

    #[tokio::test(start_paused = true)]
    async fn a_server_that_stops_is_not_ready_first_and_serves_on_for_a_while() {
        let (health, delay, began) = (Health::default(), Duration::from_secs(70), Instant::now());
        let lingering = linger(&health, delay, std::future::pending());
        tokio::pin!(lingering);
        // The clock stands still but for who waits: a moment before the end it still serves.
        assert!(timeout(delay - Duration::from_millis(1), &mut lingering).await.is_err());
        assert_eq!(health.checks(), [("shutdown".to_owned(), Err("process is shutting down".to_owned()))]);
        lingering.await;
        assert_eq!(began.elapsed(), delay);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_ends_the_wait() {
        let (health, began) = (Health::default(), Instant::now());
        linger(&health, Duration::from_secs(70), std::future::ready(())).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert!(!health.is_ok());
    }
}
