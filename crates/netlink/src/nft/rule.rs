//! Rules: a builder that reads like nft's own language.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use ipnet::Ipv4Net;

use super::{Name, Value, Verdict};

/// Something of a packet that a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `ip saddr`
    SourceAddress,
    /// `ip daddr`
    DestinationAddress,
    /// `meta l4proto`
    Protocol,
    /// `th dport`
    DestinationPort,
    /// `meta mark`
    Mark,
    /// A random number below the modulus.
    Random(u32),
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SourceAddress => f.write_str("ip saddr"),
            Self::DestinationAddress => f.write_str("ip daddr"),
            Self::Protocol => f.write_str("meta l4proto"),
            Self::DestinationPort => f.write_str("th dport"),
            Self::Mark => f.write_str("meta mark"),
            Self::Random(modulus) => write!(f, "numgen random mod {modulus}"),
        }
    }
}

/// One part of a rule: a condition that ends the rule when it does not hold, or an effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// A field equals a value, or does not.
    Is(Field, Value, bool),
    /// An address lies in a network, or does not.
    Within(Field, Ipv4Net, bool),
    /// The packet comes in by a link of this name, or does not.
    InputLink(String, bool),
    /// The packet goes out by a link of this name, or does not.
    OutputLink(String, bool),
    /// The mark has these bits.
    HasMark(u32),
    /// The first packet of a flow.
    NewFlow,
    /// The flow's destination was translated.
    DestinationTranslated,
    /// The destination is an address of this machine.
    ToLocal,
    /// The source is an address of this machine.
    FromLocal,
    /// The key is in a set.
    In(Vec<Field>, Name),
    /// The key's verdict in a map, if it has one.
    VerdictOf(Vec<Field>, Name),
    /// Counts packets and bytes.
    Counter,
    /// Sets bits of the mark.
    SetMark(u32),
    /// Takes bits off the mark.
    ClearMark(u32),
    /// Adds the key to a set, or starts its timeout again.
    Remember(Vec<Field>, Name),
    /// The source becomes this machine's address on the outgoing link, with a random port.
    Masquerade,
    /// The destination becomes this endpoint.
    Dnat(SocketAddrV4),
    /// The destination becomes the endpoint that the map has for the key.
    DnatFrom(Vec<Field>, Name),
    /// Answered with "port unreachable".
    Reject,
    /// A verdict.
    Verdict(Verdict),
}

fn key(fields: &[Field]) -> String {
    fields.iter().map(Field::to_string).collect::<Vec<_>>().join(" . ")
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = |negated: &bool| if *negated { "!= " } else { "" };
        match self {
            Self::Is(field, value, negated) => write!(f, "{field} {}{value}", not(negated)),
            Self::Within(field, net, negated) => write!(f, "{field} {}{net}", not(negated)),
            Self::InputLink(name, negated) => write!(f, "iifname {}{name}", not(negated)),
            Self::OutputLink(name, negated) => write!(f, "oifname {}{name}", not(negated)),
            Self::HasMark(bits) => write!(f, "meta mark & {bits:#x} == {bits:#x}"),
            Self::NewFlow => f.write_str("ct state new"),
            Self::DestinationTranslated => f.write_str("ct status dnat"),
            Self::ToLocal => f.write_str("fib daddr type local"),
            Self::FromLocal => f.write_str("fib saddr type local"),
            Self::In(fields, set) => write!(f, "{} @{set}", key(fields)),
            Self::VerdictOf(fields, map) => write!(f, "{} vmap @{map}", key(fields)),
            Self::Counter => f.write_str("counter"),
            Self::SetMark(bits) => write!(f, "meta mark set meta mark | {bits:#x}"),
            Self::ClearMark(bits) => write!(f, "meta mark set meta mark & ~{bits:#x}"),
            Self::Remember(fields, set) => write!(f, "update @{set} {{ {} }}", key(fields)),
            Self::Masquerade => f.write_str("masquerade fully-random"),
            Self::Dnat(endpoint) => write!(f, "dnat to {endpoint}"),
            Self::DnatFrom(fields, map) => write!(f, "dnat ip to {} map @{map}", key(fields)),
            Self::Reject => f.write_str("reject"),
            Self::Verdict(verdict) => write!(f, "{verdict}"),
        }
    }
}

/// A rule. Each method adds one statement behind the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// The statements in order.
    pub statements: Vec<Statement>,
}

impl Rule {
    /// A rule that holds for every packet and does nothing.
    pub fn new() -> Self {
        Self::default()
    }

    fn and(mut self, statement: Statement) -> Self {
        self.statements.push(statement);
        self
    }

    /// Only packets to this address.
    pub fn to(self, address: Ipv4Addr) -> Self {
        self.and(Statement::Is(Field::DestinationAddress, Value::Address(address), false))
    }

