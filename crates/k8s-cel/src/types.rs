//! [`Type`]: what an expression may be (upstream: cel-go common/types/types.go, apiserver/pkg/cel/types.go).

use std::fmt;
use std::sync::Arc;

use crate::schema::Decl;

/// The type of an expression.
#[derive(Clone, Debug)]
pub enum Type {
    /// Known only when the expression runs.
    Dyn,
    /// `null`.
    Null,
    /// true or false.
    Bool,
    /// A number of 64 bits.
    Int,
    /// A number of 64 bits without a sign.
    Uint,
    /// A number with a fraction.
    Double,
    /// A text.
    String,
    /// Octets.
    Bytes,
    /// A point in time.
    Timestamp,
    /// A span of time.
    Duration,
    /// The type of types.
    Type(Arc<Type>),
    /// A list of items of one type.
    List(Arc<Type>),
    /// A map from keys of one type to values of one type.
    Map(Arc<Type>, Arc<Type>),
    /// A value that may be missing.
    Optional(Arc<Type>),
    /// An object whose fields a schema declares.
    Object(Arc<Decl>),
    /// A type of a function library.
    Opaque(Opaque),
    /// What an expression of a mutating policy builds: `Object`, `Object.spec`, `JSONPatch`.
    Message(Arc<str>),
    /// What a function's declaration leaves open, and, once a call is checked, a number of its own.
    Param(u32),
}

/// The types of function libraries (upstream: apiserver/pkg/cel/{url,ip,cidr,quantity,semver,format}.go, library/authz.go).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opaque {
    /// `url()`.
    Url,
    /// `ip()`.
    Ip,
    /// `cidr()`.
    Cidr,
    /// `quantity()`.
    Quantity,
    /// `semver()`.
    Semver,
    /// `format.dns1123Label()` and the like.
    Format,
    /// The variable `authorizer`.
    Authorizer,
    /// `authorizer.path()`.
    PathCheck,
    /// `authorizer.group()`.
    GroupCheck,
    /// `authorizer.group().resource()`.
    ResourceCheck,
    /// `.check()`.
    Decision,
}

impl Opaque {
    /// All of them.
    pub(crate) const ALL: [Self; 11] = [
        Self::Url,
        Self::Ip,
        Self::Cidr,
        Self::Quantity,
        Self::Semver,
        Self::Format,
        Self::Authorizer,
        Self::PathCheck,
        Self::GroupCheck,
        Self::ResourceCheck,
        Self::Decision,
    ];

    /// The name in expressions and messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Url => "kubernetes.URL",
            Self::Ip => "net.IP",
            Self::Cidr => "net.CIDR",
            Self::Quantity => "kubernetes.Quantity",
            Self::Semver => "kubernetes.Semver",
            Self::Format => "kubernetes.NamedFormat",
            Self::Authorizer => "kubernetes.authorization.Authorizer",
            Self::PathCheck => "kubernetes.authorization.PathCheck",
            Self::GroupCheck => "kubernetes.authorization.GroupCheck",
            Self::ResourceCheck => "kubernetes.authorization.ResourceCheck",
            Self::Decision => "kubernetes.authorization.Decision",
        }
    }

    /// Whether upstream declares it as an object, which `null` may stand for.
    fn is_object(self) -> bool {
        !matches!(self, Self::Ip | Self::Cidr)
    }
}

impl Type {
    /// The type of a kind's objects, by an OpenAPI schema in which references are resolved; `name` is its name in
    /// messages. Of a schema without a type nothing is known.
    pub fn of_kind(schema: &serde_json::Value, name: &str) -> Self {
        Decl::of_kind(schema, name).map_or(Self::Dyn, |decl| decl.ty())
    }

    /// `list(item)`.
    pub fn list(item: Self) -> Self {
        Self::List(Arc::new(item))
    }

    /// `map(key, value)`.
    pub fn map(key: Self, value: Self) -> Self {
        Self::Map(Arc::new(key), Arc::new(value))
    }

    /// `optional_type(value)`.
    pub fn optional(value: Self) -> Self {
        Self::Optional(Arc::new(value))
    }

    /// Whether nothing is known about it.
    pub(crate) fn is_dyn(&self) -> bool {
        matches!(self, Self::Dyn)
    }

    /// Whether `null` may stand for a value of it.
    pub(crate) fn is_nullable(&self) -> bool {
        match self {
            Self::Null | Self::Timestamp | Self::Duration | Self::Object(_) | Self::Message(_) | Self::Optional(_) => {
                true
            }
            Self::Opaque(opaque) => opaque.is_object(),
            _ => false,
        }
    }

    /// Whether every value of it has the size 1.
    pub(crate) fn is_scalar(&self) -> bool {
        match self {
            Self::Bool | Self::Double | Self::Duration | Self::Int | Self::Timestamp | Self::Uint => true,
            Self::Optional(value) => value.is_scalar(),
            _ => false,
        }
    }

    /// The type with a name that stands for itself in expressions, as in `type(x) == string`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "bool" => Self::Bool,
            "int" => Self::Int,
            "uint" => Self::Uint,
            "double" => Self::Double,
            "string" => Self::String,
            "bytes" => Self::Bytes,
            "null_type" => Self::Null,
            "dyn" => Self::Dyn,
            "list" => Self::list(Self::Dyn),
            "map" => Self::map(Self::Dyn, Self::Dyn),
            "type" => Self::Type(Arc::new(Self::Dyn)),
            "optional_type" => Self::optional(Self::Dyn),
            "google.protobuf.Timestamp" => Self::Timestamp,
            "google.protobuf.Duration" => Self::Duration,
            _ => Self::Opaque(Opaque::ALL.into_iter().find(|opaque| opaque.name() == name)?),
        })
    }

    /// The name without parameters, as `type()` gives it.
    pub(crate) fn runtime_name(&self) -> String {
        match self {
            Self::List(_) => "list".to_owned(),
            Self::Map(..) => "map".to_owned(),
            Self::Optional(_) => "optional_type".to_owned(),
            Self::Type(_) => "type".to_owned(),
            Self::Timestamp => "google.protobuf.Timestamp".to_owned(),
            Self::Duration => "google.protobuf.Duration".to_owned(),
            Self::Null => "null_type".to_owned(),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn => f.write_str("dyn"),
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Uint => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Duration => f.write_str("duration"),
            Self::Type(inner) => write!(f, "type({inner})"),
            Self::List(item) => write!(f, "list({item})"),
            Self::Map(key, value) => write!(f, "map({key}, {value})"),
            Self::Optional(value) => write!(f, "optional_type({value})"),
            Self::Object(decl) => f.write_str(decl.object_name()),
            Self::Opaque(opaque) => f.write_str(opaque.name()),
            Self::Message(name) => f.write_str(name),
            Self::Param(number) => write!(f, "_var{number}"),
        }
    }
}

impl PartialEq for Type {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Type(left), Self::Type(right))
            | (Self::List(left), Self::List(right))
            | (Self::Optional(left), Self::Optional(right)) => left == right,
            (Self::Map(key, value), Self::Map(other_key, other_value)) => key == other_key && value == other_value,
            (Self::Object(left), Self::Object(right)) => Arc::ptr_eq(left, right) || left.is_same_object(right),
            (Self::Opaque(left), Self::Opaque(right)) => left == right,
            (Self::Message(left), Self::Message(right)) => left == right,
            (Self::Param(left), Self::Param(right)) => left == right,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}
