//! The kernel's network, spoken to over plain netlink: links, addresses, routes, nftables, connection tracking.
//!
//! It never knows Kubernetes, and runs no program. Every call is synchronous and short: the kernel answers within the
//! `send` itself. A socket belongs to the network namespace of the thread that opened it, wherever it is used later;
//! [`netns`] runs work on a thread of another namespace. Start reading at [`socket`], then [`nft`] and [`route`].

pub mod conntrack;
pub mod message;
pub mod names;
pub mod netns;
pub mod nft;
pub mod route;
pub mod socket;

pub use socket::{Error, Socket};
