//! watch: changes as they are committed, as canonical bytes (upstream: endpoints/handlers/watch.go,
//! apiserver/pkg/storage/cacher).
//!
//! Guarantees: no revision is skipped or repeated; every event carries the revision of its change; an object that
//! leaves the selection is sent as DELETED, one that enters it as ADDED. A watcher that cannot keep up is cut off by
//! the store and told so with an ERROR event.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use api::Resource;
use apimachinery::StatusError;
use bytes::{BufMut, Bytes, BytesMut};
use component_base::metrics::Counter;
use futures::future::BoxFuture;
use http::{HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use store::{Entry, Event};
use tokio::time::{Instant, Sleep};

mod frames;

pub(crate) use frames::Frames;

use frames::Source;

use super::finish::restamp;
use super::options::{ListOptions, StartFrom};
use super::selection::Selection;
use super::{Cx, answer, convert, list, table};
use crate::body::{Body, BoxError};
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
    let (server, row) = (cx.server.clone(), cx.row.clone());
    let encoder = Encoder { server, row, format, shape: accepted.shape, style, sent_columns: false };
    let stream = open(cx, selection, &options, encoder).await?;
    let mut response = Response::new(stream.boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type(format)));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    Ok(response)
}

/// How long a watch may last; `part` is between 0 and 1.
fn life(timeout_s: Option<u64>, part: f64) -> Duration {
    match timeout_s {
        Some(seconds) if seconds > 0 => Duration::from_secs(seconds),
        _ => MIN_LIFE + MIN_LIFE.mul_f64(part),
    }
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
            let mut page = list::selected(cx, &selection, &everything).await?;
            if wants_state {
                custom::convert::entries(&cx.server, &cx.row, &mut page.entries).await?;
            }
            if wants_state {
                for entry in &page.entries {
                    ready.push_back(encoder.event("ADDED", entry)?);
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
    let life = life(options.timeout_s, rand::random());
    let now = Instant::now();
    let timing =
        Timing { next_bookmark: options.allow_bookmarks.then(|| now + BOOKMARK_EVERY), end_of_life: now + life };
    let sent = cx.server.request_metrics.watch_events(&cx.row);
    sent.inc_by(ready.len() as u64);
    Ok(Stream {
        sent,
        source,
        selection,
        encoder,
        ready,
        ended,
        timer: Box::pin(tokio::time::sleep_until(timing.next())),
        timing,
        over: over(&cx.server, &cx.row),
        converting: None,
    })
}

/// Ends when no watch of the row goes on: the server stops, or the kind is defined anew or no more.
fn over(server: &Arc<ApiServer>, row: &Arc<Resource>) -> BoxFuture<'static, ()> {
    let stopped = server.scope.cancelled();
    if row.custom.is_none() {
        return Box::pin(stopped);
    }
    let (server, row) = (server.clone(), row.clone());
    Box::pin(async move {
        tokio::select! {
            () = stopped => {}
            () = server.registry.retired(&row) => {}
        }
    })
}

/// What the store's watch answers.
type Next = Option<Result<Event, store::Error>>;

/// An event as the row serves its objects.
async fn present(server: Arc<ApiServer>, row: Arc<Resource>, event: Event) -> Next {
    match custom::convert::event(&server, &row, event).await {
        Ok(event) => Some(Ok(event)),
        Err(error) => {
            // Who watches lists again and is told why that fails.
            tracing::debug!(kind = row.gvk.kind, %error, "an event could not be converted");
            None
        }
    }
}

/// When a watch does what nobody's write asks of it.
struct Timing {
    /// None where the watcher wants none.
    next_bookmark: Option<Instant>,
    end_of_life: Instant,
}

impl Timing {
    fn next(&self) -> Instant {
        self.next_bookmark.map_or(self.end_of_life, |bookmark| bookmark.min(self.end_of_life))
    }
}

/// One watcher's events: the body of the answer. There are thousands of these, and most are idle: what one of them
/// needs now and then lies on the heap when it needs it.
struct Stream {
    source: Option<Box<dyn store::Watch>>,
    selection: Selection,
    encoder: Encoder,
    ready: VecDeque<Bytes>,
    sent: Counter,
    ended: bool,
    timing: Timing,
    timer: Pin<Box<Sleep>>,
    over: BoxFuture<'static, ()>,
    /// An event on its way through a conversion.
    converting: Option<BoxFuture<'static, Next>>,
}

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = BoxError;

    /// The next piece of the answer, one or more whole events.
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            self.take_what_is_there(cx);
            if let Some(chunk) = self.drain() {
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
            if self.ended || self.over.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            ready!(self.timer.as_mut().poll(cx));
            self.time_has_come();
        }
    }
}

impl Stream {
    fn time_has_come(&mut self) {
        let now = Instant::now();
        self.ended |= now >= self.timing.end_of_life;
        if let (Some(next), Some(source)) = (&mut self.timing.next_bookmark, &mut self.source) {
            source.request_progress();
            *next = now + BOOKMARK_EVERY;
        }
        self.timer.as_mut().reset(self.timing.next());
    }

