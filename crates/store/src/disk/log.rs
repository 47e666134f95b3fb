//! [`LogFile`]: one of the two logs. docs/adr/0015-a-log-in-front-of-redb.md says why they are.
//!
//! ```text
//! 0      head: what this is, its format, which of the two, the id of the database, its size, a checksum
//! 512    mark: a commit that was durable while the *other* log was written, a checksum
//! 4096   entries, each at a sector
//! ```
//!
//! A log is as long as its head says from the beginning, and never another length. It is filled from its start, round
//! after round, over what it held before. Nothing says where a round ends: an entry counts by the number of its commit.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::entry::{self, Framed, Logged, SECTOR};
use super::{Commit, Sequence, damaged, unavailable};
use crate::kv::Error;

const MAGIC: [u8; 8] = *b"kaji log";
const FORMAT: u32 = 1;
/// The head without its checksum.
const HEAD: usize = 8 + 4 + 4 + 8 + 8;
const MARK_AT: u64 = SECTOR as u64;
const ENTRIES_AT: u64 = 4096;

/// So much of the memory that entries are made in is kept between them.
const KEPT_BUFFER: usize = 256 << 10;

/// One log.
#[derive(Debug)]
pub(crate) struct LogFile {
    file: File,
    path: PathBuf,
    id: u64,
    size: u64,
    /// Where the next entry goes.
    end: u64,
    buffer: Vec<u8>,
}

/// An entry that the database does not know yet.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) offset: u64,
    pub(crate) logged: Logged,
}

impl LogFile {
    /// A new log for so many bytes of entries. Their room is not taken before they come.
    pub(crate) fn create(path: &Path, slot: usize, id: u64, bytes: u32) -> Result<Self, Error> {
        let size = ENTRIES_AT + u64::from(bytes).next_multiple_of(SECTOR as u64);
        let create = || -> io::Result<File> {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
            file.write_all_at(&head(slot, id, size), 0)?;
            file.write_all_at(&mark(id, 0), MARK_AT)?;
            file.set_len(size)?;
            file.sync_all()?;
            Ok(file)
        };
        let file = create().map_err(|err| unavailable("create", path, &err))?;
        Ok(Self::new(file, path, id, size))
    }

    /// The log of a database that had one.
    pub(crate) fn open(path: &Path, slot: usize, id: u64) -> Result<Self, Error> {
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(|err| match err.kind() {
            io::ErrorKind::NotFound => damaged(path, "the file is missing"),
            _ => unavailable("open", path, &err),
        })?;
        let bytes = file.metadata().map_err(|err| unavailable("look at", path, &err))?.len();
        if bytes < ENTRIES_AT {
            return Err(damaged(path, &format!("it is cut off after {bytes} bytes")));
        }
        let mut found = [0; HEAD + 4];
        file.read_exact_at(&mut found, 0).map_err(|err| unavailable("read", path, &err))?;
        let size = check_head(&found, slot, id).map_err(|cause| damaged(path, &cause))?;
        if bytes != size {
            return Err(damaged(path, &format!("it is {bytes} bytes long, not {size}")));
        }
        Ok(Self::new(file, path, id, size))
    }

    fn new(file: File, path: &Path, id: u64, size: u64) -> Self {
        Self { file, path: path.into(), id, size, end: ENTRIES_AT, buffer: Vec::new() }
    }

