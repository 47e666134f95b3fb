//! Rounds, crashes, full disks and damaged logs. The logs are tiny, so that a few commits fill both.

use std::os::unix::fs::FileExt;
use std::slice::from_ref;
use std::sync::atomic::Ordering;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use super::*;
use crate::disk::entry::SECTOR;
use crate::disk::records;

const LOG: u32 = 16 << 10;
/// Where the first entry of a log lies.
const ENTRIES: usize = 4096;
/// Fill the first log and half of the second one; the last has several sectors.
const COMMITS: u64 = 28;

/// Commits have one record each: that of the commit with number 1 has revision 2.
fn record(sequence: Sequence) -> Record {
    let value = "value ".repeat(sequence as usize * 7 % 200);
    let revision = sequence + 1;
    Record { revision, created: revision, key: format!("/key/{sequence}").into(), value: Some(value.into()) }
}

fn write(disk: &mut FileDisk, sequences: impl IntoIterator<Item = Sequence>) -> Result<(), Error> {
    sequences.into_iter().try_for_each(|sequence| {
        let record = record(sequence);
        disk.commit(&Commit { revision: record.revision, records: &[record], forget: &[], floor: 1 })
    })
}

fn open(dir: &Path) -> Result<(FileDisk, Vec<Record>), Error> {
    FileDisk::open(dir, LOG, |disk| {
        let mut records = Vec::new();
        disk.read_all(|record| {
            records.push(record);
            Ok(())
        })?;
        Ok(records)
    })
}

/// Ends without closing.
fn crash(mut disk: FileDisk) {
    disk.failed = Some(Error::TooSlow);
}

fn new_dir() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// What a crash leaves when no checkpoint has ended: [`COMMITS`] in two logs, none in the database.
fn crashed(dir: &Path) {
    let (mut disk, _) = open(dir).expect("a new database");
    disk.records = Arc::new(records::tests::failing(1).0);
    write(&mut disk, 1..=COMMITS).expect("there is room");
    assert!(LogFile::is_used(&log_path(dir, 1)).expect("readable") && disk.logs[1].has_room(1));
    crash(disk);
}

/// What the directory is read as. It stays what it is.
fn read(dir: &Path) -> Result<Vec<Record>, Error> {
    let copy = new_dir();
    for file in fs::read_dir(dir).expect("listed").flatten() {
        fs::copy(file.path(), copy.path().join(file.file_name())).expect("copied");
    }
    open(copy.path()).map(|(disk, records)| {
        crash(disk);
        records
    })
}

/// Reads the directory: everything is there, or the file is said to be damaged.
#[track_caller]
fn is_whole(dir: &Path, what: &str) -> bool {
    match read(dir) {
        Ok(records) => {
            assert!(records.into_iter().eq((1..=COMMITS).map(record)), "{what} was read as something else");
            true
        }
        Err(Error::Damaged { path, cause }) => {
            assert!(path.contains("store.log.") && !cause.is_empty(), "{what}: {path} {cause}");
            false
        }
        Err(err) => panic!("{what}: {err}"),
    }
}

/// Changes the bytes of a file for as long as `check` takes.
fn with_changed(path: &Path, change: impl FnOnce(&mut Vec<u8>), check: impl FnOnce()) {
    let whole = fs::read(path).expect("a file");
    let mut changed = whole.clone();
    change(&mut changed);
    fs::write(path, changed).expect("writable");
    check();
    fs::write(path, whole).expect("writable");
}

/// Where the entries of a log begin, and how many bytes they have without what is added up to the sector.
fn entries(path: &Path) -> Vec<(usize, usize)> {
    let bytes = fs::read(path).expect("a log");
    let mut at = ENTRIES;
    std::iter::from_fn(|| {
        let length = u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?) as usize + 16;
        let found = (at, length);
        at += length.next_multiple_of(SECTOR);
        (length > 16).then_some(found)
    })
    .collect()
}

#[test]
fn what_a_crash_left_in_both_logs_is_read() {
    let dir = new_dir();
    crashed(dir.path());
    assert!(is_whole(dir.path(), "a crash"));
    // Taken in, and again nothing of it is lost or doubled when the next commits write over it.
    for rounds in 0..30 {
        let (mut disk, records) = open(dir.path()).expect("sound");
        let known = COMMITS + rounds * 20;
        assert!(records.into_iter().eq((1..=known).map(record)), "round {rounds}");
        write(&mut disk, known + 1..=known + 20).expect("there is room");
        if rounds % 3 > 0 {
            crash(disk);
        }
    }
}

