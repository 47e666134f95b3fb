//! The Node object of this machine: registration, status, lease.

pub mod lease;
pub mod machine;
pub mod register;
pub mod status;
