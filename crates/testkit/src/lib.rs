//! What end-to-end tests stand on: a [`Machine`] (a network namespace and a home of its own, so that tests run side by
//! side and nothing leaves this machine) and a [`Cluster`] on it, driven by the `kaji` binary and a stock kubectl.
//!
//! It never knows Kaji's code, only its command line. Waiting is kubectl's (`wait`, `rollout status`); nothing sleeps.

mod cluster;
mod machine;
mod run;

pub use cluster::Cluster;
pub use machine::Machine;
pub use run::{Background, Run};
