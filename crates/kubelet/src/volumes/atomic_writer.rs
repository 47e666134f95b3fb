//! Files that change all at once: `..data` is a link to a directory of this version and is swapped by one rename
//! (upstream: pkg/volume/util/atomic_writer.go).
//!
//! ```text
//! <dir>/..2026_11_21_22_15_00.123456789/app/key   the version
//! <dir>/..data -> ..2026_11_21_22_15_00.123456789
//! <dir>/app -> ..data/app                          what a container opens
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";

/// One file of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its content.
    pub content: Vec<u8>,
    /// Its permissions.
    pub mode: u32,
    /// Its owner; root when `None`.
    pub user: Option<u32>,
}

/// Files by path below the volume.
pub type Payload = BTreeMap<PathBuf, File>;

/// Makes `dir` hold exactly `payload`; `group` owns the files when given. Answers whether anything changed.
pub fn write(dir: &Path, payload: &Payload, group: Option<u32>, now: Timestamp) -> io::Result<bool> {
    for path in payload.keys() {
        check_path(path)?;
    }
    let data = dir.join(DATA);
    let old = fs::read_link(&data).ok();
    if let Some(old) = &old
        && same(&dir.join(old), payload)?
    {
        ensure_links(dir, payload)?;
        return Ok(false);
    }
    let version = format!("..{}.{:09}", now.strftime("%Y_%m_%d_%H_%M_%S"), now.subsec_nanosecond());
    let version_dir = dir.join(&version);
    fs::create_dir(&version_dir)?;
    set_mode(&version_dir, 0o755)?;
    for (path, file) in payload {
        write_file(&version_dir, path, file, group)?;
    }
    if let Some(group) = group {
        chown(&version_dir, None, Some(group))?;
    }
    let new_data = dir.join(NEW_DATA);
    remove_if_present(&new_data)?;
    symlink(&version, &new_data)?;
    fs::rename(&new_data, &data)?;
    ensure_links(dir, payload)?;
    remove_stale_links(dir, payload)?;
    if let Some(old) = old {
        match fs::remove_dir_all(dir.join(old)) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
            _ => {}
        }
    }
    Ok(true)
}

/// Refuses paths that lead out of the volume or hide behind our own names.
fn check_path(path: &Path) -> io::Result<()> {
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    let hidden = path.to_string_lossy().starts_with("..");
    if !plain || hidden || path.as_os_str().is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("invalid path: {}", path.display())));
    }
    Ok(())
}

fn same(version_dir: &Path, payload: &Payload) -> io::Result<bool> {
    let mut on_disk = BTreeSet::new();
    collect(version_dir, Path::new(""), &mut on_disk)?;
    if on_disk.len() != payload.len() || !payload.keys().all(|path| on_disk.contains(path)) {
        return Ok(false);
    }
    for (path, file) in payload {
        let place = version_dir.join(path);
        let metadata = fs::symlink_metadata(&place)?;
        if metadata.len() != file.content.len() as u64 || fs::read(&place)? != file.content {
            return Ok(false);
        }
    }
    Ok(true)
}

fn collect(root: &Path, below: &Path, found: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    let entries = match fs::read_dir(root.join(below)) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            collect(root, &path, found)?;
        } else {
            found.insert(path);
        }
    }
    Ok(())
}

fn write_file(version_dir: &Path, path: &Path, file: &File, group: Option<u32>) -> io::Result<()> {
    let place = version_dir.join(path);
    if let Some(parent) = place.parent() {
        let mut made = parent.to_path_buf();
        fs::create_dir_all(parent)?;
        while made != *version_dir {
            set_mode(&made, 0o755)?;
            if group.is_some() {
                chown(&made, None, group)?;
            }
            if !made.pop() {
                break;
            }
        }
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(&place)?.write_all(&file.content)?;
    if group.is_some() || file.user.is_some() {
        chown(&place, file.user, group)?;
    }
    // With a group, its members must be able to read (upstream: SetVolumeOwnership, rw for the group).
    let mode = if group.is_some() { file.mode | 0o040 | (file.mode & 0o100) >> 3 } else { file.mode };
    set_mode(&place, mode)
}

/// The first component of every path is a link into `..data`.
fn ensure_links(dir: &Path, payload: &Payload) -> io::Result<()> {
    for name in top_names(payload) {
        let link = dir.join(&name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(&name), &link)?;
        }
    }
    Ok(())
}

fn remove_stale_links(dir: &Path, payload: &Payload) -> io::Result<()> {
    let wanted = top_names(payload);
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = PathBuf::from(entry.file_name());
        if !name.to_string_lossy().starts_with("..") && !wanted.contains(&name) && entry.file_type()?.is_symlink() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn top_names(payload: &Payload) -> BTreeSet<PathBuf> {
    payload.keys().filter_map(|path| path.components().next().map(|part| PathBuf::from(part.as_os_str()))).collect()
}

fn remove_if_present(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
        _ => Ok(()),
    }
}

pub(super) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

pub(super) fn chown(path: &Path, user: Option<u32>, group: Option<u32>) -> io::Result<()> {
    std::os::unix::fs::lchown(path, user, group)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(files: &[(&str, &str)]) -> Payload {
        let file = |content: &str| File { content: content.into(), mode: 0o640, user: None };
        files.iter().map(|(path, content)| (PathBuf::from(path), file(content))).collect()
    }

    fn at(second: u32) -> Timestamp {
        format!("2026-01-01T00:00:{second:02}Z").parse().expect("a time")
    }

    #[test]
    fn versions_replace_each_other_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        let dir = dir.path();
        let read = |name: &str| fs::read_to_string(dir.join(name)).ok();
        assert!(write(dir, &payload(&[("a", "1"), ("sub/b", "2")]), None, at(1)).expect("first"));
        assert_eq!((read("a").as_deref(), read("sub/b").as_deref()), (Some("1"), Some("2")));
        assert!(!write(dir, &payload(&[("a", "1"), ("sub/b", "2")]), None, at(2)).expect("the same again"));
        assert!(write(dir, &payload(&[("a", "3"), ("c", "4")]), None, at(3)).expect("second"));
        assert_eq!((read("a").as_deref(), read("sub/b"), read("c").as_deref()), (Some("3"), None, Some("4")));
        let mut names: Vec<_> = fs::read_dir(dir).expect("entries").map(|e| e.expect("entry").file_name()).collect();
        names.sort();
        assert_eq!(names, ["..2026_01_01_00_00_03.000000000", "..data", "a", "c"]);
        let mode = fs::metadata(dir.join("a")).expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        for path in ["../x", "/etc/x", "a/../../x", "..data", ""] {
            assert!(write(dir.path(), &payload(&[(path, "x")]), None, at(1)).is_err(), "{path}");
        }
    }
}
