//! [`Readable`]: a watch that ends where it meets a value that nobody can read
//! (upstream: storage/etcd3/watcher.go, whose `transformErrorToEvent` ends it as well).
//!
//! Its client lists anew and learns there what cannot be read; an event without an object would be taken for one.

use std::task::{Context, Poll};

use ::store::{Entry, Error, Event, Watch};

/// How the complaint about a value begins that nobody can read: it is the server's fault that there is one, not that it
/// is busy.
pub const UNREADABLE: &str = "unable to transform key";

/// See the module.
pub(crate) struct Readable {
    inner: Box<dyn Watch>,
    ended: bool,
}

impl Readable {
    pub(crate) fn new(inner: Box<dyn Watch>) -> Self {
        Self { inner, ended: false }
    }
}

/// The complaint about an entry that could not be opened: those have no value.
fn unreadable(entry: &Entry) -> Option<Error> {
    let words = || format!("{UNREADABLE} {:?}: no key of the encryption configuration opens it", &*entry.key);
    entry.finished.value.is_empty().then(|| Error::Unavailable(words().into()))
}

impl Watch for Readable {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Event, Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let event = match self.inner.poll_next(cx) {
            Poll::Ready(Some(event)) => event,
            other => return other,
        };
        let error = match &event {
            Ok(Event::Put { entry, .. } | Event::Delete { entry, .. }) => unreadable(entry),
            Ok(Event::Progress(_)) | Err(_) => None,
        };
        self.ended = error.is_some();
        Poll::Ready(Some(error.map_or(event, Err)))
    }

    fn request_progress(&mut self) {
        self.inner.request_progress();
    }

    fn is_current(&self) -> bool {
        self.inner.is_current()
    }
}
