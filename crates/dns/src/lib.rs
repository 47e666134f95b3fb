//! The cluster's DNS: Services, headless Services and pods by name, everything else from the node's own resolvers.
//!
//! It never knows kube-proxy or pods' networks: it reads Services and EndpointSlices from shared informers and
//! answers at addresses of this node, over UDP and TCP.
//!
//! upstream: kubernetes/dns docs/specification.md (version 1.1.0), and CoreDNS's plugin kubernetes where that is silent.
//!
//! Start reading at [`Zone`] (what is known) and its `answer` (pure), then [`Dns`].

mod answer;
mod forward;
mod resolv_conf;
mod run;
mod server;
mod zone;

pub use answer::Answer;
pub use resolv_conf::nameservers;
pub use run::{Config, Dns, Error};
pub use zone::{ServiceRecord, SliceRecord, Zone};
