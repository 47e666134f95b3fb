//! The scheduler: decides which node each pod runs on, and binds it there.
//!
//! The deciding part is pure: [`cache`] (what is known), [`queue`] (who is next), [`decide`] (where to), [`preemption`]
//! (who must go), with one file a concern in [`plugins`]. It never lists pods: events keep the sums current. Only
//! [`scheduler`] and its binding talk to the API. Start reading at [`scheduler`], then [`decide`].

pub mod cache;
pub mod decide;
pub mod framework;
pub mod node_info;
pub mod plugins;
pub mod pod_info;
pub mod preemption;
pub mod queue;
pub mod resources;
pub mod scheduler;
#[cfg(test)]
mod testing;

pub use scheduler::{Config, ConfigError, Scheduler};