#[test]
fn replay_passes_over_what_the_database_has() {
    let dir = new_dir();
    crashed(dir.path());
    let records = Records::open(&dir.path().join(FILE_NAME)).expect("sound");
    let LogsHead { id, sequence } = records.head().expect("readable").logs.expect("it has logs");
    let logs = [0, 1].map(|slot| LogFile::open(&log_path(dir.path(), slot), slot, id).expect("sound"));
    assert_eq!(sequence, 0);
    assert_eq!(replay(&logs, &records, 0).expect("sound"), COMMITS);
    let head = records.head().expect("readable");
    assert_eq!(head.logs, Some(LogsHead { id, sequence: COMMITS }));
    assert_eq!(replay(&logs, &records, COMMITS).expect("sound"), COMMITS);
    assert_eq!(records.head().expect("readable"), head);
}

#[test]
fn a_commit_without_records_is_replayed_once() {
    let dir = new_dir();
    let (mut disk, _) = open(dir.path()).expect("a new database");
    write(&mut disk, 1..=5).expect("there is room");
    disk.commit(&Commit { records: &[], forget: &[2, 3], floor: 5, revision: 6 }).expect("there is room");
    disk.commit(&Commit { records: &[], forget: &[], floor: 6, revision: 6 }).expect("there is room");
    crash(disk);
    for _ in 0..3 {
        let (disk, records) = open(dir.path()).expect("sound");
        assert_eq!(disk.floor().expect("readable"), 6);
        assert_eq!(records.iter().map(|record| record.revision).collect::<Vec<_>>(), [4, 5, 6]);
        assert_eq!(disk.sequence, 7);
        crash(disk);
    }
}

#[test]
fn a_record_is_read_wherever_it_is() {
    let dir = new_dir();
    let (mut disk, _) = open(dir.path()).expect("a new database");
    for sequence in 1..=150 {
        write(&mut disk, [sequence]).expect("there is room");
        for earlier in 1..=sequence {
            assert_eq!(disk.read(earlier + 1).expect("readable"), record(earlier).value, "{earlier} at {sequence}");
        }
    }
    assert_eq!(disk.read(152).expect("readable"), None);
}

#[test]
fn a_commit_larger_than_a_log_goes_to_the_database() {
    let dir = new_dir();
    let (mut disk, _) = open(dir.path()).expect("a new database");
    write(&mut disk, 1..=9).expect("there is room");
    let large = Record { value: Some(vec![b'x'; LOG as usize].into()), ..record(10) };
    disk.commit(&Commit { records: from_ref(&large), forget: &[], floor: 1, revision: 11 }).expect("there is room");
    assert_eq!(disk.records.head().expect("readable").revision, 11);
    write(&mut disk, 11..=12).expect("there is room");
    crash(disk);
    let (disk, records) = open(dir.path()).expect("sound");
    assert!(records.into_iter().eq((1..=9).map(record).chain([large, record(11), record(12)])));
    drop(disk);
}

#[test]
fn a_log_that_was_copied_with_holes_is_read() {
    let dir = new_dir();
    let (mut disk, _) = open(dir.path()).expect("a new database");
    let zeros = Record { value: Some(vec![0; 12 << 10].into()), ..record(1) };
    disk.commit(&Commit { records: from_ref(&zeros), forget: &[], floor: 1, revision: 2 }).expect("there is room");
    write(&mut disk, [2]).expect("there is room");
    crash(disk);
    let path = log_path(dir.path(), 0);
    let whole = fs::read(&path).expect("a log");
    let copy = File::create(&path).and_then(|copy| copy.set_len(whole.len() as u64).map(|()| copy)).expect("writable");
    for (number, block) in whole.chunks(4096).enumerate().filter(|(_, block)| block.iter().any(|byte| *byte != 0)) {
        copy.write_all_at(block, number as u64 * 4096).expect("writable");
    }
    let (_disk, records) = open(dir.path()).expect("sound");
    assert_eq!(records, [zeros, record(2)]);
}

#[test]
fn closing_empties_the_logs() {
    let dir = new_dir();
    let (mut disk, _) = open(dir.path()).expect("a new database");
    write(&mut disk, 1..=COMMITS).expect("there is room");
    drop(disk);
    let records = Records::open(&dir.path().join(FILE_NAME)).expect("sound");
    assert_eq!(records.head().expect("readable").logs.map(|logs| logs.sequence), Some(COMMITS));
}

