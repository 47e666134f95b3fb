//! Front proxies: who proves to be one by its certificate says in headers whom it speaks for
//! (upstream: apiserver/pkg/authentication/request/headerrequest).

use std::collections::HashMap;
use std::sync::Arc;

use apimachinery::UserInfo;
use http::{HeaderMap, HeaderName};
use parking_lot::Mutex;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use sha2::{Digest, Sha256};
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The flags `--requestheader-*`.
#[derive(Clone, Debug, Default)]
pub struct RequestHeaderConfig {
    /// The CA of front proxies, in PEM.
    pub client_ca_pem: String,
    /// The common names a proxy may have; none means any.
    pub allowed_names: Vec<String>,
    /// The headers with the user name; the first that is there counts.
    pub username_headers: Vec<String>,
    /// The headers with the uid.
    pub uid_headers: Vec<String>,
    /// The headers with the groups.
    pub group_headers: Vec<String>,
    /// What the headers with further facts begin with.
    pub extra_header_prefixes: Vec<String>,
}

/// Why the flags cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RequestHeaderError {
    /// A name that no header can have.
    #[error("{0:?} is no name of a header")]
    Header(String),
    /// The CA cannot be used.
    #[error("the front proxies' CA: {0}")]
    Authority(#[from] AuthorityError),
}

/// Verifies certificates of one CA, and remembers which it has verified.
pub struct Authority {
    verifier: Arc<dyn ClientCertVerifier>,
    /// By the hash of a certificate, until when (in seconds since 1970) it is good.
    verified: Mutex<HashMap<[u8; 32], i64>>,
}

/// So many certificates are remembered.
const REMEMBERED: usize = 1024;

/// Why a CA cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// It is no PEM.
    #[error("read the certificates: {0}")]
    Pem(rustls_pki_types::pem::Error),
    /// A certificate in it is none, or there is none.
    #[error("use the certificates: {0}")]
    Unusable(String),
}

