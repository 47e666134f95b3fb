//! From the spec of a container to what the runtime is told: environment, mounts, rights, limits.
//!
//! Everything here but [`mounts`] is pure.

pub mod config;
pub mod dns;
pub mod env;
pub mod expansion;
pub mod fields;
pub mod hosts;
pub mod mounts;
pub mod resources;
pub mod security;
pub mod services;
