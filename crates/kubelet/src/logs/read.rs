//! Reading and following a log (upstream: cri-client/pkg/logs/logs.go). Following waits for the file system to report
//! changes; it does not look again by itself.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use jiff::Timestamp;
use rustix::fs::inotify;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::{files, parse};

/// Bytes that are sent at a time.
const CHUNK: usize = 16 * 1024;
/// Most bytes of one raw line; the runtime cuts lines long before.
const MAX_LINE: u64 = 256 * 1024;

/// Which part of a log is wanted, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on with what is written later.
    pub follow: bool,
    /// The log of the instance before.
    pub previous: bool,
    /// Leave out what is older.
    pub since: Option<Timestamp>,
    /// Put the time in front of each line.
    pub timestamps: bool,
    /// Only the last lines.
    pub tail: Option<u64>,
    /// Stop after that many bytes.
    pub limit_bytes: Option<u64>,
    /// Only `stdout` or `stderr`.
    pub stream: Option<String>,
}

/// Turns raw lines into what the client reads.
struct Formatter {
    options: LogOptions,
    left: Option<u64>,
    at_line_start: bool,
}

impl Formatter {
    fn new(options: LogOptions) -> Self {
        Self { left: options.limit_bytes, options, at_line_start: true }
    }

    /// Adds one raw line to `output`; false when the limit is reached.
    fn push(&mut self, raw: &[u8], output: &mut Vec<u8>) -> bool {
        let Some(entry) = parse::line(raw) else { return true };
        if self.options.stream.as_deref().is_some_and(|wanted| wanted != entry.stream) {
            return true;
        }
        if let Some(since) = self.options.since
            && entry.time.parse::<Timestamp>().is_ok_and(|time| time < since)
        {
            return true;
        }
        let start = output.len();
        if self.options.timestamps && self.at_line_start {
            output.extend_from_slice(entry.time.as_bytes());
            output.push(b' ');
        }
        output.extend_from_slice(entry.content);
        self.at_line_start = entry.content.ends_with(b"\n");
        if let Some(left) = &mut self.left {
            let added = (output.len() - start) as u64;
            if added >= *left {
                output.truncate(start + usize::try_from(*left).unwrap_or(0));
                return false;
            }
            *left -= added;
        }
        true
    }
}

/// Where the last `lines` lines of a log begin: the index of the file, and the offset in it. Blocks.
fn tail_start(files: &[PathBuf], lines: u64) -> io::Result<(usize, u64)> {
    let mut missing = lines;
    for (index, path) in files.iter().enumerate().rev() {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
            Err(err) => return Err(err),
        };
        let length = file.metadata()?.len();
        if missing == 0 {
            return Ok((index, length));
        }
        let mut end = length;
        let mut buffer = vec![0; CHUNK];
        while end > 0 {
            let start = end.saturating_sub(CHUNK as u64);
            let part = &mut buffer[..(end - start) as usize];
            file.seek(SeekFrom::Start(start))?;
            file.read_exact(part)?;
            for (at, byte) in part.iter().enumerate().rev() {
                let position = start + at as u64 + 1;
                // The newline that ends the last line begins none.
                if *byte == b'\n' && position != length {
                    missing -= 1;
                    if missing == 0 {
                        return Ok((index, position));
                    }
                }
            }
            end = start;
        }
        // The file's first line.
        missing -= u64::from(length > 0);
        if missing == 0 {
            return Ok((index, 0));
        }
    }
    Ok((0, 0))
}

/// An open log at a position between two lines.
struct Cursor {
    path: PathBuf,
    reader: BufReader<File>,
    partial: Vec<u8>,
}

impl Cursor {
    fn open(path: &Path, offset: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Self { path: path.to_owned(), reader: BufReader::new(file), partial: Vec::new() })
    }

    /// The next whole line; `None` at the end for now.
    fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let room = MAX_LINE - self.partial.len() as u64;
        (&mut self.reader).take(room).read_until(b'\n', &mut self.partial)?;
        if self.partial.ends_with(b"\n") || self.partial.len() as u64 >= MAX_LINE {
            return Ok(Some(std::mem::take(&mut self.partial)));
        }
        Ok(None)
    }

    /// Whether the path names another file by now.
    fn was_rotated(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        let inode = |metadata: io::Result<std::fs::Metadata>| metadata.map(|m| (m.dev(), m.ino())).ok();
        let there = inode(std::fs::metadata(&self.path));
        there.is_some() && there != inode(self.reader.get_ref().metadata())
    }
}

/// Reports changes in a directory.
struct Changes {
    inotify: AsyncFd<OwnedFd>,
}

impl Changes {
    fn of(dir: &Path) -> io::Result<Self> {
        let inotify = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        let wanted = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&inotify, dir, wanted)?;
        // SAFETY: an OwnedFd answers the same open descriptor until it is dropped, which AsyncFd does last.
        let inotify = unsafe { AsyncFd::register(inotify) }.map_err(io::Error::from)?;
        Ok(Self { inotify })
    }

    /// Completes after something changed.
    async fn next(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.inotify.readable_mut().await?;
            let mut buffer = [0; 4096];
            match ready.try_io(|fd| rustix::io::read(fd.get_ref(), &mut buffer).map_err(io::Error::from)) {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(err)) => return Err(err),
                Err(_would_block) => {}
            }
        }
    }
}

