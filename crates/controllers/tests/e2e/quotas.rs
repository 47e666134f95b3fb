//! Quotas say what is used, and give back what is gone; claims go when nobody uses them.

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, ResourceQuota};
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::harness::Cluster;

/// Waits until the quota's usage is this.
async fn used(cluster: &Cluster, wanted: Value) {
    let what = format!("a usage of {wanted}");
    cluster
        .until::<ResourceQuota, _>(&what, |all| {
            let quota = all.list().into_iter().find(|quota| quota.name_any() == "q")?;
            let used = serde_json::to_value(quota.status.as_ref()?.used.as_ref()?).ok()?;
            (used == wanted).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quotas_follow_what_is_there() {
    let cluster = Cluster::with_node().await;
    let config_map = |name: &str| json!({"metadata": {"name": name}});
    cluster.create::<ConfigMap>(Some("default"), config_map("before")).await;
    // One config map is the cluster's own.
    let has_own = |all: &client::Lister<ConfigMap>| {
        all.list_in("default").iter().any(|one| one.name_any() == "kube-root-ca.crt").then_some(())
    };
    cluster.until::<ConfigMap, _>("the published CA", has_own).await;
    let hard = json!({"pods": "2", "count/configmaps": "5", "resourcequotas": "1", "replicationcontrollers": "1"});
    cluster.create::<ResourceQuota>(Some("default"), json!({"metadata": {"name": "q"}, "spec": {"hard": hard}})).await;
    let usage = |pods: &str, maps: &str| json!({"pods": pods, "count/configmaps": maps, "resourcequotas": "1", "replicationcontrollers": "0"});
    used(&cluster, usage("0", "2")).await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "i"}]}});
    cluster.create::<Pod>(Some("default"), pod).await;
    cluster.create::<ConfigMap>(Some("default"), config_map("after")).await;
    used(&cluster, usage("1", "3")).await;
    cluster.delete::<Pod>("default", "p", DeleteParams::default().grace_period(0)).await;
    cluster.delete::<ConfigMap>("default", "before", DeleteParams::default()).await;
    used(&cluster, usage("0", "2")).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_goes_with_its_last_user() {
    let cluster = Cluster::with_node().await;
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    let claim = |name: &str| json!({"metadata": {"name": name}, "spec": spec});
    cluster.create::<PersistentVolumeClaim>(Some("default"), claim("free")).await;
    cluster.create::<PersistentVolumeClaim>(Some("default"), claim("used")).await;
    let volume = json!({"name": "v", "persistentVolumeClaim": {"claimName": "used"}});
    let pod = json!({"metadata": {"name": "p"}, "spec": {
        "nodeName": "kaji", "terminationGracePeriodSeconds": 0, "volumes": [volume],
        "containers": [{"name": "c", "image": "i"}],
    }});
    cluster.create::<Pod>(Some("default"), pod).await;
    for name in ["free", "used"] {
        cluster.delete::<PersistentVolumeClaim>("default", name, DeleteParams::default()).await;
    }
    let there = |name: &'static str| {
        move |all: &client::Lister<PersistentVolumeClaim>| all.list().iter().any(|claim| claim.name_any() == name)
    };
    cluster
        .until::<PersistentVolumeClaim, _>("only the claim in use", |all| {
            (!there("free")(all) && there("used")(all)).then_some(())
        })
        .await;
    cluster.delete::<Pod>("default", "p", DeleteParams::default().grace_period(0)).await;
    cluster.until::<PersistentVolumeClaim, _>("no claim", |all| all.is_empty().then_some(())).await;
    cluster.stop().await;
}
