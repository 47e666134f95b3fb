//! Limits: of what runs, and of what may ever run.

use k8s_cel::{Budget, Environment, EvalError, Type, Value, Variables};
use serde_json::{Value as Json, json};

fn run(expression: &str, object: &Json, budget: &mut Budget) -> Result<String, EvalError> {
    let environment = Environment::new().with("object", Type::Dyn);
    let program = environment.compile(expression).expect(expression);
    let variables = Variables::default().with("object", Value::json(object));
    program.evaluate(&variables, budget).map(|value| value.to_json().expect("JSON").to_string())
}

#[test]
fn cost_is_counted_as_upstream_counts_it() {
    let object = json!({"a": {"b": 1}, "list": [1, 2, 3], "text": "x".repeat(100)});
    for (expression, cost) in [
        ("object.a.b == 1", 4),
        ("has(object.a.b)", 2),
        ("true || object.a.b == 1", 0),
        ("[1, 2]", 10),
        ("{'a': 1}", 30),
        ("object.text.contains('yyyyyyyyyyyyyyyyyyyy')", 22),
        ("object.text.matches('abcdefgh')", 24),
        ("object.text + object.text", 24),
        ("object.list.all(x, x > 0)", 18),
        ("object.list.map(x, x)", 52),
        ("1 in object.list", 5),
        ("object.list.sum()", 5),
    ] {
        let mut budget = Budget::new();
        run(expression, &object, &mut budget).expect(expression);
        assert_eq!(10_000_000 - budget.remaining(), cost, "{expression}");
    }
}

#[test]
fn runaway_expressions_are_cut_off() {
    let numbers: Vec<u32> = (0..1000).collect();
    let deep = json!({"l": numbers, "t": "a".repeat(100_000), "nested": [[["x".repeat(1_000_000)]]]});
    for expression in [
        "object.l.all(a, object.l.all(b, object.l.all(c, a + b + c >= 0)))",
        "object.l.map(a, object.l.map(b, object.l.map(c, c))).size() > 0",
        "object.l.exists(a, object.l.exists(b, object.l.exists(c, c < 0)))",
        "object.t.replace('a', object.t).size() > 0",
        "lists.range(9223372036854775807).size() > 0",
        "lists.range(900000).all(i, object.nested == object.nested)",
        "object.l.all(a, object.l.all(b, ('x' + string(a) + string(b)).matches('y' + string(a) + string(b)) || true))",
        "object.l.transformMap(i, v, object.l.transformMap(j, w, object.l)).size() > 0",
        "object.l.map(a, object.t + object.t + object.t + object.t + object.t).size() > 0",
        "[object.l].map(a, a + a).map(a, a + a + a + a + a + a + a + a).map(a, a + a + a + a + a + a + a + a)\
         .map(a, a + a + a + a + a + a + a + a).map(a, a + a + a + a + a + a + a + a)\
         .map(a, a + a + a + a + a + a + a + a).size() > 0",
        "object.l.map(a, object.l).flatten().map(a, object.l).flatten().size() > 0",
        "'%s'.format([object.l.map(a, object.l.map(b, object.l))]).size() > 0",
    ] {
        let error = run(expression, &deep, &mut Budget::new()).expect_err(expression);
        assert!(error.is_cancellation(), "{expression}: {error}");
    }
}

#[test]
fn a_budget_is_shared_by_evaluations() {
    let numbers: Vec<u32> = (0..20_000).collect();
    let object = json!({ "l": numbers });
    let mut budget = Budget::new();
    let mut runs = 0;
    let end = loop {
        match run("object.l.map(a, a).size() > 0", &object, &mut budget) {
            Ok(_) => runs += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(end, EvalError::BudgetExhausted);
    assert_eq!(runs, 38);
    assert_eq!(budget.remaining(), 0);
}
