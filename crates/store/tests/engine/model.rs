//! Random histories against a tiny store that keeps every revision as a whole map.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use component_base::Scope;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use store::suite::{self, Echo};
use store::{Embedded, Error, Expect, History, Options, RangeRequest, Revision, Store, Watch, Write, Written};

use crate::{close, open_with};

/// Small enough that trimming happens all the time.
const HISTORY: History = History { events: 40, bytes: 1 << 20, age: std::time::Duration::from_secs(3600) };

/// Key > (created, modified, written).
type Keys = BTreeMap<String, (Revision, Revision, String)>;

/// The tiny store: all keys at every revision, and every event as the suite shows it.
struct Model {
    at: BTreeMap<Revision, Keys>,
    events: Vec<(Revision, String, String)>,
    now: Revision,
}

impl Model {
    fn new(now: Revision) -> Self {
        Self { at: BTreeMap::from([(now, Keys::new())]), events: Vec::new(), now }
    }

    fn keys(&self) -> &Keys {
        &self.at[&self.now]
    }

    /// Whether the write is done.
    fn write(&mut self, key: &str, expect: Expect, value: Option<&str>) -> bool {
        let mut keys = self.keys().clone();
        let old = keys.get(key).cloned();
        let holds = match (&old, expect) {
            (None, Expect::Absent) => value.is_some(),
            (Some((_, modified, _)), Expect::At(at)) => *modified == at,
            _ => false,
        };
        if !holds {
            return false;
        }
        self.now += 1;
        let now = self.now;
        let before = old.as_ref().map(|(_, modified, written)| format!("<{written}@{modified}")).unwrap_or_default();
        let line = match (value, &old) {
            (Some(value), None) => format!("+{key}={value}@{now}"),
            (Some(value), Some(_)) => format!("~{key}={value}@{now}{before}"),
            (None, old) => format!("-{key}={}@{now}{before}", old.as_ref().map_or("", |(_, _, written)| written)),
        };
        match value {
            Some(value) => keys.insert(key.into(), (old.map_or(now, |(created, ..)| created), now, value.into())),
            None => keys.remove(key),
        };
        self.at.insert(now, keys);
        self.events.push((now, key.into(), line));
        true
    }

    fn range(&self, request: &RangeRequest) -> (Vec<String>, usize) {
        let keys = &self.at[&request.revision.unwrap_or(self.now)];
        let below = keys.iter().filter(|(key, _)| key.starts_with(&request.prefix));
        let mut lines: Vec<String> = below
            .filter(|(key, _)| request.start_after.as_ref().is_none_or(|after| *key > after))
            .map(|(key, (created, modified, written))| format!("{key}={written}@{modified} since {created}"))
            .collect();
        let kept = if request.limit == 0 { lines.len() } else { lines.len().min(request.limit) };
        let remaining = lines.split_off(kept).len();
        (lines, remaining)
    }
}

/// A watch that is read now and then, and what it must still show.
struct Watched {
    watch: Box<dyn Watch>,
    prefix: String,
    cursor: Revision,
}

impl Watched {
    /// Reads some events; tells whether the watch goes on.
    async fn read(&mut self, model: &Model, count: usize) -> bool {
        let due: Vec<_> = model
            .events
            .iter()
            .filter(|(revision, key, _)| *revision > self.cursor && key.starts_with(&self.prefix))
            .take(count)
            .collect();
        for (revision, _, line) in due {
            match self.watch.next().await {
                Some(Ok(event)) => assert_eq!(&suite::show(&event), line, "watch of {:?}", self.prefix),
                Some(Err(Error::TooSlow)) => {
                    assert!(model.now - self.cursor > HISTORY.events as Revision, "cut off too early");
                    return false;
                }
                other => panic!("watch of {:?} at {revision}: {other:?}", self.prefix),
            }
            self.cursor = *revision;
        }
        true
    }
}

fn random_prefix(rng: &mut StdRng) -> String {
    ["/", "/a/", "/b/", "/a/1", "/a", "/b/2", "/c/"][rng.random_range(0..7)].into()
}

