//! Kubelet, pod network, service proxy and DNS of this node.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use apimachinery::UserInfo;
use client::Informers;
use cluster::pki::Leaf;
use component_base::Scope;
use cri::images::RegistryConfig;
use cri::{ImageStore, Runtime, RuntimeConfig, ShimCommand};
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::runtime::wait::await_condition;
use kubelet::Kubelet;
use pod_network::PodNetwork;
use serde_json::json;

use super::Settings;
use super::control_plane::{ControlPlane, NODE_CIDR_MASK};
use crate::hello;

/// The kubelet's port, upstream's.
const KUBELET_PORT: u16 = 10250;
/// Most pods on a node, upstream's default.
const MAX_PODS: u32 = 110;
/// The least time between two passes of the service proxy.
const MIN_SYNC: Duration = Duration::from_millis(2);
/// The port of DNS.
const DNS_PORT: u16 = 53;
/// Seconds that DNS answers may be kept, CoreDNS's default for Kubernetes names.
const DNS_TTL: u32 = 5;

/// Starts everything that makes this machine a node.
pub async fn start(settings: &Settings, plane: &ControlPlane, scope: &Scope) -> anyhow::Result<()> {
    let IpAddr::V4(node_ip) = settings.node_ip else { bail!("--node-ip must be an IPv4 address") };
    let args = &settings.args;
    let pod_cidr = args.cluster_cidr.subnets(NODE_CIDR_MASK).ok().and_then(|mut nets| nets.next());
    let pod_cidr = pod_cidr.context("--cluster-cidr is too small for a node")?;

    let client = plane.client(UserInfo::new(format!("system:node:{}", settings.node_name), ["system:nodes"]));
    let informers = Informers::new(client.clone(), scope);
    let network = network(settings, pod_cidr)?;
    let images = image_store(settings, scope).await?;
    let (ready_network, ready_image, runtime) =
        tokio::join!(network.ensure_node(), hello::ensure(&images), runtime(settings, images.clone(), scope));
    ready_network.context("set up the pods' network")?;
    ready_image.context("put the demo image into the store")?;

    // The service proxy and DNS read Services and EndpointSlices, which is not for a node's identity.
    let proxy_client = plane.client(UserInfo::new("system:kube-proxy", Vec::<String>::new()));
    let proxy_informers = Informers::new(proxy_client, scope);
    start_dns(settings, &proxy_informers, scope).await?;
    let proxy = kube_proxy::Config {
        node_name: settings.node_name.clone(),
        cluster_cidr: args.cluster_cidr,
        service_cidr: args.service_cidr,
        served_here: vec![settings.dns_ip],
        min_sync_period: MIN_SYNC,
    };
    scope.spawn_draining("kube-proxy", proxy.build(&proxy_informers).run(scope.clone()));

    let deps = kubelet::Deps {
        client,
        informers,
        runtime: Arc::new(runtime?),
        images: Arc::new(images),
        network: Arc::new(network),
        cgroups: cri::cgroup::detect()?.into(),
    };
    let config = kubelet_config(settings, IpAddr::V4(node_ip), pod_cidr)?;
    Kubelet::build(config, deps)?.run(scope).await.context("start the kubelet")?;
    let (name, admin) = (settings.node_name.clone(), plane.client(apiserver::server::own_identity()));
    scope.spawn("control-plane-label", async move {
        if let Err(err) = label_control_plane(&name, admin).await {
            tracing::warn!(node = name, error = %err, "the node could not be marked as control plane");
        }
    });
    Ok(())
}

/// Marks the node as one of the control plane, once it is there: a kubelet may not do so itself (NodeRestriction).
async fn label_control_plane(name: &str, client: client::Client) -> anyhow::Result<()> {
    let nodes: Api<Node> = Api::all(client);
    await_condition(nodes.clone(), name, |node: Option<&Node>| node.is_some()).await?;
    let labels = json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}});
    nodes.patch(name, &PatchParams::default(), &Patch::Merge(labels)).await?;
    Ok(())
}

/// Serves the cluster's DNS at an address of this node's own.
async fn start_dns(settings: &Settings, informers: &Informers, scope: &Scope) -> anyhow::Result<()> {
    let config = dns::Config {
        listen: vec![SocketAddr::new(settings.dns_ip.into(), DNS_PORT)],
        link: "lo".into(),
        domain: settings.args.cluster_domain.clone(),
        ttl: DNS_TTL,
        resolv_conf: settings.args.resolv_conf.clone(),
    };
    config.build(informers).start(scope).await.context("start DNS")
}

fn network(settings: &Settings, pod_cidr: Ipv4Net) -> anyhow::Result<PodNetwork> {
    let config = pod_network::Config {
        pod_cidr,
        cluster_cidr: settings.args.cluster_cidr,
        service_cidr: settings.args.service_cidr,
        bridge: "kaji0".into(),
        mtu: 1500,
        state_dir: settings.args.data_dir.join("network"),
        run_dir: settings.args.run_dir.join("netns"),
    };
    config.build().context("set up the pods' network")
}

async fn image_store(settings: &Settings, scope: &Scope) -> anyhow::Result<ImageStore> {
    let registries = RegistryConfig {
        plain_http: settings.args.insecure_registry.clone(),
        ca_files: settings.args.registry_ca.clone(),
    };
    ImageStore::open(&settings.args.data_dir, registries, scope.clone()).await.context("open the image store")
}

async fn runtime(settings: &Settings, images: ImageStore, scope: &Scope) -> anyhow::Result<Runtime> {
    let config = RuntimeConfig {
        data_dir: settings.args.data_dir.clone(),
        run_dir: settings.args.run_dir.join("runtime"),
        shim: ShimCommand { program: PathBuf::from("/proc/self/exe"), args: vec!["shim".into()] },
    };
    Runtime::open(config, images, scope.clone()).await.context("open the container runtime")
}

fn kubelet_config(settings: &Settings, node_ip: IpAddr, pod_cidr: Ipv4Net) -> anyhow::Result<kubelet::Config> {
    let args = &settings.args;
    let common_name = format!("system:node:{}", settings.node_name);
    let serving = settings.pki.ensure_leaf(&Leaf {
        file: "kubelet-serving",
        common_name: &common_name,
        organization: "system:nodes",
        dns_names: vec![settings.node_name.clone()],
        addresses: vec![node_ip],
    })?;
    let tls = apiserver::serve::tls_config(&serving.cert_pem, &serving.key_pem, &settings.pki.ca_pem()?)?;
    Ok(kubelet::Config {
        node_name: settings.node_name.clone(),
        node_ip,
        data_dir: args.data_dir.clone(),
        pod_log_dir: PathBuf::from("/var/log/pods"),
        cgroup_root: format!("{}/kubepods", args.cgroup_root.trim_end_matches('/')),
        cluster_dns: Some(IpAddr::V4(settings.dns_ip)),
        cluster_domain: args.cluster_domain.clone(),
        resolv_conf: args.resolv_conf.clone(),
        max_pods: MAX_PODS,
        pod_cidr: Some(pod_cidr.to_string()),
        node_labels: Vec::new(),
        port: KUBELET_PORT,
        tls: Some(Arc::new(tls)),
        kubernetes_service: Some((IpAddr::V4(settings.kubernetes_ip), 443)),
    })
}
