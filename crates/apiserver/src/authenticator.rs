//! [`Authenticator`]: who asks. The contract between the handler chain and the ways to prove an identity.

use std::sync::{Arc, OnceLock};

use apimachinery::{StatusError, UserInfo};
use async_trait::async_trait;
use http::request::Parts;
use rustls_pki_types::CertificateDer;

use crate::authentication::certificate::{CertificateError, Identity};

/// The certificates a TLS client showed and proved to own, its own first. The chain has been verified against the
/// client CA by the TLS handshake. What they say is read once for all requests of the connection.
#[derive(Clone, Debug)]
pub struct PeerCertificates(Arc<Shown>);

#[derive(Debug)]
struct Shown {
    chain: Vec<CertificateDer<'static>>,
    identity: OnceLock<Result<Identity, CertificateError>>,
}

impl PeerCertificates {
    /// The certificates of a connection.
    pub fn new(chain: Vec<CertificateDer<'static>>) -> Self {
        Self(Arc::new(Shown { chain, identity: OnceLock::new() }))
    }

    /// The certificates, the client's own first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.0.chain
    }

    /// What the client's own certificate says, if it showed one.
    pub fn identity(&self) -> Option<Result<&Identity, &CertificateError>> {
        let leaf = self.0.chain.first()?;
        Some(self.0.identity.get_or_init(|| Identity::read(leaf)).as_ref())
    }
}

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
