//! Local clusters: nodes that are namespaces of this machine, their keys, and the user's kubeconfig.
//!
//! It never knows what runs inside a node but for the one command line that [`init`] starts. Start reading at
//! [`lifecycle`] (create, start, stop, delete), then [`node`] and [`init`].

pub mod home;
pub mod init;
pub mod kubeconfig;
pub mod lifecycle;
pub mod network;
pub mod node;
pub mod pki;

pub use home::{ClusterState, Home, NodeState};
pub use lifecycle::{CreateOptions, Error, Progress};
