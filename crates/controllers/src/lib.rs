//! The controllers of `kube-controller-manager`: each watches its kinds and brings the world to what they ask for.
//!
//! One folder (or file) a controller; in each a pure `plan` with its tables, and a `sync` that reads the caches, plans,
//! and writes through the API with the controller's own identity. Nothing here lists periodically: events and named
//! timers wake keys in a work queue. It never knows the API server or the store.
//! Start reading at [`controllers`], then [`replicaset`] as the pattern all others follow.

pub mod availability;
pub mod bootstrap;
pub mod certificates;
pub mod context;
pub mod controllers;
pub mod daemonset;
pub mod deployment;
pub mod discovery;
pub mod disruption;
pub mod endpoint_slice;
pub mod endpoints;
pub mod expectations;
pub mod garbage_collector;
pub mod history;
pub mod int_or_percent;
pub mod job;
pub mod namespace;
pub mod node_ipam;
pub mod node_lifecycle;
pub mod owners;
pub mod pod_gc;
pub mod replicaset;
pub mod resource_quota;
pub mod root_ca_publisher;
pub mod service_account;
pub mod service_account_tokens;
pub mod service_endpoints;
pub mod statefulset;
pub mod storage_protection;
pub mod template_hash;
pub mod ttl_after_finished;
pub mod writes;

pub use context::ClientBuilder;
pub use controllers::{Config, ConfigError, Controllers, Signing, TOKENS_CONTROLLER};
pub use service_account_tokens::TokenGenerator;
