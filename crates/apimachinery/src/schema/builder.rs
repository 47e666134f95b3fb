//! [`Builder`]: fills a [`SchemaSet`], sharing equal nodes and texts.

use std::collections::HashMap;

use serde_json::Value;

use super::{Field, Fields, Format, Keys, ListType, MapType, Node, NodeId, PatchStrategy, SchemaSet, Shape, Symbol};

/// Why a set cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// A declared definition was never given a body.
    #[error("schema {0:?} is referred to and not defined")]
    Undefined(String),
    /// An object has more fields than a row can hold.
    #[error("an object of {0} fields is larger than a schema can hold")]
    TooManyFields(usize),
}

/// What a new node shall be.
#[derive(Clone, Debug)]
pub enum Spec<'a> {
    /// [`Shape::Any`].
    Any {
        /// Whether apply looks inside.
        granular: bool,
    },
    /// One of the scalar shapes.
    Scalar(Shape, Format),
    /// [`Shape::List`].
    List {
        /// The schema of the items.
        items: NodeId,
        /// How items are told apart.
        list_type: ListType,
        /// The key fields of a list map.
        keys: &'a [&'a str],
    },
    /// [`Shape::Map`].
    Map {
        /// The schema of the values.
        values: NodeId,
        /// Whether entries have owners of their own.
        map_type: MapType,
    },
    /// [`Shape::Object`].
    Object {
        /// The fields, in any order.
        fields: Vec<FieldSpec<'a>>,
        /// Whether fields have owners of their own.
        map_type: MapType,
        /// Whether undeclared fields are kept.
        open: bool,
        /// Whether the value is a whole object.
        embedded: bool,
    },
}

/// What a new field shall be.
#[derive(Clone, Debug)]
pub struct FieldSpec<'a> {
    /// The JSON name.
    pub name: &'a str,
    /// The schema of the value.
    pub node: NodeId,
    /// Whether the field must be there.
    pub required: bool,
    /// See [`Field::omit_zero`].
    pub omit_zero: bool,
    /// See [`Field::always`].
    pub always: bool,
    /// How strategic merge treats the value.
    pub patch_strategy: PatchStrategy,
    /// The key that strategic merge tells list items apart by.
    pub merge_key: Option<&'a str>,
    /// Replaces the map type of the node for this one use of it.
    pub map_type: Option<MapType>,
    /// The default.
    pub default: Option<Value>,
}

impl<'a> FieldSpec<'a> {
    /// An optional field with nothing special.
    pub fn new(name: &'a str, node: NodeId) -> Self {
        Self {
            name,
            node,
            required: false,
            omit_zero: false,
            always: false,
            patch_strategy: PatchStrategy::Default,
            merge_key: None,
            map_type: None,
            default: None,
        }
    }
}

/// Fills a [`SchemaSet`]. Definitions may refer to one another in any order: `declare` hands out the number,
/// `define` gives the body.
#[derive(Debug, Default)]
pub struct Builder {
    pub(super) set: SchemaSet,
    symbols: HashMap<Box<str>, Symbol>,
    pub(super) scalars: HashMap<(u8, Format), NodeId>,
    declared: HashMap<Symbol, NodeId>,
    pub(super) undefined: HashMap<NodeId, Symbol>,
    /// Fields that use a node with another map type; resolved when all bodies are known.
    retyped: Vec<(u32, MapType)>,
    too_large: Option<usize>,
}

impl Builder {
    /// The number of the definition `name`, which `define` completes now or later.
    pub fn declare(&mut self, name: &str) -> NodeId {
        let symbol = self.intern(name);
        if let Some(id) = self.declared.get(&symbol) {
            return *id;
        }
        let id = self.push(Shape::Any { granular: false }, Format::None);
        self.set.nodes[id.0 as usize].name = Some(symbol);
        self.declared.insert(symbol, id);
        self.undefined.insert(id, symbol);
        id
    }

    /// Gives a declared definition its body.
    pub fn define(&mut self, id: NodeId, spec: Spec<'_>) {
        let (shape, format) = self.shape(spec);
        let node = &mut self.set.nodes[id.0 as usize];
        (node.shape, node.format) = (shape, format);
        self.undefined.remove(&id);
    }

    /// Adds a node without a name; equal scalars are shared.
    pub fn add(&mut self, spec: Spec<'_>) -> NodeId {
        if let Spec::Scalar(shape, format) = spec {
            let key = (scalar_number(shape), format);
            if let Some(id) = self.scalars.get(&key) {
                return *id;
            }
            let id = self.push(shape, format);
            self.scalars.insert(key, id);
            return id;
        }
        let (shape, format) = self.shape(spec);
        self.push(shape, format)
    }

