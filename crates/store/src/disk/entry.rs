//! An entry of a log: one commit, framed so that half of one, an older one and a changed one are not taken for it.
//!
//! ```text
//! length of what follows the head u32 | checksum u32 | sequence u64        the head
//! floor u64 | revision u64 | how many are forgotten u32 | their revisions u64 ...
//! records, each: its length u32 | its revision u64 | the record            zeros up to the next sector
//! ```
//!
//! The checksum (CRC-32, as the logs of etcd and PostgreSQL have one) covers the id of the database and everything but
//! itself and the zeros. An entry begins at a sector, so that writing one never touches the sector of another.

use super::encoding::{decode, encode, encoded_len};
use super::{Commit, Record, Sequence};
use crate::kv::Revision;

/// What a disk writes whole or not at all.
pub(crate) const SECTOR: usize = 512;

const HEAD: usize = 4 + 4 + 8;
const BODY_HEAD: usize = 8 + 8 + 4;
const RECORD_HEAD: usize = 4 + 8;

/// A commit as it was logged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Logged {
    pub(crate) sequence: Sequence,
    records: Vec<Record>,
    forget: Vec<Revision>,
    floor: Revision,
    revision: Revision,
}

impl Logged {
    /// What was committed.
    pub(crate) fn commit(&self) -> Commit<'_> {
        Commit { records: &self.records, forget: &self.forget, floor: self.floor, revision: self.revision }
    }
}

/// How many bytes of a log the commit takes.
pub(crate) fn size(commit: &Commit<'_>) -> usize {
    padded(HEAD + body_len(commit))
}

fn body_len(commit: &Commit<'_>) -> usize {
    let records: usize = commit.records.iter().map(|record| RECORD_HEAD + encoded_len(record)).sum();
    BODY_HEAD + size_of_val(commit.forget) + records
}

fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(SECTOR)
}

/// Makes `entry` the entry of the commit.
pub(crate) fn write(id: u64, sequence: Sequence, commit: &Commit<'_>, entry: &mut Vec<u8>) {
    entry.clear();
    entry.reserve(size(commit));
    entry.extend_from_slice(&(body_len(commit) as u32).to_le_bytes());
    entry.extend_from_slice(&[0; 4]);
    entry.extend_from_slice(&sequence.to_le_bytes());
    entry.extend_from_slice(&commit.floor.to_le_bytes());
    entry.extend_from_slice(&commit.revision.to_le_bytes());
    entry.extend_from_slice(&(commit.forget.len() as u32).to_le_bytes());
    for revision in commit.forget {
        entry.extend_from_slice(&revision.to_le_bytes());
    }
    for record in commit.records {
        entry.extend_from_slice(&(encoded_len(record) as u32).to_le_bytes());
        entry.extend_from_slice(&record.revision.to_le_bytes());
        encode(record, entry);
    }
    let checksum = checksum(id, entry);
    entry[4..8].copy_from_slice(&checksum.to_le_bytes());
    entry.resize(padded(entry.len()), 0);
}

fn checksum(id: u64, entry: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&id.to_le_bytes());
    hasher.update(&entry[..4]);
    hasher.update(&entry[8..]);
    hasher.finalize()
}

/// An entry whose checksum holds.
#[derive(Debug)]
pub(crate) struct Framed<'b> {
    pub(crate) sequence: Sequence,
    body: &'b [u8],
}

impl<'b> Framed<'b> {
    /// The entry that `bytes` begin with, if it is a whole one that comes after the commit `after`.
    pub(crate) fn find(id: u64, after: Sequence, bytes: &'b [u8]) -> Option<Self> {
        let length = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
        let stated = u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?);
        let sequence = u64::from_le_bytes(*bytes.get(8..)?.first_chunk()?);
        let entry = bytes.get(..HEAD.checked_add(length)?)?;
        let found = sequence > after && checksum(id, entry) == stated;
        found.then(|| Self { sequence, body: &entry[HEAD..] })
    }

    /// How many bytes of the log it takes.
    pub(crate) fn size(&self) -> usize {
        padded(HEAD + self.body.len())
    }

    /// The commit; none if it was never written by [`write`].
    pub(crate) fn read(&self) -> Option<Logged> {
        let mut rest = self.body;
        let (floor, revision) = (take_u64(&mut rest)?, take_u64(&mut rest)?);
        let forgotten = take_u32(&mut rest)?;
        let forget = (0..forgotten).map(|_| take_u64(&mut rest)).collect::<Option<_>>()?;
        let mut records = Vec::new();
        while !rest.is_empty() {
            let (length, revision) = (take_u32(&mut rest)?, take_u64(&mut rest)?);
            let (record, behind) = rest.split_at_checked(length as usize)?;
            records.push(decode(revision, record)?);
            rest = behind;
        }
        Some(Logged { sequence: self.sequence, records, forget, floor, revision })
    }
}

fn take_u64(from: &mut &[u8]) -> Option<u64> {
    let (number, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(u64::from_le_bytes(*number))
}

fn take_u32(from: &mut &[u8]) -> Option<u32> {
    let (number, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(u32::from_le_bytes(*number))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const ID: u64 = 77;

    fn entry_of(sequence: Sequence, commit: &Commit<'_>) -> Vec<u8> {
        let mut entry = Vec::new();
        write(ID, sequence, commit, &mut entry);
        entry
    }

    fn record(revision: Revision, bytes: usize) -> Record {
        let value = (bytes > 0).then(|| Bytes::from(vec![b'x'; bytes]));
        Record { revision, created: 3, key: "/registry/舵".into(), value }
    }

    #[test]
    fn commits_survive_framing() {
        let records = [record(8, 0), record(9, 1), record(10, 3000)];
        for (records, forget) in [(&records[..], &[][..]), (&records[..1], &[3, 4]), (&[], &[5]), (&[], &[])] {
            let commit = Commit { records, forget, floor: 4, revision: 10 };
            let entry = entry_of(6, &commit);
            assert_eq!((entry.len(), entry.len() % SECTOR), (size(&commit), 0));
            let log = [entry, vec![0xff; SECTOR]].concat();
            let framed = Framed::find(ID, 5, &log).expect("whole");
            assert_eq!(framed.size(), size(&commit));
            let logged = framed.read().expect("readable");
            assert_eq!((logged.sequence, &logged.records[..], &logged.forget[..]), (6, records, forget));
            assert_eq!((logged.floor, logged.revision), (4, 10));
        }
    }

    #[test]
    fn what_is_no_whole_new_entry_of_this_database_is_none() {
        let (records, forget) = ([record(8, 700)], [2]);
        let whole = entry_of(6, &Commit { records: &records, forget: &forget, floor: 4, revision: 8 });
        assert!(Framed::find(ID, 6, &whole).is_none(), "an older one");
        assert!(Framed::find(ID + 1, 5, &whole).is_none(), "one of another database");
        let used = HEAD + u32::from_le_bytes(*whole.first_chunk().expect("a head")) as usize;
        for length in 0..used {
            assert!(Framed::find(ID, 5, &whole[..length]).is_none(), "{length} bytes");
        }
        for at in 0..used {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            assert!(Framed::find(ID, 5, &changed).is_none(), "byte {at} changed");
        }
        assert!(Framed::find(ID, 5, &[0; SECTOR]).is_none());
        assert!(Framed::find(ID, 5, &[0xff; SECTOR]).is_none());
    }
}
