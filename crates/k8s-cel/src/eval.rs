//! Evaluation: walks the tree, counting cost as it goes (upstream: cel-go interpreter/interpretable.go).

mod charge;
mod operators;

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use regex::Regex;

use crate::ast::{ACCUMULATOR, Call, Comprehension, Element, Entry, Expr, Literal, Node, Select, Struct};
use crate::budget::Meter;
use crate::cost::{LIST, MAP, STRUCT};
use crate::error::EvalError;
use crate::library;
use crate::types::Type;
use crate::value::{Key, List, Map, Text, Value};

type Evaluated<'a> = Result<Value<'a>, EvalError>;

/// The values of an environment's variables for one evaluation.
#[derive(Clone, Debug, Default)]
pub struct Variables<'a>(Vec<(&'a str, Value<'a>)>);

impl<'a> Variables<'a> {
    /// With one variable more.
    #[must_use]
    pub fn with(mut self, name: &'a str, value: Value<'a>) -> Self {
        self.0.push((name, value));
        self
    }

    /// The variable's value.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.0.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

/// Evaluates `expr`; `regexes` are the patterns written out in it.
pub(crate) fn evaluate<'a>(
    expr: &'a Expr,
    regexes: &'a HashMap<Box<str>, Regex>,
    variables: &Variables<'a>,
    meter: &mut Meter,
) -> Evaluated<'a> {
    Evaluator { variables, regexes, meter, locals: Vec::new() }.eval(expr)
}

struct Evaluator<'a, 'm> {
    variables: &'m Variables<'a>,
    regexes: &'a HashMap<Box<str>, Regex>,
    meter: &'m mut Meter,
    /// The variables of loops, innermost last.
    locals: Vec<(&'a str, Value<'a>)>,
}