impl Authority {
    /// The CA in a PEM text.
    pub fn new(pem: &str) -> Result<Self, AuthorityError> {
        let unusable = |cause: &dyn std::fmt::Display| AuthorityError::Unusable(cause.to_string());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots.add(certificate.map_err(AuthorityError::Pem)?).map_err(|cause| unusable(&cause))?;
        }
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        Ok(Self { verifier: verifier.map_err(|cause| unusable(&cause))?, verified: Mutex::default() })
    }

    /// Whether the chain, its own certificate first, leads to this CA. TLS has seen that its owner holds the key.
    pub fn vouches_for(&self, chain: &[CertificateDer<'_>], now: jiff::Timestamp) -> bool {
        let Some((leaf, intermediates)) = chain.split_first() else { return false };
        let id: [u8; 32] = Sha256::digest(leaf).into();
        if let Some(until) = self.verified.lock().get(&id) {
            return now.as_second() <= *until;
        }
        let seconds = u64::try_from(now.as_second()).unwrap_or_default();
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let good = self.verifier.verify_client_cert(leaf, intermediates, at).is_ok();
        let until = X509Certificate::from_der(leaf).map(|(_, leaf)| leaf.validity().not_after.timestamp());
        let mut verified = self.verified.lock();
        if verified.len() >= REMEMBERED {
            verified.clear();
        }
        verified.insert(id, until.ok().filter(|_| good).unwrap_or(i64::MIN));
        good
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// Believes front proxies.
#[derive(Debug)]
pub struct RequestHeader {
    authority: Authority,
    allowed_names: Vec<String>,
    username: Vec<HeaderName>,
    uid: Vec<HeaderName>,
    group: Vec<HeaderName>,
    extra_prefixes: Vec<String>,
}

impl RequestHeader {
    /// As the flags say.
    pub fn new(config: &RequestHeaderConfig) -> Result<Self, RequestHeaderError> {
        let names = |list: &[String]| -> Result<Vec<HeaderName>, RequestHeaderError> {
            let parse = |name: &String| {
                HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| RequestHeaderError::Header(name.clone()))
            };
            list.iter().map(parse).collect()
        };
        Ok(Self {
            authority: Authority::new(&config.client_ca_pem)?,
            allowed_names: config.allowed_names.clone(),
            username: names(&config.username_headers)?,
            uid: names(&config.uid_headers)?,
            group: names(&config.group_headers)?,
            extra_prefixes: config.extra_header_prefixes.iter().map(|prefix| prefix.to_ascii_lowercase()).collect(),
        })
    }

    /// Whom the headers name, when the chain proves a front proxy; `None` for everybody else.
    pub fn user(&self, headers: &HeaderMap, chain: &[CertificateDer<'_>], now: jiff::Timestamp) -> Option<UserInfo> {
        let username = value(headers, &self.username)?;
        if !self.is_proxy(chain, now) {
            return None;
        }
        let mut user = UserInfo { username, ..UserInfo::default() };
        user.uid = value(headers, &self.uid).unwrap_or_default();
        for name in &self.group {
            user.groups.extend(headers.get_all(name).iter().map(text).filter(|group| !group.is_empty()));
        }
        for (name, value) in headers {
            let key = self.extra_prefixes.iter().find_map(|prefix| name.as_str().strip_prefix(prefix.as_str()));
            if let Some(key) = key {
                user.extra.entry(unescaped(key)).or_default().push(text(value));
            }
        }
        Some(user)
    }

    fn is_proxy(&self, chain: &[CertificateDer<'_>], now: jiff::Timestamp) -> bool {
        let Some(leaf) = chain.first() else { return false };
        if !self.authority.vouches_for(chain, now) {
            return false;
        }
        if self.allowed_names.is_empty() {
            return true;
        }
        let Ok((_, leaf)) = X509Certificate::from_der(leaf) else { return false };
        let name = leaf.subject().iter_common_name().find_map(|name| name.as_str().ok()).unwrap_or_default();
        self.allowed_names.iter().any(|allowed| allowed == name)
    }
}

fn text(value: &http::HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

fn value(headers: &HeaderMap, names: &[HeaderName]) -> Option<String> {
    names.iter().find_map(|name| headers.get(name).map(text).filter(|value| !value.is_empty()))
}

/// Undoes percent-encoding; a key that is not encoded rightly stays as it is.
fn unescaped(key: &str) -> String {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first != b'%' {
            bytes.push(*first);
            rest = tail;
            continue;
        }
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else { return key.to_owned() };
        bytes.push(byte);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).unwrap_or_else(|_| key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    fn ca() -> (Issuer<'static, KeyPair>, String) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        (Issuer::new(params, key), pem)
    }

    fn leaf(ca: &Issuer<'static, KeyPair>, name: &str) -> Vec<CertificateDer<'static>> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        vec![params.signed_by(&key, ca).expect("a certificate").der().clone()]
    }

    #[test]
    fn only_a_front_proxy_is_believed() {
        let (issuer, pem) = ca();
        let (stranger, _) = ca();
        let one = |name: &str| vec![name.to_owned()];
        let proxies = RequestHeader::new(&RequestHeaderConfig {
            client_ca_pem: pem,
            allowed_names: one("front"),
            username_headers: one("X-Remote-User"),
            uid_headers: one("X-Remote-Uid"),
            group_headers: one("X-Remote-Group"),
            extra_header_prefixes: one("X-Remote-Extra-"),
        })
        .expect("a configuration");
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-remote-user", "ann"),
            ("x-remote-uid", "7"),
            ("x-remote-group", "dev"),
            ("x-remote-group", "ops"),
            ("x-remote-extra-acme%2fteam", "blue"),
        ] {
            headers.append(HeaderName::from_static(name), value.parse().expect("a value"));
        }
        let now = component_base::now();
        let user = proxies.user(&headers, &leaf(&issuer, "front"), now).expect("believed");
        assert_eq!((user.username.as_str(), user.uid.as_str()), ("ann", "7"));
        assert_eq!(user.groups, ["dev", "ops"]);
        assert_eq!(user.extra["acme/team"], ["blue"]);
        assert_eq!(proxies.user(&headers, &leaf(&issuer, "other"), now), None);
        assert_eq!(proxies.user(&headers, &leaf(&stranger, "front"), now), None);
        assert_eq!(proxies.user(&headers, &[], now), None);
        assert_eq!(proxies.user(&HeaderMap::new(), &leaf(&issuer, "front"), now), None);
    }
}
