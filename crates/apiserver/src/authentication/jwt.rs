//! JSON Web Tokens: three base64 parts joined by dots (RFC 7519, RFC 7515).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::signing_key::{KeyError, SigningKey};
use super::verifying_key::VerifyingKey;

/// Longer tokens are not even looked at.
const MAX_BYTES: usize = 64 * 1024;

/// Why a token is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// It is no token.
    #[error("the token is malformed")]
    Malformed,
    /// It names another algorithm or key.
    #[error("the token was signed with another key")]
    UnknownKey,
    /// The signature does not fit.
    #[error("the token's signature is invalid")]
    BadSignature,
}

/// Signs claims.
pub fn encode(key: &SigningKey, claims: &impl Serialize) -> Result<String, KeyError> {
    let header = json!({ "alg": key.public().algorithm(), "kid": key.public().id() });
    let claims = serde_json::to_vec(claims).map_err(|_| KeyError::Unusable)?;
    let mut token = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims));
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    token.push_str(&BASE64.encode(signature));
    Ok(token)
}

/// The claims of a token that one of the keys signed. What they claim is not judged here.
pub fn decode<T: DeserializeOwned>(keys: &[VerifyingKey], token: &str) -> Result<T, JwtError> {
    if token.len() > MAX_BYTES {
        return Err(JwtError::Malformed);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(JwtError::Malformed)?;
    let (header, claims) = message.split_once('.').ok_or(JwtError::Malformed)?;
    let part = |text: &str| BASE64.decode(text).map_err(|_| JwtError::Malformed);
    let header: Value = serde_json::from_slice(&part(header)?).map_err(|_| JwtError::Malformed)?;
    let fits =
        |key: &&VerifyingKey| header["alg"] == key.algorithm() && header.get("kid").is_none_or(|id| *id == key.id());
    let mut fitting = keys.iter().filter(fits).peekable();
    if fitting.peek().is_none() || header.get("crit").is_some() {
        return Err(JwtError::UnknownKey);
    }
    let signature = part(signature)?;
    if !fitting.any(|key| key.verifies(message.as_bytes(), &signature)) {
        return Err(JwtError::BadSignature);
    }
    serde_json::from_slice(&part(claims)?).map_err(|_| JwtError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_believed_only_as_it_was_signed() {
        let (key, _) = SigningKey::generate().expect("a key");
        let (other, _) = SigningKey::generate().expect("a key");
        let token = encode(&key, &json!({ "sub": "a" })).expect("a token");
        let (key, other) = ([key.public().clone()], [other.public().clone()]);
        assert_eq!(decode::<Value>(&key, &token), Ok(json!({ "sub": "a" })));
        assert_eq!(decode::<Value>(&other, &token), Err(JwtError::UnknownKey));

        let parts: Vec<&str> = token.split('.').collect();
        let forged = format!("{}.{}.{}", parts[0], BASE64.encode(r#"{"sub":"b"}"#), parts[2]);
        assert_eq!(decode::<Value>(&key, &forged), Err(JwtError::BadSignature));
        let unsigned = format!("{}.{}.", BASE64.encode(r#"{"alg":"none"}"#), parts[1]);
        assert_eq!(decode::<Value>(&key, &unsigned), Err(JwtError::UnknownKey));
        for nonsense in ["", "a", "a.b", "a.b.c", "..", "!.!.!"] {
            assert_eq!(decode::<Value>(&key, nonsense), Err(JwtError::Malformed), "{nonsense:?}");
        }
    }
}
