//! Volumes and sandbox of a pod, up and down.

use std::io;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::Job;
use crate::container::mounts::PodFiles;
use crate::container::{config, dns, hosts, resources};
use crate::network::{HostPort, NetworkRequest};
use crate::pod::PodRef;
use crate::pod::machine::Sandbox;
use crate::pod::spec::{host_network, spec};
use crate::volumes::manager::{Cx, remove_pod_dir};

/// Sets up the volumes, or brings their files up to date.
pub async fn volumes(job: &Job) -> Result<(), String> {
    job.sources.ready().await.map_err(|err| format!("MountVolume.SetUp failed : {err}"))?;
    let facts = job.cx.facts(job.pod_ips.clone());
    let cx = Cx {
        objects: &*job.sources,
        facts: &facts,
        tokens: &*job.cx.tokens,
        now: component_base::now(),
        scope: &job.cx.scope,
    };
    job.volumes.set_up(&job.pod, &cx).await.map_err(|err| err.to_string())
}

/// Makes cgroup, network namespace and sandbox.
pub async fn create(job: &Job, attempt: u32) -> Result<Sandbox, String> {
    let (cx, pod) = (&job.cx, &*job.pod);
    let id = PodRef::of(pod);
    let cgroup = resources::pod_cgroup(&cx.config.cgroup_root, pod, &id.uid);
    // A quota of CPU time comes with the first program; the preparations before are not the pod's.
    let unthrottled = cri::Resources { cpu_quota_us: 0, ..resources::of_pod(pod) };
    cx.cgroups.ensure(&cgroup, &unthrottled).map_err(|err| err.to_string())?;
    let (netns, ips) = if host_network(pod) {
        (None, vec![cx.config.node_ip])
    } else {
        let attached = cx.network.attach(&network_request(pod)).await.map_err(|err| err.to_string())?;
        (Some(attached.netns), attached.ips)
    };
    let files = files(job, &ips.iter().map(ToString::to_string).collect::<Vec<_>>());
    let log_dir = cx.config.pod_log_dir.join(id.log_directory());
    let names: Vec<String> =
        crate::pod::spec::containers(pod).into_iter().map(|container| container.container.name).collect();
    let making = cx.scope.spawn_blocking(move || {
        files.write()?;
        names.iter().try_for_each(|name| std::fs::create_dir_all(log_dir.join(name)))
    });
    flatten(making.await).map_err(|err| format!("writing the pod's files: {err}"))?;
    let hostname = hosts::node_name(pod, &cx.config.cluster_domain);
    let config = config::sandbox(pod, attempt, netns, hostname, &cx.config.pod_log_dir, cgroup);
    let id = cx.runtime.run_pod_sandbox(config).await.map_err(|err| err.to_string())?;
    Ok(Sandbox { id, attempt, ips })
}

fn flatten(result: Result<io::Result<()>, tokio::task::JoinError>) -> io::Result<()> {
    result.unwrap_or_else(|err| Err(io::Error::other(err)))
}

/// The files that every container of the pod gets.
pub fn files(job: &Job, pod_ips: &[String]) -> PodFiles {
    let (cx, pod) = (&job.cx, &*job.pod);
    let domain = &cx.config.cluster_domain;
    let aliases = spec(pod).host_aliases.as_deref().unwrap_or_default();
    let (hostname, pod_domain) = hosts::name_and_domain(pod, domain);
    let hosts = if host_network(pod) {
        hosts::hosts_file_of_node(&std::fs::read_to_string("/etc/hosts").unwrap_or_default(), aliases)
    } else {
        hosts::hosts_file(pod_ips, &hostname, &pod_domain, aliases)
    };
    let server = cx.config.cluster_dns.map(|ip| ip.to_string());
    PodFiles {
        pod_dir: cx.config.pod_dir(&pod.uid().unwrap_or_default()),
        hosts,
        resolv_conf: dns::for_pod(pod, &cx.resolver, server.as_deref(), domain).render(),
        hostname: (!host_network(pod)).then(|| hosts::node_name(pod, domain)),
    }
}

fn network_request(pod: &Pod) -> NetworkRequest {
    let spec = spec(pod);
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let host_ports = ports.filter_map(|port| {
        Some(HostPort {
            host_port: u16::try_from(port.host_port?).ok().filter(|number| *number > 0)?,
            host_ip: port.host_ip.as_deref().and_then(|ip| ip.parse().ok()),
            container_port: u16::try_from(port.container_port).ok()?,
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
        })
    });
    let id = PodRef::of(pod);
    NetworkRequest { uid: id.uid, namespace: id.namespace, name: id.name, host_ports: host_ports.collect() }
}

/// Stops the sandbox and frees network and memory; with `remove` also containers, cgroup, logs and directories.
pub async fn tear_down(job: &Job, remove: bool) -> Result<(), String> {
    let (cx, pod) = (&job.cx, &*job.pod);
    let id = PodRef::of(pod);
    if !job.sandbox_id.is_empty() {
        cx.runtime.stop_pod_sandbox(&job.sandbox_id).await.map_err(|err| err.to_string())?;
    }
    if !host_network(pod) {
        cx.network.detach(&id.uid).await.map_err(|err| err.to_string())?;
    }
    let pod_dir = cx.config.pod_dir(&id.uid);
    if !remove {
        let unmounting = cx.scope.spawn_blocking(move || crate::volumes::mount::unmount_below(&pod_dir));
        return flatten(unmounting.await).map_err(|err| err.to_string());
    }
    let sandboxes = cx.runtime.list_pod_sandboxes().await.map_err(|err| err.to_string())?;
    for sandbox in sandboxes.iter().filter(|sandbox| sandbox.config.uid == id.uid) {
        cx.runtime.remove_pod_sandbox(&sandbox.id).await.map_err(|err| err.to_string())?;
    }
    let cgroups = cx.cgroups.clone();
    let cgroup = resources::pod_cgroup(&cx.config.cgroup_root, pod, &id.uid);
    let log_dir = cx.config.pod_log_dir.join(id.log_directory());
    let removing = cx.scope.spawn_blocking(move || {
        cgroups.remove(&cgroup).map_err(io::Error::other)?;
        remove_pod_dir(&pod_dir)?;
        match std::fs::remove_dir_all(&log_dir) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
            _ => Ok(()),
        }
    });
    flatten(removing.await).map_err(|err| err.to_string())
}
