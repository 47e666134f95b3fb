//! The API server: every kind behind the same verbs, over a revisioned store.
//!
//! It never knows a kind by a handler file of its own: rows of the catalogue say what differs. It never decodes an
//! object to serve it: the bytes made at the write are the bytes of every get, list and watch.
//!
//! Start reading at [`service`] (one request, from bytes to bytes), then [`registry`] (the verbs).

pub mod config;
pub mod server;

pub mod service;

pub mod access;
pub mod auditing;
pub mod authentication;
pub mod authenticator;
pub mod authorization;
pub mod authorizer;
pub mod body;
pub mod handler;
pub mod negotiate;
pub mod request;
pub mod status;

pub mod registry;

pub mod admission;
pub mod aggregation;
pub mod allocation;

pub mod custom;
pub mod discovery;
mod flow;
mod health;
mod limits;
mod metrics_page;
pub mod nonresource;
pub mod openapi;
mod request_guard;
mod request_metrics;
mod webhook_client;

mod connections;
mod service_resolver;

mod bootstrap;
mod event_expiry;
mod forward;
pub mod kubelet_client;
pub mod special;

pub mod serve;

pub use authenticator::{Authenticator, PeerCertificates};
pub use authorizer::{Attributes, Authorizer, Decision};
pub use body::Body;
pub use config::{Config, Deps, KubeletClientConfig};
pub use registry::finish::Canonical;
pub use server::{ApiServer, BuildError};
pub use service::ApiService;
