//! [`EncryptedStore`] seals what is written, [`Opening`] opens what the engine loads or has just written.

use std::sync::Arc;

use ::store::{Entry, Error, Finish, Finished, Range, RangeRequest, Revision, Store, Wanted, Watch, Write, Written};
use async_trait::async_trait;
use bytes::Bytes;

use crate::keyring::Keyring;

/// A store whose values of chosen resources are sealed. The engine below it must finish with [`Opening`].
#[derive(Debug)]
pub struct EncryptedStore {
    inner: Arc<dyn Store>,
    keyring: Arc<Keyring>,
}

impl EncryptedStore {
    /// Seals with these keys.
    pub fn new(inner: Arc<dyn Store>, keyring: Arc<Keyring>) -> Self {
        Self { inner, keyring }
    }
}

#[async_trait]
impl Store for EncryptedStore {
    fn revision(&self) -> Revision {
        self.inner.revision()
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.inner.get(key).await
    }

    async fn select(&self, request: &RangeRequest, wanted: &Wanted<'_>) -> Result<Range, Error> {
        self.inner.select(request, wanted).await
    }

    async fn write(&self, mut write: Write) -> Result<Written, Error> {
        if let Some(plain) = &write.value {
            let sealed = self.keyring.seal(&write.key, plain).await;
            let sealed = sealed.map_err(|cause| Error::Unavailable(format!("seal {}: {cause}", write.key).into()))?;
            if let Some(sealed) = sealed {
                write.value = Some(sealed.into());
            }
        }
        self.inner.write(write).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Box<dyn Watch>, Error> {
        self.inner.watch(prefix, after).await
    }

    fn stats(&self, prefix: &str) -> store::Stats {
        self.inner.stats(prefix)
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        self.inner.compact(revision).await
    }

    fn is_stale(&self, key: &str) -> bool {
        self.keyring.is_stale(key)
    }
}

/// Opens values before the hook behind it finishes them.
#[derive(Debug)]
pub struct Opening<F> {
    inner: F,
    keyring: Arc<Keyring>,
}

impl<F> Opening<F> {
    /// Opens with these keys, then asks `inner`.
    pub fn new(inner: F, keyring: Arc<Keyring>) -> Self {
        Self { inner, keyring }
    }
}

impl<F: Finish> Finish for Opening<F> {
    fn finish(&self, key: &str, written: &Bytes, revision: Revision) -> Finished {
        match self.keyring.open(key, written) {
            Ok(None) => self.inner.finish(key, written, revision),
            Ok(Some(plain)) => self.inner.finish(key, &plain.into(), revision),
            Err(cause) => {
                // Without a value it cannot be read, listed or overwritten by mistake; the disk keeps it.
                tracing::error!(key, %cause, "a stored value cannot be opened: its key is missing from the encryption configuration");
                Finished::default()
            }
        }
    }
}
