//! How extension servers are spoken to: the front proxy's certificate, and what is believed of theirs.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use serde_json::Value;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::serve::{TlsError, certificates};

/// The certificate with which the server speaks to extension servers (`--proxy-client-cert-file`,
/// `--proxy-client-key-file`), and what these check it against.
#[derive(Clone, Default)]
pub struct ProxyClientConfig {
    /// The certificate, in PEM.
    pub cert_pem: String,
    /// Its key, in PEM.
    pub key_pem: String,
    /// The CA that signed it (`--requestheader-client-ca-file`), in PEM; published for extension servers.
    pub ca_pem: String,
    /// The common names that are believed (`--requestheader-allowed-names`).
    pub allowed_names: Vec<String>,
}

impl std::fmt::Debug for ProxyClientConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProxyClientConfig").field("allowed_names", &self.allowed_names).finish_non_exhaustive()
    }
}

/// Why the front proxy's certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProxyClientError {
    /// A text holds no usable certificate or key.
    #[error(transparent)]
    Pem(#[from] TlsError),
}

/// The certificate, read.
#[derive(Debug, Default)]
pub(crate) struct ProxyClient {
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl ProxyClient {
    pub(crate) fn new(config: &ProxyClientConfig) -> Result<Self, ProxyClientError> {
        let chain = certificates("front proxy certificate", &config.cert_pem)?;
        let key = PrivateKeyDer::from_pem_slice(config.key_pem.as_bytes())
            .map_err(|cause| TlsError::Pem { what: "front proxy key", cause })?;
        Ok(Self { identity: Some((chain, key)) })
    }

    /// The TLS side of connections to the server of an APIService of this spec.
    pub(crate) fn config(&self, spec: &Value) -> Result<Arc<ClientConfig>, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = if spec["insecureSkipTLSVerify"] == true {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked(provider)))
        } else {
            builder.with_root_certificates(roots(spec["caBundle"].as_str().unwrap_or_default())?)
        };
        let mut config = match &self.identity {
            Some((chain, key)) => {
                builder.with_client_auth_cert(chain.clone(), key.clone_key()).map_err(|error| error.to_string())?
            }
            None => builder.with_no_client_auth(),
        };
        // Only HTTP/1.1 changes protocols.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn roots(bundle: &str) -> Result<RootCertStore, String> {
    let pem = STANDARD.decode(bundle).map_err(|error| format!("unable to load root certificates: {error}"))?;
    let mut roots = RootCertStore::empty();
    let found: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("unable to load root certificates: {error}"))?;
    for certificate in found {
        roots.add(certificate).map_err(|error| format!("unable to load root certificates: {error}"))?;
    }
    Ok(roots)
}

/// Believes any certificate: for APIServices that ask for it with `insecureSkipTLSVerify`, and for nothing else.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