    /// Only packets of an IP protocol.
    pub fn protocol(self, proto: u8) -> Self {
        self.and(Statement::Is(Field::Protocol, Value::Proto(proto), false))
    }

    /// Only packets from this network.
    pub fn from_net(self, net: Ipv4Net) -> Self {
        self.and(Statement::Within(Field::SourceAddress, net, false))
    }

    /// Only packets from elsewhere than this network.
    pub fn not_from_net(self, net: Ipv4Net) -> Self {
        self.and(Statement::Within(Field::SourceAddress, net, true))
    }

    /// Only packets to this network.
    pub fn to_net(self, net: Ipv4Net) -> Self {
        self.and(Statement::Within(Field::DestinationAddress, net, false))
    }

    /// Only packets to elsewhere than this network.
    pub fn not_to_net(self, net: Ipv4Net) -> Self {
        self.and(Statement::Within(Field::DestinationAddress, net, true))
    }

    /// Only packets that come in by this link.
    pub fn in_by(self, link: &str) -> Self {
        self.and(Statement::InputLink(link.into(), false))
    }

    /// Only packets that do not come in by this link.
    pub fn not_in_by(self, link: &str) -> Self {
        self.and(Statement::InputLink(link.into(), true))
    }

    /// Only packets that go out by this link.
    pub fn out_by(self, link: &str) -> Self {
        self.and(Statement::OutputLink(link.into(), false))
    }

    /// Only packets that do not go out by this link.
    pub fn not_out_by(self, link: &str) -> Self {
        self.and(Statement::OutputLink(link.into(), true))
    }

    /// Only packets whose mark has these bits.
    pub fn has_mark(self, bits: u32) -> Self {
        self.and(Statement::HasMark(bits))
    }

    /// Only the first packet of a flow.
    pub fn new_flow(self) -> Self {
        self.and(Statement::NewFlow)
    }

    /// Only flows whose destination was translated.
    pub fn destination_translated(self) -> Self {
        self.and(Statement::DestinationTranslated)
    }

    /// Only packets to an address of this machine.
    pub fn to_local(self) -> Self {
        self.and(Statement::ToLocal)
    }

    /// Only packets from an address of this machine.
    pub fn from_local(self) -> Self {
        self.and(Statement::FromLocal)
    }

    /// Only packets whose key is in the set.
    pub fn key_in(self, key: &[Field], set: impl Into<Name>) -> Self {
        self.and(Statement::In(key.into(), set.into()))
    }

    /// The verdict that the map has for the key.
    pub fn verdict_of(self, key: &[Field], map: impl Into<Name>) -> Self {
        self.and(Statement::VerdictOf(key.into(), map.into()))
    }

    /// Counts.
    pub fn counter(self) -> Self {
        self.and(Statement::Counter)
    }

    /// Sets bits of the mark.
    pub fn set_mark(self, bits: u32) -> Self {
        self.and(Statement::SetMark(bits))
    }

    /// Takes bits off the mark.
    pub fn clear_mark(self, bits: u32) -> Self {
        self.and(Statement::ClearMark(bits))
    }

    /// Adds the key to a set, or starts its timeout again.
    pub fn remember(self, key: &[Field], set: impl Into<Name>) -> Self {
        self.and(Statement::Remember(key.into(), set.into()))
    }

    /// Masquerades.
    pub fn masquerade(self) -> Self {
        self.and(Statement::Masquerade)
    }

    /// Sends to an endpoint.
    pub fn dnat(self, endpoint: SocketAddrV4) -> Self {
        self.and(Statement::Dnat(endpoint))
    }

    /// Sends to the endpoint that the map has for the key.
    pub fn dnat_from(self, key: &[Field], map: impl Into<Name>) -> Self {
        self.and(Statement::DnatFrom(key.into(), map.into()))
    }

    /// Rejects.
    pub fn reject(self) -> Self {
        self.and(Statement::Reject)
    }

    /// Drops.
    pub fn discard(self) -> Self {
        self.and(Statement::Verdict(Verdict::Drop))
    }

    /// Accepts.
    pub fn accept(self) -> Self {
        self.and(Statement::Verdict(Verdict::Accept))
    }

    /// Back to the chain that jumped here.
    pub fn back(self) -> Self {
        self.and(Statement::Verdict(Verdict::Return))
    }

    /// Another chain, and back.
    pub fn jump(self, chain: impl Into<Name>) -> Self {
        self.and(Statement::Verdict(Verdict::Jump(chain.into())))
    }

    /// Another chain, for good.
    pub fn goto(self, chain: impl Into<Name>) -> Self {
        self.and(Statement::Verdict(Verdict::Goto(chain.into())))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, statement) in self.statements.iter().enumerate() {
            write!(f, "{}{statement}", if at == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}
