//! TokenRequest: a token for a service account, perhaps bound to a pod
//! (upstream: pkg/registry/core/serviceaccount/storage/token.go, pkg/apis/authentication/validation).

use apimachinery::{GroupKind, GroupResource, Object, StatusError, UserInfo, field};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::service_account::{Claims, Private, Reference, ServiceAccountTokens};
use crate::authorization::node::node_of;

const DEFAULT_SECONDS: i64 = 3600;
const MIN_SECONDS: i64 = 600;
const MAX_SECONDS: i64 = 1 << 32;

/// What kubelets ask for by default; such tokens live on for a year, so that clients which never read theirs again
/// keep working, and warn from here on (upstream: `WarnOnlyBoundTokenExpirationPeriod`).
const WARN_ONLY_SECONDS: i64 = 3607;
const EXTENDED_SECONDS: i64 = 365 * 24 * 3600;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    audiences: Option<Vec<String>>,
    expiration_seconds: Option<i64>,
    bound_object_ref: Option<ObjectReference>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ObjectReference {
    kind: String,
    api_version: String,
    name: String,
    uid: String,
}

/// Answers a request for a token of the account `namespace/name`; the object is the answered TokenRequest.
pub async fn create(
    tokens: &ServiceAccountTokens,
    user: &UserInfo,
    namespace: &str,
    name: &str,
    mut request: Object,
    now: Timestamp,
) -> Result<Object, StatusError> {
    let spec = request.0.get("spec").cloned().unwrap_or_else(|| json!({}));
    let spec: Spec = serde_json::from_value(spec)
        .map_err(|err| StatusError::bad_request(format!("the request's spec cannot be read: {err}")))?;
    let asked = check_seconds(spec.expiration_seconds.unwrap_or(DEFAULT_SECONDS), name)?;
    let settings = tokens.settings();
    let most = settings.max_expiration.map(|most| i64::try_from(most.as_secs()).unwrap_or(i64::MAX));
    let seconds = asked.min(most.unwrap_or(asked));
    let audiences = spec.audiences.filter(|audiences| !audiences.is_empty());
    let audiences = audiences.unwrap_or_else(|| tokens.api_audiences().to_vec());

    let account = stored(tokens, "serviceaccounts", namespace, name).await?;
    if !request.uid().is_empty() && request.uid() != account.uid() {
        let cause = format!(
            "the UID in the token request ({}) does not match the UID of the service account ({})",
            request.uid(),
            account.uid()
        );
        return Err(StatusError::conflict(&GroupResource::new("", "serviceaccounts"), name, &cause));
    }
    let mut private = Private {
        namespace: namespace.into(),
        serviceaccount: Reference { name: name.into(), uid: account.uid().into() },
        ..Private::default()
    };
    if let Some(bound) = &spec.bound_object_ref {
        bind(tokens, &mut private, bound, name).await?;
    }
    check_node(user, &private, spec.bound_object_ref.as_ref())?;

    let issued = now.as_second();
    let mut expires = issued + seconds;
    if settings.extend_expiration
        && seconds == WARN_ONLY_SECONDS
        && private.pod.is_some()
        && audiences == tokens.api_audiences()
    {
        private.warnafter = Some(expires);
        expires = issued + EXTENDED_SECONDS;
    }
    let claims =
        Claims { aud: audiences.clone(), exp: expires, iat: issued, nbf: issued, private, ..Claims::default() };
    let token = tokens.issue(claims).map_err(StatusError::internal)?;

    let told = now.checked_add(SignedDuration::from_secs(seconds)).map_err(StatusError::internal)?;
    let timestamp = component_base::clock::rfc3339_seconds;
    for (key, value) in [("name", name), ("namespace", namespace), ("creationTimestamp", &timestamp(now))] {
        request.set_meta_str(key, value);
    }
    let bound = request.at(&["spec", "boundObjectRef"]).cloned().unwrap_or(Value::Null);
    request.0.insert(
        "spec".into(),
        json!({ "audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": bound }),
    );
    request.0.insert("status".into(), json!({ "token": token, "expirationTimestamp": timestamp(told) }));
    Ok(request)
}

