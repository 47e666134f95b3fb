//! The kubelet against the real API server, with a runtime, a network and control groups that exist in memory only.

mod fakes;
mod harness;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use kube::ResourceExt;
use serde_json::json;

use crate::harness::Machine;

fn ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn waiting(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    status.state.as_ref()?.waiting.as_ref()?.reason.clone()
}

fn restarts(pod: &Pod) -> i32 {
    let status = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()?.first());
    status.map_or(0, |status| status.restart_count)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_registers_and_renews_its_lease() {
    let machine = Machine::start().await;
    let node: Node = machine.until(None, "node", |node: &Node| node.status.is_some()).await;
    let status = node.status.expect("a status");
    let ready = status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready");
    assert_eq!(ready.map(|condition| condition.status.as_str()), Some("True"));
    assert_eq!(node.spec.and_then(|spec| spec.pod_cidr).as_deref(), Some("10.244.0.0/24"));
    let lease: Lease = machine.until(Some("kube-node-lease"), "node", |_: &Lease| true).await;
    assert_eq!(lease.owner_references().first().map(|owner| owner.kind.as_str()), Some("Node"));
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_waits_for_its_config_runs_restarts_and_goes() {
    let machine = Machine::start().await;
    let from = json!({"configMapKeyRef": {"name": "late", "key": "k"}});
    machine.pod("p", json!({"image": "img", "env": [{"name": "A", "valueFrom": from}]})).await;
    let reason = Some("CreateContainerConfigError".to_owned());
    machine.until(Some("default"), "p", |pod: &Pod| waiting(pod) == reason).await;

    machine.create::<ConfigMap>(json!({"metadata": {"name": "late"}, "data": {"k": "v"}})).await;
    let pod = machine.until(Some("default"), "p", ready).await;
    let status = pod.status.expect("a status");
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert_eq!(status.pod_ip.as_deref(), Some("10.244.0.9"));
    assert!(machine.runtime.env("c").contains(&("A".to_owned(), "v".to_owned())));

    machine.runtime.end("c", 1);
    let pod = machine.until(Some("default"), "p", |pod: &Pod| ready(pod) && restarts(pod) == 1).await;
    let last = pod.status.and_then(|status| status.container_statuses?.first()?.last_state.clone()?.terminated);
    assert_eq!(last.map(|ended| (ended.exit_code, ended.reason)), Some((1, Some("Error".to_owned()))));

    machine.delete("p").await;
    machine.until_gone("p").await;
    assert!(machine.runtime.is_empty(), "sandbox and containers went before the object");
    assert_eq!(machine.network.detached(), 1);
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_ends_keeps_its_result() {
    let machine = Machine::start().await;
    machine.pod_with("job", json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "img"}]})).await;
    machine.until(Some("default"), "job", ready).await;
    machine.runtime.end("c", 0);
    let ended = |pod: &Pod| pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Succeeded");
    machine.until(Some("default"), "job", ended).await;
    machine.delete("job").await;
    machine.until_gone("job").await;
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_kubelet_adopts_what_runs_and_removes_what_is_left_over() {
    let mut machine = Machine::start().await;
    machine.pod("stays", json!({"image": "img"})).await;
    machine.until(Some("default"), "stays", ready).await;
    machine.pod("goes", json!({"image": "img"})).await;
    machine.until(Some("default"), "goes", ready).await;
    let made = machine.runtime.made();

    machine.stop_kubelet().await;
    machine.delete_at_once("goes").await;
    machine.start_kubelet().await;
    machine.runtime.until(|state| state.sandboxes() == 1).await;

    machine.pod("new", json!({"image": "img"})).await;
    machine.until(Some("default"), "new", ready).await;
    let pod: Pod = machine.until(Some("default"), "stays", ready).await;
    assert_eq!(restarts(&pod), 0);
    assert_eq!(machine.runtime.made(), made + 1, "only the new pod's container was made");
    machine.stop().await;
}
