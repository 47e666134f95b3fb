//! [`Kms`]: a program that keeps the keys, asked over its unix socket in version 2 of the protocol
//! (upstream: k8s.io/kms/apis/v2, apiserver/pkg/storage/value/encrypt/envelope/kmsv2).
//!
//! The plugin seals one seed per key of its own; values are sealed here, each with a key derived from the seed and 32
//! random bytes. A value carries the sealed seed, so only the first value of each seed asks the plugin to open it.
//! Which key the plugin uses is asked again when something is sealed and the last answer is old; nothing polls.

use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use ring::hkdf::{self, KeyType, Prk};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::config::KmsConfiguration;
use crate::envelope_metrics::{EnvelopeMetrics, KeyUse};
use crate::grpc::{self, Field, GrpcError, put_bytes, put_number};
use crate::metrics::Way;
use crate::provider::{self, SealError};

/// Length of the seed, and of the random bytes that a value's key is derived with.
const SEED: usize = 32;
/// Length of a derived key.
const KEY: usize = 32;

/// `HKDF_SHA256_XNONCE_AES_GCM_SEED`.
const FROM_SEED: u64 = 1;

/// A call's deadline by default (upstream: `kmsPluginConnectionTimeout`).
const TIMEOUT: Duration = Duration::from_secs(3);

/// The plugin's key is asked for again after this.
const STATUS_HOLDS: Duration = Duration::from_secs(60);

/// So many calls may wait for the plugin.
const QUEUE: usize = 64;

/// Upstream's limits of what a plugin answers.
const MAX_KEY_ID: usize = 1024;
const MAX_SEALED_SEED: usize = 1024;

