//! A child process under concurrent writes is killed with SIGKILL at random moments, again and again: whatever it
//! acknowledged is there, and no revision is given twice.
//!
//! The child is this test binary, told by an environment variable. It writes a line to its standard output for
//! every acknowledged write; a line that the parent reads was acknowledged before the kill.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use component_base::Scope;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use store::suite::{delete, put};
use store::{Expect, Revision, Store};

use crate::{close, open, open_with_logs};

const DIR: &str = "STORE_CRASH_TEST_DIR";
const LOG_BYTES: &str = "STORE_CRASH_TEST_LOG_BYTES";
/// Databases that are worked on at the same time, and how often the child of each is killed.
const LANES: u64 = 5;
const KILLS: usize = 40;
const WRITERS: u64 = 8;
/// Keys a writer uses in turn, so that the database stays small and is read in full after every kill.
const KEYS: u64 = 40;

/// How large the logs of a lane are: of most, so small that kills meet checkpoints at work.
fn log_bytes(lane: u64) -> u32 {
    [16 << 10, 4 << 20, 4 << 10, 64 << 10][lane as usize % 4]
}

/// What was acknowledged last for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Acked {
    revision: Revision,
    deleted: bool,
}

/// Not a test of its own: the child's work, when this process is one.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let log_bytes = std::env::var(LOG_BYTES).ok().and_then(|bytes| bytes.parse().ok()).expect("a number");
    runtime.expect("a runtime").block_on(write_until_killed(Path::new(&dir), log_bytes));
}

async fn write_until_killed(dir: &Path, log_bytes: u32) {
    let scope = Scope::root();
    let store = open_with_logs(dir, &scope, log_bytes).expect("the database survives kills");
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for number in 0.. {
                    write_one(&*store, &format!("/w/{writer}/{}", number % KEYS)).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("a writer works until the kill");
    }
}

/// Creates, changes or deletes the key and tells the parent once that is acknowledged.
async fn write_one(store: &dyn Store, key: &str) {
    let present = store.get(key).await.expect("readable");
    let (verb, revision) = match present {
        None => ("put", put(store, key, Expect::Absent, key).await.modified),
        Some(entry) if entry.modified % 5 == 0 => ("del", delete(store, key, entry.modified).await.modified),
        Some(entry) => ("put", put(store, key, Expect::At(entry.modified), &"x".repeat(300)).await.modified),
    };
    // One write call a line, so that a kill leaves no half of one before a whole one.
    let line = format!("acked {verb} {key} {revision}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).expect("the parent reads");
}

fn start(dir: &Path, log_bytes: u32) -> Child {
    let exe = std::env::current_exe().expect("this binary");
    let mut command = Command::new(exe);
    command.args(["--exact", "crash::child", "--nocapture", "--test-threads=1"]);
    command.env(DIR, dir).env(LOG_BYTES, log_bytes.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("the child starts")
}

/// Lets the child acknowledge `lines` writes, kills it and gathers everything it said.
fn run_and_kill(dir: &Path, log_bytes: u32, lines: usize, acked: &mut HashMap<String, Acked>) -> usize {
    let mut child = start(dir, log_bytes);
    let output = child.stdout.take().expect("piped");
    let mut said = 0;
    for line in BufReader::new(output).lines() {
        let Ok(line) = line else { break };
        // The test harness of the child may put a word of its own before the first line.
        let Some((_, line)) = line.split_once("acked ") else { continue };
        let mut words = line.split(' ');
        let (Some(verb), Some(key), Some(revision)) = (words.next(), words.next(), words.next()) else { continue };
        let Ok(revision) = revision.parse() else { continue };
        let new = Acked { revision, deleted: verb == "del" };
        let last = acked.entry(key.into()).or_insert(new);
        if last.revision <= revision {
            *last = new;
        }
        said += 1;
        if said == lines {
            child.kill().expect("the child is ours");
        }
    }
    child.wait().expect("the child is ours");
    assert!(said >= lines, "the child ended by itself after {said} of {lines} writes");
    said
}

async fn check(dir: &Path, acked: &HashMap<String, Acked>, newest_before: Revision) -> Revision {
    let scope = Scope::root();
    let store = open(dir, &scope).expect("a kill does no damage");
    let newest_acked = acked.values().map(|acked| acked.revision).max().unwrap_or(newest_before);
    assert!(store.revision() >= newest_acked.max(newest_before), "a revision would be given twice");
    for (key, acked) in acked {
        let present = store.get(key).await.expect("readable");
        match present {
            Some(entry) if entry.modified == acked.revision => assert!(!acked.deleted, "{key} is back"),
            // Written after what we heard of, and not yet told when the kill came.
            Some(entry) => assert!(entry.modified > acked.revision, "{key}: {acked:?}, but it is {entry:?}"),
            None if acked.deleted => {}
            None => assert!(deleted_after(&*store, key, acked.revision).await, "{key} is lost: {acked:?}"),
        }
    }
    let newest = store.revision();
    close(scope).await;
    newest
}

/// Whether the history tells of a delete after the write that we heard of.
async fn deleted_after(store: &dyn Store, key: &str, revision: Revision) -> bool {
    let Ok(mut watch) = store.watch(key, revision).await else { return false };
    watch.request_progress();
    loop {
        match tokio::time::timeout(Duration::from_secs(30), watch.next()).await {
            Ok(Some(Ok(store::Event::Delete { entry, .. }))) if *entry.key == *key => return true,
            Ok(Some(Ok(store::Event::Progress(_)))) | Ok(None | Some(Err(_))) | Err(_) => return false,
            Ok(Some(Ok(_))) => {}
        }
    }
}

/// Kills the writers of one database [`KILLS`] times; how many writes they acknowledged.
async fn kill_again_and_again(lane: u64) -> usize {
    let dir = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let mut rng = StdRng::seed_from_u64(lane);
    let (mut acked, mut newest, mut writes) = (HashMap::new(), 0, 0);
    for kill in 0..KILLS {
        let lines = if kill % 10 == 0 { 1 } else { rng.random_range(1..200) };
        let (path, mut known) = (dir.clone(), std::mem::take(&mut acked));
        let ran = tokio::task::spawn_blocking(move || {
            let said = run_and_kill(path.path(), log_bytes(lane), lines, &mut known);
            (said, known)
        });
        let (said, known) = ran.await.expect("the child ran");
        (acked, writes) = (known, writes + said);
        newest = check(dir.path(), &acked, newest).await;
    }
    writes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_kill_9() {
    let lanes: Vec<_> = (0..LANES).map(|lane| tokio::spawn(kill_again_and_again(lane))).collect();
    let mut writes = 0;
    for lane in lanes {
        writes += lane.await.expect("nothing was lost");
    }
    println!("{} kills, {writes} acknowledged writes, none lost", LANES as usize * KILLS);
}
