//! ConfigMap `kube-public/cluster-info` carries a kubeconfig signed with every bootstrap token that may sign: who knows
//! a token can trust what anybody may read (upstream: pkg/controller/bootstrap/bootstrapsigner.go, cluster-bootstrap
//! token/jws).

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use client::controller::{Requeue, run_workers};
use client::{Event, ObjectKey, WorkQueue};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;
use ring::hmac;

use super::{NAMESPACE, TYPE, expires, text};
use crate::context::Context;

const CONFIG_MAP: &str = "cluster-info";
const PUBLIC: &str = "kube-public";
const KUBECONFIG: &str = "kubeconfig";
const SIGNATURE_PREFIX: &str = "jws-kubeconfig-";

/// Why a pass did not complete.
#[derive(Debug, thiserror::Error)]
#[error("write config map {PUBLIC}/{CONFIG_MAP}: {0}")]
struct SyncError(kube::Error);

/// The signature of `content` by a token, without the content itself (RFC 7797's detached form).
fn sign(content: &str, id: &str, secret: &str) -> String {
    let header = BASE64.encode(format!(r#"{{"alg":"HS256","kid":"{id}"}}"#));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{header}.{}", BASE64.encode(content)).as_bytes());
    format!("{header}..{}", BASE64.encode(tag))
}

/// The tokens that sign now, by their ids.
fn signing(secrets: &[std::sync::Arc<Secret>], now: Timestamp) -> BTreeMap<String, String> {
    let signs = |secret: &&std::sync::Arc<Secret>| {
        secret.metadata.namespace.as_deref() == Some(NAMESPACE)
            && text(secret, "usage-bootstrap-signing") == "true"
            && expires(secret).is_none_or(|at| at > now)
            && secret.metadata.name.as_deref() == Some(&format!("bootstrap-token-{}", text(secret, "token-id")))
    };
    let tokens = secrets.iter().filter(signs).map(|secret| (text(secret, "token-id"), text(secret, "token-secret")));
    tokens.filter(|(id, secret)| !id.is_empty() && !secret.is_empty()).collect()
}

/// The ConfigMap with the signatures it should have; `None` when it has them.
fn signed(map: &ConfigMap, tokens: &BTreeMap<String, String>) -> Option<ConfigMap> {
    let data = map.data.clone().unwrap_or_default();
    let content = data.get(KUBECONFIG)?.clone();
    let mut wanted: BTreeMap<String, String> = data.clone();
    wanted.retain(|key, _| !key.starts_with(SIGNATURE_PREFIX));
    for (id, secret) in tokens {
        wanted.insert(format!("{SIGNATURE_PREFIX}{id}"), sign(&content, id, secret));
    }
    (wanted != data).then(|| ConfigMap { data: Some(wanted), ..map.clone() })
}

/// Starts the controller.
pub async fn run(cx: Context) {
    let secrets = cx.informers.informer_where::<Secret>(&format!("type={TYPE}"));
    let maps = cx.informers.informer_where::<ConfigMap>(&format!("metadata.name={CONFIG_MAP}"));
    let queue: WorkQueue<String> = WorkQueue::new();
    let waiting = queue.clone();
    secrets.on_event(move |_| waiting.add(CONFIG_MAP.to_owned()));
    let waiting = queue.clone();
    maps.on_event(move |event| {
        if !matches!(event, Event::Deleted(_)) {
            waiting.add(CONFIG_MAP.to_owned());
        }
    });
    tokio::join!(secrets.synced(), maps.synced());
    let (secrets, maps) = (secrets.lister(), maps.lister());
    let client = cx.client.clone();
    run_workers("bootstrap-signer", &cx.scope, &queue, 1, move |_| {
        let now = component_base::now();
        let (map, tokens) = (maps.get(&ObjectKey::new(PUBLIC, CONFIG_MAP)), secrets.list());
        let client = client.clone();
        async move {
            let Some(map) = map else { return Ok(Requeue::No) };
            if let Some(wanted) = signed(&map, &signing(&tokens, now)) {
                let api: Api<ConfigMap> = Api::namespaced(client, PUBLIC);
                api.replace(CONFIG_MAP, &PostParams::default(), &wanted).await.map_err(SyncError)?;
            }
            let next = tokens.iter().filter_map(|secret| expires(secret)).filter(|at| *at > now).min();
            let left = next.and_then(|at| Duration::try_from(at.duration_since(now)).ok());
            Ok::<_, SyncError>(left.map_or(Requeue::No, Requeue::After))
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;
    use std::sync::Arc;

    fn token(id: &str, signing: &str, expiration: &str) -> Arc<Secret> {
        let mut secret = Secret::default();
        secret.metadata.name = Some(format!("bootstrap-token-{id}"));
        secret.metadata.namespace = Some(NAMESPACE.into());
        let pairs = [
            ("token-id", id),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-signing", signing),
            ("expiration", expiration),
        ];
        secret.data = Some(pairs.map(|(key, value)| (key.to_owned(), ByteString(value.as_bytes().to_vec()))).into());
        Arc::new(secret)
    }

    #[test]
    fn the_signature_is_upstreams() {
        // upstream: cluster-bootstrap/token/jws/jws_test.go
        assert_eq!(
            sign(
                "Hello from the other side. I must have called a thousand times.",
                "joshua",
                "my voice is my passcode"
            ),
            "eyJhbGciOiJIUzI1NiIsImtpZCI6Impvc2h1YSJ9..VShe2taLd-YTrmWuRkcL_8QTNDHYxQIEBsAYYiIj1_8"
        );
    }

    #[test]
    fn tokens_that_may_sign_do_until_they_expire() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let secrets = [
            token("aaaaaa", "true", ""),
            token("bbbbbb", "false", ""),
            token("cccccc", "true", "2025-01-01T00:00:00Z"),
        ];
        let tokens = signing(&secrets, now);
        assert_eq!(tokens.keys().collect::<Vec<_>>(), ["aaaaaa"]);
        let mut map = ConfigMap::default();
        assert_eq!(signed(&map, &tokens), None, "there is nothing to sign");
        let data = [("kubeconfig", "x"), ("jws-kubeconfig-cccccc", "old")];
        map.data = Some(data.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        let wanted = signed(&map, &tokens).expect("changed");
        let keys: Vec<String> = wanted.data.clone().unwrap_or_default().into_keys().collect();
        assert_eq!(keys, ["jws-kubeconfig-aaaaaa", "kubeconfig"]);
        assert_eq!(signed(&wanted, &tokens), None);
    }
}
