//! The language itself (upstream: cel-go interpreter/interpreter_test.go, cel-spec).

use crate::{all_true, check};

#[test]
fn literals_and_operators() {
    check(&[
        ("1 + 2 * 3", "7"),
        ("-5 + 2", "-3"),
        ("7 / 2", "3"),
        ("-7 % 3", "-1"),
        ("0x1F", "31"),
        ("1u + 2u", "3"),
        ("1.5e2", "150.0"),
        (r#""a\tb\u00e9\x41\101""#, r#""a\tbéAA""#),
        (r"r'a\d'", r#""a\\d""#),
        ("'''a\n'b'''", r#""a\n'b""#),
        ("b'abc'", r#""YWJj""#),
        ("'a' + 'b'", r#""ab""#),
        ("[1] + [2, 3]", "[1,2,3]"),
        ("{'a': 1, 'b': 2}['b']", "2"),
        ("true ? 1 : 2", "1"),
        ("!!true", "true"),
        ("--1", "1"),
        ("9223372036854775807 + 1", "failed: integer overflow"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("9223372036854775808", "refused: invalid int literal"),
        ("0u - 1u", "failed: unsigned integer overflow"),
        ("1 / 0", "failed: division by zero"),
        ("1 % 0", "failed: modulus by zero"),
        ("[1, 2][2]", "failed: index out of bounds: 2"),
        ("{'a': 1}['b']", "failed: no such key: b"),
        ("{'a': 1, 'a': 2}", "failed: Failed with repeated key: a"),
        ("1 // a comment\n + 1", "2"),
    ]);
}

#[test]
fn comparisons() {
    all_true(&[
        "1 < 2 && 2.0 > 1 && 1u <= 1 && 'a' < 'b'",
        "dyn(1) == dyn(1.0) && dyn(1u) == 1",
        "[1, 2] == [1, 2] && [1] != [2]",
        "{'a': [1]} == {'a': [1]}",
        "dyn('1') != dyn(1)",
        "duration('1m') == duration('60s')",
        "timestamp('2024-01-01T00:00:00Z') < timestamp('2024-01-02T00:00:00Z')",
        "timestamp('2024-01-01T00:00:00Z') + duration('24h') == timestamp('2024-01-02T00:00:00Z')",
        "1 in [1, 2] && 'a' in {'a': 1} && !('b' in {'a': 1})",
        "type(1) == int && type('a') == string && type([]) == list && type(type(1)) == type",
        "object.replicas == 3 && object.nothing == null",
    ]);
}

#[test]
fn errors_do_not_matter_where_the_other_side_decides() {
    check(&[
        ("true || 1 / 0 == 1", "true"),
        ("1 / 0 == 1 || true", "true"),
        ("1 / 0 == 1 && false", "false"),
        ("1 / 0 == 1 && true", "failed: division by zero"),
        ("[1, 0].exists(x, 1 / x == 1)", "true"),
        ("[0, 1].exists(x, 1 / x == 1)", "true"),
        ("[0, 2].all(x, 1 / x == 1)", "false"),
        ("[0, 1].all(x, 1 / x == 1)", "failed: division by zero"),
        ("object.missing == 1 || true", "true"),
    ]);
}

#[test]
fn macros() {
    check(&[
        ("[1, 2, 3].map(x, x * 2)", "[2,4,6]"),
        ("[1, 2, 3].map(x, x > 1, x * 2)", "[4,6]"),
        ("[1, 2, 3].filter(x, x > 1)", "[2,3]"),
        ("{'a': 1, 'b': 2}.filter(k, k != 'a')", r#"["b"]"#),
        ("[1, 2, 2].exists_one(x, x == 1)", "true"),
        ("[1, 2, 2].existsOne(x, x == 2)", "false"),
        ("[[1, 2], [3]].map(l, l.map(x, x + 1))", "[[2,3],[4]]"),
        ("has(object.name) && !has(object.missing)", "true"),
        ("has(object.labels.app)", "true"),
        ("[10, 20].all(i, v, v == (i + 1) * 10)", "true"),
        ("[10, 20].exists(i, v, i == 1 && v == 20)", "true"),
        ("[1, 2].transformList(i, v, i * v)", "[0,2]"),
        ("[1, 2, 3].transformList(i, v, i > 0, v)", "[2,3]"),
        ("{'a': 1, 'b': 2}.transformMap(k, v, v * 10)", r#"{"a":10,"b":20}"#),
        ("{'a': 1, 'b': 2}.transformMap(k, v, k == 'a', v * 10)", r#"{"a":10}"#),
        ("{'a': 'x'}.transformMapEntry(k, v, {v: k})", r#"{"x":"a"}"#),
        ("{'a': 'x', 'b': 'x'}.transformMapEntry(k, v, {v: k})", "failed: Failed with repeated key: x"),
        ("has(object)", "refused: invalid argument to has() macro"),
        ("[1].all(x.y, true)", "refused: argument must be a simple name"),
        ("[1].all(x, x, true)", "refused: duplicate variable name: x"),
    ]);
}

#[test]
fn optionals() {
    check(&[
        ("object.?missing.orValue('none')", r#""none""#),
        ("object.?labels.?app.orValue('none')", r#""web""#),
        ("object.labels[?'a-b'].value()", r#""c""#),
        ("[1, 2][?5].hasValue()", "false"),
        ("optional.of(1).optMap(x, x + 1).value()", "2"),
        ("optional.none().optMap(x, x + 1).hasValue()", "false"),
        ("optional.of(1).optFlatMap(x, optional.of(x + 1)).value()", "2"),
        ("optional.ofNonZeroValue('').hasValue()", "false"),
        ("optional.none().or(optional.of(3)).value()", "3"),
        ("[1, ?optional.none(), ?optional.of(2)]", "[1,2]"),
        ("{?'a': optional.none(), ?'b': optional.of(1)}", r#"{"b":1}"#),
        ("optional.none().value()", "failed: optional.none() dereference"),
        ("[optional.of(1), optional.none()].unwrapOpt()", "[1]"),
        ("[1, 2].first().value() + [1, 2].last().value()", "3"),
    ]);
}

#[test]
fn conversions() {
    check(&[
        ("int('42') + int(3.9) + int(2u)", "47"),
        ("uint(3) + uint('4')", "7"),
        ("double('1.5') + double(1)", "2.5"),
        ("string(1) + string(1.5) + string(true) + string(b'x')", r#""11.5truex""#),
        ("string(1e21)", r#""1e+21""#),
        ("string(duration('1h30m'))", r#""5400s""#),
        ("string(timestamp('2024-01-02T03:04:05.5Z'))", r#""2024-01-02T03:04:05.5Z""#),
        ("bool('true') && !bool('0')", "true"),
        ("int('x')", "failed: strconv.ParseInt: parsing \"x\": invalid syntax"),
        ("int(1e30)", "failed: integer overflow"),
        ("uint(-1)", "failed: unsigned integer overflow"),
        ("timestamp(0)", r#""1970-01-01T00:00:00Z""#),
        ("size('héé') + size(b'abc') + size([1]) + size({'a': 1})", "8"),
        ("bytes('é').size()", "2"),
    ]);
}

#[test]
fn times() {
    all_true(&[
        "timestamp('2024-05-06T07:08:09.123Z').getFullYear() == 2024",
        "timestamp('2024-05-06T07:08:09.123Z').getMonth() == 4",
        "timestamp('2024-05-06T07:08:09.123Z').getDate() == 6",
        "timestamp('2024-05-06T07:08:09.123Z').getDayOfMonth() == 5",
        "timestamp('2024-05-06T07:08:09.123Z').getDayOfWeek() == 1",
        "timestamp('2024-01-01T00:00:00Z').getDayOfYear() == 0",
        "timestamp('2024-05-06T07:08:09.123Z').getHours() == 7",
        "timestamp('2024-05-06T07:08:09.123Z').getHours('+02:00') == 9",
        "timestamp('2024-05-06T07:08:09.123Z').getMinutes('-00:30') == 38",
        "timestamp('2024-05-06T07:08:09.123Z').getMilliseconds() == 123",
        "duration('1h30m5s').getMinutes() == 90 && duration('1h').getHours() == 1",
        "timestamp('2024-01-02T00:00:00Z') - timestamp('2024-01-01T00:00:00Z') == duration('24h')",
    ]);
}

#[test]
fn syntax_errors_say_where() {
    let error = k8s_cel::Environment::new().compile("1 +").expect_err("no expression");
    assert!(error.to_string().starts_with("ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>'"), "{error}");
    assert!(error.to_string().ends_with("\n | 1 +\n | ...^"), "{error}");
    check(&[
        ("1 2", "refused: Syntax error: extraneous input '2' expecting <EOF>"),
        ("'abc", "refused: Syntax error: token recognition error at: ''abc'"),
        ("for", "refused: reserved identifier: for"),
        (
            "a.b(",
            "refused: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}",
        ),
    ]);
}
