//! [`FileDisk`]: records in one redb file. docs/adr/0008-records-by-revision-in-redb.md says why redb.
//!
//! Lifecycle: a new database is made under another name and renamed when it is whole, so `store.redb` is never an
//! empty file; a file that is there must therefore be a good one. Opening checks the checksum of every page, that
//! no revision since the floor is missing and that the number of records is right: a damaged file is told from a
//! crash, and never read as less than it was.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    TableDefinition,
};

use super::{Commit, Disk, Record};
use crate::kv::{Error, FIRST_REVISION, Revision};

/// Revision > encoded record.
const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");
/// Names > numbers: format, floor, revision.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

const FORMAT: u64 = 1;
const FILE_NAME: &str = "store.redb";
const NEW_FILE_NAME: &str = "store.redb.new";

/// Pages kept in memory. Small: reads come from the state, only deletes read a record again.
const CACHE_BYTES: usize = 4 << 20;

/// Records in one file.
pub(crate) struct FileDisk {
    database: Database,
    path: PathBuf,
}

impl FileDisk {
    /// Opens the database in `dir`, making both when they are not there, and hands it to `load`, which reads it whole
    /// with [`FileDisk::read_all`].
    pub(crate) fn open<T>(dir: &Path, load: impl FnOnce(&Self) -> Result<T, Error>) -> Result<(Self, T), Error> {
        let path = dir.join(FILE_NAME);
        fs::create_dir_all(dir).map_err(|err| unavailable("create", dir, &err))?;
        if !path.try_exists().map_err(|err| unavailable("look at", &path, &err))? {
            let disk = Self { database: create(dir, &path)?, path };
            let loaded = load(&disk)?;
            return Ok((disk, loaded));
        }
        let bytes = fs::metadata(&path).map_err(|err| unavailable("look at", &path, &err))?.len();
        if bytes == 0 {
            return Err(damaged(&path, "the file is empty"));
        }
        // The library checks what it reads, but a file made to look sound may still break an assumption of its.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let disk = Self { database: open_checked(&path)?, path: path.clone() };
            let loaded = load(&disk)?;
            Ok((disk, loaded))
        }));
        opened.unwrap_or_else(|_| Err(damaged(&path, "its pages contradict each other")))
    }

    /// The floor of the history.
    pub(crate) fn floor(&self) -> Result<Revision, Error> {
        Ok(self.head()?.0)
    }

    /// Every record, in order of the revisions. An error when one is missing or cannot be read.
    pub(crate) fn read_all(&self, mut each: impl FnMut(Record) -> Result<(), Error>) -> Result<(), Error> {
        let (floor, revision) = self.head()?;
        let mut history = HistoryCheck { floor, next: floor + 1 };
        let mut read = || -> Result<Result<(), Error>, redb::Error> {
            let table = self.database.begin_read()?.open_table(RECORDS)?;
            let (expected, mut count) = (table.len()?, 0);
            for row in table.iter()? {
                let (at, encoded) = row?;
                let record = decode(at.value(), encoded.value())
                    .ok_or_else(|| format!("record {} cannot be read", at.value()))
                    .and_then(|record| history.step(at.value()).map(|()| record));
                match record.map_err(|cause| damaged(&self.path, &cause)).and_then(&mut each) {
                    Ok(()) => count += 1,
                    Err(err) => return Ok(Err(err)),
                }
            }
            let whole = if count == expected {
                history.end(revision)
            } else {
                Err(format!("it holds {count} of {expected} records"))
            };
            Ok(whole.map_err(|cause| damaged(&self.path, &cause)))
        };
        read().map_err(|err| damaged(&self.path, &err))?
    }

    /// Floor and newest revision.
    fn head(&self) -> Result<(Revision, Revision), Error> {
        let read = || -> Result<[Option<u64>; 3], redb::Error> {
            let meta = self.database.begin_read()?.open_table(META)?;
            let number = |name: &str| Ok::<_, redb::Error>(meta.get(name)?.map(|number| number.value()));
            Ok([number("format")?, number("floor")?, number("revision")?])
        };
        match read() {
            Ok([Some(FORMAT), Some(floor), Some(revision)]) => Ok((floor, revision)),
            Ok([Some(format), ..]) if format != FORMAT => {
                Err(damaged(&self.path, &format!("its format is {format}, this version reads {FORMAT}")))
            }
            Ok(_) => Err(damaged(&self.path, "its head is missing")),
            Err(err) => Err(damaged(&self.path, &err)),
        }
    }

    fn failed(&self, err: &dyn std::fmt::Display) -> Error {
        Error::Unavailable(format!("write {}: {err}", self.path.display()).into())
    }

    fn commit_records(&self, commit: &Commit<'_>) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        {
            let mut records = transaction.open_table(RECORDS)?;
            for revision in commit.forget {
                records.remove(revision)?;
            }
            let mut encoded = Vec::new();
            for record in commit.records {
                encode(record, &mut encoded);
                records.insert(record.revision, encoded.as_slice())?;
            }
            let mut meta = transaction.open_table(META)?;
            meta.insert("floor", commit.floor)?;
            meta.insert("revision", commit.revision)?;
        }
        transaction.commit()?;
        Ok(())
    }
}

