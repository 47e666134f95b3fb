//! The type checker: finds what an expression may be, and what is wrong with it before it ever runs
//! (upstream: cel-go checker/checker.go).

mod literals;
mod unify;

use std::collections::HashMap;
use std::sync::Arc;

use crate::ast::{Call, Comprehension, Element, Entry, Expr, Id, Node, Select, Struct};
use crate::declarations::{FUNCTIONS, Overload};
use crate::environment::Environment;
use crate::error::{CompileError, Issue};
use crate::types::Type;
use unify::Bindings;

/// What is known about an expression that is well typed.
#[derive(Debug)]
pub(crate) struct Checked {
    /// The type of every node, by its number.
    pub(crate) types: Vec<Type>,
    /// The overloads that every call may mean.
    pub(crate) overloads: HashMap<Id, Vec<&'static Overload>>,
}

/// Checks `expr`, and writes into it which dotted names are functions and types.
pub(crate) fn check(
    environment: &Environment,
    source: &str,
    expr: &mut Expr,
    nodes: Id,
) -> Result<Checked, CompileError> {
    let types = vec![Type::Dyn; nodes as usize];
    let mut checker = Checker {
        environment,
        source,
        scopes: Vec::new(),
        bindings: Bindings::default(),
        issues: Vec::new(),
        mixes: false,
        checked: Checked { types, overloads: HashMap::new() },
    };
    checker.check(expr);
    if !checker.issues.is_empty() {
        return Err(CompileError::new(source, checker.issues));
    }
    let Checker { bindings, mut checked, .. } = checker;
    for ty in &mut checked.types {
        *ty = bindings.finish(ty);
    }
    Ok(checked)
}

/// No more than so many complaints about one expression.
const MAX_ISSUES: usize = 30;

struct Checker<'c> {
    environment: &'c Environment,
    source: &'c str,
    /// The variables of loops, innermost last.
    scopes: Vec<(Box<str>, Type)>,
    bindings: Bindings,
    issues: Vec<Issue>,
    /// Whether lists may mix types: those that `format` takes.
    mixes: bool,
    checked: Checked,
}

