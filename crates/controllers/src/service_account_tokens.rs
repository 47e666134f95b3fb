//! Secrets of type `kubernetes.io/service-account-token` are filled with a token of their account, and go with it
//! (upstream: pkg/controller/serviceaccount/tokens_controller.go).

use std::sync::Arc;

use client::controller::{Requeue, run_workers};
use client::{ApiError, Event, Lister, ObjectKey, WorkQueue};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, PostParams, Preconditions};

use crate::context::Context;

const TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

/// Signs the token of an account in a Secret: namespace, Secret, account, uid.
#[derive(Clone)]
pub struct TokenGenerator(pub Arc<Generating>);

/// See [`TokenGenerator`].
pub type Generating = dyn Fn(&str, &str, &str, &str) -> Result<String, String> + Send + Sync;

impl std::fmt::Debug for TokenGenerator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenGenerator").finish_non_exhaustive()
    }
}

/// Why a pass did not complete.
#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("write secret {key}: {err}")]
    Write { key: ObjectKey, err: kube::Error },
    #[error("sign the token of secret {key}: {cause}")]
    Sign { key: ObjectKey, cause: String },
}

struct Filler {
    cx: Context,
    generator: TokenGenerator,
    root_ca_pem: String,
    secrets: Lister<Secret>,
    accounts: Lister<ServiceAccount>,
}

/// What is to be done about a Secret.
#[derive(Debug, PartialEq)]
enum Plan {
    Nothing,
    /// Its account is gone.
    Delete,
    /// It lacks something; whether the token is among it.
    Fill {
        account: String,
        uid: String,
        lacks_token: bool,
    },
}

fn plan(secret: &Secret, account: Option<&ServiceAccount>, root_ca_pem: &str) -> Plan {
    let annotation = |key: &str| secret.metadata.annotations.as_ref().and_then(|all| all.get(key)).map(String::as_str);
    let Some(name) = annotation(ACCOUNT).filter(|name| !name.is_empty()) else { return Plan::Nothing };
    if secret.type_.as_deref() != Some(TYPE) || secret.metadata.deletion_timestamp.is_some() {
        return Plan::Nothing;
    }
    let Some(account) = account else { return Plan::Delete };
    let uid = account.metadata.uid.as_deref().unwrap_or_default();
    match annotation(ACCOUNT_UID) {
        // It belongs to an account of that name that is no more.
        Some(known) if !known.is_empty() && known != uid => Plan::Delete,
        known => {
            let data = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.as_slice());
            let namespace = secret.metadata.namespace.as_deref().unwrap_or_default();
            let lacks_token = data("token").is_none_or(<[u8]>::is_empty);
            let complete = !lacks_token
                && known == Some(uid)
                && data("ca.crt") == Some(root_ca_pem.as_bytes())
                && data("namespace") == Some(namespace.as_bytes());
            if complete {
                return Plan::Nothing;
            }
            Plan::Fill { account: name.to_owned(), uid: uid.to_owned(), lacks_token }
        }
    }
}

/// Starts the controller.
pub async fn run(cx: Context, generator: TokenGenerator, root_ca_pem: String) {
    let secrets = cx.informers.informer_where::<Secret>(&format!("type={TYPE}"));
    let accounts = cx.informer::<ServiceAccount>();
    let queue: WorkQueue<ObjectKey> = WorkQueue::new();
    let waiting = queue.clone();
    secrets.on_event(move |event| {
        if !matches!(event, Event::Deleted(_)) {
            waiting.add(ObjectKey::of(&**event.object()));
        }
    });
    let (waiting, known) = (queue.clone(), secrets.lister());
    accounts.on_event(move |event| {
        if matches!(event, Event::Updated { .. }) {
            return;
        }
        let account = &event.object().metadata;
        for secret in known.list() {
            let named = secret.metadata.annotations.as_ref().and_then(|all| all.get(ACCOUNT));
            if secret.metadata.namespace == account.namespace && named == account.name.as_ref() {
                waiting.add(ObjectKey::of(&*secret));
            }
        }
    });
    tokio::join!(secrets.synced(), accounts.synced());
    let scope = cx.scope.clone();
    let (secrets, accounts) = (secrets.lister(), accounts.lister());
    let filler = Arc::new(Filler { cx, generator, root_ca_pem, secrets, accounts });
    run_workers("service-account-tokens", &scope, &queue, 1, move |key: ObjectKey| {
        let filler = filler.clone();
        async move { filler.sync(&key).await.map(|()| Requeue::No) }
    });
}

