//! The mounts behind volumes: tmpfs for memory, bind mounts for sub paths.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

/// Mounts a tmpfs of at most `size_bytes` on `dir`, unless something is mounted there.
pub fn tmpfs(dir: &Path, size_bytes: Option<i64>, mode: u32) -> io::Result<()> {
    if is_mounted(dir)? {
        return Ok(());
    }
    let size = size_bytes.filter(|size| *size > 0).map(|size| format!(",size={size}")).unwrap_or_default();
    let options = CString::new(format!("mode={mode:o}{size}"))?;
    rustix::mount::mount("tmpfs", dir, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, options.as_c_str())?;
    Ok(())
}

/// Whether `dir` is the root of a mount.
pub fn is_mounted(dir: &Path) -> io::Result<bool> {
    Ok(mounts_below(dir)?.iter().any(|mounted| mounted == dir))
}

/// Mount points at and below `dir`, the deepest first.
pub fn mounts_below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/thread-self/mountinfo")?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(|point| PathBuf::from(unescape(point)));
    let mut below: Vec<PathBuf> = points.filter(|point| point.starts_with(dir)).collect();
    below.reverse();
    Ok(below)
}

fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// Unmounts everything at and below `dir`.
pub fn unmount_below(dir: &Path) -> io::Result<()> {
    for point in mounts_below(dir)? {
        match rustix::mount::unmount(&point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Err(rustix::io::Errno::INVAL) => {}
            result => result?,
        }
    }
    Ok(())
}

/// Makes changes of mounts below `dir` visible to the containers that share it, and theirs to us.
pub fn make_shared(dir: &Path) -> io::Result<()> {
    if !is_mounted(dir)? {
        rustix::mount::mount_bind(dir, dir)?;
    }
    rustix::mount::mount_change(dir, MountPropagationFlags::SHARED | MountPropagationFlags::REC)?;
    Ok(())
}

/// Opens `sub_path` below `volume` without ever leaving it, whatever links are in it.
fn open_below(volume: &Path, sub_path: &Path) -> io::Result<OwnedFd> {
    let root = rustix::fs::open(volume, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    Ok(rustix::fs::openat2(&root, sub_path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)?)
}

/// Makes `sub_path` below `volume` when it is missing, as a directory with the volume's permissions
/// (upstream: pkg/volume/util/subpath SafeMakeDir).
fn make_below(volume: &Path, sub_path: &Path) -> io::Result<()> {
    let mode = rustix::fs::stat(volume)?.st_mode & 0o777;
    let mut done = PathBuf::new();
    for part in sub_path.components() {
        let parent = if done.as_os_str().is_empty() { PathBuf::from(".") } else { done.clone() };
        done.push(part);
        match open_below(volume, &done) {
            Ok(_) => continue,
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            Err(err) => return Err(err),
        }
        let parent = open_below(volume, &parent)?;
        // O_PATH descriptors serve as the base of *at calls.
        let (name, mode) = (Path::new(part.as_os_str()), Mode::from_raw_mode(mode));
        match rustix::fs::mkdirat(&parent, name, mode) {
            Err(rustix::io::Errno::EXIST) => {}
            // The mode counts as it is given, whatever the process's mask.
            result => result.and_then(|()| rustix::fs::chmodat(&parent, name, mode, AtFlags::empty()))?,
        }
    }
    Ok(())
}

/// Binds `sub_path` of `volume` to `target`, so that later changes of links in the volume lead nowhere else.
pub fn bind_sub_path(volume: &Path, sub_path: &Path, target: &Path) -> io::Result<()> {
    if volume.is_dir() && open_below(volume, sub_path).is_err_and(|err| err.kind() == io::ErrorKind::NotFound) {
        make_below(volume, sub_path)?;
    }
    let found = open_below(volume, sub_path)?;
    let is_dir = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode).is_dir();
    if is_mounted(target)? {
        rustix::mount::unmount(target, UnmountFlags::DETACH)?;
    }
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    if is_dir {
        fs::create_dir_all(target)?;
    } else if !target.exists() {
        fs::File::create(target)?;
    }
    rustix::mount::mount_bind_recursive(format!("/proc/self/fd/{}", found.as_raw_fd()), target)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// Runs `test` in a mount namespace of its own, which takes every mount with it.
    fn with_own_mounts(test: impl FnOnce(&Path) + Send) {
        let dir = tempfile::tempdir().expect("a directory");
        std::thread::scope(|threads| {
            let path = dir.path();
            let thread = threads.spawn(move || {
                // SAFETY: only this thread is taken out of the process's mounts, and it ends with the test.
                let result = unsafe { libc::unshare(libc::CLONE_NEWNS | libc::CLONE_FS) };
                assert_eq!(result, 0, "tests of mounts run as root");
                let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
                rustix::mount::mount_change("/", private).expect("private mounts");
                test(path);
            });
            thread.join().expect("the test passes");
        });
    }

    #[test]
    fn sub_paths_are_made_bound_and_kept_inside() {
        with_own_mounts(|dir| {
            let volume = dir.join("volume");
            fs::create_dir(&volume).expect("a volume");
            rustix::fs::chmod(&volume, Mode::from_raw_mode(0o777)).expect("open to all");
            fs::write(dir.join("secret"), "outside").expect("a file");
            symlink("../secret", volume.join("out")).expect("a link");
            symlink("inner", volume.join("in")).expect("a link");
            fs::write(volume.join("inner"), "inside").expect("a file");

            bind_sub_path(&volume, Path::new("a/b"), &dir.join("t1")).expect("made and bound");
            fs::write(dir.join("t1/x"), "1").expect("written");
            assert_eq!(fs::read_to_string(volume.join("a/b/x")).expect("read"), "1");
            let mode = |path: &Path| rustix::fs::stat(path).expect("metadata").st_mode & 0o777;
            assert_eq!(mode(&volume.join("a/b")), mode(&volume));
            bind_sub_path(&volume, Path::new("in"), &dir.join("t2")).expect("bound");
            assert_eq!(fs::read_to_string(dir.join("t2")).expect("read"), "inside");
            assert!(bind_sub_path(&volume, Path::new("out"), &dir.join("t3")).is_err(), "it leads out");
            unmount_below(dir).expect("unmounted");
            assert!(mounts_below(dir).expect("the table").is_empty());
        });
    }

    #[test]
    fn memory_is_mounted_once_with_its_limit() {
        with_own_mounts(|dir| {
            tmpfs(dir, Some(1 << 20), 0o777).expect("mounted");
            tmpfs(dir, Some(1 << 20), 0o777).expect("mounted already");
            assert_eq!(mounts_below(dir).expect("the table").len(), 1);
            assert!(fs::write(dir.join("large"), vec![0; 2 << 20]).is_err(), "more than the limit");
            unmount_below(dir).expect("unmounted");
        });
    }
}
