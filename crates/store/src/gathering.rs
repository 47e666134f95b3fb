//! [`Gathering`]: lets a batch gather before the writer is woken, while there are many who write.
//!
//! A commit costs much the same for one write as for thirty, and takes CPU time from those who prepare the next ones.
//! After a batch of several, the first write of the next one therefore lets every task run that is ready before it wakes
//! the writer: what these write joins the batch. It does so again as long as that brings more. No timer, no delay to
//! choose (PostgreSQL's `commit_delay` and `commit_siblings` serve the same end with both). Where few write, the first
//! wakes the writer at once: a task that is ready may take long, and is none of theirs.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::yield_now;

/// After a batch of so many writes the next one gathers.
const CROWD: usize = 2;
/// How often the first write lets the others run, at most.
const ROUNDS: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    /// The last batch was a crowd.
    crowded: AtomicBool,
    /// Somebody is about to wake the writer for all that is queued.
    led: AtomicBool,
    /// How many writes have been queued.
    queued: AtomicUsize,
    full: Notify,
}

impl Gathering {
    /// Sees to it that the writer wakes for what the caller has queued. A caller that goes away wakes it at once.
    pub(crate) async fn join(&self) {
        let mut queued = self.queued.fetch_add(1, Ordering::Relaxed) + 1;
        if self.led.swap(true, Ordering::AcqRel) {
            return;
        }
        let _end = End(self);
        if !self.crowded.load(Ordering::Relaxed) {
            return;
        }
        for _ in 0..ROUNDS {
            yield_now().await;
            let before = std::mem::replace(&mut queued, self.queued.load(Ordering::Relaxed));
            if queued == before {
                return;
            }
        }
    }

    /// Waits until there is a batch; what is queued from now on may be another one. Blocks its thread.
    pub(crate) fn wait(&self, runtime: &Handle) {
        runtime.block_on(self.full.notified());
        self.led.swap(false, Ordering::AcqRel);
    }

    /// Notes how many writes a batch had.
    pub(crate) fn had(&self, writes: usize) {
        self.crowded.store(writes >= CROWD, Ordering::Relaxed);
    }
}

/// Ends a gathering when it is dropped.
struct End<'g>(&'g Gathering);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.full.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[tokio::test]
    async fn a_crowd_gathers_and_the_few_do_not_wait() {
        let (gathering, runtime) = (std::sync::Arc::new(Gathering::default()), Handle::current());
        let wait = || {
            let (gathering, runtime) = (gathering.clone(), runtime.clone());
            tokio::task::spawn_blocking(move || gathering.wait(&runtime))
        };
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(gathering.join()).poll(&mut cx).is_ready(), "few write");
        wait().await.expect("the writer wakes");

        gathering.had(CROWD);
        {
            let mut leader = pin!(gathering.join());
            assert!(leader.as_mut().poll(&mut cx).is_pending());
            assert!(pin!(gathering.join()).poll(&mut cx).is_ready(), "the first one wakes the writer for both");
            assert!(leader.as_mut().poll(&mut cx).is_pending(), "there may be more");
            assert!(leader.as_mut().poll(&mut cx).is_ready());
        }
        wait().await.expect("the writer wakes");
        {
            let mut leader = pin!(gathering.join());
            for _ in 0..ROUNDS {
                assert!(leader.as_mut().poll(&mut cx).is_pending());
                assert!(pin!(gathering.join()).poll(&mut cx).is_ready());
            }
            assert!(leader.as_mut().poll(&mut cx).is_ready(), "though they never end");
        }
        wait().await.expect("the writer wakes");
        {
            let mut leaves = pin!(gathering.join());
            assert!(leaves.as_mut().poll(&mut cx).is_pending());
        }
        wait().await.expect("the writer wakes for who has left, too");

        gathering.had(CROWD - 1);
        assert!(pin!(gathering.join()).poll(&mut cx).is_ready());
    }
}
