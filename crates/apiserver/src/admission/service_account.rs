//! ServiceAccount: a pod runs as an account and finds its token mounted
//! (upstream: plugin/pkg/admission/serviceaccount/admission.go).

use apimachinery::json::Read;
use apimachinery::{Object, StatusError};
use async_trait::async_trait;
use serde_json::{Map, Value, json};
use store::Entry;

use super::{Handles, Operation, Plugin, Request};
use crate::registry::create::generate_name;
use crate::registry::{decode_entry, scan};

mod references;

/// Where containers find the token.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The token's life as asked for; the kubelet renews it well before (upstream: `tokenExpirationSeconds`).
const EXPIRATION_SECONDS: i64 = 60 * 60 + 7;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServiceAccount;

#[async_trait]
impl Plugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.admits(Handles::CREATES).validates(Handles::WRITES)
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), StatusError> {
        if !request.creates("", "Pod") {
            return Ok(());
        }
        let Some(pod) = request.object.take() else { return Ok(()) };
        request.object = Some(admit_pod(request, pod).await?);
        Ok(())
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), StatusError> {
        let adds_containers = request.operation == Operation::Update && request.subresource == "ephemeralcontainers";
        let judged = request.creates("", "Pod") || request.is_resource("", "pods") && adds_containers;
        let Some(pod) = request.object.as_ref().filter(|_| judged) else { return Ok(()) };
        if is_mirror(pod) {
            return references::of_mirror(pod).map_err(|cause| request.forbidden(cause));
        }
        let account = account_of(request, pod.object("spec").text("serviceAccountName")).await?;
        if !references::are_limited(&account.finished.value) {
            return Ok(());
        }
        references::mountable(&decode_entry(&account)?, pod).map_err(|cause| request.forbidden(cause))
    }
}

fn is_mirror(pod: &Object) -> bool {
    pod.annotations().any(|(key, _)| key == "kubernetes.io/config.mirror")
}

/// The stored account. It is asked for twice a pod, about two or three fields: it is not decoded for that.
async fn account_of(request: &Request<'_>, name: &str) -> Result<Entry, StatusError> {
    let registry = request.cx.registry();
    let row = registry.row("", "v1", "serviceaccounts")?;
    let account = registry.find_entry(&row, request.namespace, name).await?;
    account.ok_or_else(|| {
        let namespace = request.namespace;
        let cause = format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
        request.forbidden(cause)
    })
}

async fn admit_pod(request: &Request<'_>, mut pod: Object) -> Result<Object, StatusError> {
    if is_mirror(&pod) {
        return Ok(pod);
    }
    let Some(spec) = pod.0.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(pod) };
    if spec.get("serviceAccountName").and_then(Value::as_str).unwrap_or_default().is_empty() {
        spec.insert("serviceAccountName".into(), "default".into());
    }
    let name = spec["serviceAccountName"].as_str().unwrap_or_default().to_owned();
    spec.insert("serviceAccount".into(), name.clone().into());
    let account = account_of(request, &name).await?.finished;
    if mounts_token(&account.value, spec) {
        mount_token(spec);
    }
    let pull_secrets = spec.get("imagePullSecrets").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    if !pull_secrets && let Some(secrets) = scan::at(&account.value, &["imagePullSecrets"]) {
        let secrets: Value = serde_json::from_slice(secrets).map_err(|error| {
            StatusError::internal(format!("the stored service account {name} cannot be read: {error}"))
        })?;
        spec.insert("imagePullSecrets".into(), secrets);
    }
    Ok(pod)
}

/// The pod's word counts before the account's; by default the token is mounted.
fn mounts_token(account: &[u8], spec: &Map<String, Value>) -> bool {
    const FIELD: &str = "automountServiceAccountToken";
    let of_pod = spec.get(FIELD).and_then(Value::as_bool);
    of_pod.unwrap_or_else(|| scan::at(account, &[FIELD]) != Some(b"false"))
}

fn mount_token(spec: &mut Map<String, Value>) {
    let present = spec.get("volumes").and_then(Value::as_array).into_iter().flatten();
    let present =
        present.filter_map(|volume| volume["name"].as_str()).find(|name| name.starts_with("kube-api-access-"));
    let (volume, is_new) = match present {
        Some(name) => (name.to_owned(), false),
        None => (generate_name("kube-api-access-"), true),
    };
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            mounted |= mount_into(container, &volume);
        }
    }
    if is_new
        && mounted
        && let Some(volumes) = spec.entry("volumes").or_insert_with(|| json!([])).as_array_mut()
    {
        volumes.push(token_volume(&volume));
    }
}

fn mount_into(container: &mut Value, volume: &str) -> bool {
    let Some(container) = container.as_object_mut() else { return false };
    let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
    let Some(mounts) = mounts.as_array_mut() else { return false };
    if mounts.iter().any(|mount| mount["mountPath"] == MOUNT_PATH) {
        return false;
    }
    mounts.push(json!({ "name": volume, "readOnly": true, "mountPath": MOUNT_PATH }));
    true
}

fn token_volume(name: &str) -> Value {
    let namespace =
        json!({ "path": "namespace", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } });
    json!({
        "name": name,
        "projected": {
            "defaultMode": 420,
            "sources": [
                { "serviceAccountToken": { "expirationSeconds": EXPIRATION_SECONDS, "path": "token" } },
                { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
                { "downwardAPI": { "items": [namespace] } },
            ],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_mounted_once_into_every_container() {
        let mut spec =
            json!({"containers": [{"name": "a"}, {"name": "b", "volumeMounts": [{"mountPath": MOUNT_PATH}]}]});
        let spec = spec.as_object_mut().expect("an object");
        mount_token(spec);
        mount_token(spec);
        assert_eq!(spec["volumes"].as_array().map(Vec::len), Some(1));
        assert_eq!(spec["containers"][0]["volumeMounts"].as_array().map(Vec::len), Some(1));
        assert_eq!(spec["containers"][1]["volumeMounts"].as_array().map(Vec::len), Some(1));
    }
}
