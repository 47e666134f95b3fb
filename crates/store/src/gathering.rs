//! [`Gathering`]: lets a batch gather before the writer is woken.
//!
//! A commit costs much the same for one write as for thirty, and takes CPU time from those who prepare the next ones.
//! The first write of a batch therefore lets every task run that is ready before it wakes the writer: under load, what
//! these write joins the batch; without load none is ready, and the writer wakes at once. No timer, no delay to choose
//! (PostgreSQL's `commit_delay` serves the same end with both).

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::yield_now;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    /// Somebody is about to wake the writer for all that is queued.
    led: AtomicBool,
    full: Notify,
}

impl Gathering {
    /// Sees to it that the writer wakes for what the caller has queued. A caller that goes away wakes it at once.
    pub(crate) async fn join(&self) {
        if self.led.swap(true, Ordering::AcqRel) {
            return;
        }
        let _end = End(self);
        yield_now().await;
    }

    /// Waits until a batch has gathered; what is queued from now on is another one. Blocks its thread.
    pub(crate) fn wait(&self, runtime: &Handle) {
        runtime.block_on(self.full.notified());
        self.led.swap(false, Ordering::AcqRel);
    }
}

/// Ends a gathering when it is dropped.
struct End<'g>(&'g Gathering);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.full.notify_one();
    }
}
