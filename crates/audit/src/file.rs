//! [`FileSink`]: events as lines of JSON in a file that is rotated by size
//! (upstream: apiserver/plugin/pkg/audit/log, lumberjack).
//!
//! A line is written before the answer is sent (upstream's mode `blocking`), so nothing is lost when the process dies.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;

use crate::Sink;

/// The `--audit-log-*` flags.
#[derive(Clone, Debug)]
pub struct FileConfig {
    /// `--audit-log-path`; `-` is standard output.
    pub path: PathBuf,
    /// `--audit-log-maxsize`, in megabytes; 0 never rotates.
    pub max_size_mb: u64,
    /// `--audit-log-maxbackup`: so many old files are kept; 0 keeps all.
    pub max_backups: usize,
    /// `--audit-log-maxage`: old files are kept so many days; 0 keeps them for ever.
    pub max_age_days: u64,
}

/// See the module.
pub struct FileSink {
    config: FileConfig,
    state: Mutex<State>,
}

struct State {
    file: Option<File>,
    written: u64,
}

impl FileSink {
    /// Opens the file, readable by its owner alone.
    pub fn open(config: FileConfig) -> io::Result<Self> {
        let state = if config.path == Path::new("-") {
            State { file: None, written: 0 }
        } else {
            if let Some(directory) = config.path.parent() {
                fs::create_dir_all(directory)?;
            }
            let file = append(&config.path)?;
            let written = file.metadata()?.len();
            State { file: Some(file), written }
        };
        Ok(Self { config, state: Mutex::new(state) })
    }

    fn write(&self, line: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        let State { file: Some(_), written } = &*state else { return io::stdout().lock().write_all(line) };
        let length = line.len() as u64;
        let limit = self.config.max_size_mb.saturating_mul(1024 * 1024);
        if limit > 0 && *written > 0 && written + length > limit {
            fs::rename(&self.config.path, self.backup_name())?;
            *state = State { file: Some(append(&self.config.path)?), written: 0 };
            self.forget_old()?;
        }
        state.written += length;
        match &mut state.file {
            Some(file) => file.write_all(line),
            None => Ok(()),
        }
    }

    /// `audit-2026-01-02T03-04-05.678.log` for `audit.log`.
    fn backup_name(&self) -> PathBuf {
        let (stem, extension) = self.name_parts();
        let mut at = component_base::now();
        loop {
            let name = format!("{stem}-{}{extension}", at.strftime("%Y-%m-%dT%H-%M-%S%.3f"));
            let path = self.config.path.with_file_name(name);
            if !path.exists() {
                return path;
            }
            at += Duration::from_millis(1);
        }
    }

    fn name_parts(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let extension = text(self.config.path.extension());
        let extension = if extension.is_empty() { extension } else { format!(".{extension}") };
        (text(self.config.path.file_stem()), extension)
    }

    /// Removes old files, the oldest first.
    fn forget_old(&self) -> io::Result<()> {
        let (stem, extension) = self.name_parts();
        let directory = self.config.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let mut backups: Vec<PathBuf> = fs::read_dir(directory.unwrap_or(Path::new(".")))?
            .flatten()
            .filter(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                name.strip_prefix(&format!("{stem}-")).is_some_and(|rest| rest.ends_with(&extension))
            })
            .map(|entry| entry.path())
            .collect();
        // Names carry the time.
        backups.sort();
        let keep = if self.config.max_backups == 0 { backups.len() } else { self.config.max_backups };
        let surplus = backups.len().saturating_sub(keep);
        let max_age = Duration::from_secs(self.config.max_age_days.saturating_mul(24 * 3600));
        for (index, path) in backups.iter().enumerate() {
            let age = fs::metadata(path).and_then(|metadata| metadata.modified()).ok().and_then(|at| at.elapsed().ok());
            let is_old = !max_age.is_zero() && age.is_some_and(|age| age > max_age);
            if index < surplus || is_old {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

impl Sink for FileSink {
    fn take(&self, event: &Arc<Value>) {
        let mut line = event.to_string().into_bytes();
        line.push(b'\n');
        if let Err(error) = self.write(&line) {
            tracing::error!(%error, path = %self.config.path.display(), "an audit event is lost");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_full_file_is_put_aside_and_old_ones_go() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.log");
        let config = FileConfig { path: path.clone(), max_size_mb: 1, max_backups: 2, max_age_days: 0 };
        let sink = FileSink::open(config.clone()).expect("opened");
        let event = Arc::new(json!({ "pad": "x".repeat(400_000) }));
        for _ in 0..9 {
            sink.take(&event);
        }
        drop(sink);
        let count = fs::read_dir(directory.path()).expect("listed").count();
        assert_eq!(count, 3, "the file and two old ones");
        let lines = fs::read_to_string(&path).expect("read").lines().count();
        assert_eq!(lines, 1, "two fit into a megabyte; nine were written");
        FileSink::open(config).expect("opened again").take(&Arc::new(json!({})));
        assert!(fs::read_to_string(&path).expect("read").ends_with("{}\n"));
    }
}
