//! What a pod may refer to: mirror pods to nothing of an account, and others only to the secrets that their account
//! lists, where the account asks for that (upstream: `limitSecretReferences`).

use std::collections::BTreeSet;

use apimachinery::Object;
use apimachinery::json::Read;
use serde_json::Value;

use crate::registry::scan;

const ENFORCED: &str = "kubernetes.io/enforce-mountable-secrets";

/// A mirror pod has no account.
pub(super) fn of_mirror(pod: &Object) -> Result<(), &'static str> {
    let spec = pod.object("spec");
    if !spec.text("serviceAccountName").is_empty() {
        return Err("a mirror pod may not reference service accounts");
    }
    let in_volumes = spec.list("volumes").iter().any(|volume| volume.has("secret"));
    let in_env = containers(pod).any(|(_, container)| secrets_of(container).next().is_some());
    if in_volumes || in_env || !spec.list("imagePullSecrets").is_empty() {
        return Err("a mirror pod may not reference secrets");
    }
    let mut sources = spec.list("volumes").iter().flat_map(|volume| volume.object("projected").list("sources"));
    if sources.any(|source| source.has("serviceAccountToken")) {
        return Err("a mirror pod may not use ServiceAccountToken volume projections");
    }
    Ok(())
}

/// The containers of a pod and what messages call them.
fn containers(pod: &Object) -> impl Iterator<Item = (&'static str, &Value)> {
    let kinds = [
        ("init container", "initContainers"),
        ("container", "containers"),
        ("ephemeral container", "ephemeralContainers"),
    ];
    kinds.into_iter().flat_map(|(what, list)| pod.object("spec").list(list).iter().map(move |one| (what, one)))
}

/// The secrets in a container's environment: the variable, or "" for all of a secret; and the secret.
fn secrets_of(container: &Value) -> impl Iterator<Item = (&str, &str)> {
    let variables = container.list("env").iter().filter_map(|variable| {
        let reference = variable.object("valueFrom").value("secretKeyRef")?;
        Some((variable.text("name"), reference.text("name")))
    });
    let whole =
        container.list("envFrom").iter().filter_map(|source| Some(("", source.value("secretRef")?.text("name"))));
    variables.chain(whole)
}

/// Whether a stored account asks that its pods refer to its secrets only.
pub(super) fn are_limited(account: &[u8]) -> bool {
    let word = scan::at(account, &["metadata", "annotations", ENFORCED]).and_then(scan::text);
    matches!(word.as_deref(), Some("true" | "1" | "t" | "T" | "TRUE" | "True"))
}

/// The pod's secrets are among those of an account that asks for it.
pub(super) fn mountable(account: &Object, pod: &Object) -> Result<(), String> {
    let names = |list: &str| -> BTreeSet<&str> { account.list(list).iter().map(|one| one.text("name")).collect() };
    let (known, pull) = (names("secrets"), names("imagePullSecrets"));
    let account = account.name();
    let refused = |secret: &str| {
        format!(
            "secret.secretName={secret:?} is not allowed because service account {account} does not reference that secret"
        )
    };
    let spec = pod.object("spec");
    for secret in spec.list("volumes").iter().filter_map(|volume| volume.value("secret")) {
        let secret = secret.text("secretName");
        if !known.contains(secret) {
            return Err(format!("volume with {}", refused(secret)));
        }
    }
    for (what, container) in containers(pod) {
        if let Some((variable, secret)) = secrets_of(container).find(|(_, secret)| !known.contains(secret)) {
            let name = container.text("name");
            let of = if variable.is_empty() { "envFrom".into() } else { format!("envVar {variable}") };
            return Err(format!("{what} {name} with {of} referencing {}", refused(secret)));
        }
    }
    for (index, secret) in spec.list("imagePullSecrets").iter().enumerate() {
        let secret = secret.text("name");
        if !pull.contains(secret) {
            return Err(format!(
                "imagePullSecrets[{index}].name={secret:?} is not allowed because service account {account} does not reference that imagePullSecret"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_account_says_whether_its_pods_are_limited() {
        for (annotations, expected) in [
            (json!({ENFORCED: "true"}), true),
            (json!({ENFORCED: "T", "other": "x"}), true),
            (json!({ENFORCED: "false"}), false),
            (json!({"other": "true"}), false),
        ] {
            let account = json!({"metadata": {"annotations": annotations}}).to_string();
            assert_eq!(are_limited(account.as_bytes()), expected, "{account}");
        }
        assert!(!are_limited(br#"{"metadata":{"name":"a"}}"#));
    }

    #[test]
    fn an_account_that_asks_for_it_bounds_the_secrets() {
        let account = Object::from_value(json!({"metadata": {"name": "a"}, "secrets": [{"name": "known"}]}));
        let account = account.expect("an object");
        let pod = |spec: Value| Object::from_value(json!({"spec": spec})).expect("an object");
        let other = pod(json!({"volumes": [{"secret": {"secretName": "other"}}]}));
        let words = "is not allowed because service account a does not reference that";
        assert_eq!(mountable(&account, &other), Err(format!("volume with secret.secretName=\"other\" {words} secret")));
        assert_eq!(mountable(&account, &pod(json!({"volumes": [{"secret": {"secretName": "known"}}]}))), Ok(()));
        let variable = json!({"name": "V", "valueFrom": {"secretKeyRef": {"name": "other", "key": "k"}}});
        assert_eq!(
            mountable(&account, &pod(json!({"initContainers": [{"name": "c", "env": [variable]}]}))),
            Err(format!("init container c with envVar V referencing secret.secretName=\"other\" {words} secret"))
        );
        assert_eq!(
            mountable(&account, &pod(json!({"imagePullSecrets": [{"name": "p"}]}))),
            Err(format!("imagePullSecrets[0].name=\"p\" {words} imagePullSecret"))
        );
    }
}