/// Why a plugin does not serve.
#[derive(Debug, thiserror::Error)]
pub enum KmsError {
    /// A call failed.
    #[error("{method}: {cause}")]
    Call {
        /// Which.
        method: &'static str,
        /// Why.
        cause: GrpcError,
    },
    /// It answered nonsense.
    #[error("{0}: the answer cannot be read")]
    Unreadable(&'static str),
    /// It is of another version.
    #[error("expected KMSv2 API version v2, got {0:?}")]
    Version(String),
    /// It is not well.
    #[error("got unhealthy status: {0}")]
    Unhealthy(String),
    /// It names no key.
    #[error("the key id is empty")]
    NoKeyId,
    /// What it answered is longer than it may be.
    #[error("{0} is empty or too long")]
    Limits(&'static str),
    /// A stored value is damaged.
    #[error("the stored envelope is damaged")]
    Damaged,
    /// The cipher failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The thread that calls the plugin is gone.
    #[error("the plugin can no longer be called")]
    Gone,
}

/// See the module.
pub struct Kms {
    calls: mpsc::Sender<Call>,
    current: Mutex<Option<Current>>,
    /// Seeds by the envelope that holds them: sealed seed, key id and annotations.
    seeds: Mutex<HashMap<Vec<u8>, Opening>>,
    provider: String,
    metrics: EnvelopeMetrics,
}

/// What opens values.
#[derive(Clone)]
struct Opening {
    seed: [u8; SEED],
    key: KeyUse,
}

/// The seed that seals now.
#[derive(Clone)]
struct Current {
    key_id: String,
    sealed_seed: Vec<u8>,
    annotations: BTreeMap<String, Vec<u8>>,
    seed: [u8; SEED],
    checked_at: Instant,
    key: KeyUse,
}

#[derive(Debug)]
struct Call {
    method: &'static str,
    message: Vec<u8>,
    answer: Reply,
}

/// Who waits: a task, or a thread that may not become one (values are opened while the store loads).
#[derive(Debug)]
enum Reply {
    Task(oneshot::Sender<Result<Bytes, GrpcError>>),
    Thread(std_mpsc::SyncSender<Result<Bytes, GrpcError>>),
}

impl Kms {
    /// Prepares the way to the plugin; it is called when it is first needed.
    pub(crate) fn connect(config: &KmsConfiguration, metrics: &EnvelopeMetrics) -> Result<Self, KmsError> {
        let path = config.endpoint.strip_prefix("unix://").unwrap_or(&config.endpoint).to_owned();
        let socket = path.strip_prefix("/@").map(|name| format!("@{name}")).unwrap_or(path);
        let timeout = config.timeout.and_then(|timeout| timeout.to_std()).unwrap_or(TIMEOUT);
        let (calls, waiting) = mpsc::channel(QUEUE);
        // A thread with a runtime of its own: whoever opens a value blocks until it is answered, and must not wait for
        // a runtime that waits for it. It ends with the last sender.
        std::thread::Builder::new()
            .name("kms".into())
            .spawn(move || serve(&socket, timeout, waiting))
            .map_err(|_| KmsError::Gone)?;
        let (provider, metrics) = (config.name.clone(), metrics.clone());
        Ok(Self { calls, current: Mutex::default(), seeds: Mutex::default(), provider, metrics })
    }

    /// Asks the plugin which key it uses, when that was not asked lately, and takes a new seed for a new key.
    pub async fn refresh(&self) -> Result<(), KmsError> {
        let known = self.current.lock().clone();
        if known.as_ref().is_some_and(|known| known.checked_at.elapsed() < STATUS_HOLDS) {
            return Ok(());
        }
        let key_id = read_status(&self.ask("Status", Vec::new()).await?);
        self.metrics.status(&self.provider, &key_id);
        let key_id = key_id?;
        if let Some(known) = known.filter(|known| known.key_id == key_id) {
            *self.current.lock() = Some(Current { checked_at: Instant::now(), ..known });
            return Ok(());
        }
        let seed: [u8; SEED] = provider::random()?;
        let mut message = Vec::new();
        put_bytes(&mut message, 1, &seed);
        put_bytes(&mut message, 2, uuid::Uuid::new_v4().to_string().as_bytes());
        let made = read_encrypted(&self.ask("Encrypt", message).await?)?;
        self.keep(made.identity(), seed, &made.key_id);
        let key = self.metrics.key(&self.provider, Way::ToStorage, &made.key_id);
        let SealedSeed { key_id, sealed_seed, annotations } = made;
        *self.current.lock() =
            Some(Current { key_id, sealed_seed, annotations, seed, checked_at: Instant::now(), key });
        Ok(())
    }

    /// Seals a value; [`Self::refresh`] has been called before.
    pub fn seal(&self, key: &str, plain: &[u8]) -> Result<Vec<u8>, KmsError> {
        let current = self.current.lock().clone().ok_or(KmsError::Gone)?;
        let info: [u8; SEED] = provider::random()?;
        let sealed = provider::gcm_seal(&derive(&current.seed, &info), key, plain)?;
        current.key.note();
        Ok(current.envelope(&[&info[..], &sealed].concat()))
    }

    /// Opens a value; blocks for the plugin when its seed is not known.
    pub fn open(&self, key: &str, envelope: &[u8]) -> Result<Vec<u8>, KmsError> {
        let envelope = Envelope::read(envelope)?;
        let identity = envelope.identity();
        let known = self.seeds.lock().get(&identity).cloned();
        let Opening { seed, key: used } = match known {
            Some(known) => known,
            None => {
                let plain = self.ask_blocking("Decrypt", envelope.decrypt_request())?;
                let plain = bytes_of(&plain, 1).ok_or(KmsError::Unreadable("Decrypt"))?;
                let seed: [u8; SEED] = plain.try_into().map_err(|_| KmsError::Unreadable("Decrypt"))?;
                self.keep(identity, seed, &envelope.key_id)
            }
        };
        let (info, sealed) = envelope.data.split_first_chunk::<SEED>().ok_or(KmsError::Damaged)?;
        let secret = if envelope.kind == FROM_SEED { derive(&seed, info) } else { return Err(KmsError::Damaged) };
        let opened = provider::gcm_open(&secret, key, sealed)?;
        used.note();
        Ok(opened)
    }

    /// Keeps a seed, so that the plugin is not asked for it again.
    fn keep(&self, identity: Vec<u8>, seed: [u8; SEED], key_id: &str) -> Opening {
        let opening = Opening { seed, key: self.metrics.key(&self.provider, Way::FromStorage, key_id) };
        let mut seeds = self.seeds.lock();
        seeds.insert(identity, opening.clone());
        self.metrics.seeds(&self.provider, seeds.len());
        opening
    }

    async fn ask(&self, method: &'static str, message: Vec<u8>) -> Result<Bytes, KmsError> {
        let (answer, answered) = oneshot::channel();
        let call = Call { method, message, answer: Reply::Task(answer) };
        let began = Instant::now();
        self.calls.send(call).await.map_err(|_| KmsError::Gone)?;
        let answered = answered.await.map_err(|_| KmsError::Gone)?;
        self.metrics.called(&self.provider, method, &answered, began.elapsed());
        answered.map_err(|cause| KmsError::Call { method, cause })
    }

    fn ask_blocking(&self, method: &'static str, message: Vec<u8>) -> Result<Bytes, KmsError> {
        let (answer, answered) = std_mpsc::sync_channel(1);
        let call = Call { method, message, answer: Reply::Thread(answer) };
        let began = Instant::now();
        self.calls.try_send(call).map_err(|_| KmsError::Gone)?;
        let answered = answered.recv().map_err(|_| KmsError::Gone)?;
        self.metrics.called(&self.provider, method, &answered, began.elapsed());
        answered.map_err(|cause| KmsError::Call { method, cause })
    }
}

impl std::fmt::Debug for Kms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kms").finish_non_exhaustive()
    }
}

