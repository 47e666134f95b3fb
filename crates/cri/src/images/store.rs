//! The index of images, and which layers are in use.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::PreparedImage;
use super::digest::Digest;
use super::layer::{self, LayerInfo};
use super::layout::{ImageConfig, decode};
use super::reference::Reference;
use crate::runtime::{Error, Image};

/// The files below `<data-dir>/images`.
#[derive(Debug)]
pub(super) struct Store {
    root: PathBuf,
    state: Mutex<State>,
    names: AtomicU64,
    /// Held while a layer is unpacked, so that two images bring a shared layer once.
    unpacking: Mutex<HashMap<Digest, Arc<Mutex<()>>>>,
}

#[derive(Debug, Default)]
struct State {
    index: Index,
    layers: HashMap<Digest, LayerInfo>,
    /// Directory name of a layer to how many containers or transfers hold it.
    holds: HashMap<String, usize>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Index {
    images: BTreeMap<String, Record>,
}

/// An image with all its layers on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) config: Digest,
    /// Diff ids, lowest first.
    pub(super) layers: Vec<Digest>,
    pub(super) repo_tags: BTreeSet<String>,
    pub(super) repo_digests: BTreeSet<String>,
    pub(super) user: String,
}

/// Keeps layers on disk while it lives.
#[derive(Debug)]
pub struct LayerHold {
    store: Arc<Store>,
    names: Vec<String>,
}

impl LayerHold {
    /// Directory names of the layers, topmost first; they find the hold again after a restart.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

impl Drop for LayerHold {
    fn drop(&mut self) {
        let mut state = self.store.state.lock();
        let mut last = false;
        for name in &self.names {
            if let Some(count) = state.holds.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    state.holds.remove(name);
                    last = true;
                }
            }
        }
        if last {
            self.store.collect(&mut state);
        }
    }
}

impl Store {
    pub(super) fn open(root: PathBuf) -> Result<Self, Error> {
        let failed = |err: io::Error| super::layer::disk_error(&root, "opening the image store", err);
        for dir in ["blobs", "layers", "tmp"] {
            fs::create_dir_all(root.join(dir)).map_err(failed)?;
        }
        for entry in fs::read_dir(root.join("tmp")).map_err(failed)?.flatten() {
            remove_any(&entry.path());
        }
        let index: Index = match fs::read(root.join("images.json")) {
            Ok(bytes) => decode("the index images.json", &bytes)?,
            Err(err) if err.kind() == io::ErrorKind::NotFound => Index::default(),
            Err(err) => return Err(failed(err)),
        };
        let mut layers = HashMap::new();
        for entry in fs::read_dir(root.join("layers")).map_err(failed)?.flatten() {
            match LayerInfo::load(&entry.path()) {
                Ok(info) => drop(layers.insert(info.diff_id.clone(), info)),
                Err(_) => remove_any(&entry.path()),
            }
        }
        // An image that lost a layer (a disk repaired, a file deleted by hand) is pulled again rather than run broken.
        let mut index = index;
        index.images.retain(|_, record| record.layers.iter().all(|layer| layers.contains_key(layer)));
        let state = State { index, layers, holds: HashMap::new() };
        Ok(Self { root, state: Mutex::new(state), names: AtomicU64::new(0), unpacking: Mutex::new(HashMap::new()) })
    }