async fn check_range(store: &dyn Store, model: &Model, rng: &mut StdRng) {
    let request = RangeRequest {
        prefix: random_prefix(rng),
        start_after: rng.random_bool(0.5).then(|| format!("/a/{}", rng.random_range(0..20))),
        limit: if rng.random_bool(0.5) { 0 } else { rng.random_range(1..5) },
        revision: rng.random_bool(0.6).then(|| model.now.saturating_sub(rng.random_range(0..60)).max(1)),
        ..RangeRequest::default()
    };
    match store.range(&request).await {
        Ok(range) => {
            assert_eq!(range.revision, request.revision.unwrap_or(model.now));
            let lines: Vec<String> = range
                .entries
                .iter()
                .map(|entry| {
                    let value = String::from_utf8_lossy(&entry.finished.value);
                    format!("{}={value} since {}", entry.key, entry.created)
                })
                .collect();
            assert_eq!((lines, range.remaining), model.range(&request), "{request:?}");
        }
        Err(Error::Compacted { asked, oldest }) => {
            assert!(asked < oldest && oldest <= model.now, "{asked} {oldest}");
        }
        Err(err) => panic!("{request:?}: {err}"),
    }
}

/// Logs that are full after some ten commits, so that many rounds lie between two restarts.
const LOG_BYTES: u32 = 8 << 10;

async fn run_history(seed: u64, steps: usize, mut store: Arc<Embedded>, mut reopen: Option<(&std::path::Path, Scope)>) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut model = Model::new(store.revision());
    let mut watches: Vec<Watched> = Vec::new();
    let mut compacted = 0;
    for _ in 0..steps {
        match rng.random_range(0..100) {
            0..60 => {
                let key = format!("/{}/{}", ["a", "b"][rng.random_range(0..2)], rng.random_range(0..15));
                let present = model.keys().get(&key).map(|(_, modified, _)| *modified);
                let expect = match (rng.random_range(0..10), present) {
                    (0, _) => Expect::At(rng.random_range(0..=model.now)),
                    (1, _) | (_, None) => Expect::Absent,
                    (_, Some(modified)) => Expect::At(modified),
                };
                let value = rng.random_bool(0.7).then(|| format!("v{}", rng.random_range(0..1000)));
                let done = model.write(&key, expect, value.as_deref());
                let write = Write { key, expect, value: value.map(Bytes::from) };
                let written = store.write(write.clone()).await.expect("the store writes");
                assert_eq!(matches!(written, Written::Done(_)), done, "{write:?}");
                assert_eq!(store.revision(), model.now);
            }
            60..75 => check_range(&*store, &model, &mut rng).await,
            75..82 => {
                let after = model.now.saturating_sub(rng.random_range(0..50)).max(1);
                let prefix = random_prefix(&mut rng);
                match store.watch(&prefix, after).await {
                    Ok(watch) => watches.push(Watched { watch, prefix, cursor: after }),
                    Err(Error::Compacted { oldest, .. }) => assert!(after < oldest),
                    Err(err) => panic!("watch {prefix} after {after}: {err}"),
                }
            }
            82..96 if !watches.is_empty() => {
                let chosen = rng.random_range(0..watches.len());
                let count = rng.random_range(1..60);
                if rng.random_bool(0.1) || !watches[chosen].read(&model, count).await {
                    watches.swap_remove(chosen);
                }
            }
            96..98 => {
                let to = model.now.saturating_sub(rng.random_range(0..30)).max(1);
                store.compact(to).await.expect("it has happened");
                compacted = compacted.max(to);
                watches.retain(|watched| watched.cursor >= compacted);
            }
            98 => {
                if let Some((dir, scope)) = reopen.take() {
                    watches.clear();
                    close(scope).await;
                    let scope = Scope::root();
                    store = open_with(dir, &scope, HISTORY, LOG_BYTES);
                    assert_eq!(store.revision(), model.now, "no revision is lost at closing");
                    reopen = Some((dir, scope));
                }
            }
            _ => {}
        }
    }
    for watched in &mut watches {
        watched.read(&model, usize::MAX).await;
    }
    drop(watches);
    if let Some((_, scope)) = reopen {
        close(scope).await;
    }
}

#[tokio::test]
async fn random_histories_in_memory_match_the_model() {
    for seed in 0..60 {
        let options = Options { history: HISTORY, ..Options::new(Arc::new(Echo)) };
        run_history(seed, 600, Embedded::in_memory_with(options), None).await;
    }
}

#[tokio::test]
async fn random_histories_with_restarts_match_the_model() {
    for seed in 1000..1006 {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let scope = Scope::root();
        let store = open_with(dir.path(), &scope, HISTORY, LOG_BYTES);
        run_history(seed, 500, store, Some((dir.path(), scope))).await;
    }
}
