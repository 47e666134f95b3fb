//! How extension servers are spoken to: the front proxy's certificate, and what is believed of theirs.

use apimachinery::json::Read;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use webhook::{Trust, TrustError};

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
#[error("the front proxy's certificate: {0}")]
pub struct ProxyClientError(#[from] TrustError);

/// The certificate and its key, in PEM.
#[derive(Default)]
pub(crate) struct ProxyClient {
    identity: Option<(String, String)>,
}

impl ProxyClient {
    pub(crate) fn new(config: &ProxyClientConfig) -> Result<Self, ProxyClientError> {
        let identity = Some((config.cert_pem.clone(), config.key_pem.clone()));
        // Read once, so that a bad one is refused at the start; whom to believe each APIService says.
        Trust { insecure: true, identity: identity.clone(), ..Trust::default() }.config()?;
        Ok(Self { identity })
    }

    /// What is believed of the server of an APIService of this spec, and what is shown to it.
    pub(super) fn trust(&self, spec: &Value) -> Trust {
        let bundle = STANDARD.decode(spec.text("caBundle")).unwrap_or_default();
        Trust {
            ca_pem: (!bundle.is_empty()).then(|| String::from_utf8_lossy(&bundle).into_owned()),
            insecure: spec.flag("insecureSkipTLSVerify"),
            identity: self.identity.clone(),
        }
    }
}

impl std::fmt::Debug for ProxyClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProxyClient").field("has_identity", &self.identity.is_some()).finish()
    }
}