    /// Takes events without waiting for them, as many as are sent together.
    fn take_what_is_there(&mut self, cx: &mut Context<'_>) {
        let mut bytes: usize = self.ready.iter().map(Bytes::len).sum();
        while !self.ended && bytes < CHUNK_BYTES {
            let Poll::Ready(event) = self.poll_event(cx) else { return };
            bytes += self.take(event);
        }
    }

    /// The store's next event, as the row serves its objects.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        if let Some(converting) = &mut self.converting {
            let event = ready!(converting.as_mut().poll(cx));
            self.converting = None;
            return Poll::Ready(event);
        }
        let Some(source) = &mut self.source else { return Poll::Ready(None) };
        match ready!(source.poll_next(cx)) {
            Some(Ok(event)) if self.encoder.row.custom.is_some() => {
                self.converting = Some(Box::pin(present(self.encoder.server.clone(), self.encoder.row.clone(), event)));
                self.poll_event(cx)
            }
            event => Poll::Ready(event),
        }
    }

    fn drain(&mut self) -> Option<Bytes> {
        if self.ready.len() <= 1 {
            return self.ready.pop_front();
        }
        let size = self.ready.iter().map(Bytes::len).sum::<usize>().min(2 * CHUNK_BYTES);
        let mut out = BytesMut::with_capacity(size);
        while out.len() < CHUNK_BYTES
            && let Some(event) = self.ready.pop_front()
        {
            out.put_slice(&event);
        }
        if self.ready.is_empty() {
            self.ready = VecDeque::new();
        }
        Some(out.freeze())
    }

    /// Puts what is sent of an event in line; answers its size.
    fn take(&mut self, event: Next) -> usize {
        let sent = match event {
            Some(Ok(event)) => self.change(event),
            Some(Err(error)) => Err(status::of_store(&error)),
            None => {
                self.ended = true;
                return 0;
            }
        };
        match sent {
            Ok(Some(bytes)) => {
                self.sent.inc();
                let size = bytes.len();
                self.ready.push_back(bytes);
                size
            }
            Ok(None) => 0,
            Err(error) => {
                self.ready.push_back(self.encoder.error(&error));
                self.ended = true;
                0
            }
        }
    }

    /// The event as this watcher sees it: what matters is whether the object was and is selected.
    fn change(&mut self, event: Event) -> Result<Option<Bytes>, StatusError> {
        match event {
            Event::Put { entry, previous } => {
                let was = previous.filter(|previous| self.selection.takes(previous));
                match (was, self.selection.takes(&entry)) {
                    (None, false) => Ok(None),
                    (None, true) => self.encoder.event("ADDED", &entry).map(Some),
                    (Some(_), true) => self.encoder.event("MODIFIED", &entry).map(Some),
                    (Some(previous), false) => {
                        let last = restamp(&previous.finished.value, entry.modified);
                        self.encoder.object("DELETED", &last).map(Some)
                    }
                }
            }
            Event::Delete { entry, previous } if self.selection.takes(&previous) => {
                self.encoder.event("DELETED", &entry).map(Some)
            }
            Event::Progress(revision) if self.timing.next_bookmark.is_some() => {
                self.encoder.bookmark(revision, false).map(Some)
            }
            Event::Delete { .. } | Event::Progress(_) => Ok(None),
        }
    }
}

/// Writes events in the form the watcher accepts.
struct Encoder {
    server: Arc<ApiServer>,
    row: Arc<Resource>,
    format: Format,
    shape: Shape,
    style: Option<table::Style>,
    sent_columns: bool,
}

impl Encoder {
    /// An event about a stored entry.
    fn event(&mut self, kind: &'static str, entry: &Entry) -> Result<Bytes, StatusError> {
        if self.shape != Shape::Whole {
            return self.object(kind, &entry.finished.value);
        }
        let server = self.server.clone();
        let source = Source { row: &self.row.clone(), kind, format: self.format, entry };
        server.frames.get(&source, || self.object(kind, &entry.finished.value))
    }

    fn object(&mut self, kind: &str, stored: &Bytes) -> Result<Bytes, StatusError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients that wait for something open one watch and expect it to last.
    #[test]
    fn a_watch_lasts_as_long_as_it_is_told_or_half_an_hour_at_least() {
        for (timeout_s, part, expected) in [
            (Some(5), 0.5, 5),
            (Some(7200), 0.5, 7200),
            (None, 0.0, 1800),
            (Some(0), 0.0, 1800),
            (None, 0.5, 2700),
            (None, 1.0, 3600),
        ] {
            assert_eq!(life(timeout_s, part), Duration::from_secs(expected), "{timeout_s:?} {part}");
        }
    }

    #[test]
    fn an_idle_watch_is_small() {
        let size = size_of::<Stream>();
        assert!(size <= 512, "{size} bytes: what is needed now and then belongs on the heap");
    }
}
