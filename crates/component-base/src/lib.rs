//! What every Kaji component stands on: task scopes, the clock, back-off, health and metrics.
//!
//! It never knows Kubernetes. This is the only crate that spawns tasks or reads the system clock
//! (`clippy.toml` holds the others to it). Start reading at [`scope`].

pub mod backoff;
pub mod clock;
pub mod file_watch;
pub mod health;
pub mod metrics;
pub mod scope;

pub use backoff::Backoff;
pub use clock::now;
pub use file_watch::FileWatch;
pub use scope::Scope;

/// Kaji's version, that of the Kubernetes it is.
pub const VERSION: &str = "v1.37.0";
