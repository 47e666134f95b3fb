//! [`Frames`]: events as they are sent, made once for all who watch the same.
//!
//! A hundred watchers of a namespace hear of a change within a millisecond of each other: the first of them writes the
//! frame, the others send the same bytes. Only the newest events are kept.

use std::sync::Arc;

use api::Resource;
use apimachinery::StatusError;
use bytes::Bytes;
use parking_lot::Mutex;
use store::{Entry, Finished};

use crate::negotiate::Format;

/// How many frames are kept.
const KEPT: usize = 64;

/// Larger objects are not: they are rare, and the memory would be missed.
const LARGEST_BYTES: usize = 64 * 1024;

/// See the module.
pub(crate) struct Frames(Box<[Mutex<Option<Frame>>]>);

/// What a frame is made of; two that agree in this are the same.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) row: &'a Arc<Resource>,
    pub(super) kind: &'static str,
    pub(super) format: Format,
    pub(super) entry: &'a Entry,
}

/// A frame, with what keeps its source from being anything else.
struct Frame {
    row: Arc<Resource>,
    kind: &'static str,
    format: Format,
    finished: Arc<Finished>,
    bytes: Bytes,
}

impl Frame {
    fn is_of(&self, source: &Source<'_>) -> bool {
        Arc::ptr_eq(&self.finished, &source.entry.finished)
            && Arc::ptr_eq(&self.row, source.row)
            && self.kind == source.kind
            && self.format == source.format
    }
}

impl Default for Frames {
    fn default() -> Self {
        Self((0..KEPT).map(|_| Mutex::default()).collect())
    }
}

impl Frames {
    /// The frame of an event: the one that is kept, or a new one.
    pub(super) fn get(
        &self,
        source: &Source<'_>,
        make: impl FnOnce() -> Result<Bytes, StatusError>,
    ) -> Result<Bytes, StatusError> {
        let finished = &source.entry.finished;
        if finished.value.len() > LARGEST_BYTES {
            return make();
        }
        // Neighbouring revisions lie in different places, and so do the formats of one.
        let place = (source.entry.modified as usize).wrapping_mul(4).wrapping_add(source.format as usize) % KEPT;
        let mut kept = self.0[place].lock();
        if let Some(frame) = kept.as_ref().filter(|frame| frame.is_of(source)) {
            return Ok(frame.bytes.clone());
        }
        // Made under the lock: who else wants the same is here already, and would only make it again.
        let bytes = make()?;
        let (row, finished) = (source.row.clone(), finished.clone());
        *kept = Some(Frame { row, kind: source.kind, format: source.format, finished, bytes: bytes.clone() });
        Ok(bytes)
    }
}
