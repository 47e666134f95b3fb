//! The node's agent: it runs the pods that the API assigns to this node and reports how they are.
//!
//! It never knows the API server's or the store's code (it has a client), nor how containers are made (it has
//! `cri::RuntimeService`). Start reading at [`kubelet`], then [`pod::machine`] (the life of a pod, pure),
//! [`pod::worker`] (the task that lives it) and [`effects`] (what it does to the machine).

pub mod config;
pub mod container;
pub mod context;
pub mod effects;
pub mod kubelet;
pub mod logs;
pub mod network;
pub mod node;
pub mod pod;
pub mod prober;
pub mod server;
pub mod sources;
pub mod volumes;

pub use config::{Config, ConfigError};
pub use kubelet::{Deps, Kubelet, KubeletError};
pub use network::{Attachment, HostPort, NetworkError, NetworkRequest, PodNetwork};
