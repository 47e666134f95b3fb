//! The tree of an expression, with macros expanded (upstream: cel-go common/ast/expr.go).

/// The number of a node in its expression.
pub(crate) type Id = u32;

/// A node.
#[derive(Clone, Debug)]
pub(crate) struct Expr {
    /// Its number.
    pub(crate) id: Id,
    /// Where it stands in the source, as a byte offset.
    pub(crate) at: u32,
    /// How many nodes the longest way down from it has, itself included.
    pub(crate) height: u16,
    /// What it is.
    pub(crate) node: Node,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Literal(Literal),
    Ident(Box<str>),
    Select(Select),
    Call(Call),
    List(Vec<Element>),
    Map(Vec<Entry>),
    Struct(Struct),
    Comprehension(Box<Comprehension>),
}

/// A constant.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Box<str>),
    Bytes(Box<[u8]>),
}

/// `operand.field`, or `has(operand.field)`.
#[derive(Clone, Debug)]
pub(crate) struct Select {
    pub(crate) operand: Box<Expr>,
    pub(crate) field: Box<str>,
    pub(crate) tests: bool,
}

/// `function(args)` or `target.function(args)`; operators are functions.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) function: Box<str>,
    pub(crate) target: Option<Box<Expr>>,
    pub(crate) args: Vec<Expr>,
}

/// An item of a list literal; an optional one is left out when it has no value.
#[derive(Clone, Debug)]
pub(crate) struct Element {
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

/// An entry of a map literal.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Expr,
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

/// `Name{field: value}`.
#[derive(Clone, Debug)]
pub(crate) struct Struct {
    pub(crate) name: Box<str>,
    pub(crate) fields: Vec<StructField>,
}

/// A field of a [`Struct`].
#[derive(Clone, Debug)]
pub(crate) struct StructField {
    pub(crate) name: Box<str>,
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

/// A loop, which all macros but `has` become:
/// `accu = init; for var in range { if !condition break; accu = step }; result`.
#[derive(Clone, Debug)]
pub(crate) struct Comprehension {
    pub(crate) range: Expr,
    pub(crate) var: Box<str>,
    /// The value, where `var` is the key or index.
    pub(crate) var2: Option<Box<str>>,
    pub(crate) accu: Box<str>,
    pub(crate) init: Expr,
    pub(crate) condition: Expr,
    pub(crate) step: Expr,
    pub(crate) result: Expr,
}

/// The accumulator's name in loops of macros; no source can write it.
pub(crate) const ACCUMULATOR: &str = "@result";

impl Comprehension {
    /// Whether this only gives a name to a value, as `optMap` does.
    pub(crate) fn is_binding(&self) -> bool {
        &*self.accu != ACCUMULATOR
    }
}

impl Node {
    /// The greatest height below this node.
    pub(crate) fn height_below(&self) -> u16 {
        let tallest = |children: &mut dyn Iterator<Item = &Expr>| children.map(|child| child.height).max().unwrap_or(0);
        match self {
            Self::Literal(_) | Self::Ident(_) => 0,
            Self::Select(select) => select.operand.height,
            Self::Call(call) => tallest(&mut call.target.iter().map(|target| &**target).chain(&call.args)),
            Self::List(elements) => tallest(&mut elements.iter().map(|element| &element.value)),
            Self::Map(entries) => tallest(&mut entries.iter().flat_map(|entry| [&entry.key, &entry.value])),
            Self::Struct(built) => tallest(&mut built.fields.iter().map(|field| &field.value)),
            Self::Comprehension(it) => {
                tallest(&mut [&it.range, &it.init, &it.condition, &it.step, &it.result].into_iter())
            }
        }
    }
}
