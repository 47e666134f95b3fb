//! API Priority and Fairness: who is served at once, who waits a little, and who is told to come again
//! (upstream: staging/src/k8s.io/apiserver/pkg/util/flowcontrol, KEP-1040).
//!
//! ```text
//! request -> flow schema (by precedence) -> priority level -> seats free? ------------------> seat
//!                                                          -> queue (shuffle sharded, fair) -> seat, in time
//!                                                          -> queue full, or waited too long -> 429
//! ```
//!
//! It never knows sockets, stores or HTTP handlers: it is told the configuration objects and asked for seats. What is
//! decided is pure ([`queue_set`], [`matching`], [`concurrency`], [`work`]) and takes the time as an argument.
//!
//! Start reading at [`control`].

pub mod control;

pub mod configuration;
pub mod matching;
pub mod spec;

pub mod level;
pub mod queue_set;
mod requests;

pub mod concurrency;
mod debug;
mod demand;
mod retry_after;
mod shuffle;
pub mod watches;
pub mod work;

pub mod bootstrap;
pub mod metrics;

pub use configuration::Condition;
pub use control::{FlowControl, Refused};
pub use level::Seat;
pub use requests::Asker;
pub use work::WorkEstimate;
