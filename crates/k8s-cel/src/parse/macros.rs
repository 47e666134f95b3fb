//! Macros: calls that become loops before anything else looks at them
//! (upstream: cel-go parser/macro.go, ext/comprehensions.go, cel/library.go, ext/lists.go).

use super::{Builder, Fault, Parsed};
use crate::ast::{ACCUMULATOR, Call, Comprehension, Element, Entry, Expr, Literal, Node, Struct, StructField};

/// The call, or what its macro makes of it.
pub(super) fn expand(
    build: &mut Builder,
    at: usize,
    function: &str,
    target: Option<Expr>,
    mut args: Vec<Expr>,
) -> Parsed<Expr> {
    let Some(target) = target else {
        if function == "has" && args.len() == 1 {
            return has(build, at, args.remove(0));
        }
        return build.call(at, function, args);
    };
    match (function, args.len()) {
        ("all" | "exists" | "exists_one" | "existsOne", 2 | 3) => quantifier(build, at, function, target, args),
        ("map", 2 | 3) | ("transformList", 3 | 4) => {
            let variables = if function == "map" { 1 } else { 2 };
            collect(build, at, target, args, variables)
        }
        ("filter", 2) => {
            let item = args[0].clone();
            args.push(item);
            collect(build, at, target, args, 1)
        }
        ("transformMap" | "transformMapEntry", 3 | 4) => into_map(build, at, function, target, args),
        ("bind", 3) if build.binds && is_cel(&target) => {
            let name = names(&mut args, 1)?.first;
            let (value, result) = (args.remove(0), args.remove(0));
            bind(build, at, &name, value, result)
        }
        ("optMap" | "optFlatMap", 2) => optional_map(build, at, function, target, args),
        ("sortBy", 2) => sort_by(build, at, target, args),
        _ => build.member(at, target, function, args),
    }
}

/// Whether it is the name that `cel.bind` begins with.
fn is_cel(target: &Expr) -> bool {
    matches!(&target.node, Node::Ident(name) if &**name == "cel")
}

fn has(build: &mut Builder, at: usize, operand: Expr) -> Parsed<Expr> {
    match operand.node {
        Node::Select(mut select) => {
            select.tests = true;
            build.make(at, Node::Select(select))
        }
        _ => Err(Fault::new(operand.at as usize, "invalid argument to has() macro")),
    }
}

/// The names of the loop's variables: the first `count` of the arguments.
struct Names {
    first: Box<str>,
    second: Option<Box<str>>,
}

fn names(args: &mut Vec<Expr>, count: usize) -> Parsed<Names> {
    let mut next = || {
        let arg = args.remove(0);
        match arg.node {
            Node::Ident(name) => Ok((name, arg.at as usize)),
            _ => Err(Fault::new(arg.at as usize, "argument must be a simple name")),
        }
    };
    let (first, _) = next()?;
    if count == 1 {
        return Ok(Names { first, second: None });
    }
    let (second, at) = next()?;
    if first == second {
        return Err(Fault::new(at, format!("duplicate variable name: {first}")));
    }
    Ok(Names { first, second: Some(second) })
}

fn accumulator(build: &mut Builder, at: usize) -> Parsed<Expr> {
    build.ident(at, ACCUMULATOR)
}

/// What a macro's loop does; it starts with `init` and gives its accumulator, or what `result` makes of it.
struct Loop {
    init: Expr,
    condition: Expr,
    step: Expr,
    result: Expr,
}

fn comprehension(build: &mut Builder, at: usize, range: Expr, names: Names, body: Loop) -> Parsed<Expr> {
    let Loop { init, condition, step, result } = body;
    let (var, var2, accu) = (names.first, names.second, ACCUMULATOR.into());
    let made = Comprehension { range, var, var2, accu, init, condition, step, result };
    build.make(at, Node::Comprehension(Box::new(made)))
}

fn quantifier(build: &mut Builder, at: usize, function: &str, target: Expr, mut args: Vec<Expr>) -> Parsed<Expr> {
    let count = args.len() - 1;
    let names = names(&mut args, count)?;
    let predicate = args.remove(0);
    let accu = accumulator(build, at)?;
    let result = accumulator(build, at)?;
    let body = match function {
        "all" => Loop {
            init: build.literal(at, Literal::Bool(true))?,
            condition: {
                let current = accumulator(build, at)?;
                build.call(at, "@not_strictly_false", vec![current])?
            },
            step: build.call(at, "_&&_", vec![accu, predicate])?,
            result,
        },
        "exists" => Loop {
            init: build.literal(at, Literal::Bool(false))?,
            condition: {
                let current = accumulator(build, at)?;
                let not = build.call(at, "!_", vec![current])?;
                build.call(at, "@not_strictly_false", vec![not])?
            },
            step: build.call(at, "_||_", vec![accu, predicate])?,
            result,
        },
        _ => Loop {
            init: build.literal(at, Literal::Int(0))?,
            condition: build.literal(at, Literal::Bool(true))?,
            step: {
                let one = build.literal(at, Literal::Int(1))?;
                let more = build.call(at, "_+_", vec![accu, one])?;
                let same = accumulator(build, at)?;
                build.call(at, "_?_:_", vec![predicate, more, same])?
            },
            result: {
                let one = build.literal(at, Literal::Int(1))?;
                build.call(at, "_==_", vec![result, one])?
            },
        },
    };
    comprehension(build, at, target, names, body)
}

/// `step`, where there is a filter only for what passes it.
fn filtered(build: &mut Builder, at: usize, filter: Option<Expr>, step: Expr) -> Parsed<Expr> {
    let Some(filter) = filter else { return Ok(step) };
    let same = accumulator(build, at)?;
    build.call(at, "_?_:_", vec![filter, step, same])
}

