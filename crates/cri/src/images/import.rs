//! Importing `docker save` archives and OCI layouts.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};

use tar::{Archive, EntryType};

use super::digest::Digest;
use super::layer::{decompressed, disk_error};
use super::layout::{Descriptor, Document, ImageConfig, SavedImage, choose_platform, decode};
use super::reference::Reference;
use super::store::{Names, Store, remove_any};
use crate::runtime::{Error, Image};

/// No JSON document of an image is this long.
const DOCUMENT_LIMIT: u64 = 8 << 20;
/// How deep indexes may name indexes.
const INDEX_DEPTH: usize = 4;

/// Adds every image of the archive or directory at `path`.
pub(super) fn import(store: &Arc<Store>, path: &Path) -> Result<Vec<Image>, Error> {
    let source = Source::open(store, path)?;
    let found = match source.read("manifest.json")? {
        Some(bytes) => saved_images(&source, decode("manifest.json", &bytes)?)?,
        None => layout_images(&source)?,
    };
    if found.is_empty() {
        return Err(Error::Archive(format!("{} holds no image", path.display())));
    }
    found.into_iter().map(|image| image.add(store, &source)).collect()
}

/// An image of an archive, before its layers are unpacked.
struct Found {
    config: Vec<u8>,
    /// Members with the layers, lowest first, and the digest they must have where one is told.
    layers: Vec<(String, Option<Digest>)>,
    names: Names,
}

impl Found {
    /// Unpacks the layers, as many at a time as there are processors, and enters the image.
    fn add(self, store: &Arc<Store>, source: &Source) -> Result<Image, Error> {
        let config: ImageConfig = decode("the image config", &self.config)?;
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != self.layers.len() {
            let (said, found) = (diff_ids.len(), self.layers.len());
            return Err(Error::Archive(format!("the config names {said} layers, the archive has {found}")));
        }
        // Held from now on: a concurrent removal must not take what was just unpacked.
        let _hold = store.hold(diff_ids.iter().map(|layer| layer.short().to_owned()).collect());
        let queue = Mutex::new(diff_ids.iter().zip(&self.layers));
        let next = || queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
        let work = || -> Result<(), Error> {
            while let Some((diff_id, (member, digest))) = next() {
                store.ensure_layer(diff_id, || {
                    let reader = source.reader(member)?;
                    match digest {
                        Some(digest) => verified(reader, digest.clone()),
                        None => Ok(reader),
                    }
                })?;
            }
            Ok(())
        };
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(self.layers.len().max(1));
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap_or_else(|_| Err(Error::failed("unpacking a layer", "it panicked"))))
                .collect::<Result<Vec<()>, Error>>()
        })?;
        store.commit(&self.config, self.names)
    }
}

/// The images of a `docker save` archive.
fn saved_images(source: &Source, saved: Vec<SavedImage>) -> Result<Vec<Found>, Error> {
    saved
        .into_iter()
        .map(|image| {
            let config = source.require(&image.config)?;
            let tags = image.repo_tags.iter().map(|tag| Ok(Reference::parse(tag)?.to_string()));
            let names = Names { tags: tags.collect::<Result<BTreeSet<_>, Error>>()?, digests: BTreeSet::new() };
            let layers = image.layers.into_iter().map(|layer| (layer, None)).collect();
            Ok(Found { config, layers, names })
        })
        .collect()
}

/// The images of an OCI layout.
fn layout_images(source: &Source) -> Result<Vec<Found>, Error> {
    let Some(bytes) = source.read("index.json")? else {
        return Err(Error::Archive("neither manifest.json nor index.json is there".to_owned()));
    };
    let index: Document = decode("index.json", &bytes)?;
    index.manifests.iter().map(|descriptor| layout_image(source, descriptor)).collect()
}

