//! Makes an image out of files in memory: the demo server's, and those of tests.

use std::path::PathBuf;

use super::ImageStore;
use crate::runtime::{Error, Image};

/// What an image is made of.
#[derive(Clone, Debug, Default)]
pub struct ImageSource {
    /// Its names, as `kaji.local/hello-server:1.0`.
    pub references: Vec<String>,
    /// `Entrypoint`.
    pub entrypoint: Vec<String>,
    /// `Cmd`.
    pub cmd: Vec<String>,
    /// `Env`, as `NAME=value`.
    pub env: Vec<String>,
    /// `WorkingDir`.
    pub working_dir: String,
    /// `User`.
    pub user: String,
    /// `StopSignal`.
    pub stop_signal: String,
    /// `ExposedPorts`, as `8080/tcp`.
    pub exposed_ports: Vec<String>,
    /// One layer each, lowest first.
    pub layers: Vec<Vec<File>>,
}

/// A file of a layer.
#[derive(Clone, Debug)]
pub struct File {
    /// Where, relative to the root.
    pub path: String,
    /// Mode bits; those of a directory when `content` is [`Content::Directory`].
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

/// Puts the image into the store; the same source gives the same digests.
pub async fn into_store(store: &ImageStore, source: ImageSource) -> Result<Image, Error> {
    let _ = (store, source);
    Err(Error::Archive("not built yet".to_owned()))
}

/// Writes a `docker save` archive with these images.
pub async fn save_archive(path: PathBuf, sources: Vec<ImageSource>) -> Result<(), Error> {
    let _ = (path, sources);
    Err(Error::Archive("not built yet".to_owned()))
}
