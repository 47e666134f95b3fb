//! What is refused before it runs (upstream: cel-go checker/checker_test.go).

use k8s_cel::{Environment, Type};

use crate::{check, outcome_with};

#[test]
fn ill_typed_expressions_are_refused() {
    check(&[
        ("missing", "refused: undeclared reference to 'missing' (in container '')"),
        ("missing(1)", "refused: undeclared reference to 'missing' (in container '')"),
        ("'a'.missing()", "refused: undeclared reference to 'missing' (in container '')"),
        ("1 + 'a'", "refused: found no matching overload for '_+_' applied to '(int, string)'"),
        ("1 == 'a'", "refused: found no matching overload for '_==_' applied to '(int, string)'"),
        ("1 == 1.0", "refused: found no matching overload for '_==_' applied to '(int, double)'"),
        ("!1", "refused: found no matching overload for '!_' applied to '(int)'"),
        ("'a'.contains(1)", "refused: found no matching overload for 'contains' applied to 'string.(int)'"),
        ("'a'.size(1)", "refused: found no matching overload for 'size' applied to 'string.(int)'"),
        ("1 ? 2 : 3", "refused: found no matching overload for '_?_:_' applied to '(int, int, int)'"),
        ("[1, 'a']", "refused: expected type 'int' but found 'string'"),
        ("{'a': 1, 'b': 'c'}", "refused: expected type 'int' but found 'string'"),
        ("'a'.b", "refused: type 'string' does not support field selection"),
        (
            "(1).all(x, true)",
            "refused: expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)",
        ),
        ("[1].map(x, x + 'a')", "refused: found no matching overload for '_+_' applied to '(int, string)'"),
        (
            "[1].map(x, [x]).map(y, y + 1)",
            "refused: found no matching overload for '_+_' applied to '(list(int), int)'",
        ),
        ("optional.of(1).value() + 'a'", "refused: found no matching overload for '_+_' applied to '(int, string)'"),
        ("duration('1x')", "refused: invalid duration argument"),
        ("timestamp('yesterday')", "refused: invalid timestamp argument"),
        (
            "sets.contains([1], ['a'])",
            "refused: found no matching overload for 'sets.contains' applied to '(list(int), list(string))'",
        ),
        ("Foo{a: 1}", "refused: undeclared reference to 'Foo' (in container '')"),
        ("ip('::1').family() == '4'", "refused: found no matching overload for '_==_' applied to '(int, string)'"),
        ("jsonpatch.escapeKey('a')", "refused: undeclared reference to 'jsonpatch' (in container '')"),
        ("cel.bind(x, 1, x)", "refused: undeclared reference to 'cel' (in container '')"),
    ]);
}

#[test]
fn what_is_not_known_is_left_to_the_run() {
    check(&[
        ("object.replicas + 1", "4"),
        ("object.name + 1", "failed: no such overload: _+_(string, int)"),
        ("object.items.all(i, i.port > 0)", "true"),
        ("object.whatever.deeper", "failed: no such key: whatever"),
        ("[object.name, 'b']", r#"["web","b"]"#),
        ("object.name ? 1 : 2", "failed: no such overload: _?_:_(string)"),
    ]);
}

#[test]
fn results_have_types() {
    let environment = Environment::new().with("object", Type::Dyn);
    let output = |source: &str| environment.compile(source).expect(source).output().to_string();
    assert_eq!(output("1 > 2"), "bool");
    assert_eq!(output("[1].map(x, string(x))"), "list(string)");
    assert_eq!(output("{'a': [1u]}"), "map(string, list(uint))");
    assert_eq!(output("object.?a"), "optional_type(dyn)");
    assert_eq!(output("[]"), "list(dyn)");
    assert_eq!(output("true ? [] : [1]"), "list(int)");
    assert_eq!(output("url('/')"), "kubernetes.URL");
    assert_eq!(output("[3].sortBy(x, -x)"), "list(int)");
    assert_eq!(output("type(1)"), "type(int)");
}

#[test]
fn mutations_build_objects_and_patches() {
    let environment = Environment::new().with("object", Type::Dyn).with_mutations();
    assert_eq!(
        outcome_with(
            &environment,
            "Object{spec: Object.spec{replicas: object.replicas + 1, ?paused: optional.none()}}"
        ),
        r#"{"spec":{"replicas":4}}"#
    );
    assert_eq!(
        outcome_with(
            &environment,
            "[JSONPatch{op: 'add', path: '/a/' + jsonpatch.escapeKey('b/c~'), value: {'x': 1}}]"
        ),
        r#"[{"op":"add","path":"/a/b~1c~0","value":{"x":1}}]"#
    );
    assert_eq!(outcome_with(&environment, "JSONPatch{operation: 'add'}"), "refused: undefined field 'operation'");
    assert_eq!(
        outcome_with(&environment, "JSONPatch{op: 1}"),
        "refused: expected type of field 'op' is 'string' but provided type is 'int'"
    );
}
