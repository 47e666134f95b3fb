//! watch: changes as they are committed, as canonical bytes (upstream: endpoints/handlers/watch.go,
//! apiserver/pkg/storage/cacher).
//!
//! Guarantees: no revision is skipped or repeated; every event carries the revision of its change; an object that
//! leaves the selection is sent as DELETED, one that enters it as ADDED. A watcher that cannot keep up is cut off by
//! the store and told so with an ERROR event.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use api::Resource;
use apimachinery::StatusError;
use bytes::{BufMut, Bytes, BytesMut};
use component_base::metrics::Counter;
use futures::FutureExt;
use http::{HeaderValue, Response, header};
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Value, json};
use store::{Entry, Event};
use tokio::time::{Instant, Interval, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::finish::restamp;
use super::options::{ListOptions, StartFrom};
use super::selection::Selection;
use super::{Cx, answer, convert, list, table};
use crate::body::Body;
use crate::custom;
use crate::negotiate::{Format, Offer, STREAMED, Shape, negotiate_offer};
use crate::server::ApiServer;
use crate::status;

/// How often a watcher that allows it is told how far it has come (upstream: `bookmarkFrequency`).
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// The shortest life of a watch without `timeoutSeconds`; a random part of the same length is added so that not all
/// come back at once (upstream: `--min-request-timeout`).
const MIN_LIFE: Duration = Duration::from_secs(1800);

/// Events that are ready together are sent together, up to about this size.
const CHUNK_BYTES: usize = 32 * 1024;

/// Answers with a stream of events.
pub async fn watch(cx: &Cx) -> Result<Response<Body>, StatusError> {
    let options = ListOptions::parse(&cx.query, true)?;
    let accepted = negotiate_offer(&cx.headers, &cx.query, Offer::of(&cx.row))?;
    if accepted.format == Format::Yaml {
        return Err(StatusError::not_acceptable(&STREAMED));
    }
    let style = match accepted.shape {
        Shape::Table(version) => Some(table::Style::parse(&cx.query, version)?),
        _ => None,
    };
    let selection = Selection::parse(&cx.row, &cx.info, &options)?;
    let format = accepted.format;
    let encoder = Encoder { row: cx.row.clone(), format, shape: accepted.shape, style, sent_columns: false };
    let stream = open(cx, selection, &options, encoder).await?;
    let frames = futures::stream::unfold(stream, |mut stream| async move {
        let chunk = stream.next_chunk().await?;
        Some((Ok(http_body::Frame::data(chunk)), stream))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type(format)));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    Ok(response)
}

fn media_type(format: Format) -> &'static str {
    match format {
        Format::Json | Format::Yaml => "application/json",
        Format::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        Format::Cbor => cbor::SEQUENCE_MEDIA_TYPE,
    }
}

/// Opens the store's watch and puts the events that come first in line.
async fn open(
    cx: &Cx,
    selection: Selection,
    options: &ListOptions,
    mut encoder: Encoder,
) -> Result<Stream, StatusError> {
    let store = cx.registry().store();
    let mut ready = VecDeque::new();
    let mut ended = false;
    let wants_state =
        options.send_initial_events.unwrap_or(matches!(options.start, StartFrom::Newest | StartFrom::Any));
    let after = match options.start {
        StartFrom::NotOlderThan(revision) | StartFrom::Exact(revision) if !wants_state => revision,
        _ => {
            let everything = ListOptions { limit: 0, continue_token: String::new(), ..options.clone() };
            let mut page = list::page(cx.registry(), &selection, &everything).await?;
            if wants_state {
                custom::convert::entries(&cx.server, &cx.row, &mut page.entries).await?;
            }
            if wants_state {
                for entry in &page.entries {
                    ready.push_back(encoder.event("ADDED", &entry.finished.value)?);
                }
            }
            if options.send_initial_events == Some(true) && options.allow_bookmarks {
                ready.push_back(encoder.bookmark(page.revision, true)?);
            }
            page.revision
        }
    };
    let source = match store.watch(&selection.prefix, after).await {
        Ok(source) => Some(source),
        Err(error) => {
            ready.push_back(encoder.error(&status::of_store(&error)));
            ended = true;
            None
        }
    };
    let life = match options.timeout_s {
        Some(seconds) if seconds > 0 => Duration::from_secs(seconds),
        _ => MIN_LIFE + MIN_LIFE.mul_f64(rand::random::<f64>()),
    };
    let mut bookmarks = tokio::time::interval_at(Instant::now() + BOOKMARK_EVERY, BOOKMARK_EVERY);
    bookmarks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let sent = cx.server.request_metrics.watch_events(&cx.row);
    sent.inc_by(ready.len() as u64);
    Ok(Stream {
        sent,
        source,
        selection,
        encoder,
        ready,
        ended,
        bookmarks: options.allow_bookmarks.then_some(bookmarks),
        end_of_life: Box::pin(tokio::time::sleep(life)),
        shutdown: Box::pin(cx.server.scope.cancelled()),
        retired: Box::pin(retired(cx.server.clone(), cx.row.clone())),
        server: cx.server.clone(),
    })
}

