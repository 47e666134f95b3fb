//! Asking others over HTTPS, as the API server's configuration says: a kubeconfig file names the server, its CA and
//! the credentials (upstream: apiserver/pkg/util/webhook).
//!
//! It never knows what is asked: token reviews, access reviews and audit events are JSON to it. Start reading at
//! [`client`].

pub mod client;
pub mod kubeconfig;
pub mod trust;

#[cfg(feature = "testing")]
pub mod testing;

pub use client::{CallError, Client};
pub use kubeconfig::{Endpoint, KubeconfigError};
pub use trust::{Trust, TrustError};
