//! Unpacking one layer into overlayfs form.
//!
//! Every path is resolved inside the layer's own root with `openat2`, symbolic links included, so nothing is written
//! outside whatever an archive says; names that climb are refused. Upstream: containerd's pkg/archive/tar.go.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod,
    fchown, futimens, linkat, makedev, mkdirat, mknodat, openat, openat2, statat, symlinkat, unlinkat, utimensat,
};
use serde::{Deserialize, Serialize};
use tar::{Archive, Entry, EntryType};

use super::digest::{Digest, HashingReader};
use crate::runtime::Error;

const OPAQUE: &str = "trusted.overlay.opaque";
/// Up to so many files of a layer are synced one by one; the whole file system is for layers of more.
const SYNCED_FILES: usize = 64;

/// What is known of an unpacked layer; kept beside it as `layer.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct LayerInfo {
    pub(super) diff_id: Digest,
    pub(super) bytes: u64,
    pub(super) inodes: u64,
}

impl LayerInfo {
    pub(super) fn load(layer: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(layer.join("layer.json"))?)?)
    }
}

/// A full disk has its own error, so that users are told what to do.
pub(super) fn disk_error(path: &Path, doing: &str, err: io::Error) -> Error {
    match err.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::DiskFull { path: path.display().to_string() }
        }
        _ => Error::failed(format!("{doing} below {}", path.display()), err),
    }
}

/// Why a layer was not unpacked: the archive's fault, or the disk's.
enum Fault {
    Archive(String),
    Disk(io::Error),
}

impl From<rustix::io::Errno> for Fault {
    fn from(err: rustix::io::Errno) -> Self {
        Fault::Disk(err.into())
    }
}

/// Unpacks `reader` to `<place>/fs` and writes `<place>/layer.json`. The caller removes `place` when this fails.
pub(super) fn unpack(reader: Box<dyn Read>, diff_id: &Digest, place: &Path) -> Result<LayerInfo, Error> {
    let (info, found) = unpack_any(reader, place)?;
    if found != *diff_id {
        return Err(Error::Archive(format!("layer is {found}, but the config says {diff_id}")));
    }
    let info = LayerInfo { diff_id: found, ..info };
    let json = serde_json::to_vec(&info).map_err(|err| Error::failed("describing a layer", err))?;
    fs::write(place.join("layer.json"), json).map_err(|err| disk_error(place, "describing a layer", err))?;
    Ok(info)
}

fn unpack_any(reader: Box<dyn Read>, place: &Path) -> Result<(LayerInfo, Digest), Error> {
    let disk = |err| disk_error(place, "unpacking a layer", err);
    let root = place.join("fs");
    fs::create_dir_all(&root).map_err(disk)?;
    // Without an entry of its own, the root is what container tools expect of `/`.
    fs::set_permissions(&root, std::os::unix::fs::PermissionsExt::from_mode(0o755)).map_err(disk)?;
    let plain = HashingReader::new(decompressed(reader).map_err(|err| Error::Archive(err.to_string()))?);
    let mut archive = Archive::new(plain);
    let mut unpacker = Unpacker::new(&root).map_err(disk)?;
    let fault = |fault| match fault {
        Fault::Archive(cause) => Error::Archive(cause),
        Fault::Disk(err) => disk_error(place, "unpacking a layer", err),
    };
    let entries = archive.entries().map_err(|err| Error::Archive(err.to_string()))?;
    for entry in entries {
        let mut entry = entry.map_err(|err| Error::Archive(format!("damaged layer: {err}")))?;
        unpacker.entry(&mut entry).map_err(fault)?;
    }
    unpacker.finish().map_err(fault)?;
    let (_, digest) = archive.into_inner().finish().map_err(|err| Error::Archive(format!("damaged layer: {err}")))?;
    Ok((LayerInfo { diff_id: digest.clone(), bytes: unpacker.bytes, inodes: unpacker.inodes }, digest))
}

/// Takes gzip and zstd by their first bytes; anything else is as it is.
pub(super) fn decompressed(reader: Box<dyn Read>) -> io::Result<Box<dyn Read>> {
    let mut reader = BufReader::with_capacity(1 << 16, reader);
    let start = io::BufRead::fill_buf(&mut reader)?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(flate2::bufread::MultiGzDecoder::new(reader)));
    }
    if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Ok(Box::new(zstd::stream::read::Decoder::with_buffer(reader)?));
    }
    Ok(Box::new(reader))
}