async fn retired(server: Arc<ApiServer>, row: Arc<Resource>) {
    server.registry.retired(&row).await;
}

/// An event as the row serves its objects.
async fn present(
    server: &ApiServer,
    row: &Resource,
    event: Option<Result<Event, store::Error>>,
) -> Option<Result<Event, store::Error>> {
    let event = match event {
        Some(Ok(event)) => event,
        other => return other,
    };
    match custom::convert::event(server, row, event).await {
        Ok(event) => Some(Ok(event)),
        Err(error) => {
            // Who watches lists again and is told why that fails.
            tracing::debug!(kind = row.gvk.kind, %error, "an event could not be converted");
            None
        }
    }
}

/// One watcher's events.
struct Stream {
    source: Option<Box<dyn store::Watch>>,
    selection: Selection,
    encoder: Encoder,
    ready: VecDeque<Bytes>,
    sent: Counter,
    ended: bool,
    bookmarks: Option<Interval>,
    end_of_life: Pin<Box<Sleep>>,
    shutdown: Pin<Box<WaitForCancellationFutureOwned>>,
    /// The kind is defined anew, or no more.
    retired: Pin<Box<dyn Future<Output = ()> + Send>>,
    server: Arc<ApiServer>,
}

/// What a watcher wakes up for.
enum Wake {
    Event(Option<Result<Event, store::Error>>),
    BookmarkDue,
    EndOfLife,
}

impl Stream {
    /// The next piece of the answer, one or more whole events; `None` at the end.
    async fn next_chunk(&mut self) -> Option<Bytes> {
        while self.ready.is_empty() && !self.ended {
            match self.wake().await {
                Wake::Event(event) => {
                    let (server, row) = (self.server.clone(), self.encoder.row.clone());
                    let event = present(&server, &row, event).await;
                    self.take(event);
                }
                Wake::BookmarkDue => {
                    if let Some(source) = &mut self.source {
                        source.request_progress();
                    }
                }
                Wake::EndOfLife => self.ended = true,
            }
        }
        self.take_what_is_there();
        self.drain()
    }

