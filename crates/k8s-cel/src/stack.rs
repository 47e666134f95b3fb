//! Room on the stack: parser, checker, cost estimate and evaluation walk trees by recursion, on threads that have
//! little of it and have used some. Where too little is left they get a stack of their own, which takes memory only as
//! far as it is used.

use crate::parse::MAX_HEIGHT;

/// What one level of a tree takes at most, in a build without optimisation.
const PER_LEVEL: usize = 24 << 10;

/// What evaluation takes besides.
const BASE: usize = 64 << 10;

/// Runs with room for a tree of this height.
pub(crate) fn for_height<T>(height: u16, run: impl FnOnce() -> T) -> T {
    let needed = BASE + PER_LEVEL * usize::from(height);
    stacker::maybe_grow(needed, needed, run)
}

/// Runs with room for the highest tree there may be: before an expression is parsed nobody knows its height.
pub(crate) fn for_compiling<T>(run: impl FnOnce() -> T) -> T {
    for_height(MAX_HEIGHT, run)
}
