//! An allocator that counts what a thread holds, and stops a parser that takes far too much before the machine suffers.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What one input may never take, whatever its target allows: here the process ends, while it still can say why.
const NEVER: usize = 1 << 30;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
    /// Called when [`NEVER`] is reached.
    static LAST_WORDS: Cell<Option<fn()>> = const { Cell::new(None) };
}

/// The system's allocator, counting.
#[derive(Debug)]
pub struct Counting;

// SAFETY: every call goes to the system's allocator as it came; what is counted beside are plain numbers.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        given_back(layout.size());
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        given_back(layout.size());
        taken(size);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.realloc(place, layout, size) }
    }
}

fn taken(size: usize) {
    let live = LIVE.get().saturating_add(size);
    LIVE.set(live);
    if live > PEAK.get() {
        PEAK.set(live);
        if live > NEVER
            && let Some(say) = LAST_WORDS.take()
        {
            say();
            std::process::abort();
        }
    }
}

fn given_back(size: usize) {
    LIVE.set(LIVE.get().saturating_sub(size));
}

/// Runs `work` and answers how much more memory it held at its worst than at its beginning; says `last_words` before
/// the process ends when that is beyond all measure.
pub fn peak_of(last_words: fn(), work: impl FnOnce()) -> usize {
    let before = LIVE.get();
    PEAK.set(before);
    LAST_WORDS.set(Some(last_words));
    work();
    LAST_WORDS.set(None);
    PEAK.get() - before
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_at_the_worst_moment_counts() {
        let peak = peak_of(
            || {},
            || {
                let large = vec![0_u8; 1 << 20];
                drop(large);
                let small = vec![0_u8; 1 << 10];
                drop(small);
            },
        );
        assert!((1 << 20..1 << 21).contains(&peak), "{peak}");
    }
}
