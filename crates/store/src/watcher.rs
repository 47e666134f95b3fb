//! [`Watcher`]: a cursor into the shared history.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::RwLock;
use tokio::task::coop::poll_proceed;

use crate::bell::Bell;
use crate::kv::{Error, Event, Revision, Watch};
use crate::state::{Change, State};

/// How many events one look at the history takes along; all that a watcher holds of its own.
const TAKE: usize = 128;
/// How many changes of other prefixes one look passes over while catching up.
const SCAN: usize = 4096;

/// A watch of one prefix. Never holds more than a handful of events: what it has not read yet stays in the history.
pub(crate) struct Watcher {
    state: Arc<RwLock<State>>,
    prefix: Box<str>,
    /// Everything up to here was taken.
    cursor: Revision,
    ready: VecDeque<Event>,
    bell: Arc<Bell>,
    /// Nothing had come behind what was taken when the bell was last heard.
    current: bool,
    progress_wanted: bool,
    ended: bool,
}

/// What a look at the history found.
enum Look {
    /// Something new is in `ready`, or there is more to look at.
    More,
    /// Everything up to this revision has been delivered.
    Current(Revision),
    /// What comes next is no longer in the history.
    TooSlow,
    /// The store has closed.
    Closed,
}

impl Watcher {
    /// Joins the lane of `prefix` under the same lock that checks `after`, so that nothing falls between.
    pub(crate) fn new(state: &Arc<RwLock<State>>, prefix: &str, after: Revision) -> Result<Self, Error> {
        let mut locked = state.write();
        if locked.closed {
            return Err(Error::Unavailable("it has been closed".into()));
        }
        locked.check_readable(after)?;
        let revision = locked.revision();
        let bell = locked.lanes.join(prefix, revision);
        Ok(Self {
            state: state.clone(),
            prefix: prefix.into(),
            cursor: after,
            ready: VecDeque::new(),
            bell,
            current: false,
            progress_wanted: false,
            ended: false,
        })
    }

    fn look(&mut self) -> Look {
        let state = self.state.read();
        let Some(lane) = state.lanes.get(&self.prefix) else { return Look::Closed };
        if self.cursor < lane.since {
            return catch_up(&state, &self.prefix, lane.since, &mut self.cursor, &mut self.ready);
        }
        if self.cursor < lane.trimmed {
            return Look::TooSlow;
        }
        let unread = lane.revisions.partition_point(|revision| *revision <= self.cursor);
        for &revision in lane.revisions.range(unread..).take(TAKE) {
            // A lane forgets together with the history, so what it names is there.
            let Some(change) = state.change(revision) else { return Look::TooSlow };
            self.ready.push_back(change.event());
            self.cursor = revision;
        }
        if self.ready.is_empty() { Look::Current(state.revision()) } else { Look::More }
    }
}

/// Reads the changes from before the lane began out of the history of all keys.
fn catch_up(state: &State, prefix: &str, until: Revision, cursor: &mut Revision, ready: &mut VecDeque<Event>) -> Look {
    if *cursor < state.floor() {
        return Look::TooSlow;
    }
    let from = usize::try_from(*cursor - state.floor()).unwrap_or(usize::MAX);
    let count = usize::try_from(until - *cursor).unwrap_or(usize::MAX).min(SCAN);
    for change in state.log().iter().skip(from).take(count) {
        *cursor = change.entry.modified;
        if change.entry.key.starts_with(prefix) {
            ready.push_back(Change::event(change));
            if ready.len() == TAKE {
                break;
            }
        }
    }
    Look::More
}

impl Watch for Watcher {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Event, Error>>> {
        let turn = ready!(poll_proceed(cx));
        let next = self.poll(cx);
        if next.is_ready() {
            turn.made_progress();
        }
        next
    }

    fn request_progress(&mut self) {
        self.progress_wanted = true;
        self.current = false;
    }

    fn is_current(&self) -> bool {
        self.current && self.ready.is_empty() && !self.bell.has_rung()
    }
}

impl Watcher {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Event, Error>>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(event)));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            if self.current {
                ready!(self.bell.poll_rung(cx));
            }
            // Heard before the look: what comes after it rings again.
            self.bell.hear();
            self.current = false;
            match self.look() {
                Look::More => {}
                Look::Current(revision) if self.progress_wanted => {
                    self.progress_wanted = false;
                    return Poll::Ready(Some(Ok(Event::Progress(revision))));
                }
                Look::Current(_) => {
                    self.current = true;
                    // An idle watch keeps no room for events.
                    self.ready = VecDeque::new();
                }
                Look::TooSlow => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(Error::TooSlow)));
                }
                Look::Closed => self.ended = true,
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.state.write().lanes.leave(&self.prefix, &self.bell);
    }
}
