//! Tables, chains and sets as data.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::{Command, Kind, Name, Rule};

/// Which table: always of family `ip`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableId(pub Name);

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ip {}", self.0)
    }
}

/// Where a base chain sees packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookKind {
    /// Before routing.
    Prerouting,
    /// To this machine.
    Input,
    /// Through this machine.
    Forward,
    /// From this machine.
    Output,
    /// Behind routing.
    Postrouting,
}

/// A base chain's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Whether it translates addresses (only a flow's first packet is seen) or filters.
    pub is_nat: bool,
    /// The hook.
    pub at: HookKind,
    /// Its order among the chains of the hook.
    pub priority: i32,
}

impl Hook {
    /// A chain that translates addresses.
    pub fn nat(at: HookKind, priority: i32) -> Self {
        Self { is_nat: true, at, priority }
    }

    /// A chain that filters.
    pub fn filter(at: HookKind, priority: i32) -> Self {
        Self { is_nat: false, at, priority }
    }

    pub(super) fn number(self) -> u32 {
        match self.at {
            HookKind::Prerouting => 0,
            HookKind::Input => 1,
            HookKind::Forward => 2,
            HookKind::Output => 3,
            HookKind::Postrouting => 4,
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_nat { "nat" } else { "filter" };
        let at = match self.at {
            HookKind::Prerouting => "prerouting",
            HookKind::Input => "input",
            HookKind::Forward => "forward",
            HookKind::Output => "output",
            HookKind::Postrouting => "postrouting",
        };
        write!(f, "type {kind} hook {at} priority {};", self.priority)
    }
}

/// A chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Its place, of a base chain.
    pub hook: Option<Hook>,
    /// Its rules in order.
    pub rules: Vec<Rule>,
}

/// What a set holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetKind {
    /// Keys alone.
    Set,
    /// Keys that lead to verdicts.
    VerdictMap,
    /// Keys that lead to values.
    Map(Vec<Kind>),
    /// Keys that rules add and that go after a time without use.
    Recent(Duration),
}

/// A set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// The parts of a key.
    pub key: Vec<Kind>,
    /// What it holds.
    pub kind: SetKind,
}

fn concatenation(kinds: &[Kind]) -> String {
    kinds.iter().map(Kind::to_string).collect::<Vec<_>>().join(" . ")
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = concatenation(&self.key);
        match &self.kind {
            SetKind::Set => write!(f, "set {{ {key} }}"),
            SetKind::VerdictMap => write!(f, "map {{ {key} : verdict }}"),
            SetKind::Map(data) => write!(f, "map {{ {key} : {} }}", concatenation(data)),
            SetKind::Recent(timeout) => write!(f, "set {{ {key} timeout {}s }}", timeout.as_secs()),
        }
    }
}

/// The chains and sets of a table; the elements of its sets are kept by whoever fills them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Chains by name.
    pub chains: BTreeMap<Name, Chain>,
    /// Sets by name.
    pub sets: BTreeMap<Name, Set>,
}

impl Table {
    /// The commands that make all of this in an empty table: sets, chains, and then the rules that name them.
    pub fn create(&self) -> Vec<Command> {
        let sets = self.sets.iter().map(|(name, set)| Command::AddSet(name.clone(), set.clone()));
        let chains = self.chains.iter().map(|(name, chain)| Command::AddChain(name.clone(), chain.hook));
        let rules = self
            .chains
            .iter()
            .flat_map(|(name, chain)| chain.rules.iter().map(move |rule| Command::AddRule(name.clone(), rule.clone())));
        sets.chain(chains).chain(rules).collect()
    }
}
