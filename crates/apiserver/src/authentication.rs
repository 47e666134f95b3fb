//! Authentication: who asks. A client certificate says so, or a service account's token.
//!
//! The API server's chain asks [`Authentication`]; what it cannot identify is anonymous, and RBAC gives anonymous the
//! health checks and the version only. [`impersonate`] lets those who may act as somebody else.

use std::sync::Arc;

use apimachinery::{StatusError, UserInfo};
use http::header::AUTHORIZATION;
use http::request::Parts;

use crate::authenticator::{Authenticator, PeerCertificates};

pub mod certificate;

pub mod jwt;
pub mod signing_key;

pub mod service_account;
pub mod token_request;
pub mod token_review;

pub mod impersonate;

pub use service_account::ServiceAccountTokens;
pub use signing_key::SigningKey;

/// Extra fact: which credential was shown (upstream: `user.CredentialIDKey`).
pub const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// The ways to prove an identity: client certificates first, then bearer tokens (upstream:
/// pkg/kubeapiserver/authenticator/config.go).
#[derive(Debug)]
pub struct Authentication {
    tokens: Arc<ServiceAccountTokens>,
}

impl Authentication {
    /// Client certificates that TLS has verified, and these tokens.
    pub fn new(tokens: Arc<ServiceAccountTokens>) -> Self {
        Self { tokens }
    }
}

impl Authenticator for Authentication {
    fn authenticate(&self, parts: &Parts, peer: Option<&PeerCertificates>) -> Result<Option<UserInfo>, StatusError> {
        let now = component_base::now();
        if let Some(leaf) = peer.and_then(|peer| peer.0.first()) {
            if let Some(user) = certificate::user(leaf, now).map_err(|err| refused(&err))? {
                return Ok(Some(user));
            }
        }
        let Some(token) = bearer(parts) else { return Ok(None) };
        let known = self.tokens.authenticate(token, self.tokens.api_audiences(), now);
        known.map(|known| Some(known.user)).map_err(|err| refused(&err))
    }
}

/// The caller learns only that it is not known; why is for the log.
fn refused(err: &dyn std::fmt::Display) -> StatusError {
    tracing::debug!(%err, "unable to authenticate the request");
    StatusError::unauthorized()
}

/// The token of `Authorization: Bearer <token>`.
fn bearer(parts: &Parts) -> Option<&str> {
    let value = parts.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_found() {
        for (header, expected) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Basic abc", None),
            ("Bearer", None),
            ("Bearer ", None),
        ] {
            let request = http::Request::builder().header(AUTHORIZATION, header).body(()).expect("a request");
            assert_eq!(bearer(&request.into_parts().0), expected, "{header:?}");
        }
    }
}
