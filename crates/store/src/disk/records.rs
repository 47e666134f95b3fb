//! [`Records`]: records in one redb file. docs/adr/0008-records-by-revision-in-redb.md says why redb.
//!
//! Opening checks the checksum of every page; reading all checks that no revision since the floor is missing and that
//! the number of records is right.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    TableDefinition, WriteTransaction,
};

use super::encoding::{decode, encode};
use super::round::Round;
use super::{Record, Sequence, damaged, unavailable};
use crate::kv::{Error, FIRST_REVISION, Revision};

/// Revision > encoded record.
const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");
/// Names > numbers: format, floor, revision, the id of the logs, the sequence of the last commit.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// With logs in front.
const FORMAT: u64 = 2;
/// Without: every commit was a transaction.
const FORMAT_WITHOUT_LOGS: u64 = 1;

/// Pages kept in memory. Small: reads come from the state, only deletes read a record again.
const CACHE_BYTES: usize = 4 << 20;

/// Where the database stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The floor of the history.
    pub(crate) floor: Revision,
    /// The newest revision.
    pub(crate) revision: Revision,
    /// Its logs; none before a version that has them first opened it.
    pub(crate) logs: Option<LogsHead>,
}

/// What the database knows of its logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogsHead {
    /// The random number that its logs bear.
    pub(crate) id: u64,
    /// The last commit that is in the database.
    pub(crate) sequence: Sequence,
}

/// Records in one file.
#[derive(Debug)]
pub(crate) struct Records {
    database: Database,
    path: PathBuf,
}

