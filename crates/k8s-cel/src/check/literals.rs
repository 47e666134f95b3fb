//! What can be said about constants alone (upstream: cel-go cel/validator.go).

use crate::ast::{Call, Literal, Node};
use crate::library;
use crate::types::Type;

/// The type of a constant.
pub(super) fn type_of(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}

/// Why a function will never take the constant it is given.
pub(super) fn problem(call: &Call) -> Option<String> {
    let function = &*call.function;
    let Node::Literal(Literal::String(text)) = &call.args.last()?.node else { return None };
    let is_wrong = match (function, call.args.len(), call.target.is_some()) {
        ("duration", 1, false) => library::time::parse_duration(text).is_err(),
        ("timestamp", 1, false) => library::time::parse_timestamp(text).is_err(),
        ("matches", 1, true) | ("matches", 2, false) => library::regexes::compile(text).is_err(),
        _ => false,
    };
    is_wrong.then(|| format!("invalid {function} argument"))
}
