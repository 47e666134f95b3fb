//! [`SigningKey`]: the cluster's key for service account tokens, P-256 (ES256), P-384 (ES384) or RSA (RS256)
//! (upstream: pkg/serviceaccount/jwt.go, keyutil).

use base64::Engine;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

use super::verifying_key::{P256, P384, RSA_ENCRYPTION, VerifyingKey, spki};

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is no private key in PEM.
    #[error("read the service account key: {0}")]
    Pem(String),
    /// The key is of a kind that is not used, or broken.
    #[error("the service account key must be a P-256, P-384 or RSA key (2048 bits or more): {0}")]
    Rejected(String),
    /// The system gave no randomness, or the signature failed.
    #[error("the service account key cannot be used")]
    Unusable,
}

enum Pair {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

/// See the module.
pub struct SigningKey {
    pair: Pair,
    public: VerifyingKey,
}

impl SigningKey {
    /// A new P-256 key, and its PEM text to be kept (mode 0600).
    pub fn generate() -> Result<(Self, String), KeyError> {
        let random = SystemRandom::new();
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(|_| KeyError::Unusable)?;
        let text = base64::engine::general_purpose::STANDARD.encode(document.as_ref());
        let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
        for line in text.as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        Ok((Self::from_pem(&pem)?, pem))
    }

    /// Reads a private key: PKCS #8, or PKCS #1 for RSA.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|err| KeyError::Pem(err.to_string()))?;
        let rejected = |err: ring::error::KeyRejected| KeyError::Rejected(err.to_string());
        let pair = match &key {
            PrivateKeyDer::Pkcs1(key) => Pair::Rsa(RsaKeyPair::from_der(key.secret_pkcs1_der()).map_err(rejected)?),
            PrivateKeyDer::Pkcs8(key) => {
                let der = key.secret_pkcs8_der();
                let on = |curve| EcdsaKeyPair::from_pkcs8(curve, der, &SystemRandom::new());
                match (on(&ECDSA_P256_SHA256_FIXED_SIGNING), on(&ECDSA_P384_SHA384_FIXED_SIGNING)) {
                    (Ok(pair), _) => Pair::P256(pair),
                    (_, Ok(pair)) => Pair::P384(pair),
                    _ => Pair::Rsa(RsaKeyPair::from_pkcs8(der).map_err(rejected)?),
                }
            }
            _ => return Err(KeyError::Rejected("it is not in PKCS #8".into())),
        };
        let public = VerifyingKey::from_spki(&public_der(&pair)).ok_or(KeyError::Unusable)?;
        Ok(Self { pair, public })
    }

    /// The public key, by which others know its signatures.
    pub fn public(&self) -> &VerifyingKey {
        &self.public
    }

    /// Signs.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::P256(pair) | Pair::P384(pair) => {
                pair.sign(&random, message).map(|signature| signature.as_ref().to_vec()).map_err(|_| KeyError::Unusable)
            }
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(|_| KeyError::Unusable)?;
                Ok(signature)
            }
        }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.public.id()).finish_non_exhaustive()
    }
}

/// The public key as SubjectPublicKeyInfo.
fn public_der(pair: &Pair) -> Vec<u8> {
    match pair {
        Pair::P256(pair) => spki(P256, pair.public_key().as_ref()),
        Pair::P384(pair) => spki(P384, pair.public_key().as_ref()),
        Pair::Rsa(pair) => spki(RSA_ENCRYPTION, pair.public_key().as_ref()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    use sha2::{Digest, Sha256};

    #[test]
    fn a_key_survives_its_pem_and_knows_its_signature() {
        let (key, pem) = SigningKey::generate().expect("a key");
        let again = SigningKey::from_pem(&pem).expect("the same key");
        assert_eq!((key.public().id(), key.public().algorithm()), (again.public().id(), "ES256"));
        let signature = key.sign(b"message").expect("a signature");
        assert!(again.public().verifies(b"message", &signature));
        assert!(!again.public().verifies(b"messagf", &signature));
        let (other, _) = SigningKey::generate().expect("a key");
        assert!(!other.public().verifies(b"message", &signature));
    }

    #[test]
    fn the_public_key_is_well_formed() {
        let (key, pem) = SigningKey::generate().expect("a key");
        // Another library reads the same key and writes the same public part.
        let pair = rcgen::KeyPair::from_pem(&pem).expect("a key");
        use rcgen::PublicKeyData;
        assert_eq!(BASE64.encode(Sha256::digest(pair.subject_public_key_info())), key.public().id());
        assert_eq!(key.public().jwk()["x"].as_str().map(str::len), Some(43));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert!(matches!(SigningKey::from_pem("hello"), Err(KeyError::Pem(_))));
        let nonsense = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert!(matches!(SigningKey::from_pem(nonsense), Err(KeyError::Rejected(_))));
    }
}