impl Checker<'_> {
    fn complain(&mut self, at: u32, message: impl Into<String>) -> Type {
        if self.issues.len() < MAX_ISSUES {
            self.issues.push(Issue::at(self.source, at as usize, message));
        }
        Type::Dyn
    }

    fn undeclared(&mut self, at: u32, name: &str) -> Type {
        self.complain(at, format!("undeclared reference to '{name}' (in container '')"))
    }

    fn check(&mut self, expr: &mut Expr) -> Type {
        let (id, at) = (expr.id, expr.at);
        self.resolve_names(expr);
        let ty = match &mut expr.node {
            Node::Literal(literal) => literals::type_of(literal),
            Node::Ident(name) => self.ident(at, name),
            Node::Select(select) => self.select(at, select),
            Node::Call(call) => self.call(id, at, call),
            Node::List(elements) => self.list(elements),
            Node::Map(entries) => self.map(entries),
            Node::Struct(built) => self.message(at, built),
            Node::Comprehension(comprehension) => self.comprehension(comprehension),
        };
        let ty = self.bindings.bounded(ty);
        self.checked.types[id as usize] = ty.clone();
        ty
    }

    fn variable(&self, name: &str) -> Option<Type> {
        let local = self.scopes.iter().rev().find(|(local, _)| **local == *name);
        local.map(|(_, ty)| ty.clone()).or_else(|| self.environment.variable(name).cloned())
    }

    fn is_local(&self, name: &str) -> bool {
        self.scopes.iter().any(|(local, _)| **local == *name)
    }

    /// Dotted names that are no fields of a variable: `net.IP`, `sets.contains(..)`, `authorizer.requestResource`.
    fn resolve_names(&self, expr: &mut Expr) {
        match &mut expr.node {
            Node::Select(select) if !select.tests => {
                let Some(prefix) = dotted(&select.operand) else { return };
                let name = format!("{prefix}.{}", select.field);
                let root = root_of(&prefix);
                let is_variable = self.environment.variable(&name).is_some() && !self.is_local(root);
                if is_variable || (self.variable(root).is_none() && Type::named(&name).is_some()) {
                    expr.node = Node::Ident(name.into());
                }
            }
            Node::Call(Call { function, target, .. }) => {
                let Some(prefix) = target.as_ref().and_then(|target| dotted(target)) else { return };
                let name = format!("{prefix}.{function}");
                if self.variable(root_of(&prefix)).is_none() && self.environment.declares(&name) {
                    *function = name.into();
                    *target = None;
                }
            }
            _ => {}
        }
    }

    fn ident(&mut self, at: u32, name: &str) -> Type {
        if let Some(ty) = self.variable(name) {
            return ty;
        }
        match Type::named(name) {
            Some(ty) => Type::Type(Arc::new(ty)),
            None => self.undeclared(at, name),
        }
    }

    fn select(&mut self, at: u32, select: &mut Select) -> Type {
        let operand = self.check(&mut select.operand);
        let ty = self.field(at, &operand, &select.field);
        if select.tests { Type::Bool } else { ty }
    }

    /// The type of a field of a value.
    fn field(&mut self, at: u32, operand: &Type, field: &str) -> Type {
        match self.bindings.resolve(operand) {
            Type::Dyn | Type::Param(_) => Type::Dyn,
            Type::Map(_, value) => (*value).clone(),
            Type::Optional(value) => {
                let inner = self.field(at, &value, field);
                if matches!(inner, Type::Optional(_)) { inner } else { Type::optional(inner) }
            }
            Type::Object(decl) => match decl.field(field) {
                Some(found) => found.decl.ty(),
                None => self.complain(at, format!("undefined field '{field}'")),
            },
            Type::Message(name) => match self.environment.message_field(&name, field) {
                Some(ty) => ty,
                None => self.complain(at, format!("undefined field '{field}'")),
            },
            other => {
                let shown = self.bindings.show(&other);
                self.complain(at, format!("type '{shown}' does not support field selection"))
            }
        }
    }

    fn call(&mut self, id: Id, at: u32, call: &mut Call) -> Type {
        if &*call.function == "_?._" {
            return self.optional_select(at, call);
        }
        let target = call.target.as_mut().map(|target| self.check(target));
        let mixes = self.mixes;
        self.mixes |= &*call.function == "format";
        let args: Vec<Type> = call.args.iter_mut().map(|arg| self.check(arg)).collect();
        self.mixes = mixes;
        if !self.environment.declares(&call.function) {
            return self.undeclared(at, &call.function);
        }
        if let Some(message) = literals::problem(call) {
            return self.complain(at, message);
        }
        let overloads: &'static [Overload] = FUNCTIONS.get(&*call.function).map_or(&[], Vec::as_slice);
        let all: Vec<Type> = target.iter().cloned().chain(args.iter().cloned()).collect();
        let mut result: Option<Type> = None;
        let mut matching = Vec::new();
        for overload in overloads {
            let Some(returned) = self.bindings.apply(overload, target.is_some(), &all) else { continue };
            matching.push(overload);
            result = Some(match result {
                None => returned,
                Some(before) if before.is_dyn() || self.bindings.same(&before, &returned) => before,
                Some(_) => Type::Dyn,
            });
        }
        self.checked.overloads.insert(id, matching);
        result.unwrap_or_else(|| {
            let shown: Vec<String> = args.iter().map(|ty| self.bindings.show(ty)).collect();
            let mut signature = format!("({})", shown.join(", "));
            if let Some(target) = &target {
                signature = format!("{}.{signature}", self.bindings.show(target));
            }
            let function = &call.function;
            self.complain(at, format!("found no matching overload for '{function}' applied to '{signature}'"))
        })
    }

    /// `a.?b`: the field's value, if there is one.
    fn optional_select(&mut self, at: u32, call: &mut Call) -> Type {
        let [operand, field] = &mut call.args[..] else { return Type::Dyn };
        let operand = self.check(operand);
        self.check(field);
        let Node::Literal(crate::ast::Literal::String(name)) = &field.node else { return Type::Dyn };
        let ty = self.field(at, &operand, name);
        if matches!(ty, Type::Optional(_)) { ty } else { Type::optional(ty) }
    }

    /// The type of what is written in one place of a literal, given what was written in the places before.
    fn join(&mut self, at: u32, before: Option<Type>, next: Type) -> Type {
        let Some(before) = before else { return next };
        if self.bindings.assign(&next, &before) {
            return if self.bindings.resolve(&next).is_dyn() { Type::Dyn } else { before };
        }
        if self.bindings.assign(&before, &next) {
            return next;
        }
        if self.mixes {
            return Type::Dyn;
        }
        let (wanted, found) = (self.bindings.show(&before), self.bindings.show(&next));
        self.complain(at, format!("expected type '{wanted}' but found '{found}'"))
    }

    /// The value's type, or for an optional place what the optional value holds.
    fn place(&mut self, value: &mut Expr, optional: bool) -> Type {
        let at = value.at;
        let ty = self.check(value);
        if !optional {
            return ty;
        }
        match self.bindings.resolve(&ty) {
            Type::Optional(inner) => (*inner).clone(),
            Type::Dyn => Type::Dyn,
            other => {
                let found = self.bindings.show(&other);
                self.complain(at, format!("expected type 'optional_type({found})' but found '{found}'"))
            }
        }
    }

    fn list(&mut self, elements: &mut [Element]) -> Type {
        let mut item = None;
        for element in elements {
            let at = element.value.at;
            let ty = self.place(&mut element.value, element.optional);
            item = Some(self.join(at, item, ty));
        }
        Type::list(item.unwrap_or_else(|| self.bindings.fresh()))
    }

    fn map(&mut self, entries: &mut [Entry]) -> Type {
        let (mut key, mut value) = (None, None);
        for entry in entries {
            let (key_at, value_at) = (entry.key.at, entry.value.at);
            let key_type = self.check(&mut entry.key);
            key = Some(self.join(key_at, key, key_type));
            let value_type = self.place(&mut entry.value, entry.optional);
            value = Some(self.join(value_at, value, value_type));
        }
        let key = key.unwrap_or_else(|| self.bindings.fresh());
        Type::map(key, value.unwrap_or_else(|| self.bindings.fresh()))
    }

    fn message(&mut self, at: u32, built: &mut Struct) -> Type {
        let known = self.environment.is_message(&built.name);
        for field in &mut built.fields {
            let value_at = field.value.at;
            let provided = self.place(&mut field.value, field.optional);
            if !known {
                continue;
            }
            match self.environment.message_field(&built.name, &field.name) {
                None => {
                    let name = &field.name;
                    self.complain(value_at, format!("undefined field '{name}'"));
                }
                Some(wanted) if !self.bindings.assign(&provided, &wanted) => {
                    let (name, wanted, provided) = (&field.name, wanted.to_string(), self.bindings.show(&provided));
                    self.complain(
                        value_at,
                        format!("expected type of field '{name}' is '{wanted}' but provided type is '{provided}'"),
                    );
                }
                Some(_) => {}
            }
        }
        if known { Type::Message((*built.name).into()) } else { self.undeclared(at, &built.name) }
    }

    fn comprehension(&mut self, it: &mut Comprehension) -> Type {
        let range = self.check(&mut it.range);
        let accu = self.check(&mut it.init);
        let (first, second) = self.loop_types(it.range.at, &range, it.var2.is_some());
        let depth = self.scopes.len();
        self.scopes.push((it.accu.clone(), accu.clone()));
        self.scopes.push((it.var.clone(), first));
        if let Some(name) = &it.var2 {
            self.scopes.push((name.clone(), second));
        }
        let condition = self.check(&mut it.condition);
        if !self.bindings.assign(&condition, &Type::Bool) {
            let found = self.bindings.show(&condition);
            self.complain(it.condition.at, format!("expected type 'bool' but found '{found}'"));
        }
        let step = self.check(&mut it.step);
        if !it.is_binding() && !self.bindings.assign(&step, &accu) {
            let (wanted, found) = (self.bindings.show(&accu), self.bindings.show(&step));
            self.complain(it.step.at, format!("expected type '{wanted}' but found '{found}'"));
        }
        self.scopes.truncate(depth + 1);
        let result = self.check(&mut it.result);
        self.scopes.truncate(depth);
        result
    }

    /// The types of a loop's variables.
    fn loop_types(&mut self, at: u32, range: &Type, two: bool) -> (Type, Type) {
        match self.bindings.resolve(range) {
            Type::Dyn | Type::Param(_) => (Type::Dyn, Type::Dyn),
            Type::List(item) if two => (Type::Int, (*item).clone()),
            Type::List(item) => ((*item).clone(), Type::Dyn),
            Type::Map(key, value) => ((*key).clone(), (*value).clone()),
            other => {
                let shown = self.bindings.show(&other);
                self.complain(
                    at,
                    format!(
                        "expression of type '{shown}' cannot be range of a comprehension (must be list, map, or dynamic)"
                    ),
                );
                (Type::Dyn, Type::Dyn)
            }
        }
    }
}

/// `a.b.c`, where the expression is such a name.
fn dotted(expr: &Expr) -> Option<String> {
    match &expr.node {
        Node::Ident(name) => Some(name.to_string()),
        Node::Select(Select { operand, field, tests: false }) => Some(format!("{}.{field}", dotted(operand)?)),
        _ => None,
    }
}

fn root_of(name: &str) -> &str {
    name.split_once('.').map_or(name, |(root, _)| root)
}
