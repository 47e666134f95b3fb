//! JSON paths of definitions, and CEL.

use apiextensions::json_path::JsonPath;
use k8s_cel::{Budget, Environment, Type, Value, Variables};
use serde_json::json;

use super::text;
use crate::target::{Memory, Target};

pub(crate) static JSON_PATH: Target = Target::new("json_path", check_path)
    .memory(Memory { base: 2 << 20, per_byte: 1024 })
    .words(&["..", "[*]", "[?(@.a==\"b\")]", "[0]", "[-1]", "[::2]", "['a']", ".a", ".*", "@", "$", "\\.", ".items"])
    .longest(512);

// What one evaluation may make, and room to check and to count.
pub(crate) static CEL: Target = Target::new("cel", check_cel)
    .memory(Memory { base: 200 << 20, per_byte: 4096 })
    .words(&[
        "object",
        "object.l",
        "object.s",
        ".all(x, ",
        ".exists(x, ",
        ".map(x, ",
        ".filter(x, ",
        ".size()",
        "has(object.",
        "optional.of(",
        ".orValue(",
        ".matches('",
        ".format([",
        ".split('",
        ".replace('",
        ".join(",
        "duration('1s')",
        "timestamp('2024-01-01T00:00:00Z')",
        "quantity('1')",
        "ip('::1')",
        "cidr('10.0.0.0/8')",
        "url('http://a')",
        "semver('1.0.0')",
        "lists.range(",
        ".sortBy(x, ",
        "type(",
        "int(",
        "string(",
        "double(",
        " in ",
        " && ",
        " || ",
        " ? ",
        " : ",
        "[",
        "]",
        "{",
        "}",
        "(",
        ")",
        ",",
        "'a'",
        "9223372036854775807",
    ])
    .longest(1024);

/// A path finds what is there, and the same on an object as on its fields.
fn check_path(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let Some(path) = JsonPath::parse(text) else { return };
    let item = |name: &str, size: i64| json!({"name": name, "size": size, "a": {"b": [name, {"a": size}]}});
    let object = json!({"a": [item("a", 1), item("b", 2)], "items": [[1, 2, 3], [4]], "b": "c", "name": null});
    let found = path.find(&object);
    let _ = path.find_in(object.as_object().expect("an object"));
    // Nothing is found twice for every step: at most so many values are answered.
    assert!(found.len() <= 100_000, "{} values", found.len());
}

/// An expression is refused, or evaluated the same way twice, within its budget.
fn check_cel(input: &[u8]) {
    let Some(source) = text(input) else { return };
    let environment = Environment::new().with("object", Type::Dyn).with("a", Type::Dyn);
    let Ok(program) = environment.compile(source) else { return };
    let object = json!({"a": 1, "l": [1, 2, 3], "s": "text", "m": {"k": [{"v": "w"}]}, "n": null});
    let evaluate = || {
        let variables = Variables::default().with("object", Value::json(&object)).with("a", Value::Bool(true));
        let mut budget = Budget::of(200_000);
        let result = program.evaluate(&variables, &mut budget).map(|value| value.to_json().ok());
        (result.map_err(|error| error.to_string()), budget.remaining())
    };
    let (first, second) = (evaluate(), evaluate());
    assert_eq!(format!("{first:?}"), format!("{second:?}"), "twice the same");
}
