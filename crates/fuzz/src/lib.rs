//! Hostile input for every parser: it never panics, never takes more memory than its length allows, and what is read is
//! read the same again.
//!
//! A [`Target`] is one parser with what must hold for any bytes. `cargo nextest run` replays the kept inputs of
//! `corpus/<target>` and mutates them for a moment ([`replay()`]), always the same way; `make fuzz` lets libFuzzer look
//! for inputs that reach new code, for as long as asked, and keeps them. Start reading at [`target`], then at any file
//! of `targets`.

pub mod corpus;
pub mod memory;
pub mod mutate;
pub mod replay;
pub mod target;
mod targets;

pub use replay::replay;
pub use target::{TARGETS, Target, find};

/// All memory is counted, so that a target can say how much it may take.
#[global_allocator]
static COUNTING: memory::Counting = memory::Counting;
