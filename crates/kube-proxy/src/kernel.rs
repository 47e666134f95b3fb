//! The kernel's side: one socket, kept.
//!
//! Closing a netfilter socket waits until the kernel has freed what the last transaction deleted, some 15 ms; so the
//! socket stays open from one pass to the next.

use netlink::{Error, Socket, nft};

use crate::flows::{self, UdpEndpoints};
use crate::{Update, base};

/// The nftables of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Kernel {
    socket: Socket,
}

impl Kernel {
    /// Opens the way to the kernel.
    pub fn open() -> Result<Self, Error> {
        Ok(Self { socket: Socket::netfilter()? })
    }

    /// Brings the table up to date in one transaction, and then the UDP flows to the endpoints in `udp`.
    pub fn apply(&mut self, update: &Update, udp: &UdpEndpoints) -> Result<(), Error> {
        nft::apply(&mut self.socket, &base::table_id(), &update.commands)?;
        if !udp.is_empty() {
            // The rules hold; a flow that could not be forgotten times out by itself.
            match flows::forget_stale(&mut self.socket, udp) {
                Ok(0) => {}
                Ok(flows) => tracing::debug!(flows, "forgot stale UDP flows"),
                Err(err) => tracing::warn!(error = &err as &dyn std::error::Error, "stale UDP flows stay"),
            }
        }
        Ok(())
    }
}
