//! Pulling: resolve, fetch the missing layers side by side, unpack, enter.

use std::collections::HashMap;
use std::fs::File;
use std::future::Future;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use component_base::{Backoff, Scope};
use futures::{StreamExt, TryStreamExt, stream};
use http::StatusCode;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OnceCell, watch};

use super::blocking;
use super::digest::Digest;
use super::layer::disk_error;
use super::layout::{Descriptor, Document, ImageConfig, choose_platform, decode};
use super::reference::Reference;
use super::registry::{Client, IDLE, RegistryError, Repository};
use super::store::{Names, Store, remove_any};
use crate::runtime::{Error, Image, PullProgress, RegistryAuth};

/// As containerd's `max_concurrent_downloads`.
const LAYERS_AT_ONCE: usize = 3;
const ATTEMPTS: u32 = 5;
const INDEX_DEPTH: usize = 4;

/// Pulls that are under way, by reference: who comes later waits for the first.
#[derive(Default)]
pub(super) struct Pulls {
    running: Mutex<HashMap<String, Arc<OnceCell<Image>>>>,
}

impl Pulls {
    /// Runs `pull` unless one of the same reference runs, whose image is shared then. When that one fails or is given
    /// up, the next in line tries with its own credentials.
    pub(super) async fn once(
        &self,
        reference: &str,
        pull: impl Future<Output = Result<Image, Error>>,
    ) -> Result<Image, Error> {
        let cell = self.running.lock().entry(reference.to_owned()).or_default().clone();
        let result = cell.get_or_try_init(|| pull).await.cloned();
        let mut running = self.running.lock();
        // The map, `cell` and nobody else: the last one out forgets it.
        if running.get(reference).is_some_and(|known| Arc::ptr_eq(known, &cell))
            && (result.is_ok() || Arc::strong_count(&cell) <= 2)
        {
            running.remove(reference);
        }
        result
    }
}

/// Fetches `reference` with the first credentials that work.
pub(super) async fn pull(
    store: &Arc<Store>,
    client: &Client,
    scope: &Scope,
    reference: &Reference,
    auth: &[RegistryAuth],
    progress: Option<watch::Sender<PullProgress>>,
) -> Result<Image, Error> {
    let tries: Vec<Option<&RegistryAuth>> = if auth.is_empty() { vec![None] } else { auth.iter().map(Some).collect() };
    let mut failure = None;
    for auth in tries {
        let transfer = Transfer {
            store,
            scope,
            repository: client.repository(reference, auth),
            reference,
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            progress: progress.as_ref(),
        };
        match transfer.run().await {
            Ok(image) => return Ok(image),
            Err(Fault::Registry(RegistryError::Unauthorized(cause))) => failure = Some(cause),
            Err(Fault::Registry(err)) => return Err(pull_error(reference, &err.to_string())),
            Err(Fault::Local(err @ Error::DiskFull { .. })) => return Err(err),
            Err(Fault::Local(err)) => {
                return Err(Error::Pull { reference: reference.to_string(), cause: err.to_string() });
            }
        }
    }
    Err(pull_error(reference, &failure.unwrap_or_default()))
}

/// Worded as containerd does, which people search for.
fn pull_error(reference: &Reference, cause: &str) -> Error {
    let cause = format!("failed to resolve reference \"{reference}\": {reference}: {cause}");
    Error::Pull { reference: reference.to_string(), cause }
}

enum Fault {
    Registry(RegistryError),
    Local(Error),
}

impl From<RegistryError> for Fault {
    fn from(err: RegistryError) -> Self {
        Fault::Registry(err)
    }
}

impl From<Error> for Fault {
    fn from(err: Error) -> Self {
        Fault::Local(err)
    }
}

struct Transfer<'a> {
    store: &'a Arc<Store>,
    scope: &'a Scope,
    repository: Repository<'a>,
    reference: &'a Reference,
    done: AtomicU64,
    total: AtomicU64,
    progress: Option<&'a watch::Sender<PullProgress>>,
}

