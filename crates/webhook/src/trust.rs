//! Whom a connection trusts, and what it shows of itself.

use std::sync::{Arc, OnceLock};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Where systems keep the certificates they trust.
const SYSTEM_BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Which certificates a server may show, and which one the client shows.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// The CAs in PEM; `None` means those of the system.
    pub ca_pem: Option<String>,
    /// Any certificate will do (`insecure-skip-tls-verify`).
    pub insecure: bool,
    /// The client's certificate chain and key, in PEM.
    pub identity: Option<(String, String)>,
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trust").field("insecure", &self.insecure).finish_non_exhaustive()
    }
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A text holds no PEM of the sort that is needed.
    #[error("read the {what}: {cause}")]
    Pem {
        /// Which text.
        what: &'static str,
        /// What is wrong with it.
        cause: rustls_pki_types::pem::Error,
    },
    /// There is no certificate in the text.
    #[error("read the certificate authority: no certificate in it")]
    NoAuthority,
    /// The certificate and the key do not fit.
    #[error("set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

impl Trust {
    /// The TLS side of a client.
    pub fn config(&self) -> Result<ClientConfig, TrustError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let builder = if self.insecure {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        let Some((chain, key)) = &self.identity else { return Ok(builder.with_no_client_auth()) };
        let chain = certificates("client certificate", chain)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|cause| TrustError::Pem { what: "client key", cause })?;
        Ok(builder.with_client_auth_cert(chain, key)?)
    }

    fn roots(&self) -> Result<Arc<RootCertStore>, TrustError> {
        let Some(pem) = &self.ca_pem else { return Ok(system_roots()) };
        let mut roots = RootCertStore::empty();
        for certificate in certificates("certificate authority", pem)? {
            roots.add(certificate)?;
        }
        if roots.is_empty() { Err(TrustError::NoAuthority) } else { Ok(Arc::new(roots)) }
    }
}

/// The CAs that the system trusts, read when they are asked for first (as Go's `x509.SystemCertPool`).
pub fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let read = || {
        let mut roots = RootCertStore::empty();
        let bundle = SYSTEM_BUNDLES.iter().find_map(|path| std::fs::read(path).ok()).unwrap_or_default();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bundle).flatten());
        Arc::new(roots)
    };
    ROOTS.get_or_init(read).clone()
}

fn certificates(what: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    certificates.map_err(|cause| TrustError::Pem { what, cause })
}

/// Takes every certificate, as the configuration asks for.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_without_a_certificate_is_refused() {
        let error = |pem: &str| {
            let trust = Trust { ca_pem: Some(pem.into()), ..Trust::default() };
            trust.config().map(drop).expect_err("refused").to_string()
        };
        assert_eq!(error("no PEM"), "read the certificate authority: no certificate in it");
        let broken = error("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
        assert!(broken.starts_with("read the certificate authority: "), "{broken}");
    }
}
