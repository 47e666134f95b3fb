//! Services know where their pods are.

use client::Lister;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::harness::{Cluster, deployment, labeled};

fn endpoints(all: &Lister<EndpointSlice>) -> Vec<Endpoint> {
    let slices = labeled(all, "default", "kubernetes.io/service-name", "web");
    slices.iter().flat_map(|slice| slice.endpoints.iter().flatten().cloned()).collect()
}

fn ready(endpoints: &[Endpoint]) -> usize {
    endpoints.iter().filter(|one| one.conditions.as_ref().and_then(|it| it.ready) == Some(true)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slices_and_endpoints_follow_readiness() {
    let cluster = Cluster::with_node().await;
    let service = json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}});
    cluster.create::<Service>(Some("default"), service).await;
    cluster.create::<Deployment>(Some("default"), deployment("web", 3, json!({}))).await;
    let found = cluster
        .until::<EndpointSlice, _>("three ready endpoints", |all| {
            let found = endpoints(all);
            (ready(&found) == 3).then_some(found)
        })
        .await;
    assert_eq!(found[0].zone.as_deref(), Some("here"));
    assert_eq!(found[0].node_name.as_deref(), Some("kaji"));
    cluster
        .until::<Endpoints, _>("three addresses", |all| {
            let web = all.list_in("default").into_iter().find(|one| one.name_any() == "web")?;
            let subset = web.subsets.as_ref()?.first()?;
            (subset.addresses.as_ref()?.len() == 3 && subset.ports.as_ref()?.first()?.port == 8080).then_some(())
        })
        .await;

    let name = found[0].target_ref.as_ref().and_then(|pod| pod.name.clone()).expect("a pod");
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), "default");
    let unready = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    api.patch_status(&name, &PatchParams::default(), &Patch::Strategic(unready)).await.expect("it is patched");
    cluster
        .until::<EndpointSlice, _>("two ready endpoints of three", |all| {
            let found = endpoints(all);
            (found.len() == 3 && ready(&found) == 2).then_some(())
        })
        .await;
    let slices = cluster.informers.informer::<EndpointSlice>().lister();
    assert_eq!(labeled(&slices, "default", "kubernetes.io/service-name", "web").len(), 1, "one slice, always");
    cluster.patch::<Deployment>("default", "web", json!({"spec": {"replicas": 0}})).await;
    cluster.until::<EndpointSlice, _>("no endpoint", |all| endpoints(all).is_empty().then_some(())).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_that_somebody_writes_are_mirrored() {
    let cluster = Cluster::start().await;
    cluster
        .create::<Service>(Some("default"), json!({"metadata": {"name": "db"}, "spec": {"ports": [{"port": 5432}]}}))
        .await;
    let subsets = json!([{"addresses": [{"ip": "192.0.2.9"}], "ports": [{"port": 5432}]}]);
    cluster.create::<Endpoints>(Some("default"), json!({"metadata": {"name": "db"}, "subsets": subsets})).await;
    let addresses = cluster
        .until::<EndpointSlice, _>("a mirror", |all| {
            let slice = labeled(all, "default", "kubernetes.io/service-name", "db").pop()?;
            Some(slice.endpoints.as_ref()?.first()?.addresses.clone())
        })
        .await;
    assert_eq!(addresses, ["192.0.2.9"]);
    cluster.delete::<Endpoints>("default", "db", DeleteParams::default()).await;
    cluster
        .until::<EndpointSlice, _>("no mirror", |all| {
            labeled(all, "default", "kubernetes.io/service-name", "db").is_empty().then_some(())
        })
        .await;
    cluster.stop().await;
}
