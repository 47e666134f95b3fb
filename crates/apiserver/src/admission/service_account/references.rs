//! What a pod may refer to: mirror pods to nothing of an account, and others only to the secrets that their account
//! lists, where the account asks for that (upstream: `limitSecretReferences`).

use std::collections::BTreeSet;

use apimachinery::Object;
use apimachinery::json::Read;
use serde_json::Value;

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

/// The pod's secrets are among its account's, if the account asks for it.
pub(super) fn mountable(account: &Object, pod: &Object) -> Result<(), String> {
    let is_on =
        |(key, value): (&str, &str)| key == ENFORCED && matches!(value, "true" | "1" | "t" | "T" | "TRUE" | "True");
    if !account.annotations().any(is_on) {
        return Ok(());
    }
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
    fn an_account_that_asks_for_it_bounds_the_secrets() {
        let account = |on: &str| {
            let metadata = json!({"name": "a", "annotations": {ENFORCED: on}});
            Object::from_value(json!({"metadata": metadata, "secrets": [{"name": "known"}]})).expect("an object")
        };
        let pod = |spec: Value| Object::from_value(json!({"spec": spec})).expect("an object");
        let other = pod(json!({"volumes": [{"secret": {"secretName": "other"}}]}));
        assert_eq!(mountable(&account("false"), &other), Ok(()));
        let words = "is not allowed because service account a does not reference that";
        assert_eq!(
            mountable(&account("true"), &other),
            Err(format!("volume with secret.secretName=\"other\" {words} secret"))
        );
        assert_eq!(
            mountable(&account("true"), &pod(json!({"volumes": [{"secret": {"secretName": "known"}}]}))),
            Ok(())
        );
        let variable = json!({"name": "V", "valueFrom": {"secretKeyRef": {"name": "other", "key": "k"}}});
        assert_eq!(
            mountable(&account("true"), &pod(json!({"initContainers": [{"name": "c", "env": [variable]}]}))),
            Err(format!("init container c with envVar V referencing secret.secretName=\"other\" {words} secret"))
        );
        assert_eq!(
            mountable(&account("true"), &pod(json!({"imagePullSecrets": [{"name": "p"}]}))),
            Err(format!("imagePullSecrets[0].name=\"p\" {words} imagePullSecret"))
        );
    }
}
