//! [`Provider`]: one key and what it seals; the sealed bytes say which key it was
//! (upstream: apiserver/pkg/storage/value/encrypt/{aes,secretbox,identity}).
//!
//! The key of the value in the store is authenticated with it where the cipher can: a sealed value that is moved to
//! another key does not open.

use std::sync::Arc;

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockDecryptMut, BlockEncryptMut, KeyIvInit};
use aes::{Aes128, Aes192, Aes256};
use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm};
use cbc::{Decryptor, Encryptor};
use crypto_secretbox::XSalsa20Poly1305;
use ring::rand::{SecureRandom, SystemRandom};

use crate::config::{ConfigError, Key, KmsConfiguration, ProviderConfiguration};
use crate::envelope_metrics::EnvelopeMetrics;
use crate::kms::{Kms, KmsError};

type Aes192Gcm = AesGcm<Aes192, U12>;

/// What every sealed value begins with.
pub const SEALED: &[u8] = b"k8s:enc:";

const GCM_NONCE: usize = 12;
const CBC_BLOCK: usize = 16;
const SECRETBOX_NONCE: usize = 24;

/// Why a value cannot be sealed or opened.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SealError {
    /// No key of the configuration fits.
    #[error("no matching prefix found")]
    NoKey,
    /// It is damaged, moved, or sealed with another key of the same name.
    #[error("the stored data cannot be opened with its key")]
    Damaged,
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    NoRandomness,
    /// The KMS plugin failed.
    #[error("kms plugin: {0}")]
    Kms(Arc<KmsError>),
}

/// See the module.
#[derive(Debug)]
pub struct Provider {
    prefix: Arc<[u8]>,
    cipher: Cipher,
}

enum Cipher {
    Identity,
    Gcm(Vec<u8>),
    Cbc(Vec<u8>),
    SecretBox(Box<XSalsa20Poly1305>),
    Kms(Arc<Kms>),
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Identity => "Identity",
            Self::Gcm(_) => "Gcm",
            Self::Cbc(_) => "Cbc",
            Self::SecretBox(_) => "SecretBox",
            Self::Kms(_) => "Kms",
        })
    }
}

impl Provider {
    /// The providers of a configuration's entry, one a key.
    pub(crate) fn of(config: &ProviderConfiguration, metrics: &EnvelopeMetrics) -> Result<Vec<Self>, ConfigError> {
        let keyed = |kind: &str, keys: &[Key], cipher: fn(Vec<u8>) -> Cipher| -> Vec<Self> {
            let one = |key: &Key| Self {
                prefix: format!("k8s:enc:{kind}:v1:{}:", key.name).into_bytes().into(),
                cipher: cipher(key.bytes()),
            };
            keys.iter().map(one).collect()
        };
        if let Some(keys) = &config.aesgcm {
            return Ok(keyed("aesgcm", &keys.keys, Cipher::Gcm));
        }
        if let Some(keys) = &config.aescbc {
            return Ok(keyed("aescbc", &keys.keys, Cipher::Cbc));
        }
        if let Some(keys) = &config.secretbox {
            return Ok(keyed("secretbox", &keys.keys, secret_box));
        }
        match &config.kms {
            Some(kms) => Ok(vec![Self::kms(kms, metrics)?]),
            None => Ok(vec![Self { prefix: Arc::default(), cipher: Cipher::Identity }]),
        }
    }

    fn kms(config: &KmsConfiguration, metrics: &EnvelopeMetrics) -> Result<Self, ConfigError> {
        let prefix = format!("k8s:enc:kms:v2:{}:", config.name).into_bytes().into();
        let kms =
            Kms::connect(config, metrics).map_err(|cause| ConfigError::Kms { name: config.name.clone(), cause })?;
        Ok(Self { prefix, cipher: Cipher::Kms(Arc::new(kms)) })
    }

    /// What this provider's values begin with; nothing for plain ones.
    pub fn prefix(&self) -> &Arc<[u8]> {
        &self.prefix
    }

