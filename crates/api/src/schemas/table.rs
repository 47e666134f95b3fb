//! Reads the text table of schemas into a [`Schemas`].

use std::collections::HashMap;

use apimachinery::GroupVersionKind;
use apimachinery::schema::{
    Builder, FieldSpec, Format, ListType, MapType, NodeId, PatchStrategy, SchemaError, SchemaSet, Shape, Spec,
};

use super::{Schemas, full_name};

/// Why a table cannot be read; only a damaged table can cause it.
#[derive(Debug, thiserror::Error)]
pub(super) enum TableError {
    /// A line says something this reader does not know.
    #[error("line {0}: {1:?} is not understood")]
    Word(usize, String),
    /// A field stands before any definition.
    #[error("line {0}: a field without a definition")]
    Stray(usize),
    /// A default is no JSON.
    #[error("line {0}: the default is no JSON")]
    Default(usize, #[source] serde_json::Error),
    /// The definitions do not fit together.
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

/// Definitions that hold any object, though they declare no field.
const FREE_FORM: &[&str] = &["runtime.RawExtension", "meta.v1.FieldsV1", "meta.v1.Patch"];

pub(super) fn read(text: &str) -> Result<Schemas, TableError> {
    let mut reader = Reader { builder: SchemaSet::builder(), kinds: HashMap::new(), open: None };
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#') && !line.is_empty()) {
        match line.strip_prefix(' ') {
            Some(field) => reader.field(number + 1, field)?,
            None => reader.definition(number + 1, line)?,
        }
    }
    reader.close();
    Ok(Schemas { set: reader.builder.build()?, kinds: reader.kinds })
}

struct Reader<'a> {
    builder: Builder,
    kinds: HashMap<GroupVersionKind, NodeId>,
    open: Option<(NodeId, MapType, Vec<FieldSpec<'a>>)>,
}

/// What may follow a type.
#[derive(Default)]
struct Attributes<'a> {
    list: ListType,
    keys: Vec<&'a str>,
    map: Option<MapType>,
    patch: PatchStrategy,
    merge_key: Option<&'a str>,
    default: Option<&'a str>,
    omit_zero: bool,
    always: bool,
}

impl<'a> Reader<'a> {
    fn close(&mut self) {
        if let Some((id, map_type, fields)) = self.open.take() {
            self.builder.define(id, Spec::Object { fields, map_type, open: false, embedded: false });
        }
    }

    fn definition(&mut self, number: usize, line: &'a str) -> Result<(), TableError> {
        self.close();
        let mut words = line.split(' ').peekable();
        let name = words.next().unwrap_or_default();
        let id = self.builder.declare(&full_name(name));
        if let Some(kind) = words.next_if(|word| word.starts_with("kind=")) {
            let (api_version, kind) = kind["kind=".len()..].rsplit_once('/').unwrap_or_default();
            self.kinds.insert(GroupVersionKind::from_api_version(api_version, kind), id);
        }
        let of_type = words.next_if(|word| !word.contains('='));
        let attributes = attributes(number, words)?;
        match of_type {
            None => self.open = Some((id, attributes.map.unwrap_or_default(), Vec::new())),
            Some("object") if !FREE_FORM.contains(&name) => self.open = Some((id, MapType::Granular, Vec::new())),
            Some("time") if name == "meta.v1.MicroTime" => {
                self.builder.define(id, Spec::Scalar(Shape::String, Format::MicroTime));
            }
            Some(word) => {
                let spec = self.spec(number, word, &attributes)?;
                self.builder.define(id, spec);
            }
        }
        Ok(())
    }

    fn field(&mut self, number: usize, line: &'a str) -> Result<(), TableError> {
        let mut words = line.split(' ');
        let name = words.next().unwrap_or_default();
        let word = words.next().unwrap_or_default();
        let attributes = attributes(number, words)?;
        let node = self.node(number, word, &attributes)?;
        let default = attributes
            .default
            .map(|text| serde_json::from_str(text).map_err(|err| TableError::Default(number, err)))
            .transpose()?;
        let field = FieldSpec {
            required: name.ends_with('!'),
            patch_strategy: attributes.patch,
            merge_key: attributes.merge_key,
            map_type: attributes.map.filter(|_| word.starts_with('@')),
            omit_zero: attributes.omit_zero,
            always: attributes.always,
            default,
            ..FieldSpec::new(name.trim_end_matches('!'), node)
        };
        let (.., fields) = self.open.as_mut().ok_or(TableError::Stray(number))?;
        fields.push(field);
        Ok(())
    }

    fn node(&mut self, number: usize, word: &str, attributes: &Attributes<'_>) -> Result<NodeId, TableError> {
        if let Some(name) = word.strip_prefix('@') {
            return Ok(self.builder.declare(&full_name(name)));
        }
        let spec = self.spec(number, word, attributes)?;
        Ok(self.builder.add(spec))
    }

    fn spec<'k>(&mut self, number: usize, word: &str, attributes: &'k Attributes<'k>) -> Result<Spec<'k>, TableError> {
        if let Some(inner) = word.strip_prefix("[]") {
            let items = self.node(number, inner, &Attributes::default())?;
            return Ok(Spec::List { items, list_type: attributes.list, keys: &attributes.keys });
        }
        if let Some(inner) = word.strip_prefix("{}") {
            let values = self.node(number, inner, &Attributes::default())?;
            return Ok(Spec::Map { values, map_type: attributes.map.unwrap_or_default() });
        }
        Ok(match word {
            "string" => Spec::Scalar(Shape::String, Format::None),
            "bytes" => Spec::Scalar(Shape::String, Format::Byte),
            "time" => Spec::Scalar(Shape::String, Format::DateTime),
            "quantity" => Spec::Scalar(Shape::String, Format::Quantity),
            "int32" => Spec::Scalar(Shape::Integer, Format::Int32),
            "int64" => Spec::Scalar(Shape::Integer, Format::Int64),
            "double" => Spec::Scalar(Shape::Number, Format::Double),
            "boolean" => Spec::Scalar(Shape::Boolean, Format::None),
            "int-or-string" => Spec::Scalar(Shape::IntOrString, Format::None),
            "any" | "object" => Spec::Any { granular: false },
            other => return Err(TableError::Word(number, other.to_owned())),
        })
    }
}

fn attributes<'a>(number: usize, words: impl Iterator<Item = &'a str>) -> Result<Attributes<'a>, TableError> {
    let unknown = |word: &str| TableError::Word(number, word.to_owned());
    let mut attributes = Attributes::default();
    for word in words {
        let (key, value) = word.split_once('=').ok_or_else(|| unknown(word))?;
        match key {
            "list" => {
                let (list, keys) = value.split_once(':').unwrap_or((value, ""));
                attributes.list = match list {
                    "atomic" => ListType::Atomic,
                    "set" => ListType::Set,
                    "map" => ListType::Map,
                    _ => return Err(unknown(word)),
                };
                attributes.keys = keys.split(',').filter(|key| !key.is_empty()).collect();
            }
            "map" => {
                attributes.map = Some(match value {
                    "atomic" => MapType::Atomic,
                    "granular" => MapType::Granular,
                    _ => return Err(unknown(word)),
                });
            }
            "patch" => attributes.patch = PatchStrategy::parse(value),
            "merge-key" => attributes.merge_key = Some(value),
            "default" => attributes.default = Some(value),
            "omit" => attributes.omit_zero = value == "zero",
            "zero" => attributes.always = value == "written",
            _ => return Err(unknown(word)),
        }
    }
    Ok(attributes)
}
