//! Expressions and what comes of them, by tables.

mod checker;
mod cost;
mod hostile;
mod language;
mod libraries;
mod rules;

use k8s_cel::{Budget, Environment, Type, Value, Variables};
use serde_json::{Value as Json, json};

/// What the tables' expressions may name: `object` without a schema.
fn environment() -> Environment {
    Environment::new().with("object", Type::Dyn)
}

fn object() -> Json {
    json!({
        "name": "web", "replicas": 3, "ratio": 0.5, "empty": "", "flag": true, "nothing": null,
        "labels": {"app": "web", "a-b": "c"},
        "items": [{"name": "a", "port": 80}, {"name": "b", "port": 443}],
        "numbers": [3, 1, 2], "words": ["b", "a"],
    })
}

/// The result as JSON, or what was said in place of one.
fn outcome(expression: &str) -> String {
    outcome_with(&environment(), expression)
}

fn outcome_with(environment: &Environment, expression: &str) -> String {
    let program = match environment.compile(expression) {
        Ok(program) => program,
        Err(error) => return format!("refused: {}", error.issues()[0].message),
    };
    let object = object();
    let variables = Variables::default().with("object", Value::json(&object));
    match program.evaluate(&variables, &mut Budget::new()) {
        Ok(value) => value.to_json().map_or_else(|error| format!("no JSON: {error}"), |json| json.to_string()),
        Err(error) => format!("failed: {error}"),
    }
}

/// Each expression with what comes of it.
fn check(table: &[(&str, &str)]) {
    let wrong: Vec<String> = table
        .iter()
        .map(|(expression, expected)| (expression, expected, outcome(expression)))
        .filter(|(_, expected, found)| *found != **expected)
        .map(|(expression, expected, found)| format!("{expression}\n  expected {expected}\n  found    {found}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Expressions that must all be true.
fn all_true(expressions: &[&str]) {
    let table: Vec<(&str, &str)> = expressions.iter().map(|expression| (*expression, "true")).collect();
    check(&table);
}