fn layout_image(source: &Source, named: &Descriptor) -> Result<Found, Error> {
    let mut descriptor = named.clone();
    for _ in 0..INDEX_DEPTH {
        let bytes = source.blob(&descriptor.digest)?;
        let document: Document = decode("a manifest", &bytes)?;
        let Some(config) = document.config else {
            descriptor = choose_platform(&document.manifests)?.clone();
            continue;
        };
        let mut names = Names::default();
        let name = ["io.containerd.image.name", "org.opencontainers.image.ref.name"]
            .into_iter()
            .filter_map(|key| named.annotations.get(key))
            // A bare tag names nothing by itself.
            .find(|name| name.contains([':', '/']));
        if let Some(name) = name {
            names = Names::of(&Reference::parse(name)?, Some(&named.digest));
        }
        let layers = document.layers.iter().map(|l| (blob_name(&l.digest), Some(l.digest.clone()))).collect();
        return Ok(Found { config: source.blob(&config.digest)?, layers, names });
    }
    Err(Error::Archive("indexes are nested too deep".to_owned()))
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Fails at the end of `reader` when its bytes are not those of `digest`.
fn verified(reader: Box<dyn Read>, digest: Digest) -> Result<Box<dyn Read>, Error> {
    struct Verified {
        inner: Box<dyn Read>,
        hasher: sha2::Sha256,
        expected: Digest,
    }
    impl Read for Verified {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            use sha2::Digest as _;
            let n = self.inner.read(buffer)?;
            self.hasher.update(&buffer[..n]);
            if n == 0 && !buffer.is_empty() && Digest::finish(self.hasher.clone()) != self.expected {
                return Err(io::Error::other(format!("blob is not {}", self.expected)));
            }
            Ok(n)
        }
    }
    Ok(Box::new(Verified { inner: reader, hasher: sha2::Digest::new_with_prefix(b""), expected: digest }))
}

/// A directory, or a tar file with the place of each member.
enum Source {
    Directory(PathBuf),
    Tar { file: Arc<File>, members: HashMap<PathBuf, Member>, _temporary: Option<Temporary> },
}

#[derive(Clone)]
enum Member {
    At { offset: u64, size: u64 },
    LinkTo(PathBuf),
}

/// A file that goes with its owner.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        remove_any(&self.0);
    }
}

