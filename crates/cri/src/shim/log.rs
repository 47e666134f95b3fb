//! The log file of a container, in the CRI's format: `<RFC 3339 time> <stream> <F|P> <line>`.
//! Upstream: containerd's internal/cri/io/logger.go.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use jiff::Timestamp;

/// A longer line is written in parts, marked `P` but for the last.
const LINE_LIMIT: usize = 16 * 1024;

/// Where a piece of output comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// Cuts output into lines and writes them. A log that cannot be written loses lines, never the container.
pub(super) struct LogFile {
    path: PathBuf,
    file: Option<File>,
    /// Begun lines of the two streams.
    pending: [Vec<u8>; 2],
    out: Vec<u8>,
}

impl LogFile {
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let file = open(&path)?;
        Ok(Self { path, file: Some(file), pending: [Vec::new(), Vec::new()], out: Vec::new() })
    }

    /// After the file was moved aside: the next line goes to a new one.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        self.file = Some(open(&self.path)?);
        Ok(())
    }

    pub(super) fn write(&mut self, stream: Stream, bytes: &[u8], now: Timestamp) {
        let mut pending = std::mem::take(&mut self.pending[stream as usize]);
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = LINE_LIMIT - pending.len();
            match rest.iter().take(room + 1).position(|b| *b == b'\n') {
                Some(end) => {
                    pending.extend_from_slice(&rest[..end]);
                    self.line(stream, "F", &pending, now);
                    pending.clear();
                    rest = &rest[end + 1..];
                }
                None if rest.len() > room => {
                    pending.extend_from_slice(&rest[..room]);
                    self.line(stream, "P", &pending, now);
                    pending.clear();
                    rest = &rest[room..];
                }
                None => {
                    pending.extend_from_slice(rest);
                    rest = &[];
                }
            }
        }
        self.pending[stream as usize] = pending;
        self.flush();
    }

    /// The stream has ended: what was begun is written as the part it is.
    pub(super) fn end(&mut self, stream: Stream, now: Timestamp) {
        let pending = std::mem::take(&mut self.pending[stream as usize]);
        if !pending.is_empty() {
            self.line(stream, "P", &pending, now);
            self.flush();
        }
    }

    fn line(&mut self, stream: Stream, tag: &str, line: &[u8], now: Timestamp) {
        let _ = write!(self.out, "{now:.9} {} {tag} ", stream.name());
        self.out.extend_from_slice(line);
        self.out.push(b'\n');
    }

    fn flush(&mut self) {
        if let Some(file) = &mut self.file {
            let _ = file.write_all(&self.out);
        }
        self.out.clear();
    }
}

fn open(path: &std::path::Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(pieces: &[(Stream, &[u8])]) -> String {
        let path = std::env::temp_dir().join(format!("kaji-log-{}-{:p}", std::process::id(), pieces));
        let mut log = LogFile::open(path.clone()).expect("a log");
        let now: Timestamp = "2026-01-02T03:04:05.000000006Z".parse().expect("a time");
        for (stream, bytes) in pieces {
            log.write(*stream, bytes, now);
        }
        log.end(Stream::Stdout, now);
        log.end(Stream::Stderr, now);
        let text = std::fs::read_to_string(&path).expect("the log");
        std::fs::remove_file(&path).expect("the log is ours");
        text
    }

    #[test]
    fn lines_are_put_together_stream_by_stream() {
        let text =
            written(&[(Stream::Stdout, b"one\ntw"), (Stream::Stderr, b"oops\n"), (Stream::Stdout, b"o\n\nlast")]);
        let lines: Vec<&str> = text.lines().map(|line| &line["2026-01-02T03:04:05.000000006Z ".len()..]).collect();
        assert_eq!(lines, ["stdout F one", "stderr F oops", "stdout F two", "stdout F ", "stdout P last"]);
        assert!(text.starts_with("2026-01-02T03:04:05.000000006Z stdout F one\n"), "{text}");
    }

    #[test]
    fn a_long_line_is_written_in_parts() {
        let mut long = vec![b'x'; 2 * LINE_LIMIT];
        long.push(b'\n');
        let text = written(&[(Stream::Stdout, &long[..10]), (Stream::Stdout, &long[10..])]);
        let tags: Vec<(&str, usize)> = text
            .lines()
            .map(|line| {
                let mut words = line.splitn(4, ' ').skip(2);
                (words.next().expect("a tag"), words.next().expect("a line").len())
            })
            .collect();
        assert_eq!(tags, [("P", LINE_LIMIT), ("F", LINE_LIMIT)]);
    }
}