impl<'a> Evaluator<'a, '_> {
    fn eval(&mut self, expr: &'a Expr) -> Evaluated<'a> {
        match &expr.node {
            Node::Literal(literal) => Ok(constant(literal)),
            Node::Ident(name) => self.ident(name),
            Node::Select(select) => self.select(select),
            Node::Call(call) => self.call(call),
            Node::List(elements) => self.list(elements),
            Node::Map(entries) => self.map(entries),
            Node::Struct(built) => self.message(built),
            Node::Comprehension(it) if it.is_binding() => self.binding(it),
            Node::Comprehension(it) => self.comprehension(it),
        }
    }

    fn ident(&mut self, name: &'a str) -> Evaluated<'a> {
        self.meter.spend(1)?;
        if let Some((_, value)) = self.locals.iter().rev().find(|(local, _)| *local == name) {
            return Ok(value.clone());
        }
        if let Some(value) = self.variables.get(name) {
            return Ok(value.clone());
        }
        match Type::named(name) {
            Some(ty) => Ok(Value::Type(ty.runtime_name().into())),
            None => Err(EvalError::NoSuchAttribute(name.to_owned())),
        }
    }

    fn select(&mut self, select: &'a Select) -> Evaluated<'a> {
        let operand = self.eval(&select.operand)?;
        let name = &*select.field;
        if select.tests {
            let found = match &operand {
                Value::Optional(None) => None,
                Value::Optional(Some(value)) => value.field(name, self.meter)?,
                other => other.field(name, self.meter)?,
            };
            return Ok(Value::Bool(found.is_some()));
        }
        self.meter.spend(1)?;
        match &operand {
            Value::Optional(None) => Ok(operand),
            Value::Optional(Some(value)) => Ok(optional(value.field(name, self.meter)?)),
            other => {
                let value = other.field(name, self.meter)?.ok_or_else(|| EvalError::NoSuchKey(name.to_owned()))?;
                self.meter.work(decoded(&value))?;
                Ok(value)
            }
        }
    }

    fn call(&mut self, call: &'a Call) -> Evaluated<'a> {
        match (&*call.function, &call.args[..]) {
            ("_&&_", [left, right]) => self.logical(left, right, false),
            ("_||_", [left, right]) => self.logical(left, right, true),
            ("_?_:_", [condition, yes, no]) => match self.eval(condition)? {
                Value::Bool(true) => self.eval(yes),
                Value::Bool(false) => self.eval(no),
                other => Err(EvalError::overload("_?_:_", &[other.type_name().to_owned()])),
            },
            ("@not_strictly_false", [arg]) => {
                let value = self.eval(arg);
                self.meter.spend(1)?;
                match value {
                    Ok(Value::Bool(value)) => Ok(Value::Bool(value)),
                    Err(error) if error.is_cancellation() => Err(error),
                    _ => Ok(Value::Bool(true)),
                }
            }
            ("_?._", [operand, field]) => self.optional_select(operand, field),
            ("_+_", [accu, added]) if is_accumulator(accu) => self.append(accu, added),
            ("cel.@mapInsert", [accu, rest @ ..]) if is_accumulator(accu) => self.insert(accu, rest),
            _ => self.plain_call(call),
        }
    }

    /// `&&` and `||`: an error on one side does not matter where the other side decides.
    fn logical(&mut self, left: &'a Expr, right: &'a Expr, decides: bool) -> Evaluated<'a> {
        let first = self.eval(left);
        match &first {
            Ok(Value::Bool(value)) if *value == decides => return first,
            Err(error) if error.is_cancellation() => return first,
            _ => {}
        }
        let second = self.eval(right);
        match (&first, &second) {
            (_, Ok(Value::Bool(value))) if *value == decides => second,
            (_, Err(error)) if error.is_cancellation() => second,
            (Err(_), _) => first,
            (_, Err(_)) => second,
            (Ok(Value::Bool(_)), Ok(Value::Bool(_))) => second,
            (Ok(Value::Bool(_)), Ok(other)) | (Ok(other), _) => {
                let function = if decides { "_||_" } else { "_&&_" };
                Err(EvalError::overload(function, &[other.type_name().to_owned()]))
            }
        }
    }

    fn optional_select(&mut self, operand: &'a Expr, field: &'a Expr) -> Evaluated<'a> {
        let operand = self.eval(operand)?;
        self.meter.spend(1)?;
        let Node::Literal(Literal::String(name)) = &field.node else { return Ok(Value::Optional(None)) };
        let found = match &operand {
            Value::Optional(None) => None,
            Value::Optional(Some(value)) => value.field(name, self.meter)?,
            other => other.field(name, self.meter)?,
        };
        Ok(optional(found))
    }

    fn plain_call(&mut self, call: &'a Call) -> Evaluated<'a> {
        let mut args = Vec::with_capacity(call.args.len() + 1);
        if let Some(target) = &call.target {
            args.push(self.eval(target)?);
        }
        for arg in &call.args {
            args.push(self.eval(arg)?);
        }
        self.meter.work(charge::text_of(&args))?;
        self.meter.spend(charge::of_call(&call.function, call.target.is_some(), &args))?;
        if let Some(result) = operators::call(&call.function, &args, self.meter) {
            return result;
        }
        let mut cx = library::CallCx { meter: self.meter, regexes: self.regexes };
        library::call(&call.function, call.target.is_some(), &args, &mut cx)
    }

    /// `@result + [x]`: the list is the loop's own, and grows in place.
    fn append(&mut self, accu: &'a Expr, added: &'a Expr) -> Evaluated<'a> {
        let before = self.take_accumulator(accu)?;
        let added = self.eval(added)?;
        let args = [before, added];
        self.meter.spend(charge::of_call("_+_", false, &args))?;
        let [before, added] = args;
        match (before, added) {
            (Value::List(List::Items(mut items)), Value::List(List::Items(more))) => {
                self.meter.allocate_values(more.len() as u64)?;
                Rc::make_mut(&mut items).extend(more.iter().cloned());
                Ok(Value::List(List::Items(items)))
            }
            (before, added) => operators::call("_+_", &[before, added], self.meter)
                .unwrap_or_else(|| Err(EvalError::overload("_+_", &[]))),
        }
    }

    /// `cel.@mapInsert(@result, key, value)` or `(@result, {key: value})`: the map grows in place.
    fn insert(&mut self, accu: &'a Expr, rest: &'a [Expr]) -> Evaluated<'a> {
        let before = self.take_accumulator(accu)?;
        let mut added = Vec::with_capacity(2);
        for expr in rest {
            added.push(self.eval(expr)?);
        }
        self.meter.spend(1)?;
        let Value::Map(Map::Entries(mut entries)) = before else {
            return Err(EvalError::overload("cel.@mapInsert", &[before.type_name().to_owned()]));
        };
        let new: Vec<(Value<'a>, Value<'a>)> = match &added[..] {
            [key, value] => vec![(key.clone(), value.clone())],
            [Value::Map(map)] => {
                let mut new = Vec::with_capacity(map.len());
                for key in map.keys() {
                    let key = key.to_value();
                    let value = map.get(&key)?.unwrap_or(Value::Null);
                    new.push((key, value));
                }
                new
            }
            _ => return Err(EvalError::overload("cel.@mapInsert", &[])),
        };
        self.meter.allocate_values(2 * new.len() as u64)?;
        let grown = Rc::make_mut(&mut entries);
        for (key, value) in new {
            put(grown, &key, value)?;
        }
        Ok(Value::Map(Map::Entries(entries)))
    }

    /// The accumulator's value; what stays behind is replaced by the step that asks.
    fn take_accumulator(&mut self, accu: &'a Expr) -> Evaluated<'a> {
        self.meter.spend(1)?;
        let Node::Ident(name) = &accu.node else { return self.eval(accu) };
        let slot = self.locals.iter_mut().rev().find(|(local, _)| *local == &**name);
        slot.map(|(_, value)| std::mem::replace(value, Value::Null))
            .ok_or_else(|| EvalError::NoSuchAttribute(name.to_string()))
    }

    fn list(&mut self, elements: &'a [Element]) -> Evaluated<'a> {
        let mut items = Vec::with_capacity(elements.len());
        for element in elements {
            let value = self.eval(&element.value)?;
            match value {
                Value::Optional(held) if element.optional => {
                    items.extend(held.map(|value| (*value).clone()));
                }
                value => items.push(value),
            }
        }
        self.meter.spend(LIST)?;
        self.meter.allocate(40 + 40 * items.len() as u64)?;
        Ok(Value::List(List::new(items)))
    }

    fn map(&mut self, entries: &'a [Entry]) -> Evaluated<'a> {
        let mut map = BTreeMap::new();
        for entry in entries {
            let key = self.eval(&entry.key)?;
            match self.eval(&entry.value)? {
                Value::Optional(held) if entry.optional => {
                    if let Some(value) = held {
                        put(&mut map, &key, (*value).clone())?;
                    }
                }
                value => put(&mut map, &key, value)?,
            }
        }
        self.meter.spend(MAP)?;
        self.meter.allocate(40 + 100 * map.len() as u64)?;
        Ok(Value::Map(Map::new(map)))
    }

    fn message(&mut self, built: &'a Struct) -> Evaluated<'a> {
        let mut fields = BTreeMap::new();
        for field in &built.fields {
            let key = Key::String(Text::Borrowed(&field.name));
            match self.eval(&field.value)? {
                Value::Optional(held) if field.optional => {
                    if let Some(value) = held {
                        fields.insert(key, (*value).clone());
                    }
                }
                value => {
                    fields.insert(key, value);
                }
            }
        }
        self.meter.spend(STRUCT)?;
        self.meter.allocate(40 + 100 * fields.len() as u64)?;
        Ok(Value::Message((*built.name).into(), Map::new(fields)))
    }

    /// A name for a value, as in `optMap`.
    fn binding(&mut self, it: &'a Comprehension) -> Evaluated<'a> {
        let value = self.eval(&it.init)?;
        self.meter.spend(LIST)?;
        self.locals.push((&it.accu, value));
        let result = self.eval(&it.result);
        self.locals.pop();
        result
    }

    fn comprehension(&mut self, it: &'a Comprehension) -> Evaluated<'a> {
        let range = self.eval(&it.range)?;
        let init = self.eval(&it.init)?;
        let depth = self.locals.len();
        self.locals.push((&it.accu, init));
        let outcome = match &range {
            Value::List(list) => self.turns(it, depth, list.len(), &mut |index, two| {
                let item = list.get(index).unwrap_or(Ok(Value::Null))?;
                let number = Value::Int(i64::try_from(index).unwrap_or(i64::MAX));
                Ok(if two { (number, item) } else { (item, Value::Null) })
            }),
            Value::Map(map) => {
                let keys = map.keys();
                self.meter.allocate_values(keys.len() as u64)?;
                self.turns(it, depth, keys.len(), &mut |index, two| {
                    let key = keys[index].to_value();
                    let value = if two { map.get(&key)?.unwrap_or(Value::Null) } else { Value::Null };
                    Ok((key, value))
                })
            }
            other => Err(EvalError::overload("comprehension", &[other.type_name().to_owned()])),
        };
        self.locals.truncate(depth + 1);
        let result = outcome.and_then(|failed| match failed {
            // Quantifiers go on behind an error, which another item may outweigh.
            Some(error) => Err(error),
            None => self.eval(&it.result),
        });
        self.locals.truncate(depth);
        result
    }

    /// Turns the loop; answers the error that the accumulator ended as, if it did.
    fn turns(
        &mut self,
        it: &'a Comprehension,
        depth: usize,
        count: usize,
        item: &mut dyn FnMut(usize, bool) -> Result<(Value<'a>, Value<'a>), EvalError>,
    ) -> Result<Option<EvalError>, EvalError> {
        let decides = quantifier(it);
        let mut failed: Option<EvalError> = None;
        for index in 0..count {
            self.meter.work(1)?;
            let condition = self.eval(&it.condition)?;
            if condition.as_bool() == Some(false) {
                break;
            }
            let (first, second) = item(index, it.var2.is_some())?;
            self.meter.work(decoded(&first) + decoded(&second))?;
            self.locals.push((&it.var, first));
            if let Some(name) = &it.var2 {
                self.locals.push((name, second));
            }
            let step = self.eval(&it.step);
            self.locals.truncate(depth + 1);
            match (step, decides) {
                (Ok(value), Some(decisive)) => {
                    if value.as_bool() == Some(decisive) {
                        failed = None;
                    }
                    self.locals[depth].1 = value;
                }
                (Ok(value), None) => self.locals[depth].1 = value,
                (Err(error), Some(_)) if !error.is_cancellation() => {
                    failed.get_or_insert(error);
                }
                (Err(error), _) => return Err(error),
            }
        }
        Ok(failed)
    }
}

/// The value that decides a loop of `all` or `exists`; `None` for other loops.
fn quantifier(it: &Comprehension) -> Option<bool> {
    match &it.step.node {
        Node::Call(call) if matches!(&call.args[..], [accu, ..] if is_accumulator(accu)) => match &*call.function {
            "_&&_" => Some(false),
            "_||_" => Some(true),
            _ => None,
        },
        _ => None,
    }
}

/// What reading a value out of an object took, where that is more than a look: octets are decoded each time.
fn decoded(value: &Value<'_>) -> u64 {
    match value {
        Value::Bytes(bytes) => (bytes.len() / 64) as u64,
        _ => 0,
    }
}

fn is_accumulator(expr: &Expr) -> bool {
    matches!(&expr.node, Node::Ident(name) if &**name == ACCUMULATOR)
}

fn optional(value: Option<Value<'_>>) -> Value<'_> {
    Value::Optional(value.map(Rc::new))
}

/// Puts an entry that must be new.
fn put<'a>(map: &mut BTreeMap<Key<'a>, Value<'a>>, key: &Value<'a>, value: Value<'a>) -> Result<(), EvalError> {
    let Some(found) = Key::of(key) else {
        return Err(EvalError::function(format!("unsupported key type: {}", key.type_name())));
    };
    if map.insert(found, value).is_some() {
        let shown = key.to_json().map(|json| json.to_string()).unwrap_or_default();
        return Err(EvalError::function(format!("Failed with repeated key: {}", shown.trim_matches('"'))));
    }
    Ok(())
}

fn constant(literal: &Literal) -> Value<'_> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Int(value) => Value::Int(*value),
        Literal::Uint(value) => Value::Uint(*value),
        Literal::Double(value) => Value::Double(*value),
        Literal::String(text) => Value::String(Text::Borrowed(text)),
        Literal::Bytes(bytes) => Value::Bytes(Rc::from(&**bytes)),
    }
}
