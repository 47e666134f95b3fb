//! Events of both versions (upstream: `printEvent`).

use apimachinery::Object;
use jiff::Timestamp;

use super::duration::since;
use super::{as_text, col, integer, string, wide};
use crate::json::Read;
use crate::resource::Column;

/// Where the two versions of an event keep the same thing.
#[derive(Clone, Copy)]
struct Names {
    about: &'static str,
    message: &'static str,
    source: &'static str,
    reporter: &'static str,
    first: &'static str,
    last: &'static str,
    count: &'static str,
}

/// Columns of events of the core group.
pub(crate) fn core_events() -> Vec<Column> {
    columns(Names {
        about: "involvedObject",
        message: "message",
        source: "source",
        reporter: "reportingComponent",
        first: "firstTimestamp",
        last: "lastTimestamp",
        count: "count",
    })
}

/// Columns of events of `events.k8s.io`.
pub(crate) fn new_events() -> Vec<Column> {
    columns(Names {
        about: "regarding",
        message: "note",
        source: "deprecatedSource",
        reporter: "reportingController",
        first: "deprecatedFirstTimestamp",
        last: "deprecatedLastTimestamp",
        count: "deprecatedCount",
    })
}

fn columns(names: Names) -> Vec<Column> {
    vec![
        col("Last Seen", "string", move |event, now| last_seen(event, names, now).into()),
        string("Type", |event| event.text("type").to_owned()),
        string("Reason", |event| event.text("reason").to_owned()),
        string("Object", move |event| {
            let about = event.object(names.about);
            let kind = about.text("kind").to_lowercase();
            if about.text("name").is_empty() { kind } else { format!("{kind}/{}", about.text("name")) }
        }),
        wide(string("Subobject", move |event| event.object(names.about).text("fieldPath").to_owned())),
        wide(string("Source", move |event| source(event, names))),
        string("Message", move |event| event.text(names.message).trim().to_owned()),
        wide(col("First Seen", "string", move |event, now| {
            since(or_event_time(event, event.text(names.first)), now).into()
        })),
        wide(as_text(integer("Count", move |event| match event.value("series") {
            Some(series) => series.int("count").unwrap_or_default(),
            None => event.int(names.count).filter(|count| *count != 0).unwrap_or(1),
        }))),
        wide(super::name()),
    ]
}

fn last_seen(event: &Object, names: Names, now: Timestamp) -> String {
    if let Some(series) = event.value("series") {
        return since(series.text("lastObservedTime"), now);
    }
    match event.text(names.last) {
        "" => since(or_event_time(event, event.text(names.first)), now),
        last => since(last, now),
    }
}

fn or_event_time<'a>(event: &'a Object, time: &'a str) -> &'a str {
    if time.is_empty() { event.text("eventTime") } else { time }
}

fn source(event: &Object, names: Names) -> String {
    let source = event.object(names.source);
    let component =
        if source.text("component").is_empty() { event.text(names.reporter) } else { source.text("component") };
    let host = if source.text("host").is_empty() { event.text("reportingInstance") } else { source.text("host") };
    if host.is_empty() { component.to_owned() } else { format!("{component}, {host}") }
}

#[cfg(test)]
mod tests {
    use super::super::tests::row;
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_without_its_last_time_has_its_first() {
        let event = json!({
            "metadata": {"name": "e"}, "involvedObject": {"kind": "Node"}, "eventTime": "2026-01-01T23:00:00Z",
            "firstTimestamp": "2026-01-01T23:50:00Z", "reportingInstance": "n1",
        });
        assert_eq!(row(&core_events(), event), "10m      node   |   , n1  10m  1  e");
    }

    #[test]
    fn both_versions_show_the_same() {
        let old = json!({
            "metadata": {"name": "e"}, "type": "Normal", "reason": "Pulled", "message": "done\n",
            "involvedObject": {"kind": "Pod", "name": "web", "fieldPath": "spec.containers{web}"},
            "source": {"component": "kubelet", "host": "n1"},
            "firstTimestamp": "2026-01-01T23:50:00Z", "lastTimestamp": "2026-01-01T23:59:00Z", "count": 2,
        });
        let expected = "60s  Normal  Pulled  pod/web  done | spec.containers{web}  kubelet, n1  10m  2  e";
        assert_eq!(row(&core_events(), old), expected);
        let new = json!({
            "metadata": {"name": "e"}, "type": "Normal", "reason": "Pulled", "note": "done",
            "regarding": {"kind": "Pod", "name": "web", "fieldPath": "spec.containers{web}"},
            "reportingController": "kubelet", "reportingInstance": "n1",
            "eventTime": "2026-01-01T23:50:00Z", "series": {"lastObservedTime": "2026-01-01T23:59:00Z", "count": 2},
        });
        assert_eq!(row(&new_events(), new), expected);
    }
}
