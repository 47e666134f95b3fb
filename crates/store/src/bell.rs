//! [`Bell`]: wakes one watcher. Whoever rings does not wait, and whoever listens knows without a lock whether it rang.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Bell {
    /// Wakes who listens; who does not yet will know.
    pub(crate) fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether it rang since it was last heard.
    pub(crate) fn has_rung(&self) -> bool {
        self.rung.load(Ordering::Acquire)
    }

    /// Hears what rang so far: what rings from here on will be heard next time.
    pub(crate) fn hear(&self) {
        self.rung.store(false, Ordering::Release);
    }

    /// Ready when it rings.
    pub(crate) fn poll_rung(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_rung() {
            return Poll::Ready(());
        }
        let mut waker = self.waker.lock();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        // It may have rung before there was anybody to wake.
        if self.has_rung() { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rings_is_heard_once() {
        let (bell, mut cx) = (Bell::default(), Context::from_waker(Waker::noop()));
        assert!(bell.poll_rung(&mut cx).is_pending());
        bell.ring();
        bell.ring();
        assert!(bell.poll_rung(&mut cx).is_ready() && bell.has_rung());
        bell.hear();
        assert!(bell.poll_rung(&mut cx).is_pending());
    }
}
