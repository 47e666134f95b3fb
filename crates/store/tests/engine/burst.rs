//! Many events at once: a watcher that reads is never cut off, one that does not costs nothing and is.

use std::sync::Arc;
use std::time::Duration;

use store::suite::{Echo, delete, next, put};
use store::{Embedded, Error, Expect, History, Options, Store};

#[tokio::test]
async fn a_watcher_that_reads_survives_a_burst_of_100_000_events() {
    let store = Embedded::in_memory(Arc::new(Echo));
    let mut watch = store.watch("/pods/", store.revision()).await.expect("open");
    let base = store.revision();
    // Nothing is read while the burst lasts: all of it waits in the shared history.
    for number in 0..50_000 {
        let key = format!("/pods/{number}");
        let at = put(&*store, &key, Expect::Absent, "v").await.modified;
        delete(&*store, &key, at).await;
    }
    for revision in base + 1..=base + 100_000 {
        assert_eq!(next(&mut *watch).await.revision(), revision);
    }
}

#[tokio::test]
async fn a_watcher_that_does_not_read_is_cut_off_when_its_history_is_gone() {
    let history = History { events: 1000, bytes: 1 << 20, age: Duration::from_secs(3600) };
    let store = Embedded::in_memory_with(Options { history, ..Options::new(Arc::new(Echo)) });
    let mut slow = store.watch("/pods/", store.revision()).await.expect("open");
    let mut elsewhere = store.watch("/nodes/", store.revision()).await.expect("open");
    for number in 0..3000 {
        put(&*store, &format!("/pods/{number}"), Expect::Absent, "v").await;
    }
    assert!(matches!(slow.next().await, Some(Err(Error::TooSlow))));
    assert!(slow.next().await.is_none(), "the watch has ended");
    let last = put(&*store, "/nodes/a", Expect::Absent, "v").await.modified;
    assert_eq!(next(&mut *elsewhere).await.revision(), last, "it missed nothing, so it goes on");
}

#[tokio::test]
async fn a_thousand_watches_each_see_their_own() {
    let store = Embedded::in_memory(Arc::new(Echo));
    let mut watches = Vec::new();
    for number in 0..1000 {
        let prefix = format!("/pods/ns-{number}/");
        watches.push(store.watch(&prefix, store.revision()).await.expect("open"));
    }
    for number in (0..1000).rev() {
        put(&*store, &format!("/pods/ns-{number}/x"), Expect::Absent, "v").await;
    }
    let base = store.revision();
    for (number, watch) in watches.iter_mut().enumerate() {
        assert_eq!(next(&mut **watch).await.revision(), base - number as u64);
    }
}
