//! The pods' network on one node: a bridge, a veth pair a pod, addresses that survive restarts, host ports.
//!
//! It never knows the API, kube-proxy or containers: a pod is a UID, a network namespace and host ports. Everything
//! happens in the network namespace of the process (the node's), through netlink and `/proc/sys`.
//!
//! A pod has one address with a /32 and sends everything to the gateway, the bridge's own address; bridge ports are
//! isolated from each other. So all traffic between pods is routed by the node, where Services and policies see it.
//!
//! Start reading at [`PodNetwork`], then [`ipam`] (pure) and [`netns`].

mod attach;
pub mod ipam;
pub mod netns;
mod network;
mod node;
mod rules;
mod state;

pub use network::{Config, Error, HostPort, PodAddress, PodNetwork};
