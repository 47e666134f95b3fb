//! [`SchemaSet`]: the structure of kinds as one compact arena, for built-in kinds and custom resources alike.
//!
//! Decoding, pruning, strategic merge and server-side apply all walk an object and a schema side by side, so
//! a schema is made for walking: nodes are numbered, fields of an object lie in a row sorted by name, every
//! text is kept once. Whole Kubernetes needs a few hundred kilobytes. Start reading at [`Node`].

mod builder;
mod decode;
mod openapi;
mod structural;
mod zero;

pub use builder::{Builder, FieldSpec, SchemaError, Spec};
pub use decode::{DecodeError, FieldValidation, Problem, StrictError, TypeError, decode, decode_partial};
pub use openapi::OpenApiError;
pub use structural::{apply_defaults, prune, prune_nulls};

use std::fmt;

use serde_json::Value;

/// The number of a node in its [`SchemaSet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

/// A text kept once in its [`SchemaSet`]; [`SchemaSet::text`] reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Symbol(u32);

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Anything at all, kept as it is (`RawExtension`, `JSON`, `x-kubernetes-preserve-unknown-fields`).
    Any {
        /// Whether apply looks inside (upstream's "deduced" schema) or owns the value as a whole.
        granular: bool,
    },
    /// A struct: named fields, each with a schema of its own.
    Object(Fields),
    /// A map from free keys to values of one schema.
    Map {
        /// The schema of the values.
        values: NodeId,
        /// Whether entries have owners of their own.
        map_type: MapType,
    },
    /// A list of items of one schema.
    List {
        /// The schema of the items.
        items: NodeId,
        /// How items are told apart.
        list_type: ListType,
        /// The key fields of a [`ListType::Map`].
        keys: Keys,
    },
    /// A string; the node's format may narrow it.
    String,
    /// An integer, 32 or 64 bits by format.
    Integer,
    /// A number with a fraction.
    Number,
    /// true or false.
    Boolean,
    /// An integer or a string (`IntOrString`).
    IntOrString,
}

/// The fields of a [`Shape::Object`]: a row in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    first: u32,
    len: u16,
    /// How many of them are [`Field::always`].
    always: u16,
    /// Whether fields beyond the declared ones are kept (`x-kubernetes-preserve-unknown-fields`).
    pub open: bool,
    /// Whether the value is a whole object with apiVersion, kind and metadata (`x-kubernetes-embedded-resource`).
    pub embedded: bool,
    /// Whether fields have owners of their own.
    pub map_type: MapType,
}

/// The key fields of a list map: a row in the arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    first: u32,
    len: u16,
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListType {
    /// One value, replaced as a whole.
    #[default]
    Atomic,
    /// Scalars, each there once.
    Set,
    /// Objects, told apart by key fields.
    Map,
}

/// `x-kubernetes-map-type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MapType {
    /// Every entry by itself.
    #[default]
    Granular,
    /// One value, replaced as a whole.
    Atomic,
}

/// What a scalar stands for beyond its JSON type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// Nothing more.
    #[default]
    None,
    /// 32 bits.
    Int32,
    /// 64 bits.
    Int64,
    /// A double.
    Double,
    /// Base64 of bytes (Go's `[]byte`).
    Byte,
    /// RFC 3339 with seconds (`metav1.Time`).
    DateTime,
    /// RFC 3339 with microseconds (`metav1.MicroTime`).
    MicroTime,
    /// `resource.Quantity`: a string, or a number when read.
    Quantity,
}

/// `x-kubernetes-patch-strategy` of a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PatchStrategy {
    /// Maps merge, lists are replaced.
    #[default]
    Default,
    /// Lists merge by their merge key, or as sets of scalars.
    Merge,
    /// The value is replaced as a whole.
    Replace,
    /// The keys not named by `$retainKeys` go.
    RetainKeys,
    /// Both: the list merges, its items retain keys.
    MergeRetainKeys,
}

