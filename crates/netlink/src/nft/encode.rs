//! Commands as netlink messages (`linux/netfilter/nf_tables.h`).

use crate::message::{self, Batch, Body};

use super::{Command, Datum, Field, Hook, Kind, Rule, Set, SetKind, Statement, TableId, Tuple, Verdict};

const SUBSYSTEM: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const NEW_TABLE: u16 = SUBSYSTEM;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const DELETE_CHAIN: u16 = SUBSYSTEM | 5;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const DELETE_RULE: u16 = SUBSYSTEM | 8;
const NEW_SET: u16 = SUBSYSTEM | 9;
const DELETE_SET: u16 = SUBSYSTEM | 11;
const NEW_ELEMENT: u16 = SUBSYSTEM | 12;
const DELETE_ELEMENT: u16 = SUBSYSTEM | 14;

/// `struct nfgenmsg`: family `ip`.
const IP_HEADER: [u8; 4] = [libc::AF_INET as u8, 0, 0, 0];
/// `struct nfgenmsg` around a batch: the subsystem in network byte order.
const BATCH_HEADER: [u8; 4] = [0, 0, 0, 10];
/// An element takes up to 100 bytes, and the list's length has 16 bits.
const ELEMENTS_A_MESSAGE: usize = 500;

const LIST_ELEMENT: u16 = 1;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_TYPE: u32 = 0xffff_ff00;
const REGISTER_VERDICT: u32 = 0;
const REGISTER_1: u32 = 1;
/// The first of the four-byte registers, which shares its bytes with [`REGISTER_1`].
const REGISTER_32: u32 = 8;
const SET_MAP: u32 = 0x8;
const SET_TIMEOUT: u32 = 0x10;
const SET_EVAL: u32 = 0x20;
const CONCAT_BITS: u32 = 6;
/// libnftnl's user data: key byte order (type 0, four bytes) is the machine's.
const HOST_ENDIAN_KEY: [u8; 6] = [0, 4, 1, 0, 0, 0];

/// What a transaction became.
pub(super) struct Encoded {
    /// The message whose acknowledgement ends it.
    pub(super) last: u32,
    /// The first command of each message behind the opening one.
    commands: Vec<usize>,
}

impl Encoded {
    /// The first command that the message of a sequence number carries.
    pub(super) fn first_command(&self, sequence: u32) -> Option<usize> {
        self.commands.get((sequence as usize).checked_sub(2)?).copied()
    }
}

/// Writes the commands as one transaction. Runs of elements of one set share messages.
pub(super) fn transaction(batch: &mut Batch, table: &TableId, commands: &[Command]) -> Encoded {
    batch.message(BATCH_BEGIN, 0, |body| body.raw(&BATCH_HEADER));
    let mut firsts = Vec::new();
    let mut last = batch.last();
    let mut at = 0;
    while at < commands.len() {
        let run = run_of_elements(&commands[at..]).max(1);
        // Only the last message is to be acknowledged: its answer comes once the whole batch is in force.
        let ack = if at + run == commands.len() { message::ACK } else { 0 };
        firsts.push(at);
        last = command(batch, &table.0, &commands[at..at + run], ack);
        at += run;
    }
    batch.message(BATCH_END, 0, |body| body.raw(&BATCH_HEADER));
    Encoded { last, commands: firsts }
}

fn run_of_elements(commands: &[Command]) -> usize {
    let same = |command: &&Command| match (&commands[0], *command) {
        (Command::AddElement(set, ..), Command::AddElement(other, ..)) => set == other,
        (Command::DeleteElement(set, _), Command::DeleteElement(other, _)) => set == other,
        _ => false,
    };
    commands.iter().take(ELEMENTS_A_MESSAGE).take_while(same).count()
}

