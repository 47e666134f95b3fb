//! [`Environment`]: the variables that expressions may name; [`Program`]: an expression that was checked against them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use regex::Regex;

use crate::ast::{Expr, Literal, Node};
use crate::budget::{Budget, Meter};
use crate::check;
use crate::cost;
use crate::declarations::FUNCTIONS;
use crate::error::{CompileError, EvalError};
use crate::eval::{self, Variables};
use crate::library::regexes;
use crate::parse;
use crate::schema::Decl;
use crate::stack;
use crate::types::Type;
use crate::value::Value;

/// Variables with their types.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: Vec<(String, Type)>,
    schemas: Vec<(String, Arc<Decl>)>,
    messages: Vec<(String, BTreeMap<String, Type>)>,
    mutates: bool,
    binds: bool,
}

impl Environment {
    /// No variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one variable more.
    #[must_use]
    pub fn with(mut self, name: &str, ty: Type) -> Self {
        self.variables.push((name.to_owned(), ty));
        self
    }

    /// With a variable that has a schema's type, whose sizes the cost estimate knows. `optional`: it may be missing.
    #[must_use]
    pub(crate) fn with_schema(mut self, name: &str, decl: &Arc<Decl>, optional: bool) -> Self {
        let ty = if optional { Type::optional(decl.ty()) } else { decl.ty() };
        self.schemas.push((name.to_owned(), decl.clone()));
        self.with(name, ty)
    }

    /// Without a variable.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self
    }

    /// With a type of objects that have these fields and no others: [`Type::Message`] of this name.
    #[must_use]
    pub fn with_message(mut self, name: &str, fields: &[(&str, Type)]) -> Self {
        let fields = fields.iter().map(|(field, ty)| ((*field).to_owned(), ty.clone()));
        self.messages.push((name.to_owned(), fields.collect()));
        self
    }

    /// With the types that mutations build: `Object`, `Object.spec` and so on, and `JSONPatch`.
    #[must_use]
    pub fn with_mutations(mut self) -> Self {
        self.mutates = true;
        self
    }

    /// With the macro `cel.bind` (upstream: cel-go ext/bindings.go).
    #[must_use]
    pub(crate) fn with_bindings(mut self) -> Self {
        self.binds = true;
        self
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&Type> {
        self.variables.iter().rev().find(|(known, _)| known == name).map(|(_, ty)| ty)
    }

    pub(crate) fn schema_of(&self, name: &str) -> Option<&Arc<Decl>> {
        self.schemas.iter().rev().find(|(known, _)| known == name).map(|(_, decl)| decl)
    }

    pub(crate) fn declares(&self, function: &str) -> bool {
        FUNCTIONS.contains_key(function) && (self.mutates || function != "jsonpatch.escapeKey")
    }

    /// Whether expressions may build values of this type.
    pub(crate) fn is_message(&self, name: &str) -> bool {
        self.mutates && (name == "JSONPatch" || name == "Object" || name.starts_with("Object."))
    }

    /// The type of a field of what expressions build.
    pub(crate) fn message_field(&self, message: &str, field: &str) -> Option<Type> {
        if let Some((_, fields)) = self.messages.iter().rev().find(|(name, _)| name == message) {
            return fields.get(field).cloned();
        }
        match (message, field) {
            ("JSONPatch", "op" | "path" | "from") => Some(Type::String),
            ("JSONPatch", "value") => Some(Type::Dyn),
            ("JSONPatch", _) => None,
            _ => Some(Type::Dyn),
        }
    }

    /// Compiles an expression.
    pub fn compile(&self, source: &str) -> Result<Program, CompileError> {
        stack::for_compiling(|| self.compile_here(source))
    }

    fn compile_here(&self, source: &str) -> Result<Program, CompileError> {
        let (mut expr, nodes) = parse::parse(source, self.binds)?;
        let checked = check::check(self, source, &mut expr, nodes)?;
        let estimate = cost::estimate(self, &expr, &checked);
        let mut found = Found::default();
        found.visit(&expr);
        let output = checked.types[expr.id as usize].clone();
        Ok(Program { expr, output, max_cost: estimate.max, regexes: found.regexes, names: found.names })
    }
}

/// A compiled expression.
#[derive(Debug)]
pub struct Program {
    expr: Expr,
    output: Type,
    max_cost: u64,
    regexes: HashMap<Box<str>, Regex>,
    names: Vec<Box<str>>,
}

impl Program {
    /// The type of its result.
    pub fn output(&self) -> &Type {
        &self.output
    }

    /// What evaluating it costs at worst, as far as the sizes of its variables are known.
    pub fn max_cost(&self) -> u64 {
        self.max_cost
    }

    /// How deep it nests: what evaluating it takes of the stack.
    pub fn height(&self) -> u16 {
        self.expr.height
    }

    /// Whether it names the variable.
    pub fn names(&self, variable: &str) -> bool {
        self.names.iter().any(|name| **name == *variable)
    }

    /// Evaluates it, and takes its cost from the budget.
    pub fn evaluate<'a>(&'a self, variables: &Variables<'a>, budget: &mut Budget) -> Result<Value<'a>, EvalError> {
        let mut meter = budget.meter();
        let result = self.evaluate_within(variables, &mut meter);
        budget.pay(&meter)?;
        result
    }

    /// Evaluates it as a part of another evaluation, with a cost limit of its own.
    pub fn evaluate_part<'a>(&'a self, variables: &Variables<'a>, whole: &mut Meter) -> Result<Value<'a>, EvalError> {
        let mut meter = whole.nested();
        let result = self.evaluate_within(variables, &mut meter);
        whole.absorb(&meter);
        result
    }

    fn evaluate_within<'a>(&'a self, variables: &Variables<'a>, meter: &mut Meter) -> Result<Value<'a>, EvalError> {
        stack::for_height(self.expr.height, || eval::evaluate(&self.expr, &self.regexes, variables, meter))
    }
}

/// What a walk over an expression finds.
#[derive(Default)]
struct Found {
    regexes: HashMap<Box<str>, Regex>,
    names: Vec<Box<str>>,
}

impl Found {
    fn visit(&mut self, expr: &Expr) {
        match &expr.node {
            Node::Literal(_) => {}
            Node::Ident(name) => {
                if !self.names.contains(name) {
                    self.names.push(name.clone());
                }
            }
            Node::Select(select) => self.visit(&select.operand),
            Node::Call(call) => {
                if matches!(&*call.function, "matches" | "find" | "findAll") {
                    let place = usize::from(call.target.is_none());
                    if let Some(Node::Literal(Literal::String(pattern))) = call.args.get(place).map(|arg| &arg.node)
                        && let Ok(regex) = regexes::compile(pattern)
                    {
                        self.regexes.insert(pattern.clone(), regex);
                    }
                }
                call.target.iter().for_each(|target| self.visit(target));
                call.args.iter().for_each(|arg| self.visit(arg));
            }
            Node::List(elements) => elements.iter().for_each(|element| self.visit(&element.value)),
            Node::Map(entries) => entries.iter().for_each(|entry| {
                self.visit(&entry.key);
                self.visit(&entry.value);
            }),
            Node::Struct(built) => built.fields.iter().for_each(|field| self.visit(&field.value)),
            Node::Comprehension(it) => {
                [&it.range, &it.init, &it.condition, &it.step, &it.result]
                    .into_iter()
                    .for_each(|expr| self.visit(expr));
            }
        }
    }
}
