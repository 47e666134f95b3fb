//! The zero values of Go's types, where they show.

use serde_json::{Map, Value};

use super::{Fields, Format, NodeId, SchemaSet, Shape};

impl SchemaSet {
    /// The zero value of a node, with all that Go writes of it; null where Go would write null.
    pub fn zero(&self, id: NodeId) -> Value {
        let node = self.node(id);
        match node.shape {
            _ if node.nullable => Value::Null,
            Shape::Any { .. } => Value::Null,
            Shape::Object(fields) => {
                let mut map = Map::new();
                self.add_zeros(fields, &mut map);
                Value::Object(map)
            }
            Shape::Map { .. } => Value::Object(Map::new()),
            Shape::List { .. } => Value::Array(Vec::new()),
            Shape::String if node.format == Format::Quantity => "0".into(),
            Shape::String if matches!(node.format, Format::DateTime | Format::MicroTime) => Value::Null,
            Shape::String => "".into(),
            Shape::Integer | Shape::Number | Shape::IntOrString => 0.into(),
            Shape::Boolean => false.into(),
        }
    }

    /// The zero value of a field that is always written, as that of `status`.
    pub fn zero_of_field(&self, id: NodeId, name: &str) -> Option<Value> {
        let Shape::Object(fields) = self.node(id).shape else { return None };
        self.field(fields, name).filter(|field| field.always).map(|field| self.zero(field.node))
    }

    /// Gives an object what Go would write of it.
    pub(super) fn add_zeros(&self, fields: Fields, map: &mut Map<String, Value>) {
        for field in self.always(fields) {
            let name = self.text(field.name);
            if !map.contains_key(name) {
                map.insert(name.to_owned(), self.zero(field.node));
            }
        }
    }
}
