//! Expressions that mean harm: whatever they are, they end in a result or an error, on a small stack.

use std::thread;

use k8s_cel::{Budget, Environment, Type, Value, Variables};
use serde_json::json;

/// As small as the stack of a server's thread.
const STACK: usize = 2 << 20;

/// Compiles and evaluates on a thread with a small stack.
fn survives(expressions: Vec<String>) {
    let run = move || {
        let environment = Environment::new().with("object", Type::Dyn).with("a", Type::Dyn);
        let object = json!({"a": 1, "l": [1, 2, 3], "s": "text", "m": {"k": [{"v": "w"}]}});
        for expression in &expressions {
            let Ok(program) = environment.compile(expression) else { continue };
            let variables = Variables::default().with("object", Value::json(&object)).with("a", Value::Bool(true));
            let _ = program.evaluate(&variables, &mut Budget::new()).map(|value| value.to_json());
        }
    };
    thread::Builder::new().stack_size(STACK).spawn(run).expect("a thread").join().expect("no panic");
}

#[test]
fn deep_and_long_expressions() {
    let around = |open: &str, inner: &str, close: &str, n: usize| open.repeat(n) + inner + &close.repeat(n);
    let mut expressions = Vec::new();
    for n in [10, 90, 124, 248, 249, 250, 251, 20_000] {
        expressions.extend([
            around("(", "1", ")", n),
            around("[", "", "]", n),
            around("{1:", "1", "}", n),
            around("[[1]].map(x,", "x", ")", n),
            around("object.l.all(x,", "true", ")", n),
            around("has(", "a.b", ")", n),
            around("size(", "a", ")", n),
            around("-(", "1", ")", n),
            around("a?(", "a", "):a", n),
            "a?a:".repeat(n) + "a",
            "1+".repeat(n) + "1",
            "a&&".repeat(n) + "a",
            "a||".repeat(n) + "a",
            "!".repeat(n) + "a",
            "-".repeat(n) + "1",
            "a".to_owned() + &".a".repeat(n),
            "a".to_owned() + &".a()".repeat(n),
            "a".to_owned() + &"[0]".repeat(n),
            "a".to_owned() + &".?a".repeat(n),
            "optional.of(1)".to_owned() + &".optMap(x, x)".repeat(n),
            "[1]".to_owned() + &".map(x, {x: x})".repeat(n),
            "[1]".to_owned() + &".map(x, [x, x])".repeat(n),
            "[".repeat(n),
            "'".repeat(n),
            "9".repeat(n),
            "1.".to_owned() + &"9".repeat(n) + "e999",
            "\"".to_owned() + &"\\x41".repeat(n) + "\"",
            format!("'a'.matches('{}')", "(".repeat(n)),
            format!("'a'.matches('{}a{}')", "(".repeat(n), ")*".repeat(n)),
            format!("'a'.matches('{}')", "a{1000}".repeat(n)),
            format!("'%{}f'.format([1.0])", ".9".repeat(n)),
        ]);
    }
    expressions.extend(
        [
            "timestamp('9999-12-31T23:59:59Z') + duration('1s')",
            "timestamp('0001-01-01T00:00:00Z') - duration('1ns')",
            "duration('9223372036854775807ns') + duration('1ns')",
            "-duration('1s')",
            "int(-9223372036854775808) / -1",
            "-9223372036854775808 % -1",
            "timestamp(9223372036854775807)",
            "duration(9223372036854775807)",
            "timestamp('2024-01-01T00:00:00Z').getHours('99999999:00')",
            "timestamp('2024-01-01T00:00:00Z').getHours('../../etc/passwd')",
            "'é'.substring(0, 1) + 'é'.charAt(0) + 'aé'.lastIndexOf('é', 1) + ''",
            "'aéz'.lastIndexOf('éz', 0)",
            "'%.999999999999999999999f'.format([1.0])",
            "'%.1000f %.1000e'.format([1e308, 1e308])",
            "cidr('0.0.0.0/0').containsIP('255.255.255.255') && cidr('::/0').masked() == cidr('::/0')",
            "url('http://[::1').getHost() + url('//').getHost() + url('http://a:').getPort()",
            "semver('99999999999999999999.0.0').major()",
            "quantity('999999999999999999999999999E').asInteger() + 1",
            "quantity('-999999999999999999999999999E').sub(quantity('999999999999999999999999999E')).sign()",
            "lists.range(-1).size() + [1].slice(-1, 0).size()",
            "double('nan') == double('nan') || [double('nan'), 1.0].sort() == []",
            "{double('nan'): 1}",
            "{1.5: 1}",
            "''.split('').size() + 'é'.split('').size() + ''.split('a').size()",
            "object.m.k[9223372036854775807]",
            "object.l[-1] + object.l[1.5]",
            "'\\U00110000'",
            "b'\\u0041'",
            "``.a",
            "a.`b c`",
            "\u{feff}1",
            "1\u{0}",
        ]
        .map(str::to_owned),
    );
    survives(expressions);
}

#[test]
fn random_expressions() {
    let words = [
        "object",
        "a",
        "object.l",
        "object.s",
        "object.m",
        "1",
        "-1",
        "0",
        "9223372036854775807",
        "1.5",
        "2u",
        "'x'",
        "b'y'",
        "null",
        "true",
        "[]",
        "{}",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "?",
        ".",
        "+",
        "-",
        "*",
        "/",
        "%",
        "==",
        "<",
        "&&",
        "||",
        "!",
        "in",
        ".all(x,",
        ".map(y,",
        ".exists(x,",
        ".filter(x,",
        ".transformMap(k, v,",
        "x",
        "y",
        "k",
        "v",
        ".size()",
        "size(",
        ".?b",
        "[?0]",
        ".orValue(1)",
        "optional.of(",
        ".optMap(x,",
        "duration('1s')",
        "timestamp(0)",
        ".format([",
        ".matches('a*')",
        ".split('')",
        ".replace('', 'z')",
        ".join(',')",
        "string(",
        "int(",
        "type(",
        ".sortBy(x,",
        ".distinct()",
        ".sum()",
        "ip('::1')",
        "quantity('1')",
        "lists.range(3)",
        ".flatten()",
        " ",
        "é",
    ];
    // A generator of our own, so that every run sees the same expressions.
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    };
    let expressions = (0..20_000).map(|_| {
        let length = 1 + next(14);
        let mut text = String::new();
        for _ in 0..length {
            text.push_str(words[next(words.len())]);
        }
        let opens = text.matches('(').count().saturating_sub(text.matches(')').count());
        text + &")".repeat(opens)
    });
    survives(expressions.collect());
}

#[test]
fn types_that_double_do_not_hold_up_the_checker() {
    let mut source = "[1]".to_owned();
    for _ in 0..60 {
        source.push_str(".map(x, {1: [x, x], 2: [x, x]})");
    }
    survives(vec![source, "optional.of(1)".to_owned() + &".optMap(x, {'a': x, 'b': x})".repeat(40)]);
}
