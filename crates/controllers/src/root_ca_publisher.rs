//! Every namespace has a ConfigMap `kube-root-ca.crt`, with which pods verify the API server
//! (upstream: pkg/controller/certificates/rootcacertpublisher/publisher.go).

use std::sync::Arc;

use client::controller::{Requeue, run_workers};
use client::{ApiError, Event, Lister, ObjectKey, WorkQueue};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

use crate::context::Context;
use crate::service_account::is_open;

const NAME: &str = "kube-root-ca.crt";
const FILE: &str = "ca.crt";
const DESCRIPTION: (&str, &str) = (
    "kubernetes.io/description",
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the \
     internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes \
     clusters.",
);

/// Why a pass did not complete.
#[derive(Debug, thiserror::Error)]
#[error("write config map {namespace}/{NAME}: {err}")]
struct SyncError {
    namespace: String,
    err: kube::Error,
}

struct Publisher {
    cx: Context,
    root_ca_pem: String,
    namespaces: Lister<Namespace>,
    config_maps: Lister<ConfigMap>,
}

/// Starts the controller.
pub async fn run(cx: Context, root_ca_pem: String) {
    let namespaces = cx.informer::<Namespace>();
    let config_maps = cx.informers.informer_where::<ConfigMap>(&format!("metadata.name={NAME}"));
    let queue: WorkQueue<String> = WorkQueue::new();
    let waiting = queue.clone();
    namespaces.on_event(move |event| {
        if !matches!(event, Event::Deleted(_)) && is_open(event.object()) {
            waiting.add(event.object().metadata.name.clone().unwrap_or_default());
        }
    });
    let waiting = queue.clone();
    config_maps.on_event(move |event| waiting.add(event.object().metadata.namespace.clone().unwrap_or_default()));
    tokio::join!(namespaces.synced(), config_maps.synced());
    let scope = cx.scope.clone();
    let (namespaces, config_maps) = (namespaces.lister(), config_maps.lister());
    let publisher = Arc::new(Publisher { cx, root_ca_pem, namespaces, config_maps });
    run_workers("root-ca-publisher", &scope, &queue, 1, move |namespace: String| {
        let publisher = publisher.clone();
        async move { publisher.sync(&namespace).await.map_err(|err| SyncError { namespace, err }) }
    });
}

impl Publisher {
    async fn sync(&self, namespace: &str) -> Result<Requeue, kube::Error> {
        if !self.namespaces.get(&ObjectKey::new("", namespace)).is_some_and(|one| is_open(&one)) {
            return Ok(Requeue::No);
        }
        let api: Api<ConfigMap> = Api::namespaced(self.cx.client.clone(), namespace);
        let result = match self.config_maps.get(&ObjectKey::new(namespace, NAME)) {
            None => api.create(&PostParams::default(), &self.wanted(ObjectMeta::default())).await,
            Some(existing) => {
                let wanted = self.wanted(existing.metadata.clone());
                if *existing == wanted {
                    return Ok(Requeue::No);
                }
                api.replace(NAME, &PostParams::default(), &wanted).await
            }
        };
        match result {
            Err(err) if !err.is_already_exists() && !err.is_namespace_terminating() && !err.is_not_found() => Err(err),
            _ => Ok(Requeue::No),
        }
    }

    fn wanted(&self, mut metadata: ObjectMeta) -> ConfigMap {
        metadata.name = Some(NAME.into());
        metadata.annotations.get_or_insert_default().insert(DESCRIPTION.0.into(), DESCRIPTION.1.into());
        ConfigMap { metadata, data: Some([(FILE.to_owned(), self.root_ca_pem.clone())].into()), ..ConfigMap::default() }
    }
}