/// `map`, `filter` and `transformList`: a list grows; a filter comes before the item.
fn collect(build: &mut Builder, at: usize, target: Expr, mut args: Vec<Expr>, variables: usize) -> Parsed<Expr> {
    let names = names(&mut args, variables)?;
    let filter = (args.len() == 2).then(|| args.remove(0));
    let item = args.remove(0);
    let accu = accumulator(build, at)?;
    let added = build.make(at, Node::List(vec![Element { value: item, optional: false }]))?;
    let step = build.call(at, "_+_", vec![accu, added])?;
    let body = Loop {
        init: build.make(at, Node::List(Vec::new()))?,
        condition: build.literal(at, Literal::Bool(true))?,
        step: filtered(build, at, filter, step)?,
        result: accumulator(build, at)?,
    };
    comprehension(build, at, target, names, body)
}

/// `transformMap` and `transformMapEntry`: a map grows.
fn into_map(build: &mut Builder, at: usize, function: &str, target: Expr, mut args: Vec<Expr>) -> Parsed<Expr> {
    let names = names(&mut args, 2)?;
    let filter = (args.len() == 2).then(|| args.remove(0));
    let item = args.remove(0);
    let accu = accumulator(build, at)?;
    let inserted = if function == "transformMap" {
        let key = build.ident(at, &names.first)?;
        vec![accu, key, item]
    } else {
        vec![accu, item]
    };
    let step = build.call(at, "cel.@mapInsert", inserted)?;
    let body = Loop {
        init: build.make(at, Node::Map(Vec::new()))?,
        condition: build.literal(at, Literal::Bool(true))?,
        step: filtered(build, at, filter, step)?,
        result: accumulator(build, at)?,
    };
    comprehension(build, at, target, names, body)
}

/// `result` with `name` bound to `value`: a loop that never turns.
fn bind(build: &mut Builder, at: usize, name: &str, value: Expr, result: Expr) -> Parsed<Expr> {
    let made = Comprehension {
        range: build.make(at, Node::List(Vec::new()))?,
        var: "#unused".into(),
        var2: None,
        accu: name.into(),
        init: value,
        condition: build.literal(at, Literal::Bool(false))?,
        step: build.ident(at, name)?,
        result,
    };
    build.make(at, Node::Comprehension(Box::new(made)))
}

/// `target.hasValue() ? optional.of(<name bound to target.value()>) : optional.none()`.
fn optional_map(build: &mut Builder, at: usize, function: &str, target: Expr, mut args: Vec<Expr>) -> Parsed<Expr> {
    let name = names(&mut args, 1)?.first;
    let mapped = args.remove(0);
    let copy = copy(build, &target)?;
    let has_value = build.member(at, copy, "hasValue", Vec::new())?;
    let value = build.member(at, target, "value", Vec::new())?;
    let bound = bind(build, at, &name, value, mapped)?;
    let some = if function == "optMap" { build.call(at, "optional.of", vec![bound])? } else { bound };
    let none = build.call(at, "optional.none", Vec::new())?;
    build.call(at, "_?_:_", vec![has_value, some, none])
}

/// The name of the list that `sortBy` sorts; no source can write it.
const SORTED: &str = "@__sortBy_input__";

/// Sorts by the list of keys that the expression makes of the items.
fn sort_by(build: &mut Builder, at: usize, target: Expr, args: Vec<Expr>) -> Parsed<Expr> {
    let input = build.ident(at, SORTED)?;
    let keys = collect(build, at, input, args, 1)?;
    let input = build.ident(at, SORTED)?;
    let sorted = build.member(at, input, "@sortByAssociatedKeys", vec![keys])?;
    bind(build, at, SORTED, target, sorted)
}

/// The same tree with new numbers.
fn copy(build: &mut Builder, expr: &Expr) -> Parsed<Expr> {
    let at = expr.at as usize;
    let node = match &expr.node {
        Node::Literal(_) | Node::Ident(_) => expr.node.clone(),
        Node::Select(select) => {
            let mut select = select.clone();
            *select.operand = copy(build, &select.operand)?;
            Node::Select(select)
        }
        Node::Call(call) => {
            let target = call.target.as_ref().map(|target| copy(build, target)).transpose()?.map(Box::new);
            let args = call.args.iter().map(|arg| copy(build, arg)).collect::<Parsed<_>>()?;
            Node::Call(Call { function: call.function.clone(), target, args })
        }
        Node::List(elements) => {
            let copied = elements
                .iter()
                .map(|element| Ok(Element { value: copy(build, &element.value)?, optional: element.optional }));
            Node::List(copied.collect::<Parsed<_>>()?)
        }
        Node::Map(entries) => {
            let copied = entries.iter().map(|entry| {
                let (key, value) = (copy(build, &entry.key)?, copy(build, &entry.value)?);
                Ok(Entry { key, value, optional: entry.optional })
            });
            Node::Map(copied.collect::<Parsed<_>>()?)
        }
        Node::Struct(built) => {
            let copied = built.fields.iter().map(|field| {
                let value = copy(build, &field.value)?;
                Ok(StructField { name: field.name.clone(), value, optional: field.optional })
            });
            Node::Struct(Struct { name: built.name.clone(), fields: copied.collect::<Parsed<_>>()? })
        }
        Node::Comprehension(it) => Node::Comprehension(Box::new(Comprehension {
            range: copy(build, &it.range)?,
            var: it.var.clone(),
            var2: it.var2.clone(),
            accu: it.accu.clone(),
            init: copy(build, &it.init)?,
            condition: copy(build, &it.condition)?,
            step: copy(build, &it.step)?,
            result: copy(build, &it.result)?,
        })),
    };
    build.make(at, node)
}