/// Calls the plugin, one call at a time, until nobody can ask any more.
fn serve(socket: &str, timeout: Duration, mut calls: mpsc::Receiver<Call>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, "KMS plugins cannot be called"),
    };
    runtime.block_on(async {
        while let Some(call) = calls.recv().await {
            let path = format!("/v2.KeyManagementService/{}", call.method);
            let answered = grpc::call(socket, &path, &call.message, timeout).await;
            match call.answer {
                Reply::Task(answer) => drop(answer.send(answered)),
                Reply::Thread(answer) => drop(answer.send(answered)),
            }
        }
    });
}

/// HKDF-Expand with SHA-256: the key of one value.
fn derive(seed: &[u8; SEED], info: &[u8; SEED]) -> [u8; KEY] {
    struct Length;
    impl KeyType for Length {
        fn len(&self) -> usize {
            KEY
        }
    }
    let mut key = [0; KEY];
    let info: [&[u8]; 1] = [info];
    // The length is far below HKDF's limit.
    if let Ok(material) = Prk::new_less_safe(hkdf::HKDF_SHA256, seed).expand(&info, Length) {
        let _ = material.fill(&mut key);
    }
    key
}

fn bytes_of(message: &[u8], number: u32) -> Option<&[u8]> {
    let fields = grpc::fields(message)?;
    let found = fields.into_iter().rev().find_map(|(field, value)| match value {
        Field::Bytes(bytes) if field == number => Some(bytes),
        _ => None,
    });
    Some(found.unwrap_or_default())
}

fn text_of(message: &[u8], number: u32) -> Option<String> {
    String::from_utf8(bytes_of(message, number)?.to_vec()).ok()
}

fn annotations_of(message: &[u8], number: u32) -> Option<BTreeMap<String, Vec<u8>>> {
    let mut annotations = BTreeMap::new();
    for (field, value) in grpc::fields(message)? {
        if let (true, Field::Bytes(entry)) = (field == number, value) {
            annotations.insert(text_of(entry, 1)?, bytes_of(entry, 2)?.to_vec());
        }
    }
    Some(annotations)
}

fn put_annotations(out: &mut Vec<u8>, number: u32, annotations: &BTreeMap<String, Vec<u8>>) {
    for (key, value) in annotations {
        let mut entry = Vec::new();
        put_bytes(&mut entry, 1, key.as_bytes());
        put_bytes(&mut entry, 2, value);
        put_bytes(out, number, &entry);
    }
}