impl Filler {
    async fn sync(&self, key: &ObjectKey) -> Result<(), SyncError> {
        let Some(secret) = self.secrets.get(key) else { return Ok(()) };
        let named = secret.metadata.annotations.as_ref().and_then(|all| all.get(ACCOUNT)).cloned().unwrap_or_default();
        let account = self.accounts.get(&ObjectKey::new(key.namespace.clone(), named));
        let api: Api<Secret> = Api::namespaced(self.cx.client.clone(), &key.namespace);
        let result = match plan(&secret, account.as_deref(), &self.root_ca_pem) {
            Plan::Nothing => return Ok(()),
            Plan::Delete => {
                let same = Preconditions { uid: secret.metadata.uid.clone(), resource_version: None };
                let params = DeleteParams { preconditions: Some(same), ..DeleteParams::default() };
                api.delete(&key.name, &params).await.map(drop)
            }
            Plan::Fill { account, uid, lacks_token } => {
                let mut filled = (*secret).clone();
                filled.metadata.annotations.get_or_insert_default().insert(ACCOUNT_UID.into(), uid.clone());
                let data = filled.data.get_or_insert_default();
                data.insert("ca.crt".into(), ByteString(self.root_ca_pem.clone().into_bytes()));
                data.insert("namespace".into(), ByteString(key.namespace.clone().into_bytes()));
                if lacks_token {
                    let token = (self.generator.0)(&key.namespace, &key.name, &account, &uid);
                    let token = token.map_err(|cause| SyncError::Sign { key: key.clone(), cause })?;
                    data.insert("token".into(), ByteString(token.into_bytes()));
                }
                api.replace(&key.name, &PostParams::default(), &filled).await.map(drop)
            }
        };
        match result {
            Err(err) if !err.is_not_found() => Err(SyncError::Write { key: key.clone(), err }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_filled_once_and_goes_with_its_account() {
        let mut account = ServiceAccount::default();
        account.metadata.uid = Some("1".into());
        let mut secret = Secret { type_: Some(TYPE.into()), ..Secret::default() };
        secret.metadata.namespace = Some("shop".into());
        assert_eq!(plan(&secret, Some(&account), "CA"), Plan::Nothing, "it names no account");
        secret.metadata.annotations = Some([(ACCOUNT.to_owned(), "robot".to_owned())].into());
        assert_eq!(plan(&secret, None, "CA"), Plan::Delete);
        let fill = |lacks_token| Plan::Fill { account: "robot".into(), uid: "1".into(), lacks_token };
        assert_eq!(plan(&secret, Some(&account), "CA"), fill(true));
        let data = [("token", "t"), ("ca.crt", "CA"), ("namespace", "shop")];
        secret.data = Some(data.map(|(key, value)| (key.to_owned(), ByteString(value.as_bytes().to_vec()))).into());
        assert_eq!(plan(&secret, Some(&account), "CA"), fill(false), "its account's uid is not noted");
        secret.metadata.annotations.get_or_insert_default().insert(ACCOUNT_UID.into(), "1".into());
        assert_eq!(plan(&secret, Some(&account), "CA"), Plan::Nothing);
        assert_eq!(plan(&secret, Some(&account), "new CA"), fill(false));
        secret.metadata.annotations.get_or_insert_default().insert(ACCOUNT_UID.into(), "0".into());
        assert_eq!(plan(&secret, Some(&account), "CA"), Plan::Delete);
    }
}