#[test]
fn a_database_without_logs_gets_some() {
    let dir = new_dir();
    let (mut disk, _) = open(dir.path()).expect("a new database");
    write(&mut disk, 1..=9).expect("there is room");
    disk.empty_logs().expect("there is room");
    records::tests::disown_logs(&disk.records);
    crash(disk);
    for slot in [0, 1] {
        fs::remove_file(log_path(dir.path(), slot)).expect("a log");
    }
    let (mut disk, records) = open(dir.path()).expect("sound");
    assert!(records.into_iter().eq((1..=9).map(record)));
    write(&mut disk, 10..=60).expect("there is room");
    crash(disk);
    let (_disk, records) = open(dir.path()).expect("sound");
    assert!(records.into_iter().eq((1..=60).map(record)));
}

#[test]
fn a_checkpoint_that_fails_stops_the_writes_and_loses_nothing() {
    let dir = new_dir();
    let (mut disk, _) = open(dir.path()).expect("a new database");
    let (failing, fails) = records::tests::failing(1);
    disk.records = Arc::new(failing);
    fails.store(true, Ordering::Relaxed);
    let mut acknowledged = 0;
    let err = loop {
        match write(&mut disk, [acknowledged + 1]) {
            Ok(()) => acknowledged += 1,
            Err(err) => break err.to_string(),
        }
        assert!(acknowledged < 1000, "it writes over what the database does not have");
    };
    assert!(err.contains("write memory"), "{err}");
    assert_eq!(write(&mut disk, [acknowledged + 1]).expect_err("it failed").to_string(), err);
    fails.store(false, Ordering::Relaxed);
    assert_eq!(write(&mut disk, [acknowledged + 1]).expect_err("it failed").to_string(), err, "for good");
    drop(disk);
    let (_disk, records) = open(dir.path()).expect("sound");
    assert!(records.into_iter().eq((1..=acknowledged).map(record)));
}

#[test]
fn a_full_disk_stops_the_writes_and_loses_nothing() {
    let dir = new_dir();
    let (mut disk, _) = open(dir.path()).expect("a new database");
    write(&mut disk, 1..=5).expect("there is room");
    disk.logs[0].fill_disk();
    let err = write(&mut disk, [6]).expect_err("the disk is full").to_string();
    assert!(err.starts_with("the store is unavailable: write ") && err.contains("No space left"), "{err}");
    assert_eq!(write(&mut disk, [6]).expect_err("the disk was full").to_string(), err);
    assert_eq!(disk.read(4).expect("readable"), record(3).value);
    drop(disk);
    let (_disk, records) = open(dir.path()).expect("sound");
    assert!(records.into_iter().eq((1..=5).map(record)));
}

#[test]
fn a_log_of_another_length_is_damaged() {
    let dir = new_dir();
    crashed(dir.path());
    for slot in [0, 1] {
        let path = log_path(dir.path(), slot);
        let whole = fs::metadata(&path).expect("a log").len() as usize;
        let mut lengths = vec![0, 1, 35, 36, 512, 523, 524, ENTRIES - 1, ENTRIES, whole - 1, whole + 1, whole * 2];
        lengths.extend(entries(&path).into_iter().flat_map(|(at, length)| [at, at + 8, at + length]));
        for length in lengths {
            let check = || assert!(!is_whole(dir.path(), &format!("log {slot}, {length} of {whole} bytes")));
            with_changed(&path, |bytes| bytes.resize(length, 0), check);
        }
    }
}

#[test]
fn a_changed_byte_of_an_entry_is_damage() {
    let dir = new_dir();
    crashed(dir.path());
    let mut rng = StdRng::seed_from_u64(3);
    for slot in [0, 1] {
        let path = log_path(dir.path(), slot);
        for (at, length) in entries(&path) {
            for byte in [at, at + 5, at + 9, at + rng.random_range(0..length), at + length - 1] {
                let check = || assert!(!is_whole(dir.path(), &format!("log {slot}, byte {byte}")));
                with_changed(&path, |bytes| bytes[byte] ^= 1 << rng.random_range(0..8), check);
            }
        }
    }
}

#[test]
fn garbage_in_a_log_is_damage_or_lies_where_nothing_counts() {
    let dir = new_dir();
    crashed(dir.path());
    let mut rng = StdRng::seed_from_u64(5);
    for round in 0..60 {
        let path = log_path(dir.path(), round % 2);
        let change = |bytes: &mut Vec<u8>| {
            let start = rng.random_range(0..bytes.len());
            let end = (start + [1, 8, 512, 4096, 16384][rng.random_range(0..5)]).min(bytes.len());
            match round % 3 {
                0 => bytes[start..end].fill(0),
                1 => bytes[start..end].reverse(),
                _ => rng.fill(&mut bytes[start..end]),
            }
        };
        with_changed(&path, change, || {
            is_whole(dir.path(), &format!("round {round}"));
        });
    }
}

