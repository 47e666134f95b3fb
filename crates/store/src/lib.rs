//! A revisioned key-value store with watch: the trait, and the embedded engine behind it.
//!
//! It never knows Kubernetes: keys are strings, values bytes, and a [`Finish`] hook given by the API server
//! turns what a client wrote into what is served. Start reading at [`kv`], the contract; then follow a write
//! through the engine:
//!
//! ```text
//! Embedded::write > bounded queue, gathering > writer (one owner) > committer: plan > disk: a log, one fsync a batch
//!                                                            > state: index, history, lanes > watchers, answer
//! ```
//!
//! Readers take what they need from the state under a short lock and never wait for the disk.

pub mod kv;

mod bell;
mod committer;
mod disk;
mod embedded;
mod gathering;
mod lanes;
mod pairs;
mod state;
mod watcher;
mod writer;

pub mod suite;

pub use embedded::{Embedded, History, Options};
pub use kv::{
    Entry, Error, Event, Expect, FIRST_REVISION, Finish, Finished, Next, Range, RangeRequest, Revision, Stats, Store,
    Wanted, Watch, Write, Written,
};
pub use pairs::{Pairs, Signature};
