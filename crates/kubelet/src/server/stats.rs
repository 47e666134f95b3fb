//! `/pods` and `/stats/summary`.

use std::sync::Arc;

use component_base::{clock, now};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::context::Context;
use crate::kubelet::Workers;
use crate::pod::worker::PodView;

/// The pods of this node as a PodList.
pub fn pod_list(workers: &Workers) -> Value {
    let pods = workers.pods();
    json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods})
}

/// Use of resources (upstream: kubelet/pkg/apis/stats/v1alpha1), as far as control groups tell.
pub async fn summary(cx: &Arc<Context>, workers: &Workers) -> Value {
    let time = clock::rfc3339_seconds(now());
    let mut pods = Vec::new();
    for view in workers.views() {
        pods.push(pod(cx, &view, &time).await);
    }
    let node = cx.cgroups.stats(&cx.config.cgroup_root).unwrap_or_default();
    json!({
        "node": {
            "nodeName": cx.config.node_name,
            "cpu": {"time": time, "usageCoreNanoSeconds": node.cpu_usage_ns},
            "memory": {"time": time, "workingSetBytes": node.memory_working_set_bytes, "rssBytes": node.memory_rss_bytes,
                "availableBytes": u64::try_from(cx.machine.memory_bytes).unwrap_or(0)
                    .saturating_sub(node.memory_working_set_bytes)},
        },
        "pods": pods,
    })
}

async fn pod(cx: &Context, view: &PodView, time: &str) -> Value {
    let mut containers = Vec::new();
    for container in view.containers.iter().filter(|container| container.running) {
        let Some(id) = &container.id else { continue };
        let Ok(stats) = cx.runtime.container_stats(id).await else { continue };
        containers.push(json!({
            "name": container.name,
            "cpu": {"time": time, "usageCoreNanoSeconds": stats.cpu_usage_ns},
            "memory": {"time": time, "workingSetBytes": stats.memory_working_set_bytes, "rssBytes": stats.memory_rss_bytes},
            "rootfs": {"time": time, "usedBytes": stats.writable_layer_bytes},
        }));
    }
    let start = view.pod.status.as_ref().and_then(|status| status.start_time.clone());
    json!({
        "podRef": {"name": view.pod.name_any(), "namespace": view.pod.namespace(), "uid": view.pod.uid()},
        "startTime": start,
        "containers": containers,
    })
}
