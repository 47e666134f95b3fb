//! Connection tracking: find flows and forget them.
//!
//! upstream: pkg/proxy/conntrack/conntrack.go (which goes through the same netlink messages)

use std::net::Ipv4Addr;

use crate::message::{self, Batch};
use crate::socket::{Error, Socket};

const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
/// `struct nfgenmsg` for IPv4.
const GENERIC_HEADER: [u8; 4] = [libc::AF_INET as u8, 0, 0, 0];

/// One direction of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple {
    /// The IP protocol.
    pub protocol: u8,
    /// Where it comes from.
    pub source: (Ipv4Addr, u16),
    /// Where it goes to.
    pub destination: (Ipv4Addr, u16),
}

/// A tracked flow: what the client sent, and what comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// As the client sees it.
    pub original: Tuple,
    /// As the server sees it: after translation, seen from the server.
    pub reply: Tuple,
}

/// Forgets every IPv4 flow that `is_stale` picks; returns how many.
pub fn forget(socket: &mut Socket, mut is_stale: impl FnMut(&Flow) -> bool) -> Result<usize, Error> {
    let mut request = Batch::new();
    request.message(GET, message::DUMP, |body| body.raw(&GENERIC_HEADER));
    let mut deletions = Batch::new();
    socket.dump(&request, |_, body| {
        let Some(attributes) = body.get(GENERIC_HEADER.len()..) else { return };
        let original = message::attribute(attributes, CTA_TUPLE_ORIG);
        let reply = message::attribute(attributes, CTA_TUPLE_REPLY);
        let (Some(original_bytes), Some(reply)) = (original, reply.and_then(tuple)) else { return };
        let Some(original) = tuple(original_bytes) else { return };
        if is_stale(&Flow { original, reply }) {
            deletions.message(DELETE, message::ACK, |body| {
                body.raw(&GENERIC_HEADER);
                body.nest(CTA_TUPLE_ORIG, |body| body.raw(original_bytes));
            });
        }
    })?;
    if deletions.last() == 0 {
        return Ok(0);
    }
    // A flow that ended meanwhile is refused with ENOENT: it is gone, as wanted.
    let refusals = socket.transact(&deletions, deletions.last())?;
    Ok(deletions.last() as usize - refusals.len())
}

fn tuple(bytes: &[u8]) -> Option<Tuple> {
    let ip = message::attribute(bytes, CTA_TUPLE_IP)?;
    let proto = message::attribute(bytes, CTA_TUPLE_PROTO)?;
    let address = |kind| Some(Ipv4Addr::from(<[u8; 4]>::try_from(message::attribute(ip, kind)?).ok()?));
    let port = |kind| {
        let bytes = message::attribute(proto, kind).and_then(|value| <[u8; 2]>::try_from(value).ok());
        bytes.map_or(0, u16::from_be_bytes)
    };
    Some(Tuple {
        protocol: *message::attribute(proto, CTA_PROTO_NUM)?.first()?,
        source: (address(CTA_IP_V4_SRC)?, port(CTA_PROTO_SRC_PORT)),
        destination: (address(CTA_IP_V4_DST)?, port(CTA_PROTO_DST_PORT)),
    })
}