    /// Takes over a node of another set, with all below it; definitions keep their names.
    pub fn copy(&mut self, from: &SchemaSet, id: NodeId) -> NodeId {
        let node = from.node(id);
        let declared = match node.name {
            Some(name) => {
                let name = from.text(name);
                let symbol = self.intern(name);
                if let Some(known) = self.declared.get(&symbol) {
                    return *known;
                }
                Some(self.declare(name))
            }
            None => None,
        };
        let keys: Vec<&str>;
        let spec = match node.shape {
            Shape::Any { granular } => Spec::Any { granular },
            Shape::Object(fields) => {
                let mut row = Vec::with_capacity(from.fields(fields).len());
                for field in from.fields(fields) {
                    row.push(FieldSpec {
                        name: from.text(field.name),
                        node: self.copy(from, field.node),
                        required: field.required,
                        omit_zero: field.omit_zero,
                        always: field.always,
                        patch_strategy: field.patch_strategy,
                        merge_key: field.merge_key.map(|key| from.text(key)),
                        map_type: None,
                        default: from.default(field).cloned(),
                    });
                }
                let Fields { open, embedded, map_type, .. } = fields;
                Spec::Object { fields: row, map_type, open, embedded }
            }
            Shape::Map { values, map_type } => Spec::Map { values: self.copy(from, values), map_type },
            Shape::List { items, list_type, keys: of } => {
                keys = from.keys(of).collect();
                Spec::List { items: self.copy(from, items), list_type, keys: &keys }
            }
            scalar => Spec::Scalar(scalar, node.format),
        };
        let fresh = match declared {
            Some(id) => {
                self.define(id, spec);
                id
            }
            None => self.add(spec),
        };
        let enumeration = from.enumeration(node).map(<[Value]>::to_vec);
        self.narrow(fresh, node.nullable, enumeration)
    }

    /// A node like `id` that also allows `null`, or only the values of `enumeration`.
    pub fn narrow(&mut self, id: NodeId, nullable: bool, enumeration: Option<Vec<Value>>) -> NodeId {
        if !nullable && enumeration.is_none() {
            return id;
        }
        let mut node = self.set.nodes[id.0 as usize].clone();
        node.nullable = nullable;
        node.enumeration = enumeration.map(|values| {
            self.set.enumerations.push(values.into());
            (self.set.enumerations.len() - 1) as u32
        });
        self.set.nodes.push(node);
        NodeId((self.set.nodes.len() - 1) as u32)
    }

    /// The finished set.
    pub fn build(mut self) -> Result<SchemaSet, SchemaError> {
        if let Some(fields) = self.too_large {
            return Err(SchemaError::TooManyFields(fields));
        }
        if let Some(name) = self.undefined.values().map(|symbol| self.set.text(*symbol)).min() {
            return Err(SchemaError::Undefined(name.to_owned()));
        }
        for (field, map_type) in std::mem::take(&mut self.retyped) {
            let mut node = self.set.node(self.set.fields[field as usize].node).clone();
            match &mut node.shape {
                Shape::Object(fields) => fields.map_type = map_type,
                Shape::Map { map_type: own, .. } => *own = map_type,
                _ => continue,
            }
            self.set.nodes.push(node);
            self.set.fields[field as usize].node = NodeId((self.set.nodes.len() - 1) as u32);
        }
        self.set.nodes.shrink_to_fit();
        self.set.fields.shrink_to_fit();
        self.set.keys.shrink_to_fit();
        self.set.texts.shrink_to_fit();
        let mut names: Vec<(Symbol, NodeId)> = self.declared.into_iter().collect();
        names.sort_by(|a, b| self.set.text(a.0).cmp(self.set.text(b.0)));
        self.set.names = names;
        Ok(self.set)
    }

    fn push(&mut self, shape: Shape, format: Format) -> NodeId {
        self.set.nodes.push(Node { shape, format, nullable: false, name: None, enumeration: None });
        NodeId((self.set.nodes.len() - 1) as u32)
    }

    fn intern(&mut self, text: &str) -> Symbol {
        if let Some(symbol) = self.symbols.get(text) {
            return *symbol;
        }
        let symbol = Symbol(self.set.texts.len() as u32);
        self.set.texts.push(text.into());
        self.symbols.insert(text.into(), symbol);
        symbol
    }