impl Records {
    /// A new database in the file `new`, which will be called `path`.
    pub(crate) fn create(new: &Path, path: &Path, id: u64) -> Result<Self, Error> {
        let made = Builder::new().set_cache_size(CACHE_BYTES).create(new).map_err(redb::Error::from);
        let made = made.and_then(|database| begin(&database, id).map(|()| database));
        made.map(|database| Self { database, path: path.into() }).map_err(|err| unavailable("create", new, &err))
    }

    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let opened = Builder::new().set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true).open(path);
        opened.map(|database| Self { database, path: path.into() }).map_err(|err| match err {
            DatabaseError::DatabaseAlreadyOpen => Error::InUse { path: path.display().to_string() },
            DatabaseError::Storage(redb::StorageError::Io(err)) if !is_damage(&err) => unavailable("open", path, &err),
            err => damaged(path, &err),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn head(&self) -> Result<Head, Error> {
        let read = || -> Result<[Option<u64>; 5], redb::Error> {
            let meta = self.database.begin_read()?.open_table(META)?;
            let number = |name: &str| Ok::<_, redb::Error>(meta.get(name)?.map(|number| number.value()));
            Ok([number("format")?, number("floor")?, number("revision")?, number("logs")?, number("sequence")?])
        };
        match read() {
            Ok([Some(FORMAT), Some(floor), Some(revision), Some(id), Some(sequence)]) => {
                Ok(Head { floor, revision, logs: Some(LogsHead { id, sequence }) })
            }
            Ok([Some(FORMAT_WITHOUT_LOGS), Some(floor), Some(revision), ..]) => {
                Ok(Head { floor, revision, logs: None })
            }
            Ok([Some(format), ..]) if format != FORMAT && format != FORMAT_WITHOUT_LOGS => {
                Err(damaged(&self.path, &format!("its format is {format}, this version reads {FORMAT}")))
            }
            Ok(_) => Err(damaged(&self.path, "its head is missing")),
            Err(err) => Err(damaged(&self.path, &err)),
        }
    }

    /// Notes that the database has logs from now on.
    pub(crate) fn adopt_logs(&self, id: u64) -> Result<(), Error> {
        self.transact(|transaction| {
            let mut meta = transaction.open_table(META)?;
            meta.insert("format", FORMAT)?;
            meta.insert("logs", id)?;
            meta.insert("sequence", 0)?;
            Ok(())
        })
    }

    /// Every record, in order of the revisions. An error when one is missing or cannot be read.
    pub(crate) fn read_all(&self, mut each: impl FnMut(Record) -> Result<(), Error>) -> Result<(), Error> {
        let Head { floor, revision, .. } = self.head()?;
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

    /// What was written at a revision, if the database knows it.
    pub(crate) fn read(&self, revision: Revision) -> Result<Option<Bytes>, Error> {
        let read = || -> Result<Option<Bytes>, redb::Error> {
            let records = self.database.begin_read()?.open_table(RECORDS)?;
            let found = records.get(revision)?;
            Ok(found.and_then(|encoded| decode(revision, encoded.value())).and_then(|record| record.value))
        };
        read().map_err(|err| unavailable("read", &self.path, &err))
    }

    /// Takes a round in, whole or not at all. Returns when it is durable.
    pub(crate) fn apply(&self, round: &Round) -> Result<(), Error> {
        self.transact(|transaction| {
            let mut records = transaction.open_table(RECORDS)?;
            for revision in &round.forget {
                records.remove(revision)?;
            }
            let mut encoded = Vec::new();
            for record in round.records.values() {
                encoded.clear();
                encode(record, &mut encoded);
                records.insert(record.revision, encoded.as_slice())?;
            }
            let mut meta = transaction.open_table(META)?;
            meta.insert("floor", round.floor)?;
            meta.insert("revision", round.revision)?;
            meta.insert("sequence", round.sequence)?;
            Ok(())
        })
    }

    fn transact(&self, work: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>) -> Result<(), Error> {
        let transact = || -> Result<(), redb::Error> {
            let mut transaction = self.database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            work(&transaction)?;
            Ok(transaction.commit()?)
        };
        transact().map_err(|err| unavailable("write", &self.path, &err))
    }
}

/// Makes the tables.
fn begin(database: &Database, id: u64) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(RECORDS)?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert("format", FORMAT)?;
        meta.insert("floor", FIRST_REVISION)?;
        meta.insert("revision", FIRST_REVISION)?;
        meta.insert("logs", id)?;
        meta.insert("sequence", 0)?;
    }
    Ok(transaction.commit()?)
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

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use redb::StorageBackend;
    use redb::backends::InMemoryBackend;

    use super::*;

    /// Keeps the database in memory and takes nothing more once it is told to fail.
    #[derive(Debug, Default)]
    struct Failing {
        memory: InMemoryBackend,
        fails: Arc<AtomicBool>,
    }

    impl Failing {
        fn check(&self) -> io::Result<()> {
            if self.fails.load(Ordering::Relaxed) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }
    }

    impl StorageBackend for Failing {
        fn len(&self) -> io::Result<u64> {
            self.memory.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.memory.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.check().and_then(|()| self.memory.set_len(len))
        }

        fn sync_data(&self) -> io::Result<()> {
            self.check().and_then(|()| self.memory.sync_data())
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.check().and_then(|()| self.memory.write(offset, data))
        }
    }

    /// An empty database in memory, and the switch that makes its writes fail.
    pub(crate) fn failing(id: u64) -> (Records, Arc<AtomicBool>) {
        let backend = Failing::default();
        let fails = backend.fails.clone();
        let database = Builder::new().create_with_backend(backend).expect("memory");
        begin(&database, id).expect("memory");
        (Records { database, path: "memory".into() }, fails)
    }

    /// Makes the database what a version without logs left.
    pub(crate) fn disown_logs(records: &Records) {
        let disown = |transaction: &WriteTransaction| {
            let mut meta = transaction.open_table(META)?;
            meta.insert("format", FORMAT_WITHOUT_LOGS)?;
            meta.remove("logs")?;
            meta.remove("sequence")?;
            Ok(())
        };
        records.transact(disown).expect("writable");
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

    #[test]
    fn another_format_is_refused_by_its_number() {
        let (records, _) = failing(1);
        let write = |transaction: &WriteTransaction| {
            transaction.open_table(META)?.insert("format", 3)?;
            Ok(())
        };
        records.transact(write).expect("writable");
        let err = records.head().expect_err("of a later version").to_string();
        assert!(err.contains("its format is 3, this version reads 2"), "{err}");
    }
}
