//! The allocator's state in one small file, replaced as a whole.
//!
//! Guarantee: after a crash of the process the file is the one before or after the last change, never a part of one.
//! Power loss may damage it, but takes every pod's link with it too: the addresses matter as long as there are links.
//! So nothing waits for the disk here, where each pod's start would.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::ipam::Ipam;

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file cannot be read.
    #[error("read the pod addresses in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        err: io::Error,
    },
    /// The file is not what was written.
    #[error("the pod addresses in {} are damaged; move the file away once no pod runs on this node", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        err: serde_json::Error,
    },
    /// The file cannot be written.
    #[error("write the pod addresses to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        err: io::Error,
    },
}

/// Where the state is kept.
#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
}

impl StateFile {
    pub(crate) fn in_directory(directory: &Path) -> Self {
        Self { path: directory.join("pod-addresses.json") }
    }

    /// The state as last written, or `None` before the first time.
    pub(crate) fn load(&self) -> Result<Option<Ipam>, StateError> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(err) => return Err(StateError::Read { path: self.path.clone(), err }),
        };
        let damaged = |err| StateError::Damaged { path: self.path.clone(), err };
        serde_json::from_slice(&bytes).map(Some).map_err(damaged)
    }

    pub(crate) fn save(&self, ipam: &Ipam) -> Result<(), StateError> {
        let write = || -> io::Result<()> {
            let directory = self.path.parent().unwrap_or(Path::new("/"));
            fs::create_dir_all(directory)?;
            let next = self.path.with_extension("next");
            fs::write(&next, serde_json::to_vec(ipam)?)?;
            fs::rename(&next, &self.path)
        };
        write().map_err(|err| StateError::Write { path: self.path.clone(), err })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_loaded_and_damage_is_told() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = StateFile::in_directory(&directory.path().join("deep/er"));
        assert!(file.load().expect("no file is no error").is_none());
        let mut ipam = Ipam::new("10.244.3.0/24".parse().expect("a network"));
        ipam.allocate("a", &[]).expect("an address is free");
        file.save(&ipam).expect("the directory is writable");
        assert_eq!(file.load().expect("it was just written"), Some(ipam));
        let length = fs::metadata(&file.path).expect("the file is there").len();
        let half = fs::File::options().write(true).open(&file.path).and_then(|open| open.set_len(length / 2));
        half.expect("truncated");
        let err = file.load().expect_err("half a file is no state");
        assert!(err.to_string().contains("are damaged; move the file away"), "{err}");
    }
}