/// Writes the wanted part of `log` to `output`; with `follow` until `ended` completes (and all is read) or nobody
/// listens any more.
pub async fn read(
    log: &Path,
    options: LogOptions,
    ended: impl Future<Output = ()>,
    output: mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let all = files(log);
    let dir = log.parent().unwrap_or(Path::new("/"));
    // Watched before the first read, so that no change falls in between.
    let mut changes = if options.follow { Some(Changes::of(dir)?) } else { None };
    let (first, mut offset) = match options.tail {
        Some(lines) => tail_start(&all, lines)?,
        None => (0, 0),
    };
    let mut sink = Sink { formatter: Formatter::new(options), buffer: Vec::with_capacity(CHUNK), output };
    for old in &all[first..all.len() - 1] {
        if !sink.drain(&mut Cursor::open(old, offset)?).await? {
            return Ok(());
        }
        offset = 0;
    }
    let mut cursor = Cursor::open(log, offset)?;
    tokio::pin!(ended);
    let mut over = false;
    loop {
        if !sink.drain(&mut cursor).await? {
            return Ok(());
        }
        if changes.is_some() && cursor.was_rotated() {
            cursor = Cursor::open(log, 0)?;
            continue;
        }
        let Some(changes) = changes.as_mut().filter(|_| !over) else { return Ok(()) };
        tokio::select! {
            () = &mut ended => over = true,
            result = changes.next() => result?,
            () = sink.output.closed() => return Ok(()),
        }
    }
}

struct Sink {
    formatter: Formatter,
    buffer: Vec<u8>,
    output: mpsc::Sender<io::Result<Bytes>>,
}

impl Sink {
    /// Sends all whole lines there are; false when nothing more is wanted.
    async fn drain(&mut self, cursor: &mut Cursor) -> io::Result<bool> {
        while let Some(line) = cursor.next_line()? {
            let go_on = self.formatter.push(&line, &mut self.buffer);
            if !go_on {
                self.flush().await;
                return Ok(false);
            }
            if self.buffer.len() >= CHUNK && !self.flush().await {
                return Ok(false);
            }
        }
        Ok(self.flush().await)
    }

    async fn flush(&mut self) -> bool {
        if self.buffer.is_empty() {
            return true;
        }
        let chunk = Bytes::from(std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK)));
        self.output.send(Ok(chunk)).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn line(second: u32, text: &str) -> String {
        format!("2026-01-01T00:00:{second:02}Z stdout F {text}\n")
    }

    async fn collect(log: &Path, options: LogOptions) -> String {
        let (sender, mut receiver) = mpsc::channel(64);
        read(log, options, std::future::ready(()), sender).await.expect("read");
        let mut text = Vec::new();
        while let Some(chunk) = receiver.recv().await {
            text.extend_from_slice(&chunk.expect("a chunk"));
        }
        String::from_utf8(text).expect("text")
    }

    #[tokio::test]
    async fn parts_of_a_rotated_log() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("0.log");
        std::fs::write(dir.path().join("0.log.20260101-000000"), line(1, "a") + &line(2, "b")).expect("old");
        std::fs::write(&log, line(3, "c") + "2026-01-01T00:00:04Z stderr P par\n2026-01-01T00:00:04Z stderr F tial\n")
            .expect("new");
        let base = LogOptions::default;
        for (options, expected) in [
            (base(), "a\nb\nc\npartial\n"),
            (LogOptions { tail: Some(0), ..base() }, ""),
            (LogOptions { tail: Some(3), ..base() }, "c\npartial\n"),
            (LogOptions { tail: Some(4), ..base() }, "b\nc\npartial\n"),
            (LogOptions { tail: Some(99), ..base() }, "a\nb\nc\npartial\n"),
            (LogOptions { limit_bytes: Some(3), ..base() }, "a\nb"),
            (LogOptions { stream: Some("stderr".into()), ..base() }, "partial\n"),
            (LogOptions { since: "2026-01-01T00:00:03Z".parse().ok(), ..base() }, "c\npartial\n"),
            (
                LogOptions { timestamps: true, tail: Some(3), ..base() },
                "2026-01-01T00:00:03Z c\n2026-01-01T00:00:04Z partial\n",
            ),
        ] {
            assert_eq!(collect(&log, options.clone()).await, expected, "{options:?}");
        }
    }

    #[tokio::test]
    async fn following_sees_appends_and_rotation_and_ends() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("0.log");
        std::fs::write(&log, line(1, "one")).expect("a log");
        let (sender, mut receiver) = mpsc::channel(8);
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let options = LogOptions { follow: true, ..LogOptions::default() };
        let reading = read(&log, options, async { drop(ended.await) }, sender);
        let writing = async {
            let mut next = async || receiver.recv().await.expect("a chunk").expect("a chunk");
            assert_eq!(next().await, "one\n");
            let mut file = std::fs::OpenOptions::new().append(true).open(&log).expect("the log");
            file.write_all(line(2, "two").as_bytes()).expect("written");
            assert_eq!(next().await, "two\n");
            std::fs::rename(&log, dir.path().join("0.log.20260101-000000")).expect("renamed");
            std::fs::write(&log, line(3, "three")).expect("a new log");
            assert_eq!(next().await, "three\n");
            end.send(()).expect("somebody follows");
            assert!(receiver.recv().await.is_none());
        };
        let (result, ()) = tokio::join!(reading, writing);
        result.expect("read");
    }
}