fn command(batch: &mut Batch, table: &str, run: &[Command], ack: u16) -> u32 {
    let create = message::CREATE | ack;
    let mut send = |kind, flags, write: &dyn Fn(&mut Body)| {
        batch.message(kind, flags, |body| {
            body.raw(&IP_HEADER);
            body.text(1, table);
            write(body);
        })
    };
    match &run[0] {
        Command::AddTable => send(NEW_TABLE, create, &|_| {}),
        Command::DeleteTable => send(DELETE_TABLE, ack, &|_| {}),
        Command::AddChain(name, hook) => send(NEW_CHAIN, create, &|body| chain(body, name, *hook)),
        Command::FlushChain(name) => send(DELETE_RULE, ack, &|body| body.text(2, name)),
        Command::DeleteChain(name) => send(DELETE_CHAIN, ack, &|body| body.text(3, name)),
        Command::AddRule(name, rule) => send(NEW_RULE, create | message::APPEND, &|body| {
            body.text(2, name);
            body.nest(4, |body| expressions(body, rule));
        }),
        Command::AddSet(name, kind) => send(NEW_SET, create, &|body| set(body, name, kind)),
        Command::DeleteSet(name) => send(DELETE_SET, ack, &|body| body.text(2, name)),
        Command::AddElement(name, ..) => send(NEW_ELEMENT, create, &|body| elements(body, name, run)),
        Command::DeleteElement(name, _) => send(DELETE_ELEMENT, ack, &|body| elements(body, name, run)),
    }
}

fn chain(body: &mut Body, name: &str, hook: Option<Hook>) {
    body.text(3, name);
    if let Some(hook) = hook {
        body.nest(4, |body| {
            body.be32(1, hook.number());
            body.be32(2, hook.priority as u32);
        });
        body.text(7, if hook.is_nat { "nat" } else { "filter" });
    }
}

fn set(body: &mut Body, name: &str, set: &Set) {
    let flags = match set.kind {
        SetKind::Set => 0,
        SetKind::VerdictMap | SetKind::Map(_) => SET_MAP,
        SetKind::Recent(_) => SET_TIMEOUT | SET_EVAL,
    };
    body.text(2, name);
    body.be32(3, flags);
    body.be32(4, type_of(&set.key));
    body.be32(5, length_of(&set.key));
    match &set.kind {
        SetKind::Set => {}
        SetKind::VerdictMap => body.be32(6, VERDICT_TYPE),
        SetKind::Map(data) => {
            body.be32(6, type_of(data));
            body.be32(7, length_of(data));
        }
        SetKind::Recent(timeout) => body.be64(11, timeout.as_millis() as u64),
    }
    if set.key == [Kind::Mark] {
        // For whoever lists the rules: without it nft shows numbers of one word in the wrong byte order.
        body.put(13, &HOST_ENDIAN_KEY);
    }
    // NFTA_SET_ID, which the kernel wants of a set although we name it everywhere.
    body.be32(10, 1);
}

fn type_of(kinds: &[Kind]) -> u32 {
    kinds.iter().fold(0, |all, kind| all << CONCAT_BITS | kind.number())
}

fn length_of(kinds: &[Kind]) -> u32 {
    match kinds {
        [only] => only.bytes() as u32,
        several => 4 * several.len() as u32,
    }
}

fn elements(body: &mut Body, set: &str, run: &[Command]) {
    body.text(2, set);
    body.nest(3, |body| {
        for command in run {
            let (key, datum) = match command {
                Command::AddElement(_, key, datum) => (key, datum.as_ref()),
                Command::DeleteElement(_, key) => (key, None),
                _ => continue,
            };
            body.nest(LIST_ELEMENT, |body| {
                body.nest(1, |body| tuple(body, key));
                match datum {
                    None => {}
                    Some(Datum::Values(values)) => body.nest(2, |body| tuple(body, values)),
                    Some(Datum::Verdict(chosen)) => body.nest(2, |body| verdict(body, chosen)),
                }
            });
        }
    });
}

fn tuple(body: &mut Body, tuple: &Tuple) {
    let (bytes, length) = tuple.bytes();
    body.put(DATA_VALUE, &bytes[..length]);
}

fn verdict(body: &mut Body, verdict: &Verdict) {
    let (code, chain) = match verdict {
        Verdict::Drop => (0, None),
        Verdict::Accept => (1, None),
        Verdict::Return => (-5, None),
        Verdict::Jump(chain) => (-3, Some(chain)),
        Verdict::Goto(chain) => (-4, Some(chain)),
    };
    body.nest(DATA_VERDICT, |body| {
        body.be32(1, code as u32);
        if let Some(chain) = chain {
            body.text(2, chain);
        }
    });
}