    fn shape(&mut self, spec: Spec<'_>) -> (Shape, Format) {
        let shape = match spec {
            Spec::Scalar(shape, format) => return (shape, format),
            Spec::Any { granular } => Shape::Any { granular },
            Spec::Map { values, map_type } => Shape::Map { values, map_type },
            Spec::List { items, list_type, keys } => {
                let first = self.set.keys.len() as u32;
                for key in keys {
                    let symbol = self.intern(key);
                    self.set.keys.push(symbol);
                }
                Shape::List { items, list_type, keys: Keys { first, len: keys.len() as u16 } }
            }
            Spec::Object { fields, map_type, open, embedded } => self.object(fields, map_type, open, embedded),
        };
        (shape, Format::None)
    }

    fn object(&mut self, mut fields: Vec<FieldSpec<'_>>, map_type: MapType, open: bool, embedded: bool) -> Shape {
        fields.sort_by(|a, b| a.name.cmp(b.name));
        let first = self.set.fields.len() as u32;
        let len = u16::try_from(fields.len()).unwrap_or_else(|_| {
            self.too_large = Some(fields.len());
            u16::MAX
        });
        let always = fields.iter().filter(|field| field.always).count() as u16;
        for field in fields {
            if let Some(map_type) = field.map_type {
                self.retyped.push((self.set.fields.len() as u32, map_type));
            }
            let default = field.default.map(|value| {
                self.set.values.push(value);
                (self.set.values.len() - 1) as u32
            });
            let field = Field {
                name: self.intern(field.name),
                beginning: super::Beginning::of(field.name),
                node: field.node,
                required: field.required,
                omit_zero: field.omit_zero,
                always: field.always,
                patch_strategy: field.patch_strategy,
                merge_key: field.merge_key.map(|key| self.intern(key)),
                default,
            };
            self.set.fields.push(field);
        }
        Shape::Object(Fields { first, len, always, open, embedded, map_type })
    }
}

fn scalar_number(shape: Shape) -> u8 {
    match shape {
        Shape::String => 0,
        Shape::Integer => 1,
        Shape::Number => 2,
        Shape::Boolean => 3,
        Shape::IntOrString => 4,
        _ => u8::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_refer_to_one_another_in_any_order() {
        let mut builder = SchemaSet::builder();
        let tree = builder.declare("Tree");
        let children = builder.add(Spec::List { items: tree, list_type: ListType::Map, keys: &["name"] });
        let name = builder.add(Spec::Scalar(Shape::String, Format::None));
        assert_eq!(name, builder.add(Spec::Scalar(Shape::String, Format::None)), "equal scalars are one node");
        let fields = vec![FieldSpec::new("name", name), FieldSpec::new("children", children)];
        builder.define(tree, Spec::Object { fields, map_type: MapType::Granular, open: false, embedded: false });
        let set = builder.build().expect("complete");
        let tree = set.by_name("Tree").expect("defined");
        let children = set.child(tree, "children").expect("a field");
        let Shape::List { items, keys, .. } = set.node(children).shape else { panic!("a list") };
        assert_eq!((items, set.keys(keys).collect::<Vec<_>>()), (tree, vec!["name"]));
        assert!(set.child(tree, "other").is_none());
    }

    #[test]
    fn what_is_declared_must_be_defined() {
        let mut builder = SchemaSet::builder();
        builder.declare("Nothing");
        assert_eq!(builder.build().unwrap_err(), SchemaError::Undefined("Nothing".into()));
    }

    #[test]
    fn a_use_may_change_the_map_type() {
        let mut builder = SchemaSet::builder();
        let reference = builder.declare("Reference");
        let owner = builder.declare("Owner");
        let retyped = FieldSpec { map_type: Some(MapType::Granular), ..FieldSpec::new("loose", reference) };
        let fields = vec![FieldSpec::new("tight", reference), retyped];
        builder.define(owner, Spec::Object { fields, map_type: MapType::Granular, open: false, embedded: false });
        builder.define(
            reference,
            Spec::Object { fields: vec![], map_type: MapType::Atomic, open: false, embedded: false },
        );
        let set = builder.build().expect("complete");
        let map_type = |field| match set.node(set.child(owner, field).expect("a field")).shape {
            Shape::Object(fields) => fields.map_type,
            _ => panic!("an object"),
        };
        assert_eq!((map_type("tight"), map_type("loose")), (MapType::Atomic, MapType::Granular));
    }
}
