//! [`VerifyingKey`]: a public key that tokens of service accounts may have been signed with
//! (upstream: pkg/serviceaccount/{jwt,openidmetadata}.go, client-go/util/keyutil `ParsePublicKeysPEM`).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::signing_key::{KeyError, SigningKey};

/// P-256 and P-384 as object identifiers.
const CURVES: [(&str, Algorithm); 2] = [("1.2.840.10045.3.1.7", Algorithm::Es256), ("1.3.132.0.34", Algorithm::Es384)];

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Es256,
    Es384,
    Rs256,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyingKey {
    id: String,
    algorithm: Algorithm,
    /// A point of the curve, or an RSAPublicKey.
    key: Vec<u8>,
    /// What differs between the algorithms in a JSON Web Key.
    parts: Vec<(&'static str, String)>,
}

impl VerifyingKey {
    /// Every key in a file: public keys, certificates, and private keys for the sake of their public part.
    pub fn all_from_pem(pem: &str) -> Result<Vec<Self>, KeyError> {
        let mut keys = Vec::new();
        for block in Pem::iter_from_buffer(pem.as_bytes()) {
            let block = block.map_err(|error| KeyError::Pem(error.to_string()))?;
            let rejected = || KeyError::Rejected(format!("a {} cannot be read", block.label));
            keys.push(match block.label.as_str() {
                "PUBLIC KEY" => Self::from_spki(&block.contents).ok_or_else(rejected)?,
                "RSA PUBLIC KEY" => Self::from_spki(&spki(RSA_ENCRYPTION, &block.contents)).ok_or_else(rejected)?,
                "CERTIFICATE" => {
                    let (_, certificate) = X509Certificate::from_der(&block.contents).map_err(|_| rejected())?;
                    Self::from_spki(certificate.public_key().raw).ok_or_else(rejected)?
                }
                "PRIVATE KEY" | "RSA PRIVATE KEY" => SigningKey::from_pem(pem)?.public().clone(),
                _ => continue,
            });
        }
        if keys.is_empty() {
            Err(KeyError::Pem("data does not contain any valid RSA or ECDSA public keys".into()))
        } else {
            Ok(keys)
        }
    }

    /// A key as SubjectPublicKeyInfo.
    pub(super) fn from_spki(der: &[u8]) -> Option<Self> {
        let (_, info) = SubjectPublicKeyInfo::from_der(der).ok()?;
        let id = BASE64.encode(Sha256::digest(der));
        let key = info.subject_public_key.data.to_vec();
        let number = |bytes: &[u8]| {
            let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
            BASE64.encode(&bytes[start..])
        };
        let (algorithm, parts) = match info.parsed().ok()? {
            PublicKey::RSA(rsa) => {
                (Algorithm::Rs256, vec![("kty", "RSA".into()), ("n", number(rsa.modulus)), ("e", number(rsa.exponent))])
            }
            PublicKey::EC(_) => {
                let curve = info.algorithm.parameters.as_ref()?.as_oid().ok()?.to_id_string();
                let (_, algorithm) = CURVES.iter().find(|(oid, _)| *oid == curve)?;
                // An uncompressed point: 4, then x and y.
                let point = key.strip_prefix(&[4])?;
                let (x, y) = point.split_at(point.len() / 2);
                let name = if *algorithm == Algorithm::Es256 { "P-256" } else { "P-384" };
                let parts =
                    vec![("kty", "EC".into()), ("crv", name.into()), ("x", BASE64.encode(x)), ("y", BASE64.encode(y))];
                (*algorithm, parts)
            }
            _ => return None,
        };
        Some(Self { id, algorithm, key, parts })
    }

    /// `kid`: the hash of the key (upstream: `keyIDFromPublicKey`).
    pub fn id(&self) -> &str {
        &self.id
    }

    /// `alg`.
    pub fn algorithm(&self) -> &'static str {
        match self.algorithm {
            Algorithm::Es256 => "ES256",
            Algorithm::Es384 => "ES384",
            Algorithm::Rs256 => "RS256",
        }
    }

    /// Whether the message was signed with this key.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &'static dyn VerificationAlgorithm = match self.algorithm {
            Algorithm::Es256 => &ECDSA_P256_SHA256_FIXED,
            Algorithm::Es384 => &ECDSA_P384_SHA384_FIXED,
            Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
        };
        UnparsedPublicKey::new(algorithm, &self.key).verify(message, signature).is_ok()
    }

    /// The key as JSON Web Key.
    pub fn jwk(&self) -> Value {
        let mut key = json!({ "use": "sig", "kid": self.id, "alg": self.algorithm() });
        for (name, part) in &self.parts {
            key[*name] = part.as_str().into();
        }
        key
    }
}

/// rsaEncryption with NULL (RFC 8017), id-ecPublicKey with each curve (RFC 5480), in DER.
pub(super) const RSA_ENCRYPTION: &[u8] =
    &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
pub(super) const P256: &[u8] = &[
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03,
    0x01, 0x07,
];
pub(super) const P384: &[u8] =
    &[0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];

/// A key of an algorithm as SubjectPublicKeyInfo.
pub(super) fn spki(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let bits = tagged(0x03, &[&[0], key].concat());
    tagged(0x30, &[algorithm, &bits].concat())
}

/// Tag, length and content in DER.
fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    match content.len() {
        length @ 0..=127 => der.push(length as u8),
        length => {
            let bytes: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
            der.push(0x80 | bytes.len() as u8);
            der.extend(bytes);
        }
    }
    der.extend_from_slice(content);
    der
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384};

    #[test]
    fn files_may_hold_several_keys() {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key");
        let certificate = CertificateParams::default().self_signed(&pair).expect("a certificate");
        let (own, own_pem) = SigningKey::generate().expect("a key");
        let text = format!("{}\n{}\n{own_pem}", pair.public_key_pem(), certificate.pem());
        let keys = VerifyingKey::all_from_pem(&text);
        // A private key is the only one of its file.
        assert!(keys.is_ok_and(|keys| keys.len() == 3 && keys[0] == keys[1]));
        let key = &VerifyingKey::all_from_pem(&pair.public_key_pem()).expect("a key")[0];
        assert_eq!((key.algorithm(), key.jwk()["crv"].as_str()), ("ES384", Some("P-384")));
        assert_eq!(VerifyingKey::all_from_pem(&own_pem).expect("a key"), [own.public().clone()]);
        let signer = SigningKey::from_pem(&pair.serialize_pem()).expect("a key");
        let signature = signer.sign(b"message").expect("a signature");
        assert!(key.verifies(b"message", &signature) && !own.public().verifies(b"message", &signature));
        assert!(VerifyingKey::all_from_pem("hello").is_err());
    }
}
