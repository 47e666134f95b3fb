//! Signed tokens of others and the keys they were signed with: JWS in its compact form and JWK sets
//! (RFC 7515, 7517, 7518).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Longer tokens are not looked at.
const MAX_BYTES: usize = 64 * 1024;

/// The algorithms that are believed (upstream: `allowedSigningAlgs`). Of upstream's, ES512 is not among them: the one
/// library here that does cryptography does not know its curve.
pub const ALGORITHMS: [&str; 8] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384"];

/// Why an algorithm cannot be chosen, if it cannot.
pub fn unsupported(algorithm: &str) -> Option<String> {
    match algorithm {
        known if ALGORITHMS.contains(&known) => None,
        "ES512" => Some(
            "oidc: unsupported signing alg: \"ES512\": signatures on the curve P-521 cannot be verified by this server"
                .to_owned(),
        ),
        other => Some(format!("oidc: unsupported signing alg: {other:?}")),
    }
}

/// Why a token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoseError {
    /// It is no token.
    #[error("malformed jwt")]
    Malformed,
    /// It names an algorithm that is not believed.
    #[error("id token signed with unsupported algorithm")]
    Algorithm,
    /// It names the one algorithm of upstream's that cannot be verified here.
    #[error("id token signed with unsupported algorithm: ES512 (ECDSA on P-521) cannot be verified by this server")]
    Es512,
    /// No key fits.
    #[error("failed to verify id token signature")]
    Signature,
}

/// A token, taken apart and not believed yet.
#[derive(Debug)]
pub struct Token<'a> {
    /// What was signed.
    message: &'a str,
    signature: Vec<u8>,
    header: Header,
    /// What it claims.
    pub claims: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
    crit: Option<Value>,
}

impl<'a> Token<'a> {
    /// Takes a token apart.
    pub fn parse(text: &'a str) -> Result<Self, JoseError> {
        if text.len() > MAX_BYTES {
            return Err(JoseError::Malformed);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(JoseError::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(JoseError::Malformed)?;
        let part = |text: &str| BASE64.decode(text).map_err(|_| JoseError::Malformed);
        let header: Header = serde_json::from_slice(&part(header)?).map_err(|_| JoseError::Malformed)?;
        if header.crit.is_some() {
            return Err(JoseError::Malformed);
        }
        let claims = serde_json::from_slice(&part(claims)?).map_err(|_| JoseError::Malformed)?;
        Ok(Self { message, signature: part(signature)?, header, claims })
    }

    /// The key it says it was signed with; may be empty.
    pub fn key_id(&self) -> &str {
        &self.header.kid
    }

    /// Checks the signature with those of the keys that may fit, under one of these algorithms.
    pub fn verify(&self, keys: &KeySet, algorithms: &[String]) -> Result<(), JoseError> {
        if !algorithms.contains(&self.header.alg) {
            return Err(if self.header.alg == "ES512" { JoseError::Es512 } else { JoseError::Algorithm });
        }
        let verified =
            keys.fitting(&self.header.kid).any(|key| key.verifies(&self.header.alg, self.message, &self.signature));
        if verified { Ok(()) } else { Err(JoseError::Signature) }
    }
}

/// Public keys of an issuer.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    id: String,
    algorithm: Option<String>,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Jwk {
    kty: String,
    kid: String,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    crv: String,
    n: String,
    e: String,
    x: String,
    y: String,
}

impl KeySet {
    /// Reads a JWK set; keys that are not for signatures, or of a sort that is not known, are left out.
    pub fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(text)?;
        let read = |key: Value| Key::of(serde_json::from_value(key).ok()?);
        Ok(Self { keys: set.keys.into_iter().filter_map(read).collect() })
    }

    /// Whether a key of this id is there.
    pub fn has(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.id == id)
    }

    fn fitting(&self, id: &str) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| id.is_empty() || key.id == id)
    }
}

