//! Bootstrap tokens: Secrets in kube-system with which nodes join
//! (upstream: plugin/pkg/auth/authenticator/token/bootstrap).

use std::sync::Arc;

use apimachinery::UserInfo;
use async_trait::async_trait;
use authn::token::{BoxError, Known, TokenAuthenticator};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};
use store::Store;

const TYPE: &str = "bootstrap.kubernetes.io/token";
const GROUP: &str = "system:bootstrappers";

/// Knows the tokens that the store's Secrets describe.
#[derive(Debug)]
pub struct BootstrapTokens {
    store: Arc<dyn Store>,
}

impl BootstrapTokens {
    /// The tokens of this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }
}

#[async_trait]
impl TokenAuthenticator for BootstrapTokens {
    async fn authenticate(
        &self,
        token: &str,
        _audiences: &[String],
        now: Timestamp,
    ) -> Result<Option<Known>, BoxError> {
        let Some((id, secret)) = split(token) else { return Ok(None) };
        let found = self.store.get(&format!("/registry/core/secrets/kube-system/bootstrap-token-{id}")).await?;
        let Some(entry) = found else { return Ok(None) };
        let stored: Value = serde_json::from_slice(&entry.finished.value)?;
        Ok(user(&stored, id, secret, now).map(|user| Known { user, audiences: Vec::new() }))
    }
}

/// `<6 letters or digits>.<16 of them>` (upstream: `BootstrapTokenRegexp`).
pub fn split(token: &str) -> Option<(&str, &str)> {
    let is_part = |text: &str, length| {
        text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
    };
    token.split_once('.').filter(|(id, secret)| is_part(id, 6) && is_part(secret, 16))
}

/// The user of a token as its Secret says; `None` when the Secret does not stand for the token, or no longer.
fn user(stored: &Value, id: &str, secret: &str, now: Timestamp) -> Option<UserInfo> {
    if stored["type"] != TYPE || !stored["metadata"]["deletionTimestamp"].is_null() {
        return None;
    }
    let data = |key: &str| {
        let text = stored["data"][key].as_str().unwrap_or_default();
        BASE64.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
    };
    let (own_secret, own_id) = (data("token-secret"), data("token-id"));
    // Hashes are compared, so that the time it takes says nothing about the secret.
    let is_same = !own_secret.is_empty() && Sha256::digest(&own_secret) == Sha256::digest(secret);
    if !is_same || own_id != id || is_expired(&data("expiration"), now) {
        return None;
    }
    if data("usage-bootstrap-authentication") != "true" {
        return None;
    }
    let mut groups = vec![GROUP.to_owned()];
    for group in data("auth-extra-groups").split(',').filter(|group| !group.is_empty()) {
        if !is_group(group) {
            tracing::debug!(id, group, "a bootstrap token names a group that it may not");
            return None;
        }
        groups.push(group.to_owned());
    }
    groups[1..].sort();
    groups.dedup();
    Some(UserInfo { username: format!("system:bootstrap:{id}"), groups, ..UserInfo::default() })
}

/// A time that does not read is over.
fn is_expired(text: &str, now: Timestamp) -> bool {
    !text.is_empty() && text.parse::<Timestamp>().map_or(true, |at| at <= now)
}

/// Upstream: `BootstrapGroupPattern`.
fn is_group(group: &str) -> bool {
    let Some(rest) = group.strip_prefix("system:bootstrappers:") else { return false };
    let is_letter = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
    (1..=256).contains(&rest.len())
        && rest.bytes().all(|byte| is_letter(byte) || matches!(byte, b':' | b'-'))
        && rest.bytes().last().is_some_and(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> Option<Vec<String>> {
        let mut data = serde_json::Map::new();
        for (key, value) in [
            ("token-id", "abcdef"),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-authentication", "true"),
            ("auth-extra-groups", "system:bootstrappers:kubeadm:default-node-token"),
            ("expiration", "2026-06-01T00:00:00Z"),
        ] {
            data.insert(key.into(), value.into());
        }
        change(&mut data);
        let kind = data.remove("type").unwrap_or_else(|| TYPE.into());
        for value in data.values_mut() {
            *value = BASE64.encode(value.as_str().unwrap_or_default()).into();
        }
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        user(&json!({ "type": kind, "data": data }), "abcdef", "0123456789abcdef", now).map(|user| user.groups)
    }

    #[test]
    fn a_secret_stands_for_its_token_while_it_says_so() {
        assert_eq!(
            check(|_| {}).expect("known"),
            ["system:bootstrappers", "system:bootstrappers:kubeadm:default-node-token"]
        );
        for (key, value) in [
            ("type", "Opaque"),
            ("token-id", "other1"),
            ("token-secret", "0123456789abcdeX"),
            ("token-secret", ""),
            ("usage-bootstrap-authentication", "false"),
            ("expiration", "2025-12-31T00:00:00Z"),
            ("expiration", "soon"),
            ("auth-extra-groups", "system:masters"),
        ] {
            assert_eq!(check(|data| drop(data.insert(key.into(), value.into()))), None, "{key}={value}");
        }
        assert_eq!(check(|data| drop(data.remove("auth-extra-groups"))).expect("known"), ["system:bootstrappers"]);
    }

    #[test]
    fn tokens_have_their_form() {
        assert_eq!(split("abcdef.0123456789abcdef"), Some(("abcdef", "0123456789abcdef")));
        for token in ["", "abcdef", "abcde.0123456789abcdef", "ABCDEF.0123456789abcdef", "abcdef.0123456789abcde_"] {
            assert_eq!(split(token), None, "{token}");
        }
    }
}