    async fn wake(&mut self) -> Wake {
        let Some(source) = &mut self.source else { return Wake::EndOfLife };
        let bookmark = async {
            match &mut self.bookmarks {
                Some(interval) => {
                    interval.tick().await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = &mut self.shutdown => Wake::EndOfLife,
            () = &mut self.end_of_life => Wake::EndOfLife,
            event = source.next() => Wake::Event(event),
            () = &mut self.retired => Wake::EndOfLife,
            () = bookmark => Wake::BookmarkDue,
        }
    }

    /// Takes further events without waiting for them.
    fn take_what_is_there(&mut self) {
        if self.encoder.row.custom.is_some() {
            // Their objects may have to be converted first.
            return;
        }
        while !self.ended && self.ready.iter().map(Bytes::len).sum::<usize>() < CHUNK_BYTES {
            let Some(event) = self.source.as_mut().and_then(|source| source.next().now_or_never()) else { return };
            self.take(event);
        }
    }

    fn drain(&mut self) -> Option<Bytes> {
        if self.ready.len() <= 1 {
            return self.ready.pop_front();
        }
        let mut out = BytesMut::with_capacity(CHUNK_BYTES);
        while out.len() < CHUNK_BYTES
            && let Some(event) = self.ready.pop_front()
        {
            out.put_slice(&event);
        }
        Some(out.freeze())
    }

    fn take(&mut self, event: Option<Result<Event, store::Error>>) {
        let sent = match event {
            Some(Ok(event)) => self.change(event),
            Some(Err(error)) => Err(status::of_store(&error)),
            None => {
                self.ended = true;
                return;
            }
        };
        match sent {
            Ok(bytes) => {
                self.sent.inc_by(u64::from(bytes.is_some()));
                self.ready.extend(bytes);
            }
            Err(error) => {
                self.ready.push_back(self.encoder.error(&error));
                self.ended = true;
            }
        }
    }

    /// The event as this watcher sees it: what matters is whether the object was and is selected.
    fn change(&mut self, event: Event) -> Result<Option<Bytes>, StatusError> {
        match event {
            Event::Put { entry, previous } => {
                let was = previous.filter(|previous| self.selection.matches(previous));
                match (was, self.selection.matches(&entry)) {
                    (None, false) => Ok(None),
                    (None, true) => self.encoder.event("ADDED", &entry.finished.value).map(Some),
                    (Some(_), true) => self.encoder.event("MODIFIED", &entry.finished.value).map(Some),
                    (Some(previous), false) => {
                        let last = restamp(&previous.finished.value, entry.modified);
                        self.encoder.event("DELETED", &last).map(Some)
                    }
                }
            }
            Event::Delete { entry, previous } => self.deleted(&entry, &previous),
            Event::Progress(revision) if self.bookmarks.is_some() => self.encoder.bookmark(revision, false).map(Some),
            Event::Progress(_) => Ok(None),
        }
    }

    fn deleted(&mut self, entry: &Entry, previous: &Entry) -> Result<Option<Bytes>, StatusError> {
        if !self.selection.matches(previous) {
            return Ok(None);
        }
        self.encoder.event("DELETED", &entry.finished.value).map(Some)
    }
}

/// Writes events in the form the watcher accepts.
struct Encoder {
    row: Arc<Resource>,
    format: Format,
    shape: Shape,
    style: Option<table::Style>,
    sent_columns: bool,
}

impl Encoder {
    fn event(&mut self, kind: &str, stored: &Bytes) -> Result<Bytes, StatusError> {
        match self.shape {
            Shape::Whole => self.frame(kind, &convert::served(&self.row, stored)?),
            Shape::Metadata(version) => {
                let object = convert::to_served(&self.row, answer::decode(stored)?);
                self.frame(kind, table::partial(&object, version).to_string().as_bytes())
            }
            Shape::Table(_) => {
                let object = convert::to_served(&self.row, answer::decode(stored)?);
                let metadata = json!({ "resourceVersion": object.resource_version() });
                let table = self.table(metadata, &[object]).to_string();
                self.frame(kind, table.as_bytes())
            }
        }
    }

    /// A table; only the first of a watch says what the columns are.
    fn table(&mut self, metadata: Value, objects: &[apimachinery::Object]) -> Value {
        let Some(style) = self.style else { return Value::Null };
        let now = component_base::now();
        if std::mem::replace(&mut self.sent_columns, true) {
            table::headless(&self.row, &style, metadata, objects, now)
        } else {
            table::table(&self.row, &style, metadata, objects, now)
        }
    }

    fn bookmark(&mut self, revision: u64, initial_events_end: bool) -> Result<Bytes, StatusError> {
        let mut metadata = json!({ "resourceVersion": revision.to_string(), "creationTimestamp": null });
        if initial_events_end {
            metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        let object = match self.shape {
            Shape::Whole => {
                json!({ "kind": self.row.gvk.kind, "apiVersion": self.row.gvk.api_version(), "metadata": metadata })
            }
            Shape::Metadata(version) => {
                json!({ "kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata })
            }
            Shape::Table(_) => self.table(metadata, &[]),
        };
        self.frame("BOOKMARK", object.to_string().as_bytes())
    }

    fn error(&self, error: &StatusError) -> Bytes {
        let status = status::value(error).to_string();
        // A Status can always be encoded.
        self.frame("ERROR", status.as_bytes()).unwrap_or_default()
    }

    /// An event around an object, given as JSON.
    fn frame(&self, kind: &str, object: &[u8]) -> Result<Bytes, StatusError> {
        match self.format {
            Format::Json | Format::Yaml => Ok(json_frame(kind, object)),
            Format::Protobuf => Ok(protobuf::watch_event(kind, &answer::to_protobuf(object)?).into()),
            Format::Cbor => cbor::watch_event(kind, object).map(Bytes::from).map_err(StatusError::internal),
        }
    }
}

/// `{"type":"ADDED","object":...}` and a newline.
fn json_frame(kind: &str, object: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(object.len() + kind.len() + 24);
    out.put_slice(b"{\"type\":\"");
    out.put_slice(kind.as_bytes());
    out.put_slice(b"\",\"object\":");
    out.put_slice(object);
    out.put_slice(b"}\n");
    out.freeze()
}
