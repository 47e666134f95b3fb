//! [`Authenticator`]: who asks. The contract between the handler chain and the ways to prove an identity.

use apimachinery::{StatusError, UserInfo};
use async_trait::async_trait;
use http::request::Parts;
use rustls_pki_types::CertificateDer;

/// The certificates a TLS client showed and proved to own, its own first. The chain has been verified against the
/// client CA by the TLS handshake.
#[derive(Clone, Debug)]
pub struct PeerCertificates(pub Vec<CertificateDer<'static>>);

/// Finds the identity behind a request.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// The user, `None` when the request carries no credentials that this authenticator knows, or an error (usually
    /// [`StatusError::unauthorized`]) when it carries bad ones.
    async fn authenticate(
        &self,
        parts: &Parts,
        peer: Option<&PeerCertificates>,
    ) -> Result<Option<UserInfo>, StatusError>;
}

/// Knows nobody: every request from a socket is anonymous.
#[derive(Clone, Copy, Debug, Default)]
pub struct NobodyKnown;

#[async_trait]
impl Authenticator for NobodyKnown {
    async fn authenticate(
        &self,
        _parts: &Parts,
        _peer: Option<&PeerCertificates>,
    ) -> Result<Option<UserInfo>, StatusError> {
        Ok(None)
    }
}
