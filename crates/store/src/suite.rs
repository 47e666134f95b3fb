//! What every [`Store`] must do. An engine's tests call [`run`] with a way to make an empty store.
//!
//! The store must be made with the [`Echo`] hook, so that the suite can see when values were finished.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::kv::{
    Entry, Error, Event, Expect, Finish, Finished, Range, RangeRequest, Revision, Store, Watch, Write, Written,
};

/// How long the suite waits for what must come.
const DEADLINE: Duration = Duration::from_secs(30);

/// Serves `<written>@<revision>`, with one attribute: the length of what was written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl Finish for Echo {
    fn finish(&self, _key: &str, written: &Bytes, revision: Revision) -> Finished {
        let value = [written, format!("@{revision}").as_bytes()].concat().into();
        Finished { value, attributes: [("l:length", written.len().to_string())].into() }
    }
}

/// Runs every case, each on a store of its own.
pub async fn run<F, Made>(make: F)
where
    F: Fn() -> Made,
    Made: Future<Output = Arc<dyn Store>>,
{
    writes_compare_and_count_revisions(make().await).await;
    a_range_reads_one_revision_page_by_page(make().await).await;
    a_watch_goes_on_from_a_revision(make().await).await;
    a_watch_sees_only_its_prefix(make().await).await;
    compaction_makes_old_revisions_unreadable(make().await).await;
    the_future_is_refused(make().await).await;
    progress_comes_after_what_it_promises(make().await).await;
    concurrent_writers_lose_nothing(make().await).await;
    one_of_many_competing_writers_wins(make().await).await;
}

/// A put that must succeed.
pub async fn put(store: &dyn Store, key: &str, expect: Expect, value: &str) -> Entry {
    let write = Write { key: key.into(), expect, value: Some(Bytes::copy_from_slice(value.as_bytes())) };
    match store.write(write).await {
        Ok(Written::Done(entry)) => entry,
        other => panic!("put {key} {expect:?}: {other:?}"),
    }
}

/// A delete that must succeed.
pub async fn delete(store: &dyn Store, key: &str, at: Revision) -> Entry {
    match store.write(Write { key: key.into(), expect: Expect::At(at), value: None }).await {
        Ok(Written::Done(entry)) => entry,
        other => panic!("delete {key} at {at}: {other:?}"),
    }
}

/// The next event, which must come.
pub async fn next(watch: &mut dyn Watch) -> Event {
    let next = tokio::time::timeout(DEADLINE, watch.next()).await.expect("an event comes in time");
    next.expect("the watch has not ended").expect("the watch has not failed")
}

/// An event in short: `+key=value`, `~key=value<previous`, `-key=value<previous`, `=revision`.
pub fn show(event: &Event) -> String {
    match event {
        Event::Put { entry, previous: None } => format!("+{}", show_entry(entry)),
        Event::Put { entry, previous: Some(previous) } => format!("~{}<{}", show_entry(entry), show_value(previous)),
        Event::Delete { entry, previous } => format!("-{}<{}", show_entry(entry), show_value(previous)),
        Event::Progress(revision) => format!("={revision}"),
    }
}

fn show_entry(entry: &Entry) -> String {
    format!("{}={}", entry.key, show_value(entry))
}

fn show_value(entry: &Entry) -> String {
    String::from_utf8_lossy(&entry.finished.value).into_owned()
}

fn show_range(range: &Range) -> Vec<String> {
    range.entries.iter().map(show_entry).collect()
}

fn all(prefix: &str) -> RangeRequest {
    RangeRequest { prefix: prefix.into(), ..Default::default() }
}

async fn writes_compare_and_count_revisions(store: Arc<dyn Store>) {
    let store = &*store;
    let base = store.revision();
    let created = put(store, "/a/x", Expect::Absent, "one").await;
    assert_eq!((created.created, created.modified), (base + 1, base + 1));
    assert_eq!(show_value(&created), format!("one@{}", base + 1));
    assert_eq!(created.finished.attributes.get("l:", "length"), Some("3"));

    let again = Write { key: "/a/x".into(), expect: Expect::Absent, value: Some(Bytes::new()) };
    match store.write(again).await {
        Ok(Written::Refused(Some(present))) => assert_eq!(present, created),
        other => panic!("a second create: {other:?}"),
    }
    let changed = put(store, "/a/x", Expect::At(created.modified), "two").await;
    assert_eq!((changed.created, changed.modified), (base + 1, base + 2));
    let stale = Write { key: "/a/x".into(), expect: Expect::At(created.modified), value: None };
    assert!(matches!(store.write(stale).await, Ok(Written::Refused(Some(present))) if present == changed));
    assert_eq!(store.revision(), base + 2, "a refused write takes no revision");

    let deleted = delete(store, "/a/x", changed.modified).await;
    assert_eq!(show_value(&deleted), format!("two@{}", base + 3), "the last value, finished at the delete");
    assert_eq!(store.get("/a/x").await.expect("readable"), None);
    for expect in [Expect::At(changed.modified), Expect::Absent] {
        let nothing = Write { key: "/a/x".into(), expect, value: None };
        assert!(matches!(store.write(nothing).await, Ok(Written::Refused(None))), "{expect:?}");
    }
    let reborn = put(store, "/a/x", Expect::Absent, "three").await;
    assert_eq!((reborn.created, reborn.modified), (base + 4, base + 4));
    assert_eq!(store.get("/a/x").await.expect("readable"), Some(reborn));
}