impl Key {
    fn of(jwk: Jwk) -> Option<Self> {
        if jwk.usage.is_some_and(|usage| usage != "sig") {
            return None;
        }
        let part = |text: &str| BASE64.decode(text).ok().filter(|bytes| !bytes.is_empty());
        let point = |size: usize| {
            let (x, y) = (part(&jwk.x)?, part(&jwk.y)?);
            (x.len() == size && y.len() == size).then(|| [&[4][..], &x, &y].concat())
        };
        let material = match (jwk.kty.as_str(), jwk.crv.as_str()) {
            ("RSA", _) => Material::Rsa { n: part(&jwk.n)?, e: part(&jwk.e)? },
            ("EC", "P-256") => Material::P256(point(32)?),
            ("EC", "P-384") => Material::P384(point(48)?),
            _ => return None,
        };
        Some(Self { id: jwk.kid, algorithm: jwk.alg, material })
    }

    fn verifies(&self, algorithm: &str, message: &str, signature: &[u8]) -> bool {
        if self.algorithm.as_deref().is_some_and(|own| own != algorithm) {
            return false;
        }
        let message = message.as_bytes();
        let rsa = |n: &[u8], e: &[u8], parameters: &RsaParameters| {
            RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok()
        };
        match (&self.material, algorithm) {
            (Material::Rsa { n, e }, "RS256") => rsa(n, e, &signature::RSA_PKCS1_2048_8192_SHA256),
            (Material::Rsa { n, e }, "RS384") => rsa(n, e, &signature::RSA_PKCS1_2048_8192_SHA384),
            (Material::Rsa { n, e }, "RS512") => rsa(n, e, &signature::RSA_PKCS1_2048_8192_SHA512),
            (Material::Rsa { n, e }, "PS256") => rsa(n, e, &signature::RSA_PSS_2048_8192_SHA256),
            (Material::Rsa { n, e }, "PS384") => rsa(n, e, &signature::RSA_PSS_2048_8192_SHA384),
            (Material::Rsa { n, e }, "PS512") => rsa(n, e, &signature::RSA_PSS_2048_8192_SHA512),
            (Material::P256(point), "ES256") => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            (Material::P384(point), "ES384") => {
                UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point).verify(message, signature).is_ok()
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "a", "a.b", "a.b.c", "..", "e30.e30.", "!.!.!"] {
            assert_eq!(Token::parse(text).map(|_| ()), Err(JoseError::Malformed), "{text:?}");
        }
        let critical = format!("{}.e30.", BASE64.encode(r#"{"alg":"RS256","crit":["x"]}"#));
        assert!(Token::parse(&critical).is_err());
        let unsigned = format!("{}.e30.", BASE64.encode(r#"{"alg":"none"}"#));
        let token = Token::parse(&unsigned).expect("a token");
        assert_eq!(token.verify(&KeySet::default(), &["RS256".into()]), Err(JoseError::Algorithm));
        assert_eq!(token.verify(&KeySet::default(), &["none".into()]), Err(JoseError::Signature));
        let on_p521 = format!("{}.e30.", BASE64.encode(r#"{"alg":"ES512"}"#));
        let token = Token::parse(&on_p521).expect("a token");
        assert_eq!(token.verify(&KeySet::default(), &["RS256".into()]), Err(JoseError::Es512));
        assert_eq!(
            (unsupported("RS256"), unsupported("X").as_deref()),
            (None, Some("oidc: unsupported signing alg: \"X\""))
        );
        assert!(unsupported("ES512").is_some_and(|words| words.ends_with("cannot be verified by this server")));
    }

    #[test]
    fn keys_of_other_sorts_are_left_out() {
        let set = KeySet::parse(
            br#"{"keys":[{"kty":"oct","k":"AA"},{"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB","use":"enc"},
                {"kty":"EC","crv":"P-256","x":"AA","y":"AA"},{"kty":"RSA","kid":"b","n":"AQAB","e":"AQAB"},7]}"#,
        )
        .expect("a set");
        assert_eq!(set.keys.len(), 1);
        assert!(set.has("b") && !set.has("a"));
        assert!(KeySet::parse(b"{}").is_err());
    }
}