    /// Whether it sealed these bytes.
    pub fn fits(&self, stored: &[u8]) -> bool {
        match self.cipher {
            Cipher::Identity => !stored.starts_with(SEALED),
            _ => stored.starts_with(&self.prefix),
        }
    }

    /// Lets a KMS plugin say which key it uses now, before something is sealed.
    pub async fn refresh(&self) -> Result<(), SealError> {
        match &self.cipher {
            Cipher::Kms(kms) => kms.refresh().await.map_err(|cause| SealError::Kms(Arc::new(cause))),
            _ => Ok(()),
        }
    }

    /// Seals the value of a key.
    pub fn seal(&self, key: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let sealed = match &self.cipher {
            Cipher::Identity => return Ok(plain.to_vec()),
            Cipher::Gcm(secret) => gcm_seal(secret, key, plain)?,
            Cipher::Cbc(secret) => cbc_seal(secret, plain)?,
            Cipher::SecretBox(cipher) => {
                let nonce: [u8; SECRETBOX_NONCE] = random()?;
                let sealed = cipher.encrypt(&nonce.into(), plain).map_err(|_| SealError::Damaged)?;
                [&nonce[..], &sealed].concat()
            }
            Cipher::Kms(kms) => kms.seal(key, plain).map_err(|cause| SealError::Kms(Arc::new(cause)))?,
        };
        Ok([&self.prefix[..], &sealed].concat())
    }

    /// Opens what [`Self::seal`] made.
    pub fn open(&self, key: &str, stored: &[u8]) -> Result<Vec<u8>, SealError> {
        let sealed = stored.strip_prefix(&self.prefix[..]).ok_or(SealError::NoKey)?;
        match &self.cipher {
            Cipher::Identity => Ok(sealed.to_vec()),
            Cipher::Gcm(secret) => gcm_open(secret, key, sealed),
            Cipher::Cbc(secret) => cbc_open(secret, sealed),
            Cipher::SecretBox(cipher) => {
                let (nonce, sealed) = sealed.split_first_chunk::<SECRETBOX_NONCE>().ok_or(SealError::Damaged)?;
                cipher.decrypt(&(*nonce).into(), sealed).map_err(|_| SealError::Damaged)
            }
            Cipher::Kms(kms) => kms.open(key, sealed).map_err(|cause| SealError::Kms(Arc::new(cause))),
        }
    }
}

fn secret_box(key: Vec<u8>) -> Cipher {
    // The configuration's rules have seen to the length; a key of another one would be all zeros and open nothing.
    let key: [u8; 32] = key.try_into().unwrap_or_default();
    Cipher::SecretBox(Box::new(XSalsa20Poly1305::new(&key.into())))
}

/// Random bytes of the system.
pub fn random<const N: usize>() -> Result<[u8; N], SealError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| SealError::NoRandomness)?;
    Ok(bytes)
}

/// AES-GCM: nonce, then ciphertext with its tag; the store's key is authenticated with it.
pub fn gcm_seal(secret: &[u8], key: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
    let nonce: [u8; GCM_NONCE] = random()?;
    let payload = Payload { msg: plain, aad: key.as_bytes() };
    let sealed = match secret.len() {
        16 => Aes128Gcm::new_from_slice(secret).ok().and_then(|cipher| cipher.encrypt(&nonce.into(), payload).ok()),
        24 => Aes192Gcm::new_from_slice(secret).ok().and_then(|cipher| cipher.encrypt(&nonce.into(), payload).ok()),
        _ => Aes256Gcm::new_from_slice(secret).ok().and_then(|cipher| cipher.encrypt(&nonce.into(), payload).ok()),
    };
    Ok([&nonce[..], &sealed.ok_or(SealError::Damaged)?].concat())
}