#[test]
fn logs_that_are_not_the_ones_are_damage() {
    let (dir, other) = (new_dir(), new_dir());
    crashed(dir.path());
    crashed(other.path());
    let [first, second] = [0, 1].map(|slot| log_path(dir.path(), slot));
    let [first_bytes, second_bytes] = [&first, &second].map(|path| fs::read(path).expect("a log"));
    let foreign = fs::read(log_path(other.path(), 1)).expect("a log");
    let mut later = first_bytes.clone();
    later[8] = 9;
    let head_only = |whole: &[u8]| [&whole[..ENTRIES], &vec![0; LOG as usize]].concat();
    let text = b"this is no log".repeat(1000);
    for (what, new_first, new_second) in [
        ("swapped", &second_bytes, &first_bytes),
        ("twice the first", &first_bytes, &first_bytes),
        ("twice the second", &second_bytes, &second_bytes),
        ("another database's", &first_bytes, &foreign),
        ("a later format", &later, &second_bytes),
        ("text", &text, &second_bytes),
        ("no entry in the first", &head_only(&first_bytes), &second_bytes),
        ("no entry in the second", &first_bytes, &head_only(&second_bytes)),
    ] {
        let check = || assert!(!is_whole(dir.path(), what), "{what}");
        with_changed(
            &first,
            |bytes| bytes.clone_from(new_first),
            || {
                with_changed(&second, |bytes| bytes.clone_from(new_second), check);
            },
        );
    }
    for path in [first, second] {
        let away = path.with_extension("away");
        fs::rename(&path, &away).expect("a log");
        assert!(!is_whole(dir.path(), "a missing log"));
        fs::rename(&away, &path).expect("a log");
    }
    assert!(is_whole(dir.path(), "as it was"));
}

#[test]
fn a_torn_last_entry_is_what_a_crash_leaves_unless_it_was_marked() {
    let dir = new_dir();
    crashed(dir.path());
    let second = log_path(dir.path(), 1);
    let id = {
        let records = Records::open(&dir.path().join(FILE_NAME)).expect("sound");
        records.head().expect("readable").logs.expect("it has logs").id
    };
    let entries = entries(&second);
    let tear = |(at, length): (usize, usize)| move |bytes: &mut Vec<u8>| bytes[at + length / 2..at + length].fill(0xee);
    let (before, last) = (entries[entries.len() - 2], entries[entries.len() - 1]);
    with_changed(&second, tear(last), || assert!(!is_whole(dir.path(), "torn after it was acknowledged")));

    // As after a failure of power: the commit before the last is the last that the mark was written for.
    LogFile::open(&log_path(dir.path(), 0), 0, id).and_then(|log| log.mark(COMMITS - 1)).expect("writable");
    assert!(is_whole(dir.path(), "as it was"));
    with_changed(&second, tear(last), || {
        let records = read(dir.path()).expect("a crash");
        assert!(records.into_iter().eq((1..COMMITS).map(record)));
    });
    // Any sectors of the last entry may have reached the disk.
    let mut rng = StdRng::seed_from_u64(9);
    for _ in 0..20 {
        let lost: Vec<usize> = (last.0..last.0 + last.1).step_by(SECTOR).filter(|_| rng.random_bool(0.5)).collect();
        let lose = |bytes: &mut Vec<u8>| {
            lost.iter().for_each(|at| bytes[*at..at + SECTOR].fill(0));
        };
        with_changed(&second, lose, || {
            let known = if lost.is_empty() { COMMITS } else { COMMITS - 1 };
            assert!(read(dir.path()).expect("a crash").into_iter().eq((1..=known).map(record)), "{lost:?}");
        });
    }
    with_changed(&second, tear(before), || assert!(!is_whole(dir.path(), "torn, and another one after it")));
}

#[test]
fn a_mark_that_is_not_sound_is_damage() {
    let dir = new_dir();
    crashed(dir.path());
    for slot in [0, 1] {
        let check = || assert!(!is_whole(dir.path(), "a changed mark"));
        with_changed(&log_path(dir.path(), slot), |bytes| bytes[514] ^= 4, check);
    }
}

#[test]
fn a_missing_database_is_damage_once_there_are_entries() {
    let dir = new_dir();
    let (disk, _) = open(dir.path()).expect("a new database");
    crash(disk);
    fs::remove_file(dir.path().join(FILE_NAME)).expect("a database");
    let (mut disk, _) = open(dir.path()).expect("as if it had not been made whole");
    write(&mut disk, [1]).expect("there is room");
    crash(disk);
    fs::remove_file(dir.path().join(FILE_NAME)).expect("a database");
    let err = open(dir.path()).expect_err("the database is missing").to_string();
    assert!(err.contains("store.redb is damaged: the file is missing, but ") && err.contains("store.log.0"), "{err}");
}