impl Transfer<'_> {
    async fn run(&self) -> Result<Image, Fault> {
        let (top, manifest) = self.resolve().await?;
        let config_digest = manifest
            .config
            .map(|config| config.digest)
            .ok_or_else(|| Error::Archive("the manifest names no config".to_owned()))?;
        let config_bytes = self.document(&config_digest, true).await?;
        let config: ImageConfig = decode("the image config", &config_bytes)?;
        let diff_ids = config.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            let text = format!("the config names {} layers, the manifest {}", diff_ids.len(), manifest.layers.len());
            return Err(Error::Archive(text).into());
        }
        let _hold = self.store.hold(diff_ids.iter().map(|layer| layer.short().to_owned()).collect());
        let mut missing: Vec<(Digest, Descriptor)> = diff_ids.into_iter().zip(manifest.layers).collect();
        missing.retain(|(diff_id, _)| !self.store.has_layer(diff_id));
        self.total.store(missing.iter().map(|(_, layer)| layer.size).sum(), Ordering::Relaxed);
        self.report(0);
        stream::iter(missing)
            .map(|(diff_id, layer)| self.layer(diff_id, layer))
            .buffer_unordered(LAYERS_AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?;
        let store = self.store.clone();
        let names = Names::of(self.reference, Some(&top));
        Ok(blocking(self.scope, move || store.commit(&config_bytes, names)).await?)
    }

    /// The digest of what the reference names, and the manifest for this machine.
    async fn resolve(&self) -> Result<(Digest, Document), Fault> {
        let bytes = self.retried(|| self.repository.manifest(self.reference.selector())).await?;
        let top = Digest::of(&bytes);
        if self.reference.digest.as_ref().is_some_and(|wanted| *wanted != top.to_string()) {
            return Err(Error::Archive(format!("the registry sent {top}")).into());
        }
        let mut document: Document = decode("the manifest", &bytes)?;
        for _ in 0..INDEX_DEPTH {
            if document.config.is_some() {
                return Ok((top, document));
            }
            let digest = choose_platform(&document.manifests)?.digest.clone();
            document = decode("the manifest", &self.document(&digest, false).await?)?;
        }
        Err(Error::Archive("indexes are nested too deep".to_owned()).into())
    }

    /// A JSON document by digest, checked.
    async fn document(&self, digest: &Digest, blob: bool) -> Result<bytes::Bytes, Fault> {
        let name = digest.to_string();
        let bytes = if blob {
            self.retried(|| self.repository.blob(&name)).await?
        } else {
            self.retried(|| self.repository.manifest(&name)).await?
        };
        match Digest::of(&bytes) {
            found if found == *digest => Ok(bytes),
            found => Err(Error::Archive(format!("the registry sent {found} for {digest}")).into()),
        }
    }

    async fn layer(&self, diff_id: Digest, layer: Descriptor) -> Result<(), Fault> {
        let temporary = Temporary(self.store.temporary());
        let mut file = File::create_new(&temporary.0).map_err(|err| self.disk(err))?;
        let mut hasher = Sha256::new();
        let mut offset = 0;
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        // Each try goes on where the last one stopped.
        loop {
            match self.download(&layer.digest, &mut file, &mut hasher, &mut offset).await {
                Ok(()) => break,
                Err(Fault::Registry(err)) if err.is_transient() && backoff.failures() + 1 < ATTEMPTS => {
                    tracing::debug!(digest = %layer.digest, offset, %err, "a layer's transfer broke");
                    tokio::time::sleep(backoff.next_delay()).await;
                }
                Err(fault) => return Err(fault),
            }
        }
        let found = Digest::finish(hasher);
        if found != layer.digest {
            return Err(Error::Archive(format!("layer {} arrived as {found}", layer.digest)).into());
        }
        let store = self.store.clone();
        blocking(self.scope, move || {
            let open = || {
                let file = File::open(&temporary.0).map_err(|err| Error::failed("opening a fetched layer", err))?;
                Ok(Box::new(file) as Box<dyn io::Read>)
            };
            store.ensure_layer(&diff_id, open)
        })
        .await?;
        Ok(())
    }

    async fn download(
        &self,
        digest: &Digest,
        file: &mut File,
        hasher: &mut Sha256,
        offset: &mut u64,
    ) -> Result<(), Fault> {
        let response = self.repository.blob_from(&digest.to_string(), *offset).await?;
        if *offset > 0 && response.status() != StatusCode::PARTIAL_CONTENT {
            // This registry cannot resume.
            file.set_len(0).and_then(|()| io::Seek::rewind(file)).map_err(|err| self.disk(err))?;
            self.done.fetch_sub(*offset, Ordering::Relaxed);
            *hasher = Sha256::new();
            *offset = 0;
        }
        let mut body = response.into_body();
        loop {
            let frame = match tokio::time::timeout(IDLE, body.frame()).await {
                Ok(None) => return Ok(()),
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(err))) => return Err(RegistryError::Transport(err.to_string()).into()),
                Err(_) => return Err(RegistryError::Transport("nothing came for a while".to_owned()).into()),
            };
            if let Some(data) = frame.data_ref() {
                hasher.update(data);
                file.write_all(data).map_err(|err| self.disk(err))?;
                *offset += data.len() as u64;
                self.report(data.len() as u64);
            }
        }
    }

    async fn retried<T, F: Future<Output = Result<T, RegistryError>>>(
        &self,
        mut ask: impl FnMut() -> F,
    ) -> Result<T, RegistryError> {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        loop {
            match ask().await {
                Err(err) if err.is_transient() && backoff.failures() + 1 < ATTEMPTS => {
                    tokio::time::sleep(backoff.next_delay()).await;
                }
                other => return other,
            }
        }
    }

    fn report(&self, more: u64) {
        let done_bytes = self.done.fetch_add(more, Ordering::Relaxed) + more;
        if let Some(progress) = self.progress {
            progress.send_replace(PullProgress { done_bytes, total_bytes: self.total.load(Ordering::Relaxed) });
        }
    }

    fn disk(&self, err: io::Error) -> Error {
        disk_error(self.store.root(), "fetching a layer", err)
    }
}

/// A file that goes with its owner.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        remove_any(Path::new(&self.0));
    }
}