async fn a_range_reads_one_revision_page_by_page(store: Arc<dyn Store>) {
    let store = &*store;
    let mut at = BTreeMap::new();
    for name in ["a", "b", "c", "d", "e"] {
        at.insert(name, put(store, &format!("/pods/{name}"), Expect::Absent, name).await.modified);
    }
    put(store, "/podsx", Expect::Absent, "not below the prefix").await;
    let first = RangeRequest { limit: 2, ..all("/pods/") };
    let first = store.range(&first).await.expect("readable");
    assert_eq!(show_range(&first), [format!("/pods/a=a@{}", at["a"]), format!("/pods/b=b@{}", at["b"])]);
    assert_eq!((first.remaining, first.revision), (3, store.revision()));

    // What happens between two pages is not seen by the second.
    put(store, "/pods/c", Expect::At(at["c"]), "changed").await;
    delete(store, "/pods/d", at["d"]).await;
    put(store, "/pods/cc", Expect::Absent, "new").await;
    let last =
        RangeRequest { start_after: Some("/pods/b".into()), limit: 3, revision: Some(first.revision), ..all("/pods/") };
    let last = store.range(&last).await.expect("readable");
    let names: Vec<&str> = last.entries.iter().map(|entry| &*entry.key).collect();
    assert_eq!((names, last.remaining), (vec!["/pods/c", "/pods/d", "/pods/e"], 0));
    assert_eq!(show_value(&last.entries[0]), format!("c@{}", at["c"]));

    let now = store.range(&all("/pods/")).await.expect("readable");
    let names: Vec<&str> = now.entries.iter().map(|entry| &*entry.key).collect();
    assert_eq!(names, ["/pods/a", "/pods/b", "/pods/c", "/pods/cc", "/pods/e"]);
    assert!(store.range(&all("/none/")).await.expect("readable").entries.is_empty());
}

async fn a_watch_goes_on_from_a_revision(store: Arc<dyn Store>) {
    let store = &*store;
    let base = store.revision();
    let first = put(store, "/a/x", Expect::Absent, "1").await.modified;
    let second = put(store, "/a/x", Expect::At(first), "2").await.modified;
    let mut whole = store.watch("/a/", base).await.expect("in the history");
    let mut rest = store.watch("/a/", first).await.expect("in the history");
    let mut live = store.watch("/a/", second).await.expect("in the history");
    let third = delete(store, "/a/x", second).await.modified;
    put(store, "/a/x", Expect::Absent, "4").await;

    let lines = [
        format!("+/a/x=1@{first}"),
        format!("~/a/x=2@{second}<1@{first}"),
        format!("-/a/x=2@{third}<2@{second}"),
        format!("+/a/x=4@{}", third + 1),
    ];
    for (watch, from) in [(&mut whole, 0), (&mut rest, 1), (&mut live, 2)] {
        for line in &lines[from..] {
            assert_eq!(&show(&next(&mut **watch).await), line);
        }
    }
}

async fn a_watch_sees_only_its_prefix(store: Arc<dyn Store>) {
    let store = &*store;
    let base = store.revision();
    let mut outer = store.watch("/a/", base).await.expect("in the history");
    let mut inner = store.watch("/a/b/", base).await.expect("in the history");
    let mut one = store.watch("/a/b/x", base).await.expect("in the history");
    for key in ["/b/x", "/a/x", "/a/b/y", "/ab", "/a/b/x"] {
        put(store, key, Expect::Absent, "v").await;
    }
    for (watch, keys) in
        [(&mut outer, &["/a/x", "/a/b/y", "/a/b/x"][..]), (&mut inner, &["/a/b/y", "/a/b/x"]), (&mut one, &["/a/b/x"])]
    {
        for key in keys {
            match next(&mut **watch).await {
                Event::Put { entry, .. } => assert_eq!(&*entry.key, *key),
                other => panic!("{other:?}"),
            }
        }
    }
}

