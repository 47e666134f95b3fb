//! The estimate of what an expression costs at worst, from the sizes that its schema allows
//! (upstream: cel-go checker/cost.go, apiserver/pkg/cel/library/cost.go).

mod calls;

pub(crate) use calls::{is_accessor, selector};

use std::collections::HashMap;
use std::sync::Arc;

use crate::ast::{ACCUMULATOR, Call, Comprehension, Expr, Id, Literal, Node};
use crate::check::Checked;
use crate::environment::Environment;
use crate::schema::{Decl, Shape};
use crate::types::Type;

/// A string's work per character.
pub(crate) const TRAVERSAL: f64 = 0.1;
/// A regular expression's work per character of its own.
pub(crate) const REGEX: f64 = 0.25;
/// What making a list, a map or a struct costs.
pub(crate) const LIST: u64 = 10;
pub(crate) const MAP: u64 = 30;
pub(crate) const STRUCT: u64 = 40;

/// At least and at most so much: of work, or of characters and items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) min: u64,
    pub(crate) max: u64,
}

impl Range {
    pub(crate) const UNKNOWN: Self = Self { min: 0, max: u64::MAX };

    pub(crate) const fn exactly(value: u64) -> Self {
        Self { min: value, max: value }
    }

    pub(crate) fn add(self, other: Self) -> Self {
        Self { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    pub(crate) fn times(self, other: Self) -> Self {
        Self { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    /// Times a factor, rounded up.
    pub(crate) fn scale(self, factor: f64) -> Self {
        let scale = |value: u64| (value as f64 * factor).ceil() as u64;
        Self { min: scale(self.min), max: scale(self.max) }
    }

    pub(crate) fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

/// Where in the schema a value comes from.
#[derive(Clone, Debug)]
enum Origin {
    Schema(Arc<Decl>),
    /// The keys of a map: the schema says nothing about their length, and upstream counts nothing.
    Key,
}

/// The sizes of a container's keys and values.
#[derive(Clone, Copy, Debug)]
struct Entries {
    is_list: bool,
    key: Range,
    value: Range,
}

impl Entries {
    fn union(self, other: Self) -> Self {
        Self { is_list: self.is_list, key: self.key.union(other.key), value: self.value.union(other.value) }
    }
}

/// What is known of a variable of a loop.
#[derive(Clone, Debug, Default)]
struct Local {
    origin: Option<Origin>,
    size: Option<Range>,
    entries: Option<Entries>,
}

/// The least and the most that evaluating the expression costs.
pub(crate) fn estimate(environment: &Environment, expr: &Expr, checked: &Checked) -> Range {
    let mut coster = Coster {
        environment,
        checked,
        locals: Vec::new(),
        origins: HashMap::new(),
        sizes: HashMap::new(),
        entries: HashMap::new(),
    };
    coster.cost(expr)
}

struct Coster<'c> {
    environment: &'c Environment,
    checked: &'c Checked,
    locals: Vec<(&'c str, Local)>,
    origins: HashMap<Id, Origin>,
    sizes: HashMap<Id, Range>,
    entries: HashMap<Id, Entries>,
}

impl<'c> Coster<'c> {
    fn cost(&mut self, expr: &'c Expr) -> Range {
        match &expr.node {
            Node::Literal(_) => Range::default(),
            Node::Ident(name) => {
                let origin = match self.local(name) {
                    Some(local) => local.origin.clone(),
                    // Names of types count as the root of the schema: upstream's paths begin behind the variable.
                    None => {
                        let schema = self.environment.schema_of(name).or_else(|| self.environment.schema_of("self"));
                        schema.cloned().map(Origin::Schema)
                    }
                };
                self.put_origin(expr, origin);
                Range::exactly(1)
            }
            Node::Select(select) => {
                let cost = self.cost(&select.operand);
                if select.tests {
                    return cost;
                }
                let operand = self.origin(&select.operand);
                let origin = match &operand {
                    Some(Origin::Schema(decl)) => decl.field(&select.field).map(|field| &field.decl).or_else(|| {
                        // All attributes of a device have the same greatest size.
                        decl.elements().filter(|value| matches!(value.shape, Shape::Any))
                    }),
                    _ => None,
                };
                let origin = origin.cloned().map(Origin::Schema);
                self.put_origin(expr, origin);
                match self.ty(&select.operand) {
                    Type::Map(..) | Type::Object(_) | Type::Message(_) => cost.add(Range::exactly(1)),
                    _ => cost,
                }
            }
            Node::Call(call) => self.call(expr, call),
            Node::List(elements) => {
                let mut cost = Range::exactly(LIST);
                let mut item = Range { min: if elements.is_empty() { 0 } else { u64::MAX }, max: 0 };
                for element in elements {
                    cost = cost.add(self.cost(&element.value));
                    item = item.union(self.size_or_unknown(&element.value));
                }
                self.entries.insert(expr.id, Entries { is_list: true, key: Range::exactly(1), value: item });
                cost
            }
            Node::Map(entries) => {
                let mut cost = Range::exactly(MAP);
                let empty = Range { min: if entries.is_empty() { 0 } else { u64::MAX }, max: 0 };
                let (mut keys, mut values) = (empty, empty);
                for entry in entries {
                    cost = cost.add(self.cost(&entry.key)).add(self.cost(&entry.value));
                    keys = keys.union(self.size_or_unknown(&entry.key));
                    values = values.union(self.size_or_unknown(&entry.value));
                }
                self.entries.insert(expr.id, Entries { is_list: false, key: keys, value: values });
                cost
            }
            Node::Struct(built) => {
                let fields = built.fields.iter();
                fields.fold(Range::exactly(STRUCT), |cost, field| cost.add(self.cost(&field.value)))
            }
            Node::Comprehension(it) if it.is_binding() => self.binding(expr, it),
            Node::Comprehension(it) => self.comprehension(expr, it),
        }
    }

    fn binding(&mut self, expr: &Expr, it: &'c Comprehension) -> Range {
        let cost = self.cost(&it.range).add(self.cost(&it.init));
        self.push_value(&it.accu, &it.init);
        let cost = cost.add(self.cost(&it.result));
        self.locals.pop();
        self.copy_sizes(expr, &it.result);
        cost
    }

    fn comprehension(&mut self, expr: &Expr, it: &'c Comprehension) -> Range {
        let cost = self.cost(&it.range).add(self.cost(&it.init));
        self.push_value(&it.accu, &it.init);
        let entries = self.entries_of(&it.range);
        let is_list = entries.map_or(matches!(self.ty(&it.range), Type::List(_)), |entries| entries.is_list);
        let (below, keys) = match self.origin(&it.range) {
            Some(Origin::Schema(decl)) => {
                let keys = (!is_list && decl.elements().is_some()).then_some(Origin::Key);
                (decl.elements().cloned().map(Origin::Schema), keys)
            }
            _ => (None, None),
        };
        let key = Local { origin: keys, size: entries.map(|entries| entries.key), entries: None };
        let value = Local { origin: below, size: entries.map(|entries| entries.value), entries: None };
        match &it.var2 {
            Some(second) => {
                self.locals.push((&it.var, key));
                self.locals.push((second, value));
            }
            None => self.locals.push((&it.var, if is_list { value } else { key })),
        }
        let turn = self.cost(&it.condition).add(self.cost(&it.step));
        self.locals.pop();
        if it.var2.is_some() {
            self.locals.pop();
        }
        let cost = cost.add(self.cost(&it.result));
        self.locals.pop();
        let turns = self.size_or_unknown(&it.range);
        match &it.init.node {
            Node::Literal(_) => self.put_size(expr, Some(Range::exactly(1))),
            Node::List(_) | Node::Map(_) => {
                self.put_size(expr, Some(turns));
                if let Some(entries) = self.entries_of(&it.step) {
                    self.entries.insert(expr.id, entries);
                }
            }
            _ => {}
        }
        cost.add(turns.times(turn))
    }

    fn call(&mut self, expr: &'c Expr, call: &'c Call) -> Range {
        if &*call.function == "dyn"
            && let [arg] = &call.args[..]
        {
            let cost = self.cost(arg);
            self.copy_sizes(expr, arg);
            return cost.add(Range::exactly(1));
        }
        let arg_costs: Vec<Range> = call.args.iter().map(|arg| self.cost(arg)).collect();
        let target_cost = call.target.as_ref().map(|target| self.cost(target)).unwrap_or_default();
        let Some(overloads) = self.checked.overloads.get(&expr.id).filter(|overloads| !overloads.is_empty()) else {
            return Range::exactly(1).add(arg_costs.iter().fold(target_cost, |sum, cost| sum.add(*cost)));
        };
        let mut cost: Option<Range> = None;
        let mut size: Option<Range> = None;
        for overload in overloads {
            let one = self.overload(expr, call, overload, &arg_costs);
            cost = Some(cost.map_or(one.cost, |before| before.union(one.cost)));
            if let Some(result) = one.size {
                size = Some(size.map_or(result, |before| before.union(result)));
            }
            if &*call.function == "_[_]"
                && let [container, _] = &call.args[..]
            {
                size = self.entries_of(container).map(|entries| entries.value);
                if let Some(Origin::Schema(decl)) = self.origin(container) {
                    let below = decl.elements().cloned().map(Origin::Schema);
                    self.put_origin(expr, below);
                }
            }
        }
        let size = size.or_else(|| self.size(expr));
        self.put_size(expr, size);
        target_cost.add(cost.unwrap_or_default())
    }

    fn ty(&self, expr: &Expr) -> &'c Type {
        let checked: &'c Checked = self.checked;
        &checked.types[expr.id as usize]
    }

    fn local(&self, name: &str) -> Option<&Local> {
        self.locals.iter().rev().find(|(local, _)| *local == name).map(|(_, local)| local)
    }

    fn push_value(&mut self, name: &'c str, value: &Expr) {
        let local = Local { origin: self.origin(value), size: self.size(value), entries: self.entries_of(value) };
        self.locals.push((name, local));
    }

    fn origin(&self, expr: &Expr) -> Option<Origin> {
        if let Node::Ident(name) = &expr.node
            && let Some(local) = self.local(name)
        {
            return if &**name == ACCUMULATOR { None } else { local.origin.clone() };
        }
        self.origins.get(&expr.id).cloned()
    }

    fn put_origin(&mut self, expr: &Expr, origin: Option<Origin>) {
        if let Some(origin) = origin {
            self.origins.insert(expr.id, origin);
        }
    }

    fn put_size(&mut self, expr: &Expr, size: Option<Range>) {
        if let Some(size) = size {
            self.sizes.insert(expr.id, size);
        }
    }

    fn copy_sizes(&mut self, to: &Expr, from: &Expr) {
        let size = self.size(from);
        self.put_size(to, size);
        if let Some(entries) = self.entries_of(from) {
            self.entries.insert(to.id, entries);
        }
    }

    fn size_or_unknown(&self, expr: &Expr) -> Range {
        self.size(expr).unwrap_or(Range::UNKNOWN)
    }

    fn size(&self, expr: &Expr) -> Option<Range> {
        if let Some(size) = self.sizes.get(&expr.id).copied().or_else(|| written_size(expr)) {
            return Some(size);
        }
        match self.origin(expr) {
            Some(Origin::Schema(decl)) => return Some(Range { min: 0, max: decl.max_elements }),
            Some(Origin::Key) => return Some(Range::default()),
            None => {}
        }
        if self.ty(expr).is_scalar() {
            return Some(Range::exactly(1));
        }
        match &expr.node {
            Node::Ident(name) => self.local(name)?.size,
            _ => None,
        }
    }

    fn entries_of(&self, expr: &Expr) -> Option<Entries> {
        if let Some(entries) = self.entries.get(&expr.id) {
            return Some(*entries);
        }
        match &expr.node {
            Node::Ident(name) => self.local(name)?.entries,
            _ => None,
        }
    }
}

/// The size of what is written out.
fn written_size(expr: &Expr) -> Option<Range> {
    let size = match &expr.node {
        Node::Literal(Literal::String(text)) => text.chars().count(),
        Node::Literal(Literal::Bytes(bytes)) => bytes.len(),
        Node::Literal(_) => 1,
        Node::List(elements) => elements.len(),
        Node::Map(entries) => entries.len(),
        _ => return None,
    };
    Some(Range::exactly(size as u64))
}
