//! Pods that run to their end.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::json;

use crate::harness::{Cluster, template};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_completes_and_goes_with_its_pods() {
    let cluster = Cluster::with_node().await;
    let mut template = template("sum", "app:1");
    template["metadata"]["labels"]["test"] = "ends".into();
    template["spec"]["restartPolicy"] = "Never".into();
    let job = json!({"metadata": {"name": "sum"}, "spec": {"completions": 3, "parallelism": 2, "completionMode": "Indexed", "template": template}});
    cluster.create::<Job>(Some("default"), job).await;
    let status = cluster
        .until::<Job, _>("a complete job", |all| {
            let status = all.list_in("default").pop()?.status.clone()?;
            let complete =
                status.conditions.iter().flatten().any(|one| one.type_ == "Complete" && one.status == "True");
            complete.then_some(status)
        })
        .await;
    assert_eq!((status.succeeded, status.completed_indexes.as_deref()), (Some(3), Some("0-2")));
    let pods = cluster
        .until::<Pod, _>("released pods", |all| {
            let pods = all.list_in("default");
            (pods.len() == 3 && pods.iter().all(|pod| pod.finalizers().is_empty())).then_some(pods)
        })
        .await;
    assert_eq!(pods.len(), 3);
    // Its time is over: it goes, and its pods before it.
    cluster.patch::<Job>("default", "sum", json!({"spec": {"ttlSecondsAfterFinished": 0}})).await;
    cluster.until::<Job, _>("no job", |all| all.list_in("default").is_empty().then_some(())).await;
    cluster.until::<Pod, _>("no pod", |all| all.list_in("default").is_empty().then_some(())).await;
    cluster.stop().await;
}
