//! The values that keys and rules are made of.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::Name;

/// The IP protocols that Services know.
pub mod proto {
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// SCTP.
    pub const SCTP: u8 = 132;
}

/// The type of one part of a key, with nftables' own numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `ipv4_addr`
    Address,
    /// `inet_proto`
    Proto,
    /// `inet_service`
    Port,
    /// `mark`
    Mark,
}

impl Kind {
    pub(super) fn number(self) -> u32 {
        match self {
            Self::Address => 7,
            Self::Proto => 12,
            Self::Port => 13,
            Self::Mark => 19,
        }
    }

    /// How many bytes a value has by itself; in a concatenation each takes four.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Address | Self::Mark => 4,
            Self::Proto => 1,
            Self::Port => 2,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "ipv4_addr",
            Self::Proto => "inet_proto",
            Self::Port => "inet_service",
            Self::Mark => "mark",
        })
    }
}

/// One part of a key, or what a field is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    /// An address.
    Address(Ipv4Addr),
    /// An IP protocol.
    Proto(u8),
    /// A port.
    Port(u16),
    /// A number in the machine's byte order.
    Mark(u32),
}

impl Value {
    /// Its type.
    pub fn kind(self) -> Kind {
        match self {
            Self::Address(_) => Kind::Address,
            Self::Proto(_) => Kind::Proto,
            Self::Port(_) => Kind::Port,
            Self::Mark(_) => Kind::Mark,
        }
    }

    /// As a register holds it, padded to four bytes.
    pub(super) fn word(self) -> [u8; 4] {
        match self {
            Self::Address(address) => address.octets(),
            Self::Proto(proto) => [proto, 0, 0, 0],
            Self::Port(port) => {
                let [high, low] = port.to_be_bytes();
                [high, low, 0, 0]
            }
            Self::Mark(mark) => mark.to_ne_bytes(),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Proto(proto::TCP) => f.write_str("tcp"),
            Self::Proto(proto::UDP) => f.write_str("udp"),
            Self::Proto(proto::SCTP) => f.write_str("sctp"),
            Self::Proto(proto) => write!(f, "{proto}"),
            Self::Port(port) => write!(f, "{port}"),
            Self::Mark(mark) => write!(f, "{mark}"),
        }
    }
}

/// Up to four values: the key of an element, or what it maps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tuple {
    values: [Option<Value>; Tuple::MOST],
}

impl Tuple {
    /// How many values fit: sixteen bytes of registers.
    pub const MOST: usize = 4;

    /// A tuple of up to [`Tuple::MOST`] values; more are our own bug.
    pub fn of<const N: usize>(values: [Value; N]) -> Self {
        const { assert!(N <= Self::MOST) }
        let mut tuple = Self { values: [None; Self::MOST] };
        for (slot, value) in tuple.values.iter_mut().zip(values) {
            *slot = Some(value);
        }
        tuple
    }

    /// An address and a port.
    pub fn endpoint(endpoint: SocketAddrV4) -> Self {
        Self::of([Value::Address(*endpoint.ip()), Value::Port(endpoint.port())])
    }

    /// The values in order.
    pub fn values(&self) -> impl Iterator<Item = Value> + '_ {
        self.values.iter().map_while(|value| *value)
    }

    /// As the kernel keeps it: a single value by itself, several padded to four bytes each.
    pub(super) fn bytes(&self) -> ([u8; 16], usize) {
        let mut bytes = [0; 16];
        let mut length = 0;
        for value in self.values() {
            bytes[length..length + 4].copy_from_slice(&value.word());
            length += 4;
        }
        match self.values {
            [Some(only), None, ..] => (bytes, only.kind().bytes()),
            _ => (bytes, length),
        }
    }
}

impl fmt::Display for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, value) in self.values().enumerate() {
            write!(f, "{}{value}", if at == 0 { "" } else { " . " })?;
        }
        Ok(())
    }
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// It passes this hook.
    Accept,
    /// It is dropped.
    Drop,
    /// It goes on behind the rule that jumped here.
    Return,
    /// Another chain, and back.
    Jump(Name),
    /// Another chain, for good.
    Goto(Name),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}

/// What a map's key leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Datum {
    /// A verdict.
    Verdict(Verdict),
    /// Values.
    Values(Tuple),
}

impl fmt::Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verdict(verdict) => write!(f, "{verdict}"),
            Self::Values(values) => write!(f, "{values}"),
        }
    }
}
