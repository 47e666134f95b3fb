//! The Pod Security Standards: what a pod may ask of its node at the levels privileged, baseline and restricted, in
//! every version of the policy (upstream: k8s.io/pod-security-admission).
//!
//! Pure: a pod's metadata and spec in, what is forbidden about it out. It never knows a request or a store.
//! Start reading at [`level`] (which level holds where), then [`checks`] (what each forbids).

pub mod level;

pub mod checks;

pub mod pods;

pub use checks::{Violations, evaluate};
pub use level::{Level, LevelVersion, Policy, Version};