struct Unpacker {
    root: OwnedFd,
    /// The directory of the last entry: archives go directory by directory.
    parent: Option<(PathBuf, OwnedFd)>,
    /// Directories get their times last, as what is put into them changes these.
    times: BTreeMap<PathBuf, Timestamps>,
    /// Files to sync; more than [`SYNCED_FILES`] are not kept.
    files: Vec<OwnedFd>,
    bytes: u64,
    inodes: u64,
}

impl Unpacker {
    fn new(root: &Path) -> io::Result<Self> {
        let root = openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { root, parent: None, times: BTreeMap::new(), files: Vec::new(), bytes: 0, inodes: 1 })
    }

    fn entry<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<(), Fault> {
        if matches!(entry.header().entry_type(), EntryType::XGlobalHeader) {
            return Ok(());
        }
        let path = contained(&entry.path_bytes())?;
        let Some(name) = path.file_name().map(OsStr::to_owned) else { return self.root_entry(entry) };
        let directory = path.parent().unwrap_or(Path::new("")).to_owned();
        self.open_parent(&directory)?;
        if let Some(hidden) = name.as_bytes().strip_prefix(b".wh.") {
            return self.white_out(OsStr::from_bytes(hidden));
        }
        let covered = self.make_room(&name, entry.header().entry_type())?;
        self.create(entry, &name, &path)?;
        if covered && entry.header().entry_type().is_dir() {
            self.set_xattr(&name, OPAQUE, b"y")?;
        }
        Ok(())
    }

    /// The entry for the layer's root sets its owner and mode.
    fn root_entry<R: Read>(&mut self, entry: &Entry<'_, R>) -> Result<(), Fault> {
        let root = openat(&self.root, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        set_owner_and_mode(&root, entry)
    }

    fn parent(&self) -> &OwnedFd {
        self.parent.as_ref().map_or(&self.root, |(_, fd)| fd)
    }

    /// Makes `path` the current directory, creating what is missing on the way.
    fn open_parent(&mut self, path: &Path) -> Result<(), Fault> {
        if self.parent.as_ref().is_some_and(|(open, _)| open == path) {
            return Ok(());
        }
        let fd = match self.open_directory(path) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => {
                let mut at = PathBuf::new();
                for part in path.components() {
                    let above = self.open_directory(&at)?;
                    at.push(part);
                    match statat(&above, part.as_os_str(), AtFlags::SYMLINK_NOFOLLOW) {
                        Ok(stat) if is_whiteout(&stat) => {
                            unlinkat(&above, part.as_os_str(), AtFlags::empty())?;
                            mkdirat(&above, part.as_os_str(), Mode::from_raw_mode(0o755))?;
                            set_xattr_at(&above, part.as_os_str(), OPAQUE, b"y")?;
                        }
                        Ok(_) => {}
                        Err(_) => {
                            mkdirat(&above, part.as_os_str(), Mode::from_raw_mode(0o755))?;
                            self.inodes += 1;
                        }
                    }
                }
                self.open_directory(path).map_err(|err| {
                    Fault::Archive(format!("{} leads to no directory of the layer: {err}", path.display()))
                })?
            }
            Err(err) => return Err(Fault::Archive(format!("{}: {err}", path.display()))),
        };
        self.parent = Some((path.to_owned(), fd));
        Ok(())
    }

    /// Links are followed as a process chrooted to the layer would follow them.
    fn open_directory(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat2(&self.root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
    }

    /// A whiteout is a character device 0/0 to overlayfs; an opaque directory carries an attribute.
    fn white_out(&mut self, name: &OsStr) -> Result<(), Fault> {
        if name.as_bytes() == b".wh..opq" {
            return match &self.parent {
                Some((path, _)) if !path.as_os_str().is_empty() => {
                    let fd = self.open_directory(path)?;
                    set_xattr_at(&fd, OsStr::new("."), OPAQUE, b"y")
                }
                _ => set_xattr_at(&self.root, OsStr::new("."), OPAQUE, b"y"),
            };
        }
        // Other names of this form are aufs' own book-keeping.
        if name.as_bytes().starts_with(b".wh.") {
            return Ok(());
        }
        if name.is_empty() || name == "." || name == ".." {
            return Err(Fault::Archive(format!("whiteout of {name:?}")));
        }
        match mknodat(self.parent(), name, FileType::CharacterDevice, Mode::empty(), makedev(0, 0)) {
            // A whiteout hides what is below, never what its own layer brings.
            Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(err) => Err(err.into()),
            Ok(()) => {
                self.inodes += 1;
                Ok(())
            }
        }
    }

    /// Takes away what an earlier entry put there; a directory stays for a directory. Answers whether a whiteout went.
    fn make_room(&mut self, name: &OsStr, kind: EntryType) -> Result<bool, Fault> {
        let stat = match statat(self.parent(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(rustix::io::Errno::NOENT) => return Ok(false),
            Err(err) => return Err(err.into()),
        };
        let is_dir = FileType::from_raw_mode(stat.st_mode).is_dir();
        if is_dir && kind.is_dir() {
            return Ok(false);
        }
        if is_dir {
            let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(self.parent()));
            fs::remove_dir_all(Path::new(&path).join(name)).map_err(Fault::Disk)?;
        } else {
            unlinkat(self.parent(), name, AtFlags::empty())?;
        }
        Ok(is_whiteout(&stat))
    }

    fn create<R: Read>(&mut self, entry: &mut Entry<'_, R>, name: &OsStr, path: &Path) -> Result<(), Fault> {
        let header = entry.header().clone();
        let times = timestamps(header.mtime().unwrap_or(0));
        self.inodes += 1;
        match header.entry_type() {
            EntryType::Directory => {
                match mkdirat(self.parent(), name, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                    Err(err) => return Err(err.into()),
                }
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let dir = openat(self.parent(), name, flags, Mode::empty())?;
                set_owner_and_mode(&dir, entry)?;
                set_xattrs(&dir, entry)?;
                self.times.insert(path.to_owned(), times);
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mut file = File::from(openat(self.parent(), name, flags, Mode::from_raw_mode(0o600))?);
                self.bytes += copy(entry, &mut file)?;
                let file = OwnedFd::from(file);
                set_owner_and_mode(&file, entry)?;
                set_xattrs(&file, entry)?;
                futimens(&file, &times)?;
                if self.files.len() <= SYNCED_FILES {
                    self.files.push(file);
                }
            }
            EntryType::Symlink => {
                let target = entry.link_name_bytes().ok_or_else(|| damaged(path, "a link without a target"))?;
                symlinkat(OsStr::from_bytes(&target), self.parent(), name)?;
                let (uid, gid) = owner(entry)?;
                chownat(self.parent(), name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
                utimensat(self.parent(), name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
            }
            EntryType::Link => {
                let target = entry.link_name_bytes().ok_or_else(|| damaged(path, "a link without a target"))?;
                let target = contained(&target)?;
                let file = target.file_name().ok_or_else(|| damaged(path, "a hard link to the root"))?;
                let directory = self
                    .open_directory(target.parent().unwrap_or(Path::new("")))
                    .map_err(|err| damaged(path, &format!("a hard link to {}: {err}", target.display())))?;
                linkat(&directory, file, self.parent(), name, AtFlags::empty())
                    .map_err(|err| damaged(path, &format!("a hard link to {}: {err}", target.display())))?;
                self.inodes -= 1;
            }
            kind @ (EntryType::Char | EntryType::Block | EntryType::Fifo) => {
                let number = |n: io::Result<Option<u32>>| n.ok().flatten().unwrap_or(0);
                let (kind, device) = match kind {
                    EntryType::Fifo => (FileType::Fifo, 0),
                    EntryType::Char => (
                        FileType::CharacterDevice,
                        makedev(number(header.device_major()), number(header.device_minor())),
                    ),
                    _ => (FileType::BlockDevice, makedev(number(header.device_major()), number(header.device_minor()))),
                };
                let mode = Mode::from_raw_mode(header.mode().unwrap_or(0o600) & 0o7777);
                mknodat(self.parent(), name, kind, mode, device)?;
                let (uid, gid) = owner(entry)?;
                chownat(self.parent(), name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
                rustix::fs::chmodat(self.parent(), name, mode, AtFlags::empty())?;
            }
            other => return Err(damaged(path, &format!("an entry of the unknown kind {other:?}"))),
        }
        Ok(())
    }

    fn set_xattr(&self, name: &OsStr, key: &str, value: &[u8]) -> Result<(), Fault> {
        set_xattr_at(self.parent(), name, key, value)
    }

    /// Sets what had to wait, and puts the contents on disk: the index names the layer next.
    fn finish(&mut self) -> Result<(), Fault> {
        for (path, times) in std::mem::take(&mut self.times) {
            // A later entry may have put a file or link in its place.
            if let Ok(dir) = self.open_directory(&path) {
                let _ = utimensat(&dir, ".", &times, AtFlags::empty());
            }
        }
        if self.files.len() > SYNCED_FILES {
            let root = openat(&self.root, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            rustix::fs::syncfs(root)?;
        } else {
            self.files.iter().try_for_each(rustix::fs::fdatasync)?;
        }
        Ok(())
    }
}

/// The entry's path below the root; one that climbs is refused.
fn contained(bytes: &[u8]) -> Result<PathBuf, Fault> {
    let mut path = PathBuf::new();
    for part in Path::new(OsStr::from_bytes(bytes)).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                let shown = String::from_utf8_lossy(bytes);
                return Err(Fault::Archive(format!("entry {shown:?} points outside of the layer")));
            }
        }
    }
    Ok(path)
}

fn damaged(path: &Path, what: &str) -> Fault {
    Fault::Archive(format!("entry {:?} is {what}", path.display().to_string()))
}

fn is_whiteout(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode).is_char_device() && stat.st_rdev == makedev(0, 0)
}

