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

use component_base::Scope;
use flate2::Compression;
use flate2::write::GzEncoder;
use parking_lot::Mutex;
use serde_json::Value;

use crate::Sink;
use crate::metrics::AuditMetrics;

/// The end of the names of compressed files.
const COMPRESSED: &str = ".gz";

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
    /// `--audit-log-compress`: old files are compressed.
    pub compress: bool,
}

/// See the module.
pub struct FileSink {
    config: FileConfig,
    state: Mutex<State>,
    metrics: AuditMetrics,
    scope: Scope,
}

struct State {
    file: Option<File>,
    written: u64,
}

impl FileSink {
    /// Opens the file, readable by its owner alone.
    pub fn open(config: FileConfig, metrics: &AuditMetrics, scope: &Scope) -> io::Result<Self> {
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
        let sink = Self { config, state: Mutex::new(state), metrics: metrics.clone(), scope: scope.clone() };
        sink.compress_old();
        Ok(sink)
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
            self.compress_old();
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
        let backups = self.backups()?;
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

    /// The files put aside, compressed or not, oldest first.
    fn backups(&self) -> io::Result<Vec<PathBuf>> {
        let (stem, extension) = self.name_parts();
        let directory = self.config.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let mut backups: Vec<PathBuf> = fs::read_dir(directory.unwrap_or(Path::new(".")))?
            .flatten()
            .filter(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                name.strip_prefix(&format!("{stem}-"))
                    .is_some_and(|rest| rest.trim_end_matches(COMPRESSED).ends_with(&extension))
            })
            .map(|entry| entry.path())
            .collect();
        // Names carry the time.
        backups.sort();
        Ok(backups)
    }

    /// Compresses what was put aside, in the background.
    fn compress_old(&self) {
        if !self.config.compress || self.config.path == Path::new("-") {
            return;
        }
        let Ok(backups) = self.backups() else { return };
        let plain = |path: &PathBuf| !path.to_string_lossy().ends_with(COMPRESSED);
        let waiting: Vec<PathBuf> = backups.into_iter().filter(plain).collect();
        if waiting.is_empty() {
            return;
        }
        self.scope.spawn_blocking(move || {
            for path in waiting {
                match compress(&path) {
                    Ok(()) => {}
                    // Another round was faster.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => tracing::error!(%error, path = %path.display(), "an audit log was not compressed"),
                }
            }
        });
    }
}

/// Compresses a file that nobody writes to any more; it stays as it is until the compressed one is whole.
fn compress(path: &Path) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(COMPRESSED);
    let (whole, part) = (PathBuf::from(&name), PathBuf::from(name).with_extension("part"));
    let file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&part)?;
    let mut encoder = GzEncoder::new(file, Compression::default());
    io::copy(&mut File::open(path)?, &mut encoder)?;
    encoder.finish()?.sync_all()?;
    fs::rename(&part, &whole)?;
    fs::remove_file(path)
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

impl Sink for FileSink {
    fn take(&self, event: &Arc<Value>) {
        let mut line = event.to_string().into_bytes();
        line.push(b'\n');
        if let Err(error) = self.write(&line) {
            self.metrics.lost("log", 1);
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
        let config =
            FileConfig { path: path.clone(), max_size_mb: 1, max_backups: 2, max_age_days: 0, compress: false };
        let open = |config: &FileConfig| FileSink::open(config.clone(), &AuditMetrics::default(), &Scope::root());
        let sink = open(&config).expect("opened");
        let event = Arc::new(json!({ "pad": "x".repeat(400_000) }));
        for _ in 0..9 {
            sink.take(&event);
        }
        drop(sink);
        let count = fs::read_dir(directory.path()).expect("listed").count();
        assert_eq!(count, 3, "the file and two old ones");
        let lines = fs::read_to_string(&path).expect("read").lines().count();
        assert_eq!(lines, 1, "two fit into a megabyte; nine were written");
        open(&config).expect("opened again").take(&Arc::new(json!({})));
        assert!(fs::read_to_string(&path).expect("read").ends_with("{}\n"));
    }

    #[tokio::test]
    async fn old_files_are_compressed() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.log");
        let config = FileConfig { path, max_size_mb: 1, max_backups: 0, max_age_days: 0, compress: true };
        let scope = Scope::root();
        let sink = FileSink::open(config, &AuditMetrics::default(), &scope).expect("opened");
        let event = Arc::new(json!({ "pad": "x".repeat(600_000) }));
        sink.take(&event);
        sink.take(&event);
        assert!(scope.shutdown(Duration::from_secs(30)).await);
        let names = fs::read_dir(directory.path()).expect("listed").flatten().map(|entry| entry.file_name());
        let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort();
        assert!(names.len() == 2 && names[0].ends_with(".log.gz") && names[1] == "audit.log", "{names:?}");
        let bytes = fs::read(directory.path().join(&names[0])).expect("read");
        let mut text = String::new();
        io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut text).expect("gzip");
        assert_eq!(text, format!("{event}\n"));
    }
}
