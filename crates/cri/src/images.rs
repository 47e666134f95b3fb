//! The content-addressed image store: [`ImageStore`].
//!
//! ```text
//! <data-dir>/images/images.json        the index: image ids with their names, layers and sizes
//!                   blobs/<hex>        configs, by sha256
//!                   layers/<short>/fs  unpacked layers in overlayfs form, by diff id
//!                   tmp/               half-made things; emptied at open
//! ```
//! Guarantees: a layer or image is there whole or not at all; the index is written after what it names is on disk; every
//! digest and diff id is checked. Compressed layers are not kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use component_base::Scope;
use tokio::sync::watch;

use crate::runtime::{Error, Image, ImageService, PullProgress, RegistryAuth};

pub mod build;
mod digest;
mod import;
mod layer;
mod layout;
mod overlay;
mod pull;
mod reference;
mod registry;
mod store;

pub use layout::ImageDefaults;
pub use reference::Reference;
pub use store::LayerHold;

pub(crate) use overlay::mount_overlay;

/// Where registries are and how they are reached.
#[derive(Clone, Debug, Default)]
pub struct RegistryConfig {
    /// Hosts (`host:port`) reached by plain HTTP; those of this machine are when they do not speak TLS.
    pub plain_http: Vec<String>,
    /// PEM files of further certificate authorities.
    pub ca_files: Vec<PathBuf>,
}

/// An image made ready for a container: its defaults, and its layers held against removal.
#[derive(Clone, Debug)]
pub struct PreparedImage {
    /// Id and names.
    pub image: Image,
    /// What its config says of processes.
    pub defaults: ImageDefaults,
    /// Keeps [`PreparedImage::layers`] on disk.
    pub hold: Arc<LayerHold>,
    /// Directories for overlayfs, topmost first.
    pub layers: Vec<PathBuf>,
}

/// The images of a node. Clones share the same store.
#[derive(Clone)]
pub struct ImageStore {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<store::Store>,
    registry: registry::Client,
    pulls: pull::Pulls,
    scope: Scope,
}

impl ImageStore {
    /// Opens the store below `<data_dir>/images`, making it when missing.
    pub async fn open(data_dir: &Path, registries: RegistryConfig, scope: Scope) -> Result<Self, Error> {
        let root = data_dir.join("images");
        let store = blocking(&scope, move || store::Store::open(root)).await?;
        let registry = registry::Client::new(&registries)?;
        let inner = Inner { store: Arc::new(store), registry, pulls: pull::Pulls::default(), scope };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Imports every image of a `docker save` archive or an OCI layout (a directory, or an archive of one; gzip and
    /// zstd are recognised).
    pub async fn import(&self, path: &Path) -> Result<Vec<Image>, Error> {
        let store = self.inner.store.clone();
        let path = path.to_owned();
        blocking(&self.inner.scope, move || import::import(&store, &path)).await
    }

    /// The image for a container, its layers held until the answer's `hold` is dropped.
    pub async fn prepare(&self, reference: &str) -> Result<PreparedImage, Error> {
        let store = self.inner.store.clone();
        let reference = reference.to_owned();
        blocking(&self.inner.scope, move || store.prepare(&reference)).await
    }

    /// Holds the layers of a container that was made earlier, by their directory names.
    pub(crate) fn hold(&self, layers: &[String]) -> Arc<LayerHold> {
        self.inner.store.hold(layers.to_vec())
    }
}

/// Runs disk work on the blocking pool.
async fn blocking<T: Send + 'static>(
    scope: &Scope,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    scope.spawn_blocking(work).await.unwrap_or_else(|err| Err(Error::failed("working on images", err)))
}

#[async_trait]
impl ImageService for ImageStore {
    async fn list_images(&self) -> Result<Vec<Image>, Error> {
        Ok(self.inner.store.list())
    }

    async fn import_archive(&self, path: &Path) -> Result<Vec<Image>, Error> {
        self.import(path).await
    }

    async fn image_status(&self, reference: &str) -> Result<Option<Image>, Error> {
        self.inner.store.find(reference)
    }

    async fn pull_image(
        &self,
        reference: &str,
        auth: &[RegistryAuth],
        progress: Option<watch::Sender<PullProgress>>,
    ) -> Result<Image, Error> {
        let reference = Reference::parse(reference)?;
        let Inner { store, registry, pulls, scope } = &*self.inner;
        pulls.once(&reference.to_string(), pull::pull(store, registry, scope, &reference, auth, progress)).await
    }

    async fn remove_image(&self, reference: &str) -> Result<(), Error> {
        let store = self.inner.store.clone();
        let reference = reference.to_owned();
        blocking(&self.inner.scope, move || store.remove(&reference)).await
    }

    async fn image_fs_usage(&self) -> Result<(u64, u64), Error> {
        Ok(self.inner.store.usage())
    }
}