fn check_seconds(seconds: i64, name: &str) -> Result<i64, StatusError> {
    let text = match seconds {
        ..MIN_SECONDS => "may not specify a duration less than 10 minutes",
        MIN_SECONDS..=MAX_SECONDS => return Ok(seconds),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    let path = field::Path::new("spec").child("expirationSeconds");
    let error = field::Error::invalid(&path, seconds, text);
    Err(StatusError::invalid(&GroupKind::new("authentication.k8s.io", "TokenRequest"), name, &[error]))
}

/// Notes what the token is bound to, once it is seen to be there and the same.
async fn bind(
    tokens: &ServiceAccountTokens,
    private: &mut Private,
    bound: &ObjectReference,
    account: &str,
) -> Result<(), StatusError> {
    let namespace = private.namespace.clone();
    let plural = match (bound.api_version.as_str(), bound.kind.as_str()) {
        ("v1", "Pod") => "pods",
        ("v1", "Secret") => "secrets",
        ("v1", "Node") => "nodes",
        (version, kind) => {
            return Err(StatusError::bad_request(format!(
                "cannot bind token to object of type {version}, Kind={kind}"
            )));
        }
    };
    let namespace = if plural == "nodes" { "" } else { &namespace };
    let object = stored(tokens, plural, namespace, &bound.name).await?;
    if !bound.uid.is_empty() && bound.uid != object.uid() {
        let cause = format!(
            "the UID in the bound object reference ({}) does not match the UID in record. The object might have been deleted and then recreated",
            bound.uid
        );
        return Err(StatusError::conflict(&GroupResource::new("", bound.kind.clone()), &bound.name, &cause));
    }
    let reference = Reference { name: bound.name.clone(), uid: object.uid().into() };
    match plural {
        "pods" => {
            if object.str_at(&["spec", "serviceAccountName"]).unwrap_or_default() != account {
                return Err(StatusError::bad_request(format!(
                    "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
                )));
            }
            private.pod = Some(reference);
            private.node = node_of_pod(tokens, &object).await?;
        }
        "secrets" => private.secret = Some(reference),
        _ => private.node = Some(reference),
    }
    Ok(())
}

async fn node_of_pod(tokens: &ServiceAccountTokens, pod: &Object) -> Result<Option<Reference>, StatusError> {
    let Some(name) = pod.str_at(&["spec", "nodeName"]).filter(|name| !name.is_empty()) else { return Ok(None) };
    let uid = match stored(tokens, "nodes", "", name).await {
        Ok(node) => node.uid().to_owned(),
        // A node that has gone is still where the pod is said to run.
        Err(error) if error.code == 404 => String::new(),
        Err(error) => return Err(error),
    };
    Ok(Some(Reference { name: name.into(), uid }))
}

/// A kubelet gets tokens only for the pods it runs (upstream: noderestriction `admitServiceAccount`).
fn check_node(user: &UserInfo, private: &Private, bound: Option<&ObjectReference>) -> Result<(), StatusError> {
    let Some(node) = node_of(user) else { return Ok(()) };
    let account = &private.serviceaccount.name;
    let refuse = |cause: &str| Err(StatusError::forbidden(&GroupResource::new("", "serviceaccounts"), account, cause));
    if private.pod.is_none() {
        return refuse("node requested token not bound to a pod");
    }
    if bound.is_none_or(|bound| bound.uid.is_empty()) {
        return refuse("node requested token with a pod binding without a uid");
    }
    if private.node.as_ref().is_none_or(|bound| bound.name != node) {
        return refuse("node requested token bound to a pod scheduled on a different node");
    }
    Ok(())
}

/// A stored object, or its kind's 404.
async fn stored(
    tokens: &ServiceAccountTokens,
    plural: &str,
    namespace: &str,
    name: &str,
) -> Result<Object, StatusError> {
    let place = if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") };
    let found = tokens.store().get(&format!("/registry/core/{plural}/{place}")).await;
    let entry = found
        .map_err(|err| crate::status::of_store(&err))?
        .ok_or_else(|| StatusError::not_found(&GroupResource::new("", plural), name))?;
    crate::registry::decode_entry(&entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authentication::SigningKey;
    use crate::registry::finish::Canonical;
    use std::sync::Arc;
    use store::suite::put;
    use store::{Embedded, Expect};

    async fn tokens() -> ServiceAccountTokens {
        let store = Embedded::in_memory(Arc::new(Canonical::default()));
        for (key, object) in [
            ("serviceaccounts/shop/robot", json!({ "metadata": { "uid": "sa-1" } })),
            (
                "pods/shop/web",
                json!({ "metadata": { "uid": "pod-1" }, "spec": { "serviceAccountName": "robot", "nodeName": "a" } }),
            ),
            ("pods/shop/other", json!({ "metadata": { "uid": "pod-2" }, "spec": { "serviceAccountName": "default" } })),
            ("nodes/a", json!({ "metadata": { "uid": "node-1" } })),
        ] {
            put(&*store, &format!("/registry/core/{key}"), Expect::Absent, &object.to_string()).await;
        }
        let (key, _) = SigningKey::generate().expect("a key");
        ServiceAccountTokens::new("https://issuer", key, store)
    }

    async fn ask(tokens: &ServiceAccountTokens, user: &UserInfo, account: &str, spec: Value) -> Result<Object, String> {
        let request = Object::from_value(json!({ "spec": spec })).expect("an object");
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        create(tokens, user, "shop", account, request, now).await.map_err(|error| error.message)
    }

    fn pod(name: &str, uid: &str) -> Value {
        json!({ "boundObjectRef": { "apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid }, "expirationSeconds": 3607 })
    }

    #[tokio::test]
    async fn a_bound_token_is_issued_and_believed() {
        let tokens = tokens().await;
        let node = UserInfo::new("system:node:a", ["system:nodes"]);
        let answer = ask(&tokens, &node, "robot", pod("web", "pod-1")).await.expect("issued");
        assert_eq!(answer.str_at(&["status", "expirationTimestamp"]), Some("2026-01-01T01:00:07Z"));
        assert_eq!(answer.at(&["spec", "audiences"]), Some(&json!(["https://issuer"])));
        let token = answer.str_at(&["status", "token"]).expect("a token");
        let later: Timestamp = "2026-06-01T00:00:00Z".parse().expect("a time");
        let known = tokens.authenticate(token, tokens.api_audiences(), later).expect("a kubelet's token is extended");
        assert_eq!(known.user.extra["authentication.kubernetes.io/node-uid"], ["node-1"]);

        let review = Object::from_value(json!({ "spec": { "token": token } })).expect("an object");
        let tokens = super::super::Tokens::new(Arc::new(tokens));
        let review = super::super::token_review::review(&tokens, review, later).await.expect("reviewed");
        assert_eq!(review.str_at(&["status", "user", "username"]), Some("system:serviceaccount:shop:robot"));
    }

    #[tokio::test]
    async fn what_does_not_fit_is_refused() {
        let tokens = tokens().await;
        let (ann, a, b) = (
            UserInfo::new("ann", ["admins"]),
            UserInfo::new("system:node:a", ["system:nodes"]),
            UserInfo::new("system:node:b", ["system:nodes"]),
        );
        for (user, account, spec, expected) in [
            (&ann, "robot", json!({}), ""),
            (&ann, "gone", json!({}), r#"serviceaccounts "gone" not found"#),
            (&ann, "robot", json!({ "expirationSeconds": 599 }), "may not specify a duration less than 10 minutes"),
            (
                &ann,
                "robot",
                json!({ "expirationSeconds": 1_i64 << 33 }),
                "may not specify a duration larger than 2^32 seconds",
            ),
            (&ann, "robot", pod("gone", ""), r#"pods "gone" not found"#),
            (&ann, "robot", pod("web", "pod-0"), "The object might have been deleted and then recreated"),
            (&ann, "robot", pod("other", ""), "pod running with different serviceaccount name."),
            (
                &ann,
                "robot",
                json!({ "boundObjectRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "x" } }),
                "cannot bind token to object of type",
            ),
            (&a, "robot", json!({}), "node requested token not bound to a pod"),
            (&a, "robot", pod("web", ""), "node requested token with a pod binding without a uid"),
            (&b, "robot", pod("web", "pod-1"), "node requested token bound to a pod scheduled on a different node"),
        ] {
            match ask(&tokens, user, account, spec.clone()).await {
                Ok(_) => assert_eq!(expected, "", "{} {account} {spec}", user.username),
                Err(message) => {
                    assert!(
                        !expected.is_empty() && message.contains(expected),
                        "{} {account} {spec}: {message}",
                        user.username
                    );
                }
            }
        }
    }
}