fn expressions(body: &mut Body, rule: &Rule) {
    rule.statements.iter().for_each(|one| statement(body, one));
}

fn expression(body: &mut Body, name: &str, write: impl FnOnce(&mut Body)) {
    body.nest(LIST_ELEMENT, |body| {
        body.text(1, name);
        body.nest(2, write);
    });
}

fn statement(body: &mut Body, statement: &Statement) {
    match statement {
        Statement::Is(field, value, negated) => {
            load(body, *field, REGISTER_1);
            compare(body, &value.word()[..value.kind().bytes()], *negated);
        }
        Statement::Within(field, net, negated) => {
            load(body, *field, REGISTER_1);
            mask(body, net.netmask().octets(), [0; 4]);
            compare(body, &net.network().octets(), *negated);
        }
        Statement::InputLink(name, negated) => link_name(body, 6, name, *negated),
        Statement::OutputLink(name, negated) => link_name(body, 7, name, *negated),
        Statement::HasMark(bits) => {
            load(body, Field::Mark, REGISTER_1);
            has_bits(body, *bits);
        }
        Statement::NewFlow => conntrack(body, 0, 0x8),
        Statement::DestinationTranslated => conntrack(body, 2, 0x20),
        Statement::ToLocal => is_local(body, 0x2),
        Statement::FromLocal => is_local(body, 0x1),
        Statement::In(fields, set) => {
            load_key(body, fields);
            lookup(body, set, None);
        }
        Statement::VerdictOf(fields, map) => {
            load_key(body, fields);
            lookup(body, map, Some(REGISTER_VERDICT));
        }
        Statement::Counter => expression(body, "counter", |body| {
            body.be64(1, 0);
            body.be64(2, 0);
        }),
        Statement::SetMark(bits) => change_mark(body, !*bits, *bits),
        Statement::ClearMark(bits) => change_mark(body, !*bits, 0),
        Statement::Remember(fields, set) => {
            load_key(body, fields);
            expression(body, "dynset", |body| {
                body.text(1, set);
                body.be32(3, 1);
                body.be32(4, REGISTER_1);
            });
        }
        Statement::Masquerade => expression(body, "masq", |body| body.be32(1, 0x10)),
        Statement::Dnat(endpoint) => {
            immediate(body, REGISTER_32, &endpoint.ip().octets());
            immediate(body, REGISTER_32 + 1, &endpoint.port().to_be_bytes());
            dnat(body);
        }
        Statement::DnatFrom(fields, map) => {
            load_key(body, fields);
            lookup(body, map, Some(REGISTER_1));
            dnat(body);
        }
        Statement::Reject => expression(body, "reject", |body| {
            body.be32(1, 0);
            body.u8(2, 3);
        }),
        Statement::Verdict(chosen) => expression(body, "immediate", |body| {
            body.be32(1, REGISTER_VERDICT);
            body.nest(2, |body| verdict(body, chosen));
        }),
    }
}

/// A key's fields side by side, four bytes each, from the first register on.
fn load_key(body: &mut Body, fields: &[Field]) {
    for (at, field) in (0..).zip(fields) {
        load(body, *field, REGISTER_32 + at);
    }
}

fn load(body: &mut Body, field: Field, register: u32) {
    const NETWORK: u32 = 1;
    const TRANSPORT: u32 = 2;
    let payload = |body: &mut Body, base, offset, length| {
        expression(body, "payload", |body| {
            body.be32(1, register);
            body.be32(2, base);
            body.be32(3, offset);
            body.be32(4, length);
        });
    };
    match field {
        Field::SourceAddress => payload(body, NETWORK, 12, 4),
        Field::DestinationAddress => payload(body, NETWORK, 16, 4),
        Field::DestinationPort => payload(body, TRANSPORT, 2, 2),
        Field::Protocol => meta(body, 16, register),
        Field::Mark => meta(body, 3, register),
        Field::Random(modulus) => expression(body, "numgen", |body| {
            body.be32(1, register);
            body.be32(2, modulus);
            body.be32(3, 1);
            body.be32(4, 0);
        }),
    }
}

