//! The table of messages, read when the first body comes.

use std::collections::HashMap;
use std::sync::LazyLock;

use api::schemas::{SCHEMAS, short_name};
use apimachinery::GroupVersionKind;

/// How a field stands in its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    Single,
    Repeated,
    Map,
    Inline,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    String,
    Bytes,
    Bool,
    Int,
    Double,
    Message(&'static str),
}

/// One field of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    number: u32,
    pub(super) name: &'static str,
    pub(super) label: Label,
    pub(super) kind: Kind,
}

/// One message: its fields in order of their numbers.
#[derive(Clone, Debug)]
pub(super) struct Message {
    fields: Vec<Field>,
    is_list: bool,
}

impl Message {
    pub(super) fn field(&self, number: u32) -> Option<&Field> {
        self.fields.iter().find(|field| field.number == number)
    }

    /// Whether the message is a named list type, whose only field is `items`.
    pub(super) fn is_list(&self) -> bool {
        self.is_list
    }
}

/// The lines of each message; they are taken apart when the message comes.
static LINES: LazyLock<HashMap<&'static str, (bool, &'static str)>> = LazyLock::new(|| {
    let text = include_str!("table.txt");
    let mut messages = HashMap::new();
    let mut starts: Vec<usize> = text
        .match_indices('\n')
        .map(|(at, _)| at + 1)
        .filter(|at| text[*at..].starts_with(|first: char| first.is_ascii_alphabetic()))
        .collect();
    starts.push(text.len());
    for span in starts.windows(2) {
        let block = &text[span[0]..span[1]];
        let (name, fields) = block.split_once('\n').unwrap_or((block, ""));
        let (name, is_list) = name.strip_suffix(" list").map_or((name, false), |name| (name, true));
        messages.insert(name, (is_list, fields));
    }
    messages
});

/// The message of this short name.
pub(super) fn message(name: &str) -> Option<Message> {
    let (is_list, lines) = LINES.get(name)?;
    Some(Message { fields: lines.lines().filter_map(field).collect(), is_list: *is_list })
}

/// The message of a kind.
pub(super) fn message_of(api_version: &str, kind: &str) -> Option<Message> {
    let gvk = GroupVersionKind::from_api_version(api_version, kind);
    let node = SCHEMAS.of(&gvk);
    let full = node.and_then(|node| SCHEMAS.set.node(node).name).map(|name| SCHEMAS.set.text(name));
    full.and_then(|full| message(&short_name(full))).or_else(|| {
        // Options travel under the version of the group they are sent to.
        let is_options =
            matches!(kind, "DeleteOptions" | "CreateOptions" | "UpdateOptions" | "PatchOptions" | "ListOptions");
        is_options.then(|| message(&format!("meta.v1.{kind}"))).flatten()
    })
}

fn field(line: &'static str) -> Option<Field> {
    let mut words = line.split_whitespace();
    let (number, name, kind) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
    let (label, kind) = match (kind.strip_prefix("[]"), kind.strip_prefix("{}")) {
        (Some(kind), _) => (Label::Repeated, kind),
        (_, Some(kind)) => (Label::Map, kind),
        _ if words.next() == Some("inline") => (Label::Inline, kind),
        _ => (Label::Single, kind),
    };
    let kind = match kind {
        "string" => Kind::String,
        "bytes" => Kind::Bytes,
        "bool" => Kind::Bool,
        "double" => Kind::Double,
        "int32" | "int64" | "uint32" | "uint64" => Kind::Int,
        message => Kind::Message(message.strip_prefix('@')?),
    };
    Some(Field { number, name, label, kind })
}

/// Checks that every line is read and every message it names is there.
#[cfg(test)]
pub(super) fn check() {
    const SCALARS: [&str; 8] = [
        "meta.v1.Time",
        "meta.v1.Timestamp",
        "meta.v1.MicroTime",
        "meta.v1.Duration",
        "intstr.IntOrString",
        "resource.Quantity",
        "runtime.RawExtension",
        "meta.v1.FieldsV1",
    ];
    for (name, (_, lines)) in LINES.iter() {
        let read = message(name).expect("it is there");
        assert_eq!(read.fields.len(), lines.lines().filter(|line| !line.is_empty()).count(), "{name}");
        for field in &read.fields {
            if let Kind::Message(inner) = field.kind {
                let alpha = inner.contains("alpha");
                assert!(
                    LINES.contains_key(inner) || SCALARS.contains(&inner) || alpha,
                    "{name}.{}: {inner}",
                    field.name
                );
            }
        }
    }
}
