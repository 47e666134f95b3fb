//! The table of messages: read once, when the first body comes, into rows that both directions walk.

use std::collections::HashMap;
use std::sync::LazyLock;

/// How a field stands in its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    Single,
    Repeated,
    Map,
    Inline,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    String,
    Bytes,
    Bool,
    Int,
    Double,
    Message(MessageId),
}

/// A message's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageId(u16);

/// What a message is in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// An object.
    Struct,
    /// A list: its field 1.
    List,
    /// A point in time, to the second.
    Time,
    /// A point in time, to the microsecond.
    MicroTime,
    /// A span of time as Go writes it.
    Duration,
    /// A number or a text.
    IntOrString,
    /// A quantity.
    Quantity,
    /// Any JSON, kept as text in field 1.
    Raw,
    /// A boolean or a schema (`JSONSchemaPropsOrBool`).
    SchemaOrBool,
    /// A schema or a list: of schemas, or of strings (`JSONSchemaPropsOrArray`, `JSONSchemaPropsOrStringArray`).
    SchemaOrList,
}

/// Messages that are not what their fields say.
const FORMS: &[(&str, Form)] = &[
    ("meta.v1.Time", Form::Time),
    ("meta.v1.Timestamp", Form::Time),
    ("meta.v1.MicroTime", Form::MicroTime),
    ("meta.v1.Duration", Form::Duration),
    ("intstr.IntOrString", Form::IntOrString),
    ("resource.Quantity", Form::Quantity),
    ("runtime.RawExtension", Form::Raw),
    ("meta.v1.FieldsV1", Form::Raw),
    ("apiextensions.v1.JSON", Form::Raw),
    ("apiextensions.v1.JSONSchemaPropsOrBool", Form::SchemaOrBool),
    ("apiextensions.v1.JSONSchemaPropsOrArray", Form::SchemaOrList),
    ("apiextensions.v1.JSONSchemaPropsOrStringArray", Form::SchemaOrList),
];

/// One field of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) number: u32,
    pub(crate) name: &'static str,
    pub(crate) label: Label,
    pub(crate) kind: Kind,
}

/// A field by its JSON name, with the inlined messages that it lies in, outermost first; 0 is none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named {
    pub(crate) field: Field,
    pub(crate) within: [u32; 2],
}

/// One message.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) form: Form,
    /// By number.
    fields: Box<[Field]>,
    /// By JSON name, those of inlined messages among them.
    names: Box<[Named]>,
}

impl Message {
    /// The field of this number.
    pub(crate) fn field(&self, number: u32) -> Option<&Field> {
        self.fields.binary_search_by_key(&number, |field| field.number).ok().map(|at| &self.fields[at])
    }

    /// The field that JSON calls so.
    pub(crate) fn named(&self, name: &str) -> Option<&Named> {
        self.names.binary_search_by(|named| named.field.name.cmp(name)).ok().map(|at| &self.names[at])
    }
}

/// All messages.
#[derive(Debug, Default)]
struct Table {
    messages: Vec<Message>,
    ids: HashMap<&'static str, MessageId>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::read(include_str!("table.txt")));

/// The message at this place.
pub(crate) fn message(id: MessageId) -> &'static Message {
    &TABLE.messages[usize::from(id.0)]
}

/// The message of a kind.
pub(crate) fn message_of(api_version: &str, kind: &str) -> Option<&'static Message> {
    let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
    let group = group.split('.').next().unwrap_or_default();
    let id = TABLE.ids.get(format!("{group}.{version}.{kind}").as_str()).or_else(|| {
        // What all groups share travels under the version of the group that is talked to.
        let shared = matches!(kind, "Status" | "WatchEvent") || kind.ends_with("Options") || kind.starts_with("API");
        shared.then(|| TABLE.ids.get(format!("meta.v1.{kind}").as_str())).flatten()
    });
    id.map(|id| message(*id))
}

/// Whether a kind can travel as protobuf; custom resources cannot.
pub fn knows(api_version: &str, kind: &str) -> bool {
    message_of(api_version, kind).is_some()
}

impl Table {
    fn read(text: &'static str) -> Self {
        let mut blocks: Vec<(&str, bool, Vec<&str>)> =
            FORMS.iter().map(|(name, _)| (*name, false, Vec::new())).collect();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if line.starts_with(' ') {
                if let Some((.., fields)) = blocks.last_mut() {
                    fields.push(line);
                }
            } else {
                let (name, is_list) = line.strip_suffix(" list").map_or((line, false), |name| (name, true));
                blocks.push((name, is_list, Vec::new()));
            }
        }
        let mut table = Self::default();
        for (at, (name, ..)) in (0..).zip(&blocks) {
            // A form that has fields too comes twice; the later one has them.
            table.ids.insert(name, MessageId(at));
        }
        for (name, is_list, lines) in &blocks {
            let form = FORMS.iter().find(|(known, _)| known == name).map(|(_, form)| *form);
            let form = form.unwrap_or(if *is_list { Form::List } else { Form::Struct });
            let fields = lines.iter().filter_map(|line| table.field(line)).collect();
            table.messages.push(Message { form, fields, names: Box::default() });
        }
        for at in 0..table.messages.len() {
            let mut names = Vec::new();
            table.flatten(&table.messages[at], [0, 0], &mut names);
            names.sort_by_key(|named| named.field.name);
            table.messages[at].names = names.into();
        }
        table
    }

    fn field(&self, line: &'static str) -> Option<Field> {
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
            message => Kind::Message(*self.ids.get(message.strip_prefix('@')?)?),
        };
        Some(Field { number, name, label, kind })
    }

    fn flatten(&self, message: &Message, within: [u32; 2], names: &mut Vec<Named>) {
        for field in &message.fields {
            match (field.label, field.kind, within) {
                (Label::Inline, Kind::Message(inner), [0, _]) => {
                    self.flatten(&self.messages[usize::from(inner.0)], [field.number, 0], names);
                }
                (Label::Inline, Kind::Message(inner), [outer, 0]) => {
                    self.flatten(&self.messages[usize::from(inner.0)], [outer, field.number], names);
                }
                _ => names.push(Named { field: *field, within }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read() {
        let lines = include_str!("table.txt").lines().filter(|line| line.starts_with(' ')).count();
        let read: usize = TABLE.messages.iter().map(|message| message.fields.len()).sum();
        assert_eq!(read, lines);
        for message in &TABLE.messages {
            assert!(message.fields.is_sorted_by_key(|field| field.number));
            assert!(message.names.iter().all(|named| named.field.label != Label::Inline), "inlined at most twice");
            assert!(message.names.windows(2).all(|pair| pair[0].field.name != pair[1].field.name));
        }
    }

    #[test]
    fn every_kind_of_the_catalogue_and_its_list_is_known() {
        for row in api::RESOURCES.iter() {
            let api_version = row.gvk.api_version();
            assert!(knows(&api_version, &row.gvk.kind), "{api_version} {}", row.gvk.kind);
            let list = format!("{}List", row.gvk.kind);
            assert!(!row.verbs.has("list") || knows(&api_version, &list), "{api_version} {list}");
            for special in &row.subresources.special {
                assert!(knows(&special.body.api_version(), &special.body.kind), "{special:?}");
            }
        }
    }

    #[test]
    fn what_groups_share_is_known_in_each() {
        assert!(knows("apps/v1", "DeleteOptions") && knows("v1", "Status") && knows("meta.k8s.io/v1", "Status"));
        assert!(knows("meta.k8s.io/v1", "PartialObjectMetadataList"));
        assert!(!knows("example.com/v1", "Widget") && !knows("apps/v1", "Pod"));
    }
}