impl PatchStrategy {
    /// Reads `merge`, `replace`, `retainKeys`, `merge,retainKeys`; anything else is the default.
    pub fn parse(text: &str) -> Self {
        match text {
            "merge" => Self::Merge,
            "replace" => Self::Replace,
            "retainKeys" => Self::RetainKeys,
            "merge,retainKeys" | "retainKeys,merge" => Self::MergeRetainKeys,
            _ => Self::Default,
        }
    }

    /// Whether lists merge.
    pub fn merges(self) -> bool {
        matches!(self, Self::Merge | Self::MergeRetainKeys)
    }

    /// Whether `$retainKeys` is understood.
    pub fn retains_keys(self) -> bool {
        matches!(self, Self::RetainKeys | Self::MergeRetainKeys)
    }
}

/// The schema of one value.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What the value may be.
    pub shape: Shape,
    /// What a scalar stands for.
    pub format: Format,
    /// Whether `null` is a value (custom resources only).
    pub nullable: bool,
    /// The definition's full name, as `io.k8s.api.core.v1.PodSpec`.
    pub name: Option<Symbol>,
    enumeration: Option<u32>,
}

/// One field of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// The JSON name.
    pub name: Symbol,
    /// The name's first bytes.
    beginning: Beginning,
    /// The schema of the value.
    pub node: NodeId,
    /// Whether the field must be there.
    pub required: bool,
    /// Whether Go leaves the field out when its value is the zero value (a non-pointer with `omitempty`).
    pub omit_zero: bool,
    /// Whether Go writes the zero value of a field that nobody gave: a struct that is no pointer, as `status: {}`.
    pub always: bool,
    /// How strategic merge treats the value.
    pub patch_strategy: PatchStrategy,
    /// The key that strategic merge tells list items apart by.
    pub merge_key: Option<Symbol>,
    default: Option<u32>,
}

/// The first eight bytes of a name, ordered as names are: most fields are told apart without a look at their texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Beginning(u64);

impl Beginning {
    fn of(name: &str) -> Self {
        let mut bytes = [0; 8];
        let length = name.len().min(8);
        bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
        Self(u64::from_be_bytes(bytes))
    }
}

/// Many schemas in one arena.
#[derive(Clone, Debug, Default)]
pub struct SchemaSet {
    nodes: Vec<Node>,
    fields: Vec<Field>,
    keys: Vec<Symbol>,
    values: Vec<Value>,
    enumerations: Vec<Box<[Value]>>,
    texts: Vec<Box<str>>,
    /// Definitions, sorted by name once the set is built.
    names: Vec<(Symbol, NodeId)>,
}

impl SchemaSet {
    /// An empty set to fill.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The node of a definition by its full name.
    pub fn by_name(&self, name: &str) -> Option<NodeId> {
        let index = self.names.binary_search_by(|(symbol, _)| self.text(*symbol).cmp(name)).ok()?;
        Some(self.names[index].1)
    }

    /// The names of all definitions with their nodes, by name.
    pub fn definitions(&self) -> impl Iterator<Item = (&str, NodeId)> {
        self.names.iter().map(|(symbol, node)| (self.text(*symbol), *node))
    }

    /// The node with this number. A number comes from this very set, so it is always there.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// The text of a symbol of this set.
    pub fn text(&self, symbol: Symbol) -> &str {
        &self.texts[symbol.0 as usize]
    }

    /// The fields of a row, sorted by name.
    pub fn fields(&self, fields: Fields) -> &[Field] {
        &self.fields[fields.first as usize..fields.first as usize + fields.len as usize]
    }

    /// The field `name` of a row.
    pub fn field(&self, fields: Fields, name: &str) -> Option<&Field> {
        let row = self.fields(fields);
        let beginning = Beginning::of(name);
        let order = |field: &Field| field.beginning.cmp(&beginning).then_with(|| self.text(field.name).cmp(name));
        row.binary_search_by(order).ok().map(|index| &row[index])
    }