impl Source {
    fn open(store: &Store, path: &Path) -> Result<Self, Error> {
        let unreadable = |err: io::Error| Error::Archive(format!("{}: {err}", path.display()));
        if std::fs::metadata(path).map_err(unreadable)?.is_dir() {
            return Ok(Self::Directory(path.to_owned()));
        }
        let file = File::open(path).map_err(unreadable)?;
        let mut start = [0; 4];
        let n = file.read_at(&mut start, 0).map_err(unreadable)?;
        let compressed = start[..n].starts_with(&[0x1f, 0x8b]) || start[..n] == [0x28, 0xb5, 0x2f, 0xfd];
        if !compressed {
            return Self::tar(Arc::new(file), None);
        }
        // Members are read in the order of the manifest, so a compressed archive is unrolled first.
        let temporary = Temporary(store.temporary());
        let mut plain = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&temporary.0)
            .map_err(|err| disk_error(store.root(), "unrolling an archive", err))?;
        let mut reader = decompressed(Box::new(file)).map_err(unreadable)?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let n = reader.read(&mut buffer).map_err(unreadable)?;
            if n == 0 {
                break;
            }
            io::Write::write_all(&mut plain, &buffer[..n])
                .map_err(|err| disk_error(store.root(), "unrolling an archive", err))?;
        }
        Self::tar(Arc::new(plain), Some(temporary))
    }

    fn tar(file: Arc<File>, temporary: Option<Temporary>) -> Result<Self, Error> {
        let damaged = |err: io::Error| Error::Archive(format!("not a whole tar archive: {err}"));
        let length = file.metadata().map_err(damaged)?.len();
        let mut archive = Archive::new(Section { file: file.clone(), offset: 0, end: length });
        let mut members = HashMap::new();
        for entry in archive.entries_with_seek().map_err(damaged)? {
            let entry = entry.map_err(damaged)?;
            let path = plain_path(&entry.path().map_err(damaged)?)?;
            let member = match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous => {
                    let (offset, size) = (entry.raw_file_position(), entry.size());
                    if offset.saturating_add(size) > length {
                        return Err(Error::Archive(format!("the archive ends within {}", path.display())));
                    }
                    Member::At { offset, size }
                }
                EntryType::Symlink | EntryType::Link => {
                    let target = entry.link_name().map_err(damaged)?.unwrap_or_default().into_owned();
                    let hard = entry.header().entry_type() == EntryType::Link;
                    let base = if hard { Path::new("") } else { path.parent().unwrap_or(Path::new("")) };
                    Member::LinkTo(normalised(&base.join(target)))
                }
                _ => continue,
            };
            members.insert(path, member);
        }
        Ok(Self::Tar { file, members, _temporary: temporary })
    }

    fn open_member(&self, name: &str) -> Result<Option<Section>, Error> {
        let path = plain_path(Path::new(name))?;
        match self {
            Self::Directory(root) => match File::open(root.join(&path)) {
                Ok(file) => {
                    let end = file.metadata().map_err(|err| Error::Archive(format!("{name}: {err}")))?.len();
                    Ok(Some(Section { file: Arc::new(file), offset: 0, end }))
                }
                Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(err) => Err(Error::Archive(format!("{name}: {err}"))),
            },
            Self::Tar { file, members, _temporary: _ } => {
                let mut at = &path;
                // Old `docker save` archives link equal layers to each other.
                for _ in 0..8 {
                    match members.get(at) {
                        Some(Member::At { offset, size }) => {
                            return Ok(Some(Section { file: file.clone(), offset: *offset, end: offset + size }));
                        }
                        Some(Member::LinkTo(target)) => at = target,
                        None => return Ok(None),
                    }
                }
                Err(Error::Archive(format!("{name} is a link to itself")))
            }
        }
    }

    fn reader(&self, name: &str) -> Result<Box<dyn Read>, Error> {
        let member = self.open_member(name)?;
        member.map(|section| Box::new(section) as Box<dyn Read>).ok_or_else(|| missing(name))
    }

    /// A JSON document, if it is there.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(section) = self.open_member(name)? else { return Ok(None) };
        if section.end - section.offset > DOCUMENT_LIMIT {
            return Err(Error::Archive(format!("{name} is too long for a description")));
        }
        let mut bytes = Vec::new();
        { section }.read_to_end(&mut bytes).map_err(|err| Error::Archive(format!("{name}: {err}")))?;
        Ok(Some(bytes))
    }

    fn require(&self, name: &str) -> Result<Vec<u8>, Error> {
        self.read(name)?.ok_or_else(|| missing(name))
    }

    fn blob(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let bytes = self.require(&blob_name(digest))?;
        if Digest::of(&bytes) == *digest { Ok(bytes) } else { Err(Error::Archive(format!("blob is not {digest}"))) }
    }
}

fn missing(name: &str) -> Error {
    Error::Archive(format!("{name} is missing"))
}

/// A member's name; one that climbs is refused.
fn plain_path(path: &Path) -> Result<PathBuf, Error> {
    let climbs = path.components().any(|part| matches!(part, Component::ParentDir | Component::RootDir));
    if climbs {
        return Err(Error::Archive(format!("{:?} points outside of the archive", path.display().to_string())));
    }
    Ok(normalised(path))
}

/// Without `.` and with `..` taken back; more `..` than parts stop at the top.
fn normalised(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => out.push(part),
            Component::ParentDir => drop(out.pop()),
            _ => {}
        }
    }
    out
}

/// A part of a file, read without moving the file's own offset, so that threads share one.
struct Section {
    file: Arc<File>,
    offset: u64,
    end: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX).min(buffer.len());
        let n = self.file.read_at(&mut buffer[..left], self.offset)?;
        self.offset += n as u64;
        Ok(n)
    }
}

impl io::Seek for Section {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        let target = match to {
            io::SeekFrom::Start(n) => Some(n),
            io::SeekFrom::Current(n) => self.offset.checked_add_signed(n),
            io::SeekFrom::End(n) => self.end.checked_add_signed(n),
        };
        self.offset = target.filter(|n| *n <= self.end).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(self.offset)
    }
}
