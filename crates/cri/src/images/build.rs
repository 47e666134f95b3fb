//! Makes an image out of files in memory: the demo server's, and those of tests.
//!
//! The same source gives the same digests, so putting it into a store twice changes nothing.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use super::digest::Digest;
use super::layout::{ImageDefaults, SavedImage, host_architecture};
use super::{ImageStore, blocking, import};
use crate::runtime::{Error, Image};

/// What an image is made of.
#[derive(Clone, Debug, Default)]
pub struct ImageSource {
    /// Its names, as `kaji.local/hello-server:1.0`.
    pub references: Vec<String>,
    /// What its config says of processes.
    pub defaults: ImageDefaults,
    /// One layer each, lowest first.
    pub layers: Vec<Vec<File>>,
}

/// A file of a layer.
#[derive(Clone, Debug)]
pub struct File {
    /// Where, relative to the root. Directories on the way are made when missing.
    pub path: String,
    /// Mode bits.
    pub mode: u32,
    /// What.
    pub content: Content,
}

/// What a file is.
#[derive(Clone, Debug)]
pub enum Content {
    /// A regular file.
    Bytes(Vec<u8>),
    /// A directory.
    Directory,
    /// A symbolic link to this.
    Symlink(String),
    /// A hard link to this earlier path.
    Hardlink(String),
}

impl File {
    /// A regular file.
    pub fn new(path: impl Into<String>, mode: u32, bytes: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), mode, content: Content::Bytes(bytes.into()) }
    }

    /// A symbolic link.
    pub fn symlink(path: impl Into<String>, target: impl Into<String>) -> Self {
        Self { path: path.into(), mode: 0o777, content: Content::Symlink(target.into()) }
    }
}

/// Puts the image into the store.
pub async fn into_store(store: &ImageStore, source: ImageSource) -> Result<Image, Error> {
    let inner = store.inner.store.clone();
    blocking(&store.inner.scope, move || {
        let path = inner.temporary();
        let result = write_archive(&path, &[source]).and_then(|()| import::import(&inner, &path));
        super::store::remove_any(&path);
        result?.pop().ok_or_else(|| Error::failed("building an image", "nothing was imported"))
    })
    .await
}

/// Writes a `docker save` archive with these images. It blocks on the disk.
pub fn save_archive(path: &Path, sources: &[ImageSource]) -> Result<(), Error> {
    write_archive(path, sources)
}

fn write_archive(path: &Path, sources: &[ImageSource]) -> Result<(), Error> {
    let write = || -> io::Result<()> {
        let file = std::fs::File::create(path)?;
        let mut archive = Builder::new(io::BufWriter::new(file));
        let mut manifest = Vec::new();
        for source in sources {
            let layers = source.layers.iter().map(|files| layer_tar(files)).collect::<io::Result<Vec<_>>>()?;
            let names: Vec<String> = layers.iter().map(|tar| format!("{}/layer.tar", Digest::of(tar).hex())).collect();
            for (name, tar) in names.iter().zip(&layers) {
                append(&mut archive, name, 0o644, tar)?;
            }
            let config = serde_json::to_vec(&config(source, &layers))?;
            let config_name = format!("{}.json", Digest::of(&config).hex());
            append(&mut archive, &config_name, 0o644, &config)?;
            manifest.push(SavedImage { config: config_name, repo_tags: source.references.clone(), layers: names });
        }
        append(&mut archive, "manifest.json", 0o644, &serde_json::to_vec(&manifest)?)?;
        archive.into_inner()?.flush()
    };
    write().map_err(|err| super::layer::disk_error(path, "writing an image archive", err))
}

fn config(source: &ImageSource, layers: &[Vec<u8>]) -> Value {
    let diff_ids: Vec<String> = layers.iter().map(|tar| Digest::of(tar).to_string()).collect();
    json!({
        "architecture": host_architecture(),
        "os": "linux",
        "config": source.defaults,
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    })
}

fn layer_tar(files: &[File]) -> io::Result<Vec<u8>> {
    let mut archive = Builder::new(Vec::new());
    let mut directories: Vec<PathBuf> = Vec::new();
    for file in files {
        let above = Path::new(&file.path).ancestors().skip(1).filter(|path| !path.as_os_str().is_empty());
        for directory in above.collect::<Vec<_>>().into_iter().rev() {
            if !directories.iter().any(|made| made == directory) {
                directories.push(directory.to_owned());
                let mut header = header(EntryType::Directory, 0o755, 0);
                archive.append_data(&mut header, directory, io::empty())?;
            }
        }
        match &file.content {
            Content::Bytes(bytes) => append(&mut archive, &file.path, file.mode, bytes)?,
            Content::Directory => {
                directories.push(PathBuf::from(&file.path));
                archive.append_data(&mut header(EntryType::Directory, file.mode, 0), &file.path, io::empty())?;
            }
            Content::Symlink(target) => {
                archive.append_link(&mut header(EntryType::Symlink, file.mode, 0), &file.path, target)?;
            }
            Content::Hardlink(target) => {
                archive.append_link(&mut header(EntryType::Link, file.mode, 0), &file.path, target)?;
            }
        }
    }
    archive.into_inner()
}

fn append<W: Write>(archive: &mut Builder<W>, path: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
    archive.append_data(&mut header(EntryType::Regular, mode, bytes.len() as u64), path, bytes)
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}
