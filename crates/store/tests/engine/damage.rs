//! Files that are not what they were: told as such, never a panic that escapes, never read as less.

use std::fs;
use std::path::{Path, PathBuf};

use component_base::Scope;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use store::suite::put;
use store::{Error, Expect, RangeRequest, Store};

use crate::{close, open};

/// A sound, closed database with 300 keys; its file and what a range of all shows.
async fn sound_database(dir: &Path) -> (PathBuf, String) {
    let scope = Scope::root();
    let store = open(dir, &scope).expect("a new database");
    for number in 0..300 {
        let key = format!("/registry/core/pods/default/pod-{number}");
        let entry = put(&*store, &key, Expect::Absent, &"value ".repeat(number % 50)).await;
        if number % 3 == 0 {
            put(&*store, &key, Expect::At(entry.modified), "changed").await;
        }
    }
    store.compact(store.revision() - 50).await.expect("it has happened");
    let shown = show(&*store).await;
    close(scope).await;
    (dir.join("store.redb"), shown)
}

async fn show(store: &dyn Store) -> String {
    let all = store.range(&RangeRequest { prefix: "/".into(), ..Default::default() }).await.expect("readable");
    format!("{all:?}")
}

/// Opens what lies in `dir`: it is as it was, or it is said to be damaged.
async fn check(dir: &Path, shown: &str, what: &str) -> bool {
    let scope = Scope::root();
    let sound = match open(dir, &scope) {
        Ok(store) => {
            assert_eq!(show(&*store).await, shown, "{what} was read as something else");
            true
        }
        Err(Error::Damaged { path, cause }) => {
            assert!(path.contains("/store.") && !cause.is_empty(), "{what}: {path} {cause}");
            false
        }
        Err(err) => panic!("{what}: {err}"),
    };
    close(scope).await;
    sound
}

#[tokio::test]
async fn a_truncated_file_is_damaged() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (file, shown) = sound_database(dir.path()).await;
    let whole = fs::read(&file).expect("the database");
    let mut lengths: Vec<usize> = (0..16).map(|sixteenth| whole.len() * sixteenth / 16).collect();
    lengths.extend([1, 63, 64, 4095, 4096, whole.len() - 1, whole.len() - 4096]);
    for length in lengths {
        fs::write(&file, &whole[..length]).expect("writable");
        check(dir.path(), &shown, &format!("{length} of {} bytes", whole.len())).await;
    }
    fs::write(&file, b"").expect("writable");
    assert!(!check(dir.path(), &shown, "an empty file").await);
    fs::write(&file, &whole[..whole.len() / 2]).expect("writable");
    assert!(!check(dir.path(), &shown, "half a file").await);
}

#[tokio::test]
async fn garbage_is_damaged() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (file, shown) = sound_database(dir.path()).await;
    let whole = fs::read(&file).expect("the database");
    let mut rng = StdRng::seed_from_u64(7);
    for round in 0..40 {
        let mut bytes = whole.clone();
        let start = rng.random_range(0..bytes.len());
        let length = [1, 8, 4096, 65536][rng.random_range(0..4)];
        let end = (start + length).min(bytes.len());
        rng.fill(&mut bytes[start..end]);
        fs::write(&file, &bytes).expect("writable");
        check(dir.path(), &shown, &format!("round {round}: garbage at {start}..{end}")).await;
    }
    fs::write(&file, "this is no database at all".repeat(1000)).expect("writable");
    assert!(!check(dir.path(), &shown, "text").await);
}

/// The files of a store in use, as a crash would leave them now, and what a range of all shows. Its logs hold all of it:
/// they are not full.
async fn crashed_database(from: &Path, to: &Path) -> String {
    let scope = Scope::root();
    let store = open(from, &scope).expect("a new database");
    for number in 0..300 {
        put(&*store, &format!("/registry/core/pods/pod-{number}"), Expect::Absent, &"value ".repeat(number % 50)).await;
    }
    let shown = show(&*store).await;
    for name in ["store.redb", "store.log.0", "store.log.1"] {
        fs::copy(from.join(name), to.join(name)).expect("copied");
    }
    close(scope).await;
    shown
}

#[tokio::test]
async fn a_damaged_log_is_damaged() {
    let [source, crashed, dir] = [(); 3].map(|()| tempfile::tempdir().expect("a temporary directory"));
    let shown = crashed_database(source.path(), crashed.path()).await;
    let restore = || {
        for file in fs::read_dir(crashed.path()).expect("listed").flatten() {
            fs::copy(file.path(), dir.path().join(file.file_name())).expect("copied");
        }
    };
    restore();
    assert!(check(dir.path(), &shown, "a crash").await);
    let whole = fs::read(crashed.path().join("store.log.0")).expect("a log");
    let used = whole.iter().rposition(|byte| *byte != 0).expect("entries");
    let mut rng = StdRng::seed_from_u64(11);
    for round in 0..40 {
        restore();
        let mut bytes = whole.clone();
        let what = if round % 4 == 0 {
            bytes.truncate(rng.random_range(0..bytes.len()));
            format!("round {round}: {} bytes of the log", bytes.len())
        } else {
            let start = rng.random_range(0..used);
            let end = (start + [1, 8, 4096, 65536][rng.random_range(0..4)]).min(bytes.len());
            rng.fill(&mut bytes[start..end]);
            format!("round {round}: garbage at {start}..{end} of the log")
        };
        fs::write(dir.path().join("store.log.0"), &bytes).expect("writable");
        let sound = check(dir.path(), &shown, &what).await;
        assert!(!sound || round % 4 > 0, "{what}");
    }
    restore();
    fs::remove_file(dir.path().join("store.log.1")).expect("a log");
    assert!(!check(dir.path(), &shown, "a missing log").await);
}

#[tokio::test]
async fn the_logs_of_a_closed_store_hold_nothing_that_is_needed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (_, shown) = sound_database(dir.path()).await;
    for log in ["store.log.0", "store.log.1"].map(|name| dir.path().join(name)) {
        let mut bytes = fs::read(&log).expect("a log");
        bytes[4096..].fill(0x5a);
        fs::write(&log, bytes).expect("writable");
    }
    assert!(check(dir.path(), &shown, "logs without entries").await);
}

#[tokio::test]
async fn a_second_opener_is_told_that_the_database_is_in_use() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let scope = Scope::root();
    let _store = open(dir.path(), &scope).expect("a new database");
    let second = open(dir.path(), &scope).expect_err("one process at a time");
    assert!(matches!(&second, Error::InUse { .. }), "{second}");
    close(scope).await;
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_told() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::write(dir.path().join("file"), b"").expect("writable");
    let scope = Scope::root();
    let err = open(&dir.path().join("file/store"), &scope).expect_err("a file is in the way");
    assert!(matches!(&err, Error::Unavailable(reason) if reason.contains("file/store")), "{err}");
    close(scope).await;
}