impl Disk for FileDisk {
    fn read(&self, revision: Revision) -> Result<Option<Bytes>, Error> {
        let read = || -> Result<Option<Bytes>, redb::Error> {
            let records = self.database.begin_read()?.open_table(RECORDS)?;
            let found = records.get(revision)?;
            Ok(found.and_then(|encoded| decode(revision, encoded.value())).and_then(|record| record.value))
        };
        read().map_err(|err| self.failed(&err))
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), Error> {
        self.commit_records(commit).map_err(|err| self.failed(&err))
    }
}

impl std::fmt::Debug for FileDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileDisk").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Makes an empty database under another name, then gives it its own.
fn create(dir: &Path, path: &Path) -> Result<Database, Error> {
    let new = dir.join(NEW_FILE_NAME);
    match fs::remove_file(&new) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(unavailable("remove", &new, &err)),
        _ => {}
    }
    let write = || -> Result<Database, redb::Error> {
        let database = Builder::new().set_cache_size(CACHE_BYTES).create(&new)?;
        let transaction = database.begin_write()?;
        transaction.open_table(RECORDS)?;
        {
            let mut meta = transaction.open_table(META)?;
            meta.insert("format", FORMAT)?;
            meta.insert("floor", FIRST_REVISION)?;
            meta.insert("revision", FIRST_REVISION)?;
        }
        transaction.commit()?;
        Ok(database)
    };
    let database = write().map_err(|err| unavailable("create", &new, &err))?;
    fs::rename(&new, path).map_err(|err| unavailable("rename", &new, &err))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|err| unavailable("sync", dir, &err))?;
    Ok(database)
}

fn open_checked(path: &Path) -> Result<Database, Error> {
    let opened = Builder::new().set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true).open(path);
    opened.map_err(|err| match err {
        DatabaseError::DatabaseAlreadyOpen => Error::InUse { path: path.display().to_string() },
        DatabaseError::Storage(redb::StorageError::Io(err)) if !is_damage(&err) => unavailable("open", path, &err),
        err => damaged(path, &err),
    })
}

/// A file that ends too early shows as one of these; others are the disk's or the system's.
fn is_damage(err: &io::Error) -> bool {
    matches!(err.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput)
}

/// Sees that every revision after the floor has its record, and that none lies beyond the newest.
#[derive(Debug)]
struct HistoryCheck {
    floor: Revision,
    next: Revision,
}

impl HistoryCheck {
    fn step(&mut self, found: Revision) -> Result<(), String> {
        if found <= self.floor {
            return Ok(());
        }
        if found != self.next {
            return Err(format!("revision {} is missing", self.next));
        }
        self.next += 1;
        Ok(())
    }

    fn end(&self, revision: Revision) -> Result<(), String> {
        let last = self.next - 1;
        if last == revision { Ok(()) } else { Err(format!("it ends at revision {last}, not at {revision}")) }
    }
}

/// `created`, length of the key, whether there is a value, key, value.
fn encode(record: &Record, into: &mut Vec<u8>) {
    into.clear();
    into.extend_from_slice(&record.created.to_le_bytes());
    into.extend_from_slice(&(record.key.len() as u32).to_le_bytes());
    into.push(u8::from(record.value.is_some()));
    into.extend_from_slice(record.key.as_bytes());
    into.extend_from_slice(record.value.as_deref().unwrap_or_default());
}

fn decode(revision: Revision, encoded: &[u8]) -> Option<Record> {
    let (created, rest) = encoded.split_first_chunk::<8>()?;
    let (key_len, rest) = rest.split_first_chunk::<4>()?;
    let (has_value, rest) = rest.split_first()?;
    let (key, value) = rest.split_at_checked(u32::from_le_bytes(*key_len) as usize)?;
    let key: Arc<str> = std::str::from_utf8(key).ok()?.into();
    let value = match has_value {
        0 if value.is_empty() => None,
        1 => Some(Bytes::copy_from_slice(value)),
        _ => return None,
    };
    Some(Record { revision, created: u64::from_le_bytes(*created), key, value })
}

fn damaged(path: &Path, cause: &(impl std::fmt::Display + ?Sized)) -> Error {
    Error::Damaged { path: path.display().to_string(), cause: cause.to_string() }
}

fn unavailable(what: &str, path: &Path, err: &dyn std::fmt::Display) -> Error {
    Error::Unavailable(format!("{what} {}: {err}", path.display()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_encoding() {
        for value in [None, Some(Bytes::new()), Some(Bytes::from_static(b"{}"))] {
            let record = Record { revision: 7, created: 3, key: "/registry/舵".into(), value };
            let mut encoded = Vec::new();
            encode(&record, &mut encoded);
            assert_eq!(decode(7, &encoded), Some(record));
            assert_eq!(decode(7, &encoded[..12]), None);
        }
    }

    #[test]
    fn a_hole_in_the_history_is_found() {
        let check = |found: &[Revision]| {
            let mut history = HistoryCheck { floor: 4, next: 5 };
            found.iter().try_for_each(|found| history.step(*found))?;
            history.end(6)
        };
        assert_eq!(check(&[2, 5, 6]), Ok(()));
        assert_eq!(check(&[2, 6]), Err("revision 5 is missing".into()));
        assert_eq!(check(&[5]), Err("it ends at revision 5, not at 6".into()));
    }
}
