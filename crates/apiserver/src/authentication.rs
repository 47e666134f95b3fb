//! Authentication: who asks. A front proxy says so, a client certificate, or a bearer token.
//!
//! ```text
//! Authentication > front proxy's headers > client certificate > bearer token (Authorization, WebSocket protocol)
//!                                                                  |
//!            Tokens: file > service accounts > bootstrap > identity providers > webhook
//! ```
//!
//! The API server's chain asks [`Authentication`]; who shows nothing is anonymous where that is allowed, and RBAC gives
//! anonymous the health checks and the version only. [`impersonate`] lets those who may act as somebody else.
//! (upstream: pkg/kubeapiserver/authenticator/config.go)

use std::sync::Arc;

use apimachinery::{StatusError, UserInfo};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use authn::config::AnonymousAuthConfig;
use authn::request_header::{Authority, RequestHeader};
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::request::Parts;
use jiff::Timestamp;

use crate::authenticator::{Authenticator, PeerCertificates};

pub mod certificate;

pub mod jwt;
pub mod signing_key;

pub mod bootstrap_token;
pub mod legacy;
pub mod service_account;
pub mod tokens;

pub mod token_request;
pub mod token_review;

pub mod impersonate;

pub use service_account::ServiceAccountTokens;
pub use signing_key::SigningKey;
pub use tokens::Tokens;

/// Extra fact: which credential was shown (upstream: `user.CredentialIDKey`).
pub const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";

/// A bearer token of a browser, which can set no header (upstream: request/websocket/protocol.go).
const BEARER_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

/// The ways to prove an identity.
#[derive(Debug)]
pub struct Authentication {
    /// Believes front proxies.
    pub front_proxies: Option<RequestHeader>,
    /// The CA of client certificates, where TLS lets others in as well (those of front proxies).
    pub client_ca: Option<Authority>,
    /// Knows bearer tokens.
    pub tokens: Arc<Tokens>,
    /// Whether, and where, nothing need be shown.
    pub anonymous: Arc<ArcSwap<AnonymousAuthConfig>>,
}

impl Authentication {
    /// Client certificates that TLS has verified, and these tokens.
    pub fn new(tokens: Arc<Tokens>) -> Self {
        Self { front_proxies: None, client_ca: None, tokens, anonymous: Arc::default() }
    }

    fn by_certificate(&self, peer: &PeerCertificates, now: Timestamp) -> Result<Option<UserInfo>, StatusError> {
        let Some(identity) = peer.identity() else { return Ok(None) };
        if self.client_ca.as_ref().is_some_and(|authority| !authority.vouches_for(peer.chain(), now)) {
            return Ok(None);
        }
        let user = identity.map_err(|err| refused(err))?.user(now).map_err(|err| refused(&err))?;
        Ok(user.cloned())
    }

    async fn identify(&self, parts: &Parts, peer: Option<&PeerCertificates>) -> Result<Option<UserInfo>, StatusError> {
        let now = component_base::now();
        if let (Some(proxies), Some(peer)) = (&self.front_proxies, peer)
            && let Some(user) = proxies.user(&parts.headers, peer.chain(), now)
        {
            return Ok(Some(user));
        }
        if let Some(peer) = peer
            && let Some(user) = self.by_certificate(peer, now)?
        {
            return Ok(Some(user));
        }
        let Some(token) = bearer(parts) else { return Ok(None) };
        let known = self.tokens.authenticate(&token, self.tokens.api_audiences(), now).await;
        known.map(|known| Some(known.user)).map_err(|err| refused(&err))
    }
}

#[async_trait]
impl Authenticator for Authentication {
    async fn authenticate(
        &self,
        parts: &Parts,
        peer: Option<&PeerCertificates>,
    ) -> Result<Option<UserInfo>, StatusError> {
        match self.identify(parts, peer).await? {
            Some(mut user) => {
                if !user.is_in(AUTHENTICATED) && !user.is_in(UNAUTHENTICATED) {
                    user.groups.push(AUTHENTICATED.into());
                }
                Ok(Some(user))
            }
            None if self.anonymous.load().allows(parts.uri.path()) => Ok(None),
            None => Err(StatusError::unauthorized()),
        }
    }
}

/// The caller learns only that it is not known; why is for the log.
fn refused(err: &dyn std::fmt::Display) -> StatusError {
    tracing::debug!(%err, "unable to authenticate the request");
    StatusError::unauthorized()
}

/// The token of `Authorization: Bearer <token>`, or of a WebSocket's protocols.
fn bearer(parts: &Parts) -> Option<String> {
    let Some(value) = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()) else {
        return websocket_bearer(parts);
    };
    let (scheme, token) = value.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}

fn websocket_bearer(parts: &Parts) -> Option<String> {
    use base64::Engine;
    let offered = parts.headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let mut protocols = offered.flat_map(|value| value.split(',').map(str::trim));
    let encoded = protocols.find_map(|protocol| protocol.strip_prefix(BEARER_PROTOCOL))?;
    let token = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(encoded).ok()?;
    String::from_utf8(token).ok().filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_found() {
        for (name, header, expected) in [
            (AUTHORIZATION, "Bearer abc", Some("abc")),
            (AUTHORIZATION, "bearer  abc ", Some("abc")),
            (AUTHORIZATION, "Basic abc", None),
            (AUTHORIZATION, "Bearer", None),
            (AUTHORIZATION, "Bearer ", None),
            (SEC_WEBSOCKET_PROTOCOL, "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.YWJj", Some("abc")),
            (SEC_WEBSOCKET_PROTOCOL, "v5.channel.k8s.io", None),
            (SEC_WEBSOCKET_PROTOCOL, "base64url.bearer.authorization.k8s.io.!", None),
        ] {
            let request = http::Request::builder().header(name, header).body(()).expect("a request");
            assert_eq!(bearer(&request.into_parts().0).as_deref(), expected, "{header:?}");
        }
    }
}
