//! The node's lease: renewed every 10 s for 40 s, so that a dead node is noticed (upstream: component-helpers lease).

use std::time::Duration;

use client::{ApiError, Client};
use component_base::now;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;

const NAMESPACE: &str = "kube-node-lease";
const DURATION_S: i32 = 40;
const RENEW: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(1);

/// Renews the lease for ever.
pub async fn run(client: Client, node: Node) {
    let api: Api<Lease> = Api::namespaced(client, NAMESPACE);
    loop {
        let pause = match renew(&api, &node).await {
            Ok(()) => RENEW,
            Err(err) => {
                tracing::warn!(error = %err, "renewing the node's lease failed; trying again");
                RETRY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn renew(api: &Api<Lease>, node: &Node) -> Result<(), kube::Error> {
    let name = node.name_any();
    let renewal = json!({"spec": {
        "holderIdentity": name, "leaseDurationSeconds": DURATION_S, "renewTime": MicroTime(now()),
    }});
    match api.patch(&name, &PatchParams::default(), &Patch::Merge(renewal)).await {
        Err(err) if err.is_not_found() => api.create(&PostParams::default(), &lease(node)).await.map(drop),
        result => result.map(drop),
    }
}

fn lease(node: &Node) -> Lease {
    let name = node.name_any();
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: name.clone(),
        uid: node.uid().unwrap_or_default(),
        ..OwnerReference::default()
    };
    Lease {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(NAMESPACE.to_owned()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(name),
            lease_duration_seconds: Some(DURATION_S),
            renew_time: Some(MicroTime(now())),
            ..LeaseSpec::default()
        }),
    }
}
