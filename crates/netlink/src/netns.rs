//! Network namespaces kept by a bind mount, and threads that work inside them.
//!
//! A namespace is a property of a thread. Nothing here changes the calling thread: a helper thread is made, enters or
//! makes the namespace, and ends. Sockets opened there stay in that namespace wherever they are used afterwards.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::thread;

use rustix::mount::UnmountFlags;
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

const NSFS_MAGIC: u64 = 0x6e73_6673;

/// Makes a network namespace that lives as long as the mount at `path`. Nothing is done when there is one already.
pub fn create(path: &Path) -> io::Result<()> {
    if is_namespace(path)? {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    File::create(path)?;
    let made = on_a_thread(|| {
        unshare_network()?;
        Ok(rustix::mount::mount_bind("/proc/thread-self/ns/net", path)?)
    });
    if made.is_err() {
        // The mount point is of no use to anyone; the first error is the one to tell.
        let _ = fs::remove_file(path);
    }
    made
}

/// Ends the namespace at `path`, when nothing else holds it. Nothing is done when there is none.
pub fn delete(path: &Path) -> io::Result<()> {
    match rustix::mount::unmount(path, UnmountFlags::DETACH) {
        // EINVAL: a plain file, left by a machine that stopped.
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    match fs::remove_file(path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
        _ => Ok(()),
    }
}

/// Whether a namespace is mounted at `path`.
pub fn is_namespace(path: &Path) -> io::Result<bool> {
    match rustix::fs::statfs(path) {
        Ok(stat) => Ok(stat.f_type as u64 == NSFS_MAGIC),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Runs `work` on a thread of the namespace at `path` and waits for it.
///
/// `path` may also be `/proc/<pid>/ns/net`. The work should only open what belongs to the namespace, and be quick.
pub fn run<T: Send>(path: &Path, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let namespace = File::open(path)?;
    on_a_thread(|| {
        rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        work()
    })
}

/// Runs `work` on a thread of a new namespace that ends with what the work opened. For tests and measurements.
pub fn run_in_new<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    on_a_thread(|| {
        unshare_network()?;
        work()
    })
}

fn unshare_network() -> io::Result<()> {
    // SAFETY: only the network namespace is unshared, which no file descriptor table depends on.
    Ok(unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }?)
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("netns".into()).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(path: &str) -> io::Result<std::path::PathBuf> {
        fs::read_link(path)
    }

    #[test]
    fn a_namespace_lives_as_long_as_its_mount() -> io::Result<()> {
        let directory = std::env::temp_dir().join(format!("kaji-netns-{}", std::process::id()));
        let path = directory.join("a");
        create(&path)?;
        create(&path)?;
        assert!(is_namespace(&path)?);
        let inside = run(&path, || identity("/proc/thread-self/ns/net"))?;
        assert_eq!(inside, run(&path, || identity("/proc/thread-self/ns/net"))?);
        assert_ne!(inside, identity("/proc/thread-self/ns/net")?);
        delete(&path)?;
        delete(&path)?;
        assert!(!is_namespace(&path)?);
        fs::remove_dir(&directory)
    }

    #[test]
    fn a_missing_namespace_is_an_error() {
        let err = run(Path::new("/nowhere/net"), || Ok(())).expect_err("there is no such namespace");
        assert_eq!(err.kind(), io::ErrorKind::NotFound);
    }
}