    /// A fresh name in `tmp/`.
    pub(super) fn temporary(&self) -> PathBuf {
        let n = self.names.fetch_add(1, Ordering::Relaxed);
        self.root.join("tmp").join(format!("{}-{n}", std::process::id()))
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Unpacks a layer unless it is there. `open` gives its bytes, perhaps compressed.
    pub(super) fn ensure_layer(
        &self,
        diff_id: &Digest,
        open: impl FnOnce() -> Result<Box<dyn io::Read>, Error>,
    ) -> Result<(), Error> {
        let gate = self.unpacking.lock().entry(diff_id.clone()).or_default().clone();
        let _turn = gate.lock();
        if self.has_layer(diff_id) {
            return Ok(());
        }
        let temporary = self.temporary();
        let result = open().and_then(|reader| layer::unpack(reader, diff_id, &temporary)).and_then(|info| {
            let place = self.root.join("layers").join(diff_id.short());
            if let Ok(other) = LayerInfo::load(&place) {
                return Err(Error::Archive(format!("layers {} and {diff_id} share a short name", other.diff_id)));
            }
            remove_any(&place);
            fs::rename(&temporary, &place).map_err(|err| layer::disk_error(&self.root, "placing a layer", err))?;
            self.state.lock().layers.insert(diff_id.clone(), info);
            Ok(())
        });
        if result.is_err() {
            remove_any(&temporary);
        }
        self.unpacking.lock().remove(diff_id);
        result
    }

    pub(super) fn has_layer(&self, diff_id: &Digest) -> bool {
        self.state.lock().layers.contains_key(diff_id)
    }

    /// Enters an image whose layers are all there. Its names leave the images that had them.
    pub(super) fn commit(&self, config_bytes: &[u8], names: Names) -> Result<Image, Error> {
        let id = Digest::of(config_bytes);
        let config: ImageConfig = decode("the image config", config_bytes)?;
        let blob = self.root.join("blobs").join(id.hex());
        write_atomically(&self.temporary(), &blob, config_bytes)
            .map_err(|err| layer::disk_error(&self.root, "writing an image config", err))?;

        let mut state = self.state.lock();
        if let Some(missing) = config.rootfs.diff_ids.iter().find(|layer| !state.layers.contains_key(layer)) {
            return Err(Error::Archive(format!("layer {missing} was removed while the image was being added")));
        }
        let mut index = state.index.clone();
        for record in index.images.values_mut() {
            record.repo_tags.retain(|tag| !names.tags.contains(tag));
        }
        let record = index.images.entry(id.to_string()).or_insert_with(|| Record {
            config: id.clone(),
            layers: config.rootfs.diff_ids.clone(),
            repo_tags: BTreeSet::new(),
            repo_digests: BTreeSet::new(),
            user: config.config.user.clone(),
        });
        record.repo_tags.extend(names.tags);
        record.repo_digests.extend(names.digests);
        let record = record.clone();
        self.save(&mut state, index)?;
        Ok(image(&record, &state.layers))
    }

    pub(super) fn list(&self) -> Vec<Image> {
        let state = self.state.lock();
        state.index.images.values().map(|record| image(record, &state.layers)).collect()
    }

    pub(super) fn find(&self, reference: &str) -> Result<Option<Image>, Error> {
        let state = self.state.lock();
        Ok(lookup(&state.index, reference)?.map(|id| image(&state.index.images[&id], &state.layers)))
    }

    pub(super) fn prepare(self: &Arc<Self>, reference: &str) -> Result<PreparedImage, Error> {
        let (record, image) = {
            let state = self.state.lock();
            let id = lookup(&state.index, reference)?
                .ok_or_else(|| Error::NotFound { what: "image", id: reference.to_owned() })?;
            let record = state.index.images[&id].clone();
            let image = image(&record, &state.layers);
            (record, image)
        };
        // Overlayfs refuses a layer twice; where an image has one twice, the upper one shows all that both would.
        let mut names: Vec<String> = Vec::with_capacity(record.layers.len());
        for name in record.layers.iter().rev().map(Digest::short) {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        let layers = names.iter().map(|name| self.root.join("layers").join(name).join("fs")).collect();
        let hold = self.hold(names);
        let blob = self.root.join("blobs").join(record.config.hex());
        let bytes = fs::read(&blob).map_err(|err| Error::failed(format!("reading {}", blob.display()), err))?;
        let config: ImageConfig = decode("the image config", &bytes)?;
        Ok(PreparedImage { image, defaults: config.config, hold, layers })
    }

    pub(super) fn hold(self: &Arc<Self>, names: Vec<String>) -> Arc<LayerHold> {
        let mut state = self.state.lock();
        for name in &names {
            *state.holds.entry(name.clone()).or_default() += 1;
        }
        drop(state);
        Arc::new(LayerHold { store: self.clone(), names })
    }

    /// Removes the image that an id or reference names with all its names. A missing image is no error.
    pub(super) fn remove(&self, reference: &str) -> Result<(), Error> {
        let mut state = self.state.lock();
        let Some(id) = lookup(&state.index, reference)? else { return Ok(()) };
        let mut index = state.index.clone();
        index.images.remove(&id);
        self.save(&mut state, index)?;
        if let Some(digest) = Digest::parse(&id) {
            remove_any(&self.root.join("blobs").join(digest.hex()));
        }
        self.collect(&mut state);
        Ok(())
    }

    pub(super) fn usage(&self) -> (u64, u64) {
        let state = self.state.lock();
        state.layers.values().fold((0, 0), |(bytes, inodes), info| (bytes + info.bytes, inodes + info.inodes))
    }

    /// The index on disk becomes `index`, then the one in memory.
    fn save(&self, state: &mut State, index: Index) -> Result<(), Error> {
        let bytes = serde_json::to_vec(&index).map_err(|err| Error::failed("writing the image index", err))?;
        write_atomically(&self.temporary(), &self.root.join("images.json"), &bytes)
            .map_err(|err| layer::disk_error(&self.root, "writing the image index", err))?;
        state.index = index;
        Ok(())
    }

    /// Removes layers that no image names and nobody holds.
    fn collect(&self, state: &mut State) {
        let used: BTreeSet<&Digest> = state.index.images.values().flat_map(|record| &record.layers).collect();
        let unused: Vec<Digest> = state
            .layers
            .keys()
            .filter(|layer| !used.contains(layer) && !state.holds.contains_key(layer.short()))
            .cloned()
            .collect();
        for layer in unused {
            state.layers.remove(&layer);
            // A rename is at once; the deletion may take its time or be finished at the next open.
            let grave = self.temporary();
            if fs::rename(self.root.join("layers").join(layer.short()), &grave).is_ok() {
                remove_any(&grave);
            }
        }
    }
}

/// Names that a new image gets.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) tags: BTreeSet<String>,
    pub(super) digests: BTreeSet<String>,
}

impl Names {
    /// The name as which `reference` shows: a digest stays one, a tag becomes one.
    pub(super) fn of(reference: &Reference, manifest: Option<&Digest>) -> Self {
        let mut names = Self::default();
        if reference.digest.is_none() {
            names.tags.insert(reference.to_string());
        }
        names.digests.extend(manifest.map(|digest| format!("{}@{digest}", reference.name())));
        names
    }
}

/// The id of the image that a reference, an id or the start of an id (12 digits or more) names.
fn lookup(index: &Index, reference: &str) -> Result<Option<String>, Error> {
    let hex = reference.strip_prefix("sha256:").unwrap_or(reference);
    if hex.len() >= 12 && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        let prefix = format!("sha256:{hex}");
        if let Some(id) = index.images.keys().find(|id| id.starts_with(&prefix)) {
            return Ok(Some(id.clone()));
        }
        if reference.starts_with("sha256:") || hex.len() == 64 {
            return Ok(None);
        }
    }
    let reference = Reference::parse(reference)?;
    let name = reference.to_string();
    let named = |(_, record): &(&String, &Record)| match reference.digest {
        Some(_) => record.repo_digests.contains(&name),
        None => record.repo_tags.contains(&name),
    };
    Ok(index.images.iter().find(named).map(|(id, _)| id.clone()))
}

fn image(record: &Record, layers: &HashMap<Digest, LayerInfo>) -> Image {
    Image {
        id: record.config.to_string(),
        repo_tags: record.repo_tags.iter().cloned().collect(),
        repo_digests: record.repo_digests.iter().cloned().collect(),
        size_bytes: record.layers.iter().filter_map(|layer| layers.get(layer)).map(|info| info.bytes).sum(),
        user: record.user.clone(),
    }
}

/// Writes beside and renames, both synced.
fn write_atomically(temporary: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let write = || {
        let mut file = File::create(temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(temporary, path)?;
        File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
    };
    write().inspect_err(|_| remove_any(temporary))
}

/// Removes a file or a tree; what cannot be removed now is met again at the next open.
pub(super) fn remove_any(path: &Path) {
    let result = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => return,
    };
    if let Err(err) = result {
        tracing::warn!(path = %path.display(), %err, "left behind in the image store");
    }
}