    /// Whether there is a file that looks as if it had entries.
    pub(crate) fn is_used(path: &Path) -> Result<bool, Error> {
        let mut first = [0; SECTOR];
        match File::open(path).and_then(|file| file.read_exact_at(&mut first, ENTRIES_AT)) {
            Ok(()) => Ok(first.iter().any(|byte| *byte != 0)),
            Err(err) if matches!(err.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => Ok(false),
            Err(err) => Err(unavailable("read", path, &err)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether so many bytes fit behind what this round has.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        bytes as u64 <= self.size - self.end
    }

    /// Whether so many bytes fit at all.
    pub(crate) fn could_hold(&self, bytes: usize) -> bool {
        bytes as u64 <= self.size - ENTRIES_AT
    }

    /// Begins a round: what the log holds may be written over. The database must know it.
    pub(crate) fn rewind(&mut self) {
        self.end = ENTRIES_AT;
    }

    /// Writes the commit behind the last one, which [`LogFile::has_room`] for it. Returns when it is durable. After an
    /// error nothing more may be appended: a torn entry must stay the last of its round.
    pub(crate) fn append(&mut self, sequence: Sequence, commit: &Commit<'_>) -> Result<(), Error> {
        entry::write(self.id, sequence, commit, &mut self.buffer);
        let written = self.file.write_all_at(&self.buffer, self.end).and_then(|()| self.file.sync_data());
        written.map_err(|err| unavailable("write", &self.path, &err))?;
        self.end += self.buffer.len() as u64;
        self.buffer.clear();
        self.buffer.shrink_to(KEPT_BUFFER);
        Ok(())
    }

    /// Notes, while the other log is written, that everything up to `sequence` is durable. Nobody waits for the disk: the
    /// note survives the process, and a failure of power once the system has written it by itself.
    pub(crate) fn mark(&self, sequence: Sequence) -> Result<(), Error> {
        let written = self.file.write_all_at(&mark(self.id, sequence), MARK_AT);
        written.map_err(|err| unavailable("write", &self.path, &err))
    }

    /// The last commit that was noted.
    pub(crate) fn marked(&self) -> Result<Sequence, Error> {
        let mut found = [0; 12];
        self.file.read_exact_at(&mut found, MARK_AT).map_err(|err| unavailable("read", &self.path, &err))?;
        let sequence = found.first_chunk().map_or(0, |sequence| u64::from_le_bytes(*sequence));
        if found == mark(self.id, sequence) {
            Ok(sequence)
        } else {
            Err(damaged(&self.path, &format!("the mark at offset {MARK_AT} does not match its checksum")))
        }
    }

    /// The entries of commits after `applied`, wherever they lie: behind a bad one, too.
    pub(crate) fn entries_after(&self, applied: Sequence) -> Result<Vec<Found>, Error> {
        let (bytes, written) = self.read().map_err(|err| unavailable("read", &self.path, &err))?;
        let (mut found, mut at) = (Vec::new(), 0);
        for part in written {
            at = part.start.max(at);
            while at < part.end {
                let Some(framed) = Framed::find(self.id, applied, &bytes[at..]) else {
                    at += SECTOR;
                    continue;
                };
                let unreadable = || damaged(&self.path, &format!("the entry at offset {at} cannot be read"));
                found.push(Found { offset: at as u64, logged: framed.read().ok_or_else(unreadable)? });
                at += framed.size();
            }
        }
        Ok(found)
    }

    /// The whole file, and the parts of its entries that have ever been written. The rest, holes that cost nothing to
    /// pass over, reads as zeros.
    fn read(&self) -> io::Result<(Vec<u8>, Vec<Range<usize>>)> {
        let (mut bytes, mut written) = (vec![0; self.size as usize], Vec::new());
        let mut end = ENTRIES_AT;
        while let Some(start) = self.seek(SeekFrom::Data(end))? {
            end = self.seek(SeekFrom::Hole(start))?.unwrap_or(self.size);
            let part = start as usize..end as usize;
            self.file.read_exact_at(&mut bytes[part.clone()], start)?;
            written.push(part);
        }
        Ok((bytes, written))
    }

    /// Where there is such a place; none behind the last one.
    fn seek(&self, to: SeekFrom) -> io::Result<Option<u64>> {
        match seek(&self.file, to) {
            Ok(at) => Ok(Some(at)),
            Err(Errno::NXIO) => Ok(None),
            Err(err) => Err(err.into()),
        }
    }
}

fn head(slot: usize, id: u64, size: u64) -> [u8; HEAD + 4] {
    let mut head = [0; HEAD + 4];
    head[..8].copy_from_slice(&MAGIC);
    head[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    head[12..16].copy_from_slice(&(slot as u32).to_le_bytes());
    head[16..24].copy_from_slice(&id.to_le_bytes());
    head[24..32].copy_from_slice(&size.to_le_bytes());
    let checksum = crc32fast::hash(&head[..HEAD]);
    head[HEAD..].copy_from_slice(&checksum.to_le_bytes());
    head
}

/// The size that a head tells, if it is the one of this log.
fn check_head(found: &[u8; HEAD + 4], slot: usize, id: u64) -> Result<u64, String> {
    if found[..8] != MAGIC {
        return Err("it does not begin as a log does".into());
    }
    let format = u32::from_le_bytes(found[8..12].try_into().unwrap_or_default());
    if format != FORMAT {
        return Err(format!("its format is {format}, this version reads {FORMAT}"));
    }
    let size = u64::from_le_bytes(found[24..32].try_into().unwrap_or_default());
    if *found != head(slot, id, size) || size < ENTRIES_AT {
        return Err("its head is that of another log, or does not match its checksum".into());
    }
    Ok(size)
}

fn mark(id: u64, sequence: Sequence) -> [u8; 12] {
    let mut mark = [0; 12];
    mark[..8].copy_from_slice(&sequence.to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&id.to_le_bytes());
    hasher.update(&mark[..8]);
    mark[8..].copy_from_slice(&hasher.finalize().to_le_bytes());
    mark
}

#[cfg(test)]
impl LogFile {
    /// From here on the log lies on a disk without room.
    pub(crate) fn fill_disk(&mut self) {
        self.file = OpenOptions::new().write(true).open("/dev/full").expect("Linux has one");
    }
}
