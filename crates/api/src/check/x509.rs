//! What is inside of certificates and of requests for them (upstream: Go's `crypto/x509`, whose words these are).

use x509_parser::certificate::X509Certificate;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::error::X509Error;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_PKCS1_RSAENCRYPTION,
    OID_SIG_ED25519, Oid,
};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

/// Why something is no certificate, no request or not signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Wrong {
    #[error("x509: malformed certificate")]
    Certificate,
    #[error("x509: malformed certificate request")]
    Request,
    #[error("asn1: syntax error: trailing data")]
    Trailing,
    #[error("x509: cannot verify signature: algorithm unimplemented")]
    Algorithm,
    /// Upstream verifies these; the one library here that does cryptography does not know the curve.
    #[error(
        "x509: cannot verify signature: algorithm unimplemented: ECDSA keys on the curve P-521 are not supported by \
         this server, use P-256, P-384 or Ed25519"
    )]
    P521,
    #[error("crypto/rsa: verification error")]
    Rsa,
    #[error("x509: ECDSA verification failure")]
    Ecdsa,
    #[error("x509: Ed25519 verification failure")]
    Ed25519,
}

/// One certificate and nothing after it.
pub(crate) fn certificate(der: &[u8]) -> Result<X509Certificate<'_>, Wrong> {
    match X509Certificate::from_der(der) {
        Ok((&[], certificate)) => Ok(certificate),
        Ok(_) => Err(Wrong::Trailing),
        Err(_) => Err(Wrong::Certificate),
    }
}

/// One PKCS#10 request and nothing after it.
pub(crate) fn request(der: &[u8]) -> Result<X509CertificationRequest<'_>, Wrong> {
    match X509CertificationRequest::from_der(der) {
        Ok((&[], request)) => Ok(request),
        Ok(_) => Err(Wrong::Trailing),
        Err(_) => Err(Wrong::Request),
    }
}

/// Whether whoever asks holds the key that is asked about (upstream: `CertificateRequest.CheckSignature`).
pub(crate) fn check_signature(request: &X509CertificationRequest<'_>) -> Result<(), Wrong> {
    let failed = |error| match error {
        _ if is_on_p521(request) => Wrong::P521,
        X509Error::SignatureUnsupportedAlgorithm => Wrong::Algorithm,
        _ => match Key::of(&request.certification_request_info.subject_pki) {
            Some(Key::Rsa(_)) => Wrong::Rsa,
            Some(Key::Ec(_)) => Wrong::Ecdsa,
            Some(Key::Ed25519) => Wrong::Ed25519,
            None => Wrong::Algorithm,
        },
    };
    request.verify_signature().map_err(failed)
}

fn is_on_p521(request: &X509CertificationRequest<'_>) -> bool {
    Key::of(&request.certification_request_info.subject_pki) == Some(Key::Ec(Curve::P521))
}

/// The kinds of public keys that Kubernetes knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// With the size of the modulus, in whole bytes, as bits.
    Rsa(usize),
    Ec(Curve),
    Ed25519,
}

/// The curves that Go knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    P224,
    P256,
    P384,
    P521,
    Other,
}

impl Curve {
    fn of(id: &Oid<'_>) -> Self {
        const P224: &str = "1.3.132.0.33";
        match id {
            id if *id == OID_EC_P256 => Self::P256,
            id if *id == OID_NIST_EC_P384 => Self::P384,
            id if *id == OID_NIST_EC_P521 => Self::P521,
            id if id.to_id_string() == P224 => Self::P224,
            _ => Self::Other,
        }
    }
}

impl Key {
    /// The kind of a key; nothing for others.
    pub(crate) fn of(info: &SubjectPublicKeyInfo<'_>) -> Option<Self> {
        let kind = &info.algorithm.algorithm;
        if *kind == OID_SIG_ED25519 {
            return Some(Self::Ed25519);
        }
        if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY {
            let curve = info.algorithm.parameters.as_ref()?.as_oid().ok()?;
            return Some(Self::Ec(Curve::of(&curve)));
        }
        match info.parsed() {
            Ok(PublicKey::RSA(key)) if *kind == OID_PKCS1_RSAENCRYPTION => {
                let leading = key.modulus.iter().take_while(|byte| **byte == 0).count();
                Some(Self::Rsa((key.modulus.len() - leading) * 8))
            }
            _ => None,
        }
    }
}

/// Whether two are the same key.
pub(crate) fn is_same_key(one: &SubjectPublicKeyInfo<'_>, other: &SubjectPublicKeyInfo<'_>) -> bool {
    one.algorithm.algorithm == other.algorithm.algorithm && one.subject_public_key.data == other.subject_public_key.data
}