    /// The fields of a row that are written though nobody gave them.
    pub fn always(&self, fields: Fields) -> impl Iterator<Item = &Field> {
        let row = if fields.always == 0 { &[] } else { self.fields(fields) };
        row.iter().filter(|field| field.always).take(fields.always.into())
    }

    /// The names of a list map's keys.
    pub fn keys(&self, keys: Keys) -> impl ExactSizeIterator<Item = &str> + Clone {
        self.keys[keys.first as usize..keys.first as usize + keys.len as usize].iter().map(|key| self.text(*key))
    }

    /// The schema of the entry `name` below `id`: a declared field or a map's value.
    pub fn child(&self, id: NodeId, name: &str) -> Option<NodeId> {
        match self.node(id).shape {
            Shape::Object(fields) => self.field(fields, name).map(|field| field.node),
            Shape::Map { values, .. } => Some(values),
            _ => None,
        }
    }

    /// The field's default, where the schema declares one.
    pub fn default(&self, field: &Field) -> Option<&Value> {
        Some(&self.values[field.default? as usize])
    }

    /// The values a node allows, where it names them.
    pub fn enumeration(&self, node: &Node) -> Option<&[Value]> {
        Some(&self.enumerations[node.enumeration? as usize])
    }

    /// How many nodes, fields and texts there are, and their bytes; for tests and figures.
    pub fn footprint(&self) -> Footprint {
        let texts: usize = self.texts.iter().map(|text| text.len() + size_of::<Box<str>>()).sum();
        let bytes = self.nodes.len() * size_of::<Node>()
            + self.fields.len() * size_of::<Field>()
            + self.keys.len() * size_of::<Symbol>()
            + self.names.len() * size_of::<(Symbol, NodeId)>()
            + texts;
        Footprint { nodes: self.nodes.len(), fields: self.fields.len(), texts: self.texts.len(), bytes }
    }
}