/// Undoes [`gcm_seal`].
pub fn gcm_open(secret: &[u8], key: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    let (nonce, sealed) = sealed.split_first_chunk::<GCM_NONCE>().ok_or(SealError::Damaged)?;
    let (nonce, payload) = ((*nonce).into(), Payload { msg: sealed, aad: key.as_bytes() });
    let plain = match secret.len() {
        16 => Aes128Gcm::new_from_slice(secret).ok().and_then(|cipher| cipher.decrypt(&nonce, payload).ok()),
        24 => Aes192Gcm::new_from_slice(secret).ok().and_then(|cipher| cipher.decrypt(&nonce, payload).ok()),
        _ => Aes256Gcm::new_from_slice(secret).ok().and_then(|cipher| cipher.decrypt(&nonce, payload).ok()),
    };
    plain.ok_or(SealError::Damaged)
}

/// AES-CBC: the first block, then ciphertext.
fn cbc_seal(secret: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealError> {
    let iv: [u8; CBC_BLOCK] = random()?;
    let sealed = match secret.len() {
        16 => {
            Encryptor::<Aes128>::new_from_slices(secret, &iv).ok().map(|it| it.encrypt_padded_vec_mut::<Pkcs7>(plain))
        }
        24 => {
            Encryptor::<Aes192>::new_from_slices(secret, &iv).ok().map(|it| it.encrypt_padded_vec_mut::<Pkcs7>(plain))
        }
        _ => Encryptor::<Aes256>::new_from_slices(secret, &iv).ok().map(|it| it.encrypt_padded_vec_mut::<Pkcs7>(plain)),
    };
    Ok([&iv[..], &sealed.ok_or(SealError::Damaged)?].concat())
}

/// Undoes [`cbc_seal`].
fn cbc_open(secret: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    let (iv, sealed) = sealed.split_first_chunk::<CBC_BLOCK>().ok_or(SealError::Damaged)?;
    let damaged = |_| SealError::Damaged;
    let unusable = |_| SealError::Damaged;
    match secret.len() {
        16 => Decryptor::<Aes128>::new_from_slices(secret, iv)
            .map_err(unusable)?
            .decrypt_padded_vec_mut::<Pkcs7>(sealed)
            .map_err(damaged),
        24 => Decryptor::<Aes192>::new_from_slices(secret, iv)
            .map_err(unusable)?
            .decrypt_padded_vec_mut::<Pkcs7>(sealed)
            .map_err(damaged),
        _ => Decryptor::<Aes256>::new_from_slices(secret, iv)
            .map_err(unusable)?
            .decrypt_padded_vec_mut::<Pkcs7>(sealed)
            .map_err(damaged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(kind: &str, length: usize) -> Provider {
        use base64::Engine;
        let secret = base64::engine::general_purpose::STANDARD.encode(vec![7_u8; length]);
        let config = serde_json::json!({ kind: { "keys": [{ "name": "one", "secret": secret }] } });
        let config: ProviderConfiguration = serde_json::from_value(config).expect("a provider");
        Provider::of(&config, &EnvelopeMetrics::default()).expect("keys").remove(0)
    }

    #[test]
    fn what_was_sealed_opens_and_nothing_else_does() {
        for (kind, length) in [
            ("aesgcm", 16),
            ("aesgcm", 24),
            ("aesgcm", 32),
            ("aescbc", 16),
            ("aescbc", 24),
            ("aescbc", 32),
            ("secretbox", 32),
        ] {
            let provider = provider(kind, length);
            for plain in [&b""[..], b"{}", &[1; 1000]] {
                let sealed = provider.seal("/a", plain).expect("sealed");
                assert!(sealed.starts_with(format!("k8s:enc:{kind}:v1:one:").as_bytes()) && provider.fits(&sealed));
                assert_ne!(sealed, provider.seal("/a", plain).expect("sealed"), "each time differently");
                assert_eq!(provider.open("/a", &sealed).expect("opened"), plain, "{kind} {length}");
                assert!(provider.open("/a", &sealed[..sealed.len() - 1]).is_err());
                if kind == "aesgcm" {
                    assert!(provider.open("/b", &sealed).is_err(), "moved to another key");
                }
            }
            assert!(provider.open("/a", provider.prefix()).is_err());
        }
    }
}
