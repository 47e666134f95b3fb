//! Audit: who asked for what, when, and what came of it.
//!
//! It never knows the API server: a request's facts go in, events come out at files and webhooks. Start reading at
//! [`policy`] (what is written down), then [`trail`] (one request's events).
//!
//! ```text
//! Audit::begin > Policy: level > Trail: RequestReceived, ResponseStarted, ResponseComplete > sinks: file, webhook
//! ```

pub mod event;
pub mod policy;
pub mod trail;

pub mod file;
pub mod webhook_sink;

use std::sync::Arc;

pub use event::{Event, ObjectReference, Stage};
pub use policy::{Level, Policy, PolicyError};
pub use trail::{Audit, Begin, Trail};

/// Where events go. Must not wait: a sink that cannot keep up drops events and says so.
pub trait Sink: Send + Sync + 'static {
    /// Takes in an event.
    fn take(&self, event: &Arc<serde_json::Value>);
}
