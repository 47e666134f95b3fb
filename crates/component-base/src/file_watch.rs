//! [`FileWatch`]: says when a configuration file has changed, however it was replaced.
//!
//! The directory is watched and not the file: editors write a new file and rename it, and mounted ConfigMaps swap a
//! link. Several changes at once are one.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;

/// See the module.
#[derive(Debug)]
pub struct FileWatch {
    path: PathBuf,
    events: AsyncFd<OwnedFd>,
    seen: Option<Vec<u8>>,
}

impl FileWatch {
    /// Watches a file; what it holds now counts as seen.
    pub fn new(path: &Path) -> io::Result<Self> {
        let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let flags = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::CREATE | WatchFlags::DELETE;
        inotify::add_watch(&events, parent, flags)?;
        // SAFETY: the descriptor is owned by the `AsyncFd`, which lives as long as its registration, and nothing takes
        // it out or closes it.
        let events = unsafe { AsyncFd::register(events) }.map_err(io::Error::from)?;
        Ok(Self { path: path.to_owned(), events, seen: std::fs::read(path).ok() })
    }

    /// Waits until the file holds something else, and reads it. Cancel safe.
    pub async fn changed(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let mut ready = self.events.readable().await?;
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut reader = inotify::Reader::new(ready.get_inner(), &mut buffer);
            // Which file it was does not matter: links may lead anywhere.
            while reader.next().is_ok() {}
            ready.clear_ready();
            drop(ready);
            let Ok(content) = std::fs::read(&self.path) else { continue };
            if self.seen.as_ref() != Some(&content) {
                self.seen = Some(content.clone());
                return Ok(content);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_replaced_file_is_noticed() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("config");
        std::fs::write(&path, "one").expect("written");
        let mut watch = FileWatch::new(&path).expect("a watch");
        std::fs::write(directory.path().join("other"), "x").expect("written");
        let next = directory.path().join("next");
        std::fs::write(&next, "two").expect("written");
        std::fs::rename(&next, &path).expect("renamed");
        assert_eq!(watch.changed().await.expect("read"), b"two");
        std::fs::write(&path, "three").expect("written");
        // A reader may meet the file while it is being written.
        while watch.changed().await.expect("read") != b"three" {}
    }
}
