//! nftables: what a table consists of, as data; how it reads; how it goes to the kernel.
//!
//! A [`Command`] list is one transaction: the kernel takes all of it or nothing, and packets see the state before or
//! after, never between. `Display` writes what the `nft` program would take.

mod encode;
mod rule;
mod table;
mod value;

use crate::message::Batch;
use crate::socket::{Error, Refusal, Socket};

pub use rule::{Field, Rule, Statement};
pub use table::{Chain, Hook, HookKind, Set, SetKind, Table, TableId};
pub use value::{Datum, Kind, Tuple, Value, Verdict, proto};

use std::fmt;
use std::sync::Arc;

/// A name of a chain, set or map.
pub type Name = Arc<str>;

/// One step of a transaction on one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The table, if it is not there.
    AddTable,
    /// The table with everything in it.
    DeleteTable,
    /// An empty chain.
    AddChain(Name, Option<Hook>),
    /// Every rule of a chain gone.
    FlushChain(Name),
    /// A chain gone, which no verdict may name any more.
    DeleteChain(Name),
    /// A rule at the end of a chain.
    AddRule(Name, Rule),
    /// An empty set or map.
    AddSet(Name, Set),
    /// A set gone, which no rule may name any more.
    DeleteSet(Name),
    /// An element of a set, or of a map with what it maps to.
    AddElement(Name, Tuple, Option<Datum>),
    /// An element gone.
    DeleteElement(Name, Tuple),
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddTable => write!(f, "add table"),
            Self::DeleteTable => write!(f, "delete table"),
            Self::AddChain(name, None) => write!(f, "add chain {name}"),
            Self::AddChain(name, Some(hook)) => write!(f, "add chain {name} {{ {hook} }}"),
            Self::FlushChain(name) => write!(f, "flush chain {name}"),
            Self::DeleteChain(name) => write!(f, "delete chain {name}"),
            Self::AddRule(chain, rule) => write!(f, "add rule {chain} {rule}"),
            Self::AddSet(name, set) => write!(f, "add {set} as {name}"),
            Self::DeleteSet(name) => write!(f, "delete set {name}"),
            Self::AddElement(set, key, None) => write!(f, "add element {set} {{ {key} }}"),
            Self::AddElement(set, key, Some(datum)) => write!(f, "add element {set} {{ {key} : {datum} }}"),
            Self::DeleteElement(set, key) => write!(f, "delete element {set} {{ {key} }}"),
        }
    }
}

/// Applies the commands to a table as one transaction.
pub fn apply(socket: &mut Socket, table: &TableId, commands: &[Command]) -> Result<(), Error> {
    if commands.is_empty() {
        return Ok(());
    }
    let mut batch = Batch::new();
    let encoded = encode::transaction(&mut batch, table, commands);
    match socket.transact(&batch, encoded.last)?.into_iter().next() {
        None => Ok(()),
        Some(Refusal { sequence, err, detail }) => {
            let command = encoded.first_command(sequence).and_then(|at| commands.get(at));
            let what = command.map_or_else(|| format!("commit to table {table}"), |command| command.to_string());
            Err(Error::Refused { what, detail, err })
        }
    }
}

/// Deletes the table, if it is there.
pub fn delete_table(socket: &mut Socket, table: &TableId) -> Result<(), Error> {
    apply(socket, table, &[Command::AddTable, Command::DeleteTable])
}