/// The size of a [`SchemaSet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Number of nodes.
    pub nodes: usize,
    /// Number of fields.
    pub fields: usize,
    /// Number of distinct texts.
    pub texts: usize,
    /// Bytes of the tables, without allocator overhead.
    pub bytes: usize,
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// A small relative of `apps/v1` Deployment and `v1` Pod with every sort of list and map.
    pub(crate) fn deployments() -> (SchemaSet, NodeId) {
        let text = || json!({"type": "string"});
        let int32 = || json!({"type": "integer", "format": "int32"});
        let refer = |name: &str| json!({"$ref": format!("#/definitions/io.k8s.{name}")});
        let texts = || json!({"type": "object", "additionalProperties": {"type": "string"}});
        let mapped = |name: &str, keys: &[&str]| {
            json!({"type": "array", "items": refer(name), "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": keys, "x-kubernetes-patch-strategy": "merge",
                "x-kubernetes-patch-merge-key": keys[0]})
        };
        let mut volumes = mapped("api.core.v1.Volume", &["name"]);
        volumes["x-kubernetes-patch-strategy"] = "merge,retainKeys".into();
        let mut strategy = refer("api.apps.v1.DeploymentStrategy");
        strategy["x-kubernetes-patch-strategy"] = "retainKeys".into();
        let mut node_selector = texts();
        node_selector["x-kubernetes-map-type"] = "atomic".into();
        let amounts =
            json!({"type": "object", "additionalProperties": refer("apimachinery.pkg.api.resource.Quantity")});
        let definitions = json!({
            "io.k8s.apimachinery.pkg.api.resource.Quantity": text(),
            "io.k8s.apimachinery.pkg.apis.meta.v1.Time": {"type": "string", "format": "date-time"},
            "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": {"type": "object"},
            "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
            "io.k8s.apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry": {"type": "object", "properties": {
                "apiVersion": text(), "fieldsType": text(), "manager": text(), "operation": text(),
                "subresource": text(), "time": refer("apimachinery.pkg.apis.meta.v1.Time"),
                "fieldsV1": refer("apimachinery.pkg.apis.meta.v1.FieldsV1"),
            }},
            "io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference": {"type": "object", "x-kubernetes-map-type": "atomic",
                "required": ["apiVersion", "kind", "name", "uid"], "properties": {
                    "apiVersion": text(), "kind": text(), "name": text(), "uid": text(),
                    "controller": {"type": "boolean"}, "blockOwnerDeletion": {"type": "boolean"},
            }},
            "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta": {"type": "object", "properties": {
                "name": text(), "namespace": text(), "uid": text(), "resourceVersion": text(), "generateName": text(),
                "generation": {"type": "integer", "format": "int64"}, "labels": texts(), "annotations": texts(),
                "creationTimestamp": refer("apimachinery.pkg.apis.meta.v1.Time"),
                "deletionTimestamp": refer("apimachinery.pkg.apis.meta.v1.Time"),
                "finalizers": {"type": "array", "items": text(), "x-kubernetes-list-type": "set",
                    "x-kubernetes-patch-strategy": "merge"},
                "managedFields": {"type": "array", "items": refer("apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry")},
                "ownerReferences": mapped("apimachinery.pkg.apis.meta.v1.OwnerReference", &["uid"]),
            }},
            "io.k8s.api.apps.v1.Deployment": {"type": "object", "properties": {
                "apiVersion": text(), "kind": text(), "spec": refer("api.apps.v1.DeploymentSpec"),
                "metadata": refer("apimachinery.pkg.apis.meta.v1.ObjectMeta"),
                "status": {"type": "object", "properties": {"replicas": int32(), "readyReplicas": int32()}},
            }},
            "io.k8s.api.apps.v1.DeploymentSpec": {"type": "object", "properties": {
                "replicas": int32(), "paused": {"type": "boolean"}, "strategy": strategy,
                "selector": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"matchLabels": texts()}},
                "template": refer("api.core.v1.PodTemplateSpec"),
            }},
            "io.k8s.api.apps.v1.DeploymentStrategy": {"type": "object", "properties": {
                "type": text(), "rollingUpdate": {"type": "object", "properties": {
                    "maxSurge": refer("apimachinery.pkg.util.intstr.IntOrString"),
                }},
            }},
            "io.k8s.api.core.v1.PodTemplateSpec": {"type": "object", "properties": {
                "metadata": refer("apimachinery.pkg.apis.meta.v1.ObjectMeta"), "spec": refer("api.core.v1.PodSpec"),
            }},
            "io.k8s.api.core.v1.PodSpec": {"type": "object", "required": ["containers"], "properties": {
                "containers": mapped("api.core.v1.Container", &["name"]), "nodeSelector": node_selector,
                "volumes": volumes, "nodeName": text(), "terminationGracePeriodSeconds": int32(),
                "tolerations": {"type": "array", "items": {"type": "object", "properties": {"key": text()}}},
            }},
            "io.k8s.api.core.v1.Volume": {"type": "object", "properties": {
                "name": text(), "emptyDir": {"type": "object", "properties": {"medium": text()}},
                "hostPath": {"type": "object", "properties": {"path": text()}},
            }},
            "io.k8s.api.core.v1.Container": {"type": "object", "required": ["name"], "properties": {
                "name": text(), "image": text(), "args": {"type": "array", "items": text()},
                "env": mapped("api.core.v1.EnvVar", &["name"]),
                "ports": mapped("api.core.v1.ContainerPort", &["containerPort", "protocol"]),
                "resources": {"type": "object", "properties": {"limits": amounts}},
            }},
            "io.k8s.api.core.v1.EnvVar": {"type": "object", "properties": {"name": text(), "value": text()}},
            "io.k8s.api.core.v1.ContainerPort": {"type": "object", "properties": {
                "name": text(), "containerPort": int32(), "hostPort": int32(),
                "protocol": {"type": "string", "default": "TCP"},
            }},
        });
        let mut builder = SchemaSet::builder();
        builder.add_definitions(definitions.as_object().expect("an object")).expect("good schemas");
        let set = builder.build().expect("complete");
        let root = set.by_name("io.k8s.api.apps.v1.Deployment").expect("defined");
        (set, root)
    }
}
