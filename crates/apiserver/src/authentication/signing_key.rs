//! [`SigningKey`]: the cluster's key for service account tokens, P-256 (ES256) or RSA (RS256)
//! (upstream: pkg/serviceaccount/jwt.go, keyutil).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is no private key in PEM.
    #[error("read the service account key: {0}")]
    Pem(String),
    /// The key is of a kind that is not used, or broken.
    #[error("the service account key must be a P-256 or RSA key (2048 bits or more): {0}")]
    Rejected(String),
    /// The system gave no randomness, or the signature failed.
    #[error("the service account key cannot be used")]
    Unusable,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

/// See the module.
pub struct SigningKey {
    pair: Pair,
    id: String,
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
                match EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &SystemRandom::new()) {
                    Ok(pair) => Pair::Ecdsa(pair),
                    Err(_) => Pair::Rsa(RsaKeyPair::from_pkcs8(der).map_err(rejected)?),
                }
            }
            _ => return Err(KeyError::Rejected("it is not in PKCS #8".into())),
        };
        let id = BASE64.encode(Sha256::digest(public_der(&pair)));
        Ok(Self { pair, id })
    }

    /// `kid`: the hash of the public key (upstream: `keyIDFromPublicKey`).
    pub fn id(&self) -> &str {
        &self.id
    }

    /// `alg`.
    pub fn algorithm(&self) -> &'static str {
        match &self.pair {
            Pair::Ecdsa(_) => "ES256",
            Pair::Rsa(_) => "RS256",
        }
    }

    /// Signs.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ecdsa(pair) => {
                pair.sign(&random, message).map(|signature| signature.as_ref().to_vec()).map_err(|_| KeyError::Unusable)
            }
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(|_| KeyError::Unusable)?;
                Ok(signature)
            }
        }
    }

    /// Whether this key signed the message.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.pair {
            Pair::Ecdsa(pair) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key()).verify(message, signature).is_ok()
            }
            Pair::Rsa(pair) => UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key())
                .verify(message, signature)
                .is_ok(),
        }
    }

    /// The public key as JSON Web Key.
    pub fn jwk(&self) -> Value {
        let mut key = json!({ "use": "sig", "kid": self.id, "alg": self.algorithm() });
        match &self.pair {
            Pair::Ecdsa(pair) => {
                // An uncompressed point: 4, then x and y of 32 bytes each.
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                key["kty"] = "EC".into();
                key["crv"] = "P-256".into();
                key["x"] = BASE64.encode(x).into();
                key["y"] = BASE64.encode(y).into();
            }
            Pair::Rsa(pair) => {
                let public: PublicKeyComponents<Vec<u8>> = pair.public().into();
                key["kty"] = "RSA".into();
                key["n"] = BASE64.encode(public.n).into();
                key["e"] = BASE64.encode(public.e).into();
            }
        }
        key
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The public key as SubjectPublicKeyInfo.
fn public_der(pair: &Pair) -> Vec<u8> {
    // id-ecPublicKey with prime256v1, and rsaEncryption with NULL (RFC 5480, RFC 8017).
    const P256: &[u8] = &[
        0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d,
        0x03, 0x01, 0x07,
    ];
    const RSA: &[u8] = &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
    let (algorithm, key) = match pair {
        Pair::Ecdsa(pair) => (P256, pair.public_key().as_ref()),
        Pair::Rsa(pair) => (RSA, pair.public_key().as_ref()),
    };
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

    #[test]
    fn a_key_survives_its_pem_and_knows_its_signature() {
        let (key, pem) = SigningKey::generate().expect("a key");
        let again = SigningKey::from_pem(&pem).expect("the same key");
        assert_eq!((key.id(), key.algorithm()), (again.id(), "ES256"));
        let signature = key.sign(b"message").expect("a signature");
        assert!(again.verifies(b"message", &signature));
        assert!(!again.verifies(b"messagf", &signature));
        let (other, _) = SigningKey::generate().expect("a key");
        assert!(!other.verifies(b"message", &signature));
    }

    #[test]
    fn the_public_key_is_well_formed() {
        let (key, pem) = SigningKey::generate().expect("a key");
        // Another library reads the same key and writes the same public part.
        let pair = rcgen::KeyPair::from_pem(&pem).expect("a key");
        use rcgen::PublicKeyData;
        assert_eq!(BASE64.encode(Sha256::digest(pair.subject_public_key_info())), key.id());
        assert_eq!(key.jwk()["x"].as_str().map(str::len), Some(43));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert!(matches!(SigningKey::from_pem("hello"), Err(KeyError::Pem(_))));
        let nonsense = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert!(matches!(SigningKey::from_pem(nonsense), Err(KeyError::Rejected(_))));
    }
}
