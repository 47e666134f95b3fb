//! Tokens in Secrets of type `kubernetes.io/service-account-token`, which do not expire
//! (upstream: pkg/serviceaccount/legacy.go).

use serde::{Deserialize, Serialize};

use super::service_account::{ServiceAccountTokens, TokenError, username};

/// Who issues them.
pub const ISSUER: &str = "kubernetes/serviceaccount";

/// A token that its administrator has invalidated carries this label (upstream: `InvalidSinceLabelKey`).
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";

/// What such a token says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegacyClaims {
    /// [`ISSUER`].
    pub iss: String,
    /// The account's namespace.
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    pub namespace: String,
    /// The Secret that holds the token.
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    pub secret: String,
    /// The account.
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    pub account: String,
    /// The account's uid.
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid")]
    pub uid: String,
    /// The user.
    pub sub: String,
}

impl LegacyClaims {
    /// The claims of the token of an account in a Secret.
    pub fn new(namespace: &str, secret: &str, account: &str, uid: &str) -> Self {
        Self {
            iss: ISSUER.into(),
            namespace: namespace.into(),
            secret: secret.into(),
            account: account.into(),
            uid: uid.into(),
            sub: username(namespace, account),
        }
    }

    /// Whether the Secret still holds this token, and the account is still the same.
    pub fn check(&self, tokens: &ServiceAccountTokens, token: &str) -> Result<(), TokenError> {
        use base64::Engine;
        let parts = [&self.namespace, &self.secret, &self.account, &self.uid];
        if parts.iter().any(|part| part.is_empty()) || self.sub != username(&self.namespace, &self.account) {
            return Err(TokenError::NoAccount);
        }
        let gone = |what: &str, name: &str| TokenError::Gone(format!("{what}/{}/{name}", self.namespace));
        let secret = tokens.object(&format!("/registry/core/secrets/{}/{}", self.namespace, self.secret))?;
        let secret = secret.ok_or_else(|| gone("secrets", &self.secret))?;
        let held = secret["data"]["token"].as_str().unwrap_or_default();
        let held = base64::engine::general_purpose::STANDARD.decode(held).unwrap_or_default();
        let is_going = !secret["metadata"]["deletionTimestamp"].is_null();
        let is_invalid = !secret["metadata"]["labels"][INVALID_SINCE].is_null();
        if held != token.as_bytes() || is_going || is_invalid {
            return Err(gone("secrets", &self.secret));
        }
        let account = tokens.object(&format!("/registry/core/serviceaccounts/{}/{}", self.namespace, self.account))?;
        let account = account.ok_or_else(|| gone("serviceaccounts", &self.account))?;
        let is_going = !account["metadata"]["deletionTimestamp"].is_null();
        if is_going || account["metadata"]["uid"] != self.uid.as_str() {
            return Err(gone("serviceaccounts", &self.account));
        }
        Ok(())
    }
}