fn timestamps(seconds: u64) -> Timestamps {
    let time = Timespec { tv_sec: i64::try_from(seconds).unwrap_or(0), tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

fn owner<R: Read>(entry: &Entry<'_, R>) -> Result<(Uid, Gid), Fault> {
    let id = |id: io::Result<u64>| {
        id.ok()
            .and_then(|id| u32::try_from(id).ok())
            .filter(|id| *id != u32::MAX)
            .ok_or_else(|| Fault::Archive("an entry's owner is out of range".to_owned()))
    };
    Ok((Uid::from_raw(id(entry.header().uid())?), Gid::from_raw(id(entry.header().gid())?)))
}

/// The mode goes last, as a change of owner takes the set-user-id bit away.
fn set_owner_and_mode<R: Read>(fd: &OwnedFd, entry: &Entry<'_, R>) -> Result<(), Fault> {
    let (uid, gid) = owner(entry)?;
    fchown(fd, Some(uid), Some(gid))?;
    let mode = entry.header().mode().map_err(|err| Fault::Archive(err.to_string()))?;
    Ok(fchmod(fd, Mode::from_raw_mode(mode & 0o7777))?)
}

fn set_xattrs<R: Read>(fd: &OwnedFd, entry: &mut Entry<'_, R>) -> Result<(), Fault> {
    let Some(extensions) = entry.pax_extensions().map_err(|err| Fault::Archive(err.to_string()))? else {
        return Ok(());
    };
    for extension in extensions {
        let extension = extension.map_err(|err| Fault::Archive(err.to_string()))?;
        let Some(key) = extension.key_bytes().strip_prefix(b"SCHILY.xattr.") else { continue };
        // These would let an image decide what overlayfs shows.
        if key.starts_with(b"trusted.overlay.") || key.starts_with(b"user.overlay.") {
            continue;
        }
        match rustix::fs::fsetxattr(fd, OsStr::from_bytes(key), extension.value_bytes(), XattrFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
            Err(err) => return Err(err.into()),
        }
    }
    Ok(())
}

fn set_xattr_at(dir: &OwnedFd, name: &OsStr, key: &str, value: &[u8]) -> Result<(), Fault> {
    let mut path = OsString::from(format!("/proc/self/fd/{}/", std::os::fd::AsRawFd::as_raw_fd(dir)));
    path.push(name);
    Ok(rustix::fs::setxattr(&path, key, value, XattrFlags::empty())?)
}

/// Copies, telling whose fault a failure is: reading means the archive, writing the disk.
fn copy<R: Read>(entry: &mut Entry<'_, R>, file: &mut File) -> Result<u64, Fault> {
    let mut buffer = vec![0; 1 << 16];
    let mut total = 0;
    loop {
        let n = match entry.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(n) => n,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
            Err(err) => return Err(Fault::Archive(format!("damaged layer: {err}"))),
        };
        io::Write::write_all(file, &buffer[..n]).map_err(Fault::Disk)?;
        total += n as u64;
    }
}
