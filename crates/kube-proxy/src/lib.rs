//! Services as nftables rules on one node.
//!
//! It never knows pods, containers or where the API is: it reads Services and EndpointSlices from shared informers and
//! writes one nftables table. Killing it stops no connection: the table stays, and the next run replaces it at once.
//!
//! The layout takes constant time for a packet and for an update, however many Services there are: one map leads a
//! Service's address, protocol and port to the chain `lb-<n>` of its number of endpoints, and that chain picks one of
//! n entries of one global endpoint map. Only Services with session affinity, a local traffic policy towards the
//! outside or source ranges get chains of their own.
//!
//! Start reading at [`Proxier`] (pure: objects in, commands out), then [`fragment`] (what one Service becomes) and
//! [`KubeProxy`] (the loop around it).

mod base;
mod endpoints;
mod flows;
pub mod fragment;
mod kernel;
mod proxier;
mod run;
mod service;

pub use endpoints::{Endpoint, Slice};
pub use flows::UdpEndpoints;
pub use kernel::Kernel;
pub use proxier::{NodeView, Proxier, Update};
pub use run::{Config, KubeProxy};
pub use service::{PortInfo, ServiceInfo, TrafficPolicy};