fn meta(body: &mut Body, key: u32, register: u32) {
    expression(body, "meta", |body| {
        body.be32(1, register);
        body.be32(2, key);
    });
}

fn compare(body: &mut Body, value: &[u8], negated: bool) {
    expression(body, "cmp", |body| {
        body.be32(1, REGISTER_1);
        body.be32(2, negated.into());
        body.nest(3, |body| body.put(DATA_VALUE, value));
    });
}

/// Register 1 becomes `(register 1 & keep) ^ flip`.
fn mask(body: &mut Body, keep: [u8; 4], flip: [u8; 4]) {
    expression(body, "bitwise", |body| {
        body.be32(1, REGISTER_1);
        body.be32(2, REGISTER_1);
        body.be32(3, 4);
        body.nest(4, |body| body.put(DATA_VALUE, &keep));
        body.nest(5, |body| body.put(DATA_VALUE, &flip));
    });
}

fn has_bits(body: &mut Body, bits: u32) {
    mask(body, bits.to_ne_bytes(), [0; 4]);
    compare(body, &[0; 4], true);
}

fn link_name(body: &mut Body, key: u32, name: &str, negated: bool) {
    let mut padded = [0; 16];
    let length = name.len().min(padded.len() - 1);
    padded[..length].copy_from_slice(&name.as_bytes()[..length]);
    meta(body, key, REGISTER_1);
    compare(body, &padded, negated);
}

fn conntrack(body: &mut Body, key: u32, bits: u32) {
    expression(body, "ct", |body| {
        body.be32(1, REGISTER_1);
        body.be32(2, key);
    });
    has_bits(body, bits);
}

fn is_local(body: &mut Body, side: u32) {
    const ADDRESS_TYPE: u32 = 3;
    const LOCAL: u32 = 2;
    expression(body, "fib", |body| {
        body.be32(1, REGISTER_1);
        body.be32(2, ADDRESS_TYPE);
        body.be32(3, side);
    });
    compare(body, &LOCAL.to_ne_bytes(), false);
}

fn lookup(body: &mut Body, set: &str, destination: Option<u32>) {
    expression(body, "lookup", |body| {
        body.text(1, set);
        body.be32(2, REGISTER_1);
        if let Some(register) = destination {
            body.be32(3, register);
        }
    });
}

fn change_mark(body: &mut Body, keep: u32, flip: u32) {
    load(body, Field::Mark, REGISTER_1);
    mask(body, keep.to_ne_bytes(), flip.to_ne_bytes());
    expression(body, "meta", |body| {
        body.be32(2, 3);
        body.be32(3, REGISTER_1);
    });
}

fn immediate(body: &mut Body, register: u32, value: &[u8]) {
    expression(body, "immediate", |body| {
        body.be32(1, register);
        body.nest(2, |body| body.put(DATA_VALUE, value));
    });
}

