//! [`List`]: a list of an object, or one that an evaluation made.

use std::rc::Rc;

use serde_json::Value as Json;

use super::Value;
use crate::error::EvalError;
use crate::schema::{Decl, Identity, Shape};

/// A list.
#[derive(Clone, Debug)]
pub enum List<'a> {
    /// A list in an object.
    Json {
        /// Its items.
        items: &'a [Json],
        /// The list's schema.
        decl: Option<&'a Decl>,
    },
    /// A list that was made.
    Items(Rc<Vec<Value<'a>>>),
}

impl<'a> List<'a> {
    /// A list of these items.
    pub fn new(items: Vec<Value<'a>>) -> Self {
        Self::Items(Rc::new(items))
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Json { items, .. } => items.len(),
            Self::Items(items) => items.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The item at `index`.
    pub fn get(&self, index: usize) -> Option<Result<Value<'a>, EvalError>> {
        match self {
            Self::Json { items, decl } => Some(Value::typed(items.get(index)?, item_decl(*decl))),
            Self::Items(items) => items.get(index).cloned().map(Ok),
        }
    }

    /// All items in order.
    pub fn iter(&self) -> impl Iterator<Item = Result<Value<'a>, EvalError>> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// How the items of a list of an object are told apart.
    pub(crate) fn identity(&self) -> &'a Identity {
        match self {
            Self::Json { decl: Some(Decl { shape: Shape::List { identity, .. }, .. }), .. } => identity,
            _ => &Identity::Atomic,
        }
    }
}

fn item_decl(list: Option<&Decl>) -> Option<&Decl> {
    list?.elements().map(super::borrowed)
}
