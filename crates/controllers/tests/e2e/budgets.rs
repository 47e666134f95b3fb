//! Budgets know what may go.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::json;

use crate::harness::{Cluster, deployment};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_follows_the_pods() {
    let cluster = Cluster::with_node().await;
    let budget = json!({"metadata": {"name": "web"}, "spec": {"maxUnavailable": "10%", "selector": {"matchLabels": {"app": "web"}}}});
    cluster.create::<PodDisruptionBudget>(Some("default"), budget).await;
    cluster.create::<Deployment>(Some("default"), deployment("web", 3, json!({}))).await;
    let status = cluster
        .until::<PodDisruptionBudget, _>("three healthy pods", |all| {
            let status = all.list().pop()?.status.clone()?;
            (status.current_healthy == Some(3)).then_some(status)
        })
        .await;
    assert_eq!((status.expected_pods, status.desired_healthy, status.disruptions_allowed), (Some(3), Some(2), Some(1)));
    let condition = &status.conditions.expect("conditions")[0];
    assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("True", "SufficientPods"));
    cluster.stop().await;
}