/// Address and port are in the first two of the four-byte registers.
fn dnat(body: &mut Body) {
    expression(body, "nat", |body| {
        body.be32(1, 1);
        body.be32(2, libc::AF_INET as u32);
        body.be32(3, REGISTER_32);
        body.be32(5, REGISTER_32 + 1);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns;
    use crate::nft::{self, Chain, HookKind, Table, Value, proto};
    use crate::socket::Socket;
    use std::io;
    use std::net::{Ipv4Addr, SocketAddrV4};
    use std::time::Duration;

    fn everything() -> Table {
        let mut table = Table::default();
        let set = |key: &[Kind], kind| Set { key: key.to_vec(), kind };
        let service = [Kind::Address, Kind::Proto, Kind::Port];
        let endpoint = [Kind::Address, Kind::Port];
        table.sets.insert("addresses".into(), set(&[Kind::Address], SetKind::Set));
        table.sets.insert("services".into(), set(&service, SetKind::VerdictMap));
        let indexed = [Kind::Address, Kind::Proto, Kind::Port, Kind::Mark];
        table.sets.insert("endpoints".into(), set(&indexed, SetKind::Map(endpoint.to_vec())));
        table.sets.insert("recent".into(), set(&[Kind::Address], SetKind::Recent(Duration::from_secs(60))));
        table.chains.insert(
            "lb-2".into(),
            Chain {
                hook: None,
                rules: vec![Rule::new().dnat_from(
                    &[Field::DestinationAddress, Field::Protocol, Field::DestinationPort, Field::Random(2)],
                    "endpoints",
                )],
            },
        );
        let net = "10.0.0.0/8".parse().expect("a network");
        table.chains.insert(
            "all".into(),
            Chain {
                hook: None,
                rules: vec![
                    Rule::new().from_net(net).not_to_net(net).counter().set_mark(0x4000).back(),
                    Rule::new().to_net(net).not_from_net(net).has_mark(0x4000).clear_mark(0x4000).accept(),
                    Rule::new().to(Ipv4Addr::LOCALHOST).protocol(proto::UDP).discard(),
                    Rule::new().in_by("a").not_in_by("b").out_by("c").not_out_by("d").reject(),
                    Rule::new().new_flow().destination_translated().to_local().from_local().jump("lb-2"),
                    Rule::new().key_in(&[Field::SourceAddress], "addresses").goto("lb-2"),
                    Rule::new()
                        .remember(&[Field::SourceAddress], "recent")
                        .dnat(SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 80)),
                ],
            },
        );
        table.chains.insert(
            "prerouting".into(),
            Chain {
                hook: Some(Hook::nat(HookKind::Prerouting, -100)),
                rules: vec![
                    Rule::new()
                        .verdict_of(&[Field::DestinationAddress, Field::Protocol, Field::DestinationPort], "services"),
                    Rule::new().jump("all"),
                ],
            },
        );
        table.chains.insert(
            "postrouting".into(),
            Chain { hook: Some(Hook::nat(HookKind::Postrouting, 100)), rules: vec![Rule::new().masquerade()] },
        );
        table
    }

    #[test]
    fn the_kernel_takes_every_statement_and_a_bad_one_is_named() -> io::Result<()> {
        netns::run_in_new(|| {
            let run = || -> Result<(), crate::Error> {
                let mut socket = Socket::netfilter()?;
                let table = TableId("test".into());
                let mut commands = vec![Command::AddTable];
                commands.extend(everything().create());
                let key = Tuple::of([Value::Address(Ipv4Addr::LOCALHOST), Value::Proto(6), Value::Port(80)]);
                let datum = Datum::Verdict(Verdict::Goto("lb-2".into()));
                commands.push(Command::AddElement("services".into(), key, Some(datum)));
                for at in 0..1200 {
                    let key = Tuple::of([
                        Value::Address(Ipv4Addr::LOCALHOST),
                        Value::Proto(6),
                        Value::Port(80),
                        Value::Mark(at),
                    ]);
                    let endpoint = Tuple::endpoint(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8080));
                    commands.push(Command::AddElement("endpoints".into(), key, Some(Datum::Values(endpoint))));
                }
                nft::apply(&mut socket, &table, &commands)?;

                // The same element, deleted and added in one transaction.
                let reject = Datum::Verdict(Verdict::Drop);
                let replace = [
                    Command::DeleteElement("services".into(), key),
                    Command::AddElement("services".into(), key, Some(reject)),
                ];
                nft::apply(&mut socket, &table, &replace)?;

                let missing = Tuple::of([Value::Address(Ipv4Addr::BROADCAST)]);
                let bad = [Command::FlushChain("all".into()), Command::DeleteElement("addresses".into(), missing)];
                let err = nft::apply(&mut socket, &table, &bad).expect_err("there is no such element");
                assert_eq!(err.errno(), Some(libc::ENOENT));
                assert!(err.to_string().starts_with("delete element addresses { 255.255.255.255 }"), "{err}");

                nft::delete_table(&mut socket, &table)?;
                nft::delete_table(&mut socket, &table)
            };
            run().map_err(io::Error::other)
        })
    }
}