async fn compaction_makes_old_revisions_unreadable(store: Arc<dyn Store>) {
    let store = &*store;
    let base = store.revision();
    let first = put(store, "/a/x", Expect::Absent, "1").await.modified;
    let second = put(store, "/a/x", Expect::At(first), "2").await.modified;
    let third = put(store, "/a/x", Expect::At(second), "3").await.modified;
    store.compact(second).await.expect("it has happened");
    store.compact(first).await.expect("compacting again what is compacted does nothing");

    for (revision, value) in [(second, "2"), (third, "3")] {
        let request = RangeRequest { revision: Some(revision), ..all("/a/") };
        let range = store.range(&request).await.expect("kept");
        assert_eq!(show_range(&range), [format!("/a/x={value}@{revision}")]);
    }
    let old = RangeRequest { revision: Some(first), ..all("/a/") };
    match store.range(&old).await {
        Err(Error::Compacted { asked, oldest }) => assert_eq!((asked, oldest), (first, second)),
        other => panic!("a range at a compacted revision: {other:?}"),
    }
    assert!(matches!(store.watch("/a/", base).await, Err(Error::Compacted { .. })));
    assert!(matches!(store.watch("/a/", first).await, Err(Error::Compacted { .. })));
    let mut watch = store.watch("/a/", second).await.expect("kept");
    assert_eq!(show(&next(&mut *watch).await), format!("~/a/x=3@{third}<2@{second}"));

    // A watch that has read everything survives a compaction; it missed nothing.
    store.compact(third).await.expect("it has happened");
    let fourth = put(store, "/a/x", Expect::At(third), "4").await.modified;
    assert_eq!(show(&next(&mut *watch).await), format!("~/a/x=4@{fourth}<3@{third}"));
}

async fn the_future_is_refused(store: Arc<dyn Store>) {
    let newest = store.revision();
    let request = RangeRequest { revision: Some(newest + 10), ..all("/") };
    assert!(matches!(store.range(&request).await, Err(Error::Future { asked, .. }) if asked == newest + 10));
    assert!(matches!(store.watch("/", newest + 10).await, Err(Error::Future { .. })));
    assert!(matches!(store.compact(newest + 10).await, Err(Error::Future { .. })));
}

async fn progress_comes_after_what_it_promises(store: Arc<dyn Store>) {
    let store = &*store;
    let mut watch = store.watch("/a/", store.revision()).await.expect("in the history");
    watch.request_progress();
    assert_eq!(show(&next(&mut *watch).await), format!("={}", store.revision()));
    let last = put(store, "/a/x", Expect::Absent, "1").await.modified;
    put(store, "/b/x", Expect::Absent, "elsewhere").await;
    watch.request_progress();
    assert_eq!(show(&next(&mut *watch).await), format!("+/a/x=1@{last}"));
    assert_eq!(show(&next(&mut *watch).await), format!("={}", last + 1));
}

async fn concurrent_writers_lose_nothing(store: Arc<dyn Store>) {
    const WRITERS: u64 = 16;
    const WRITES: u64 = 50;
    let base = store.revision();
    let mut watch = store.watch("/w/", base).await.expect("in the history");
    let writers: Vec<_> = (0..WRITERS).map(|writer| write_many(&*store, writer, WRITES)).collect();
    let mut revisions: Vec<Revision> = futures_join(writers).await.concat();
    revisions.sort_unstable();
    assert_eq!(revisions, (base + 1..=base + WRITERS * WRITES).collect::<Vec<_>>(), "each revision once");
    for revision in revisions {
        assert_eq!(next(&mut *watch).await.revision(), revision, "none skipped, none repeated");
    }
    let range = store.range(&all("/w/")).await.expect("readable");
    assert_eq!(range.entries.len() as u64, WRITERS * WRITES);
}

async fn write_many(store: &dyn Store, writer: u64, writes: u64) -> Vec<Revision> {
    let mut revisions = Vec::new();
    for number in 0..writes {
        revisions.push(put(store, &format!("/w/{writer}/{number}"), Expect::Absent, "v").await.modified);
    }
    revisions
}

async fn one_of_many_competing_writers_wins(store: Arc<dyn Store>) {
    let first = put(&*store, "/x", Expect::Absent, "0").await.modified;
    let store = &*store;
    let attempts: Vec<_> = (0..32)
        .map(|number| async move {
            let value = Some(Bytes::from(number.to_string()));
            store.write(Write { key: "/x".into(), expect: Expect::At(first), value }).await
        })
        .collect();
    let outcomes = futures_join(attempts).await;
    let won: Vec<&Entry> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            Ok(Written::Done(entry)) => Some(entry),
            _ => None,
        })
        .collect();
    assert_eq!(won.len(), 1);
    for outcome in &outcomes {
        match outcome {
            Ok(Written::Done(_)) => {}
            Ok(Written::Refused(Some(present))) => assert_eq!(present, won[0], "the loser is told who won"),
            other => panic!("{other:?}"),
        }
    }
}

/// Polls every future until all are done, in one task.
async fn futures_join<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut pinned: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (future, output) in &mut pinned {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    pinned.into_iter().filter_map(|(_, output)| output).collect()
}
