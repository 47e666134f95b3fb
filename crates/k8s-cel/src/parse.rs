//! From text to tree (upstream: cel-go parser/parser.go and gen/CEL.g4).
//!
//! Hand-made, for what it must withstand: the text comes from users. Nesting, length and the number of nodes are
//! limited, so that no expression can exhaust memory here or later on; the stack grows as deep as the limit needs:
//! see [`crate::stack`].

mod expression;
mod lexer;
mod literal;
mod macros;

use crate::ast::{Call, Expr, Id, Literal, Node};
use crate::error::{CompileError, Issue};

/// How many characters an expression may have (upstream: cel-go's `expressionSizeCodePointLimit`).
const MAX_LENGTH: usize = 100_000;

/// How deep the text of an expression may nest (upstream: `celconfig`'s and cel-go's `maxRecursionDepth`).
const MAX_DEPTH: u16 = 250;

/// How deep its tree may become: a macro is a loop of some nodes around what it was given.
pub(crate) const MAX_HEIGHT: u16 = 4 * MAX_DEPTH;

/// How many nodes an expression may have: macros that copy their target could grow it without bound.
const MAX_NODES: Id = 100_000;

/// A syntax error at an offset.
#[derive(Debug)]
struct Fault {
    at: usize,
    message: String,
}

type Parsed<T> = Result<T, Fault>;

impl Fault {
    fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }
}

/// Parses a whole expression; answers the tree and the number of its nodes.
pub(crate) fn parse(source: &str, binds: bool) -> Result<(Expr, Id), CompileError> {
    let length = source.chars().count();
    let parsed = if length > MAX_LENGTH {
        let message = format!("expression code point size exceeds limit: size: {length}, limit {MAX_LENGTH}");
        Err(Fault::new(0, message))
    } else {
        expression::Parser::new(source, binds).whole()
    };
    parsed.map_err(|fault| CompileError::new(source, vec![Issue::at(source, fault.at, fault.message)]))
}

/// Makes nodes, and sees that there are not too many.
#[derive(Debug)]
struct Builder {
    next: Id,
    /// Whether `cel.bind` is a macro.
    binds: bool,
}

impl Builder {
    fn make(&mut self, at: usize, node: Node) -> Parsed<Expr> {
        let height = node.height_below() + 1;
        if height > MAX_HEIGHT {
            return Err(Fault::new(at, format!("expression recursion limit exceeded: {MAX_DEPTH}")));
        }
        let id = self.next;
        self.next += 1;
        if id >= MAX_NODES {
            return Err(Fault::new(at, format!("expression node limit exceeded: {MAX_NODES}")));
        }
        Ok(Expr { id, at: u32::try_from(at).unwrap_or(u32::MAX), height, node })
    }

    fn call(&mut self, at: usize, function: &str, args: Vec<Expr>) -> Parsed<Expr> {
        self.make(at, Node::Call(Call { function: function.into(), target: None, args }))
    }

    fn member(&mut self, at: usize, target: Expr, function: &str, args: Vec<Expr>) -> Parsed<Expr> {
        self.make(at, Node::Call(Call { function: function.into(), target: Some(Box::new(target)), args }))
    }

    fn ident(&mut self, at: usize, name: &str) -> Parsed<Expr> {
        self.make(at, Node::Ident(name.into()))
    }

    fn literal(&mut self, at: usize, literal: Literal) -> Parsed<Expr> {
        self.make(at, Node::Literal(literal))
    }
}