/// The key's id out of a StatusResponse.
fn read_status(message: &[u8]) -> Result<String, KmsError> {
    let text = |number| text_of(message, number).ok_or(KmsError::Unreadable("Status"));
    let (version, health, key_id) = (text(1)?, text(2)?, text(3)?);
    if version != "v2" && version != "v2beta1" {
        return Err(KmsError::Version(version));
    }
    if health != "ok" {
        return Err(KmsError::Unhealthy(health));
    }
    if key_id.is_empty() {
        return Err(KmsError::NoKeyId);
    }
    if key_id.len() > MAX_KEY_ID {
        return Err(KmsError::Limits("the key id"));
    }
    Ok(key_id)
}

/// What the plugin made of a seed, out of an EncryptResponse.
fn read_encrypted(message: &[u8]) -> Result<SealedSeed, KmsError> {
    let unreadable = || KmsError::Unreadable("Encrypt");
    let sealed_seed = bytes_of(message, 1).ok_or_else(unreadable)?.to_vec();
    let key_id = text_of(message, 2).ok_or_else(unreadable)?;
    if sealed_seed.is_empty() || sealed_seed.len() > MAX_SEALED_SEED {
        return Err(KmsError::Limits("the encrypted seed"));
    }
    if key_id.is_empty() || key_id.len() > MAX_KEY_ID {
        return Err(KmsError::Limits("the key id"));
    }
    let annotations = annotations_of(message, 3).ok_or_else(unreadable)?;
    Ok(SealedSeed { key_id, sealed_seed, annotations })
}

/// A seed as the plugin sealed it.
struct SealedSeed {
    key_id: String,
    sealed_seed: Vec<u8>,
    annotations: BTreeMap<String, Vec<u8>>,
}

impl SealedSeed {
    fn identity(&self) -> Vec<u8> {
        identity(&self.sealed_seed, &self.key_id, &self.annotations)
    }
}

impl Current {
    /// An EncryptedObject around sealed data.
    fn envelope(&self, data: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        put_bytes(&mut message, 1, data);
        put_bytes(&mut message, 2, self.key_id.as_bytes());
        put_bytes(&mut message, 3, &self.sealed_seed);
        put_annotations(&mut message, 4, &self.annotations);
        put_number(&mut message, 5, FROM_SEED);
        message
    }
}

fn identity(sealed_seed: &[u8], key_id: &str, annotations: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut identity = Vec::new();
    put_bytes(&mut identity, 1, sealed_seed);
    put_bytes(&mut identity, 2, key_id.as_bytes());
    put_annotations(&mut identity, 3, annotations);
    identity
}

/// An EncryptedObject.
struct Envelope<'a> {
    data: &'a [u8],
    key_id: String,
    sealed_seed: &'a [u8],
    annotations: BTreeMap<String, Vec<u8>>,
    kind: u64,
}

impl<'a> Envelope<'a> {
    fn read(message: &'a [u8]) -> Result<Self, KmsError> {
        let fields = grpc::fields(message).ok_or(KmsError::Damaged)?;
        let kind = fields.iter().find_map(|(number, field)| match field {
            Field::Number(kind) if *number == 5 => Some(*kind),
            _ => None,
        });
        Ok(Self {
            data: bytes_of(message, 1).ok_or(KmsError::Damaged)?,
            key_id: text_of(message, 2).ok_or(KmsError::Damaged)?,
            sealed_seed: bytes_of(message, 3).ok_or(KmsError::Damaged)?,
            annotations: annotations_of(message, 4).ok_or(KmsError::Damaged)?,
            kind: kind.unwrap_or_default(),
        })
    }

    fn identity(&self) -> Vec<u8> {
        identity(self.sealed_seed, &self.key_id, &self.annotations)
    }

    fn decrypt_request(&self) -> Vec<u8> {
        let mut message = Vec::new();
        put_bytes(&mut message, 1, self.sealed_seed);
        put_bytes(&mut message, 2, uuid::Uuid::new_v4().to_string().as_bytes());
        put_bytes(&mut message, 3, self.key_id.as_bytes());
        put_annotations(&mut message, 4, &self.annotations);
        message
    }
}
