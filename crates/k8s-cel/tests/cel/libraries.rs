//! Kubernetes' function libraries, by the examples of their documentation
//! (upstream: apiserver/pkg/cel/library, cel-go ext).

use crate::{all_true, check};

#[test]
fn strings() {
    all_true(&[
        "'hello'.charAt(4) == 'o' && 'hello'.charAt(5) == ''",
        "'hello mellow'.indexOf('') == 0 && 'hello mellow'.indexOf('ello') == 1 && 'hello mellow'.indexOf('jello') == -1",
        "'hello mellow'.indexOf('', 2) == 2 && 'hello mellow'.indexOf('ello', 2) == 7",
        "'hello mellow'.lastIndexOf('') == 12 && 'hello mellow'.lastIndexOf('ello') == 7",
        "'hello mellow'.lastIndexOf('ello', 6) == 1",
        "['hello', 'mellow'].join() == 'hellomellow' && ['hello', 'mellow'].join(' ') == 'hello mellow' && [].join('/') == ''",
        "'TacoCat'.lowerAscii() == 'tacocat' && 'TacoCÆt Xii'.upperAscii() == 'TACOCÆT XII'",
        "'hello hello'.replace('he', 'we') == 'wello wello' && 'hello hello'.replace('he', 'we', 1) == 'wello hello'",
        "'hello hello'.replace('he', 'we', 0) == 'hello hello' && 'ab'.replace('', '_') == '_a_b_'",
        "'hello hello hello'.split(' ') == ['hello', 'hello', 'hello']",
        "'hello hello hello'.split(' ', 0) == [] && 'hello hello hello'.split(' ', 1) == ['hello hello hello']",
        "'hello hello hello'.split(' ', 2) == ['hello', 'hello hello'] && 'hello hello hello'.split(' ', -1).size() == 3",
        "'abc'.split('') == ['a', 'b', 'c'] && 'abc'.split('', 2) == ['a', 'bc']",
        "'tacocat'.substring(4) == 'cat' && 'tacocat'.substring(0, 4) == 'taco'",
        "'  \\ttrim\\n    '.trim() == 'trim'",
        "strings.quote('single-quote with \"double quote\"') == '\"single-quote with \\\\\"double quote\\\\\"\"'",
        "'abc'.contains('b') && 'abc'.startsWith('ab') && 'abc'.endsWith('bc') && 'abc'.matches('^a.c$')",
        "matches('abc', 'b')",
    ]);
    check(&[
        ("'tacocat'.substring(-1)", "failed: index out of range: -1"),
        ("'tacocat'.substring(4, 3)", "failed: invalid substring range. start: 4, end: 3"),
        ("'abc'.charAt(7)", "failed: index out of range: 7"),
    ]);
}

#[test]
fn format() {
    check(&[
        (
            "'%s is %d years, %.2f m, %x %X %o %b %e %%'.format(['Bo', 42, 1.789, 255, 255, 8, 5, 1500.0])",
            r#""Bo is 42 years, 1.79 m, ff FF 10 101 1.500000e+03 %""#,
        ),
        ("'%s'.format([[1, 'a', 1.5, null]])", r#""[1, \"a\", 1.500000, null]""#),
        ("'%s'.format([{'b': 1, 'a': duration('1s')}])", r#""{\"a\":duration(\"1s\"), \"b\":1}""#),
        ("'%s %d'.format([1])", "failed: index 1 out of range"),
        ("'%q'.format([1])", "failed: could not parse formatting clause: unrecognized formatting clause \"q\""),
    ]);
}

#[test]
fn lists() {
    all_true(&[
        "[1, 2, 3].isSorted() && ['a', 'b', 'b', 'c'].isSorted() && ![2.0, 1.0].isSorted() && [1].isSorted()",
        "[1, 3].sum() == 4 && [1.0, 3.0].sum() == 4.0 && [duration('1m'), duration('1s')].sum() == duration('1m1s')",
        "[1, 3].min() == 1 && [1, 3].max() == 3 && ['b', 'a'].min() == 'a'",
        "[1, 2, 2, 3].indexOf(2) == 1 && ['a', 'b', 'b', 'c'].lastIndexOf('b') == 2 && [1.0].indexOf(1.1) == -1",
        "[1, 2, 3].includes(2) && ![1, 2, 3].includes(4) && 'model-a'.includes('model-a')",
        "[1, 2, 3, 4].slice(1, 3) == [2, 3] && [[1, 2], [], [3]].flatten() == [1, 2, 3]",
        "[5, 3, 1, 2].reverse() == [2, 1, 3, 5] && [1, 2, 2, 3, 3, 3].distinct() == [1, 2, 3]",
        "lists.range(5) == [0, 1, 2, 3, 4] && [3, 2, 1].sort() == [1, 2, 3] && ['b', 'c', 'a'].sort() == ['a', 'b', 'c']",
        "object.items.sortBy(i, -i.port).map(i, i.name) == ['b', 'a']",
        "sets.contains([1, 2, 3], [2, 3]) && !sets.contains([1], [2]) && sets.equivalent([1], [1, 1])",
        "sets.intersects([1, 2], [2, 3]) && !sets.intersects([1], [2])",
    ]);
    check(&[
        ("[1, 2].slice(1, 5)", "failed: cannot slice(1, 5), list is length 2"),
        ("[[1]].flatten(-1)", "failed: level must be non-negative"),
        ("object.numbers.filter(n, n > 9).min()", "failed: min called on empty list"),
        ("[1, 2, 3].reverse().map(x, x)", "[3,2,1]"),
    ]);
}

#[test]
fn regexes() {
    all_true(&[
        "'abc 123'.find('[0-9]+') == '123' && 'abc'.find('[0-9]+') == ''",
        "'123 abc 456'.findAll('[0-9]+') == ['123', '456'] && '123 abc 456'.findAll('[0-9]+', 1) == ['123']",
        "'٤'.matches('\\\\d') == false",
    ]);
    check(&[
        ("'a'.matches('(')", "refused: invalid matches argument"),
        ("'%s'.format(['x']).matches('a' + '(')", "failed: error parsing regexp: unclosed group: `a(`"),
    ]);
}

#[test]
fn urls() {
    all_true(&[
        "isURL('https://user:pass@example.com:80/path?query=val#fragment') && isURL('/absolute-path')",
        "!isURL('https://a:b:c/') && !isURL('../relative-path') && !isURL('')",
        "url('https://example.com/').getScheme() == 'https' && url('/path').getScheme() == ''",
        "url('https://example.com:80/').getHost() == 'example.com:80' && url('https://[::1]:80/').getHost() == '[::1]:80'",
        "url('https://[::1]:80/').getHostname() == '::1' && url('https://example.com:80/').getPort() == '80'",
        "url('https://example.com/path with spaces/').getEscapedPath() == '/path%20with%20spaces/'",
        "url('https://example.com/path?k1=a&k2=b&k2=c').getQuery() == {'k1': ['a'], 'k2': ['b', 'c']}",
        "url('https://example.com/p?k=a%20b').getQuery() == {'k': ['a b']}",
        "url('/a') == url('/a')",
    ]);
}

#[test]
fn addresses() {
    all_true(&[
        "ip('127.0.0.1').family() == 4 && ip('::1').family() == 6",
        "isIP('127.0.0.1') && isIP('::1') && !isIP('127.0.0.256') && !isIP('::ffff:1.2.3.4') && !isIP('fe80::1%eth0')",
        "ip.isCanonical('127.0.0.1') && !ip.isCanonical('2001:DB8::ABCD')",
        "ip('0.0.0.0').isUnspecified() && ip('127.0.0.1').isLoopback() && ip('224.0.0.1').isLinkLocalMulticast()",
        "ip('169.254.169.254').isLinkLocalUnicast() && ip('192.168.0.1').isGlobalUnicast() && !ip('255.255.255.255').isGlobalUnicast()",
        "string(ip('10.0.0.1')) == '10.0.0.1' && type(ip('10.0.0.1')) == net.IP && ip('::1') == ip('0:0::1')",
        "cidr('192.168.0.0/24').containsIP('192.168.0.1') && cidr('192.168.0.0/24').containsIP(ip('192.168.0.1'))",
        "!cidr('192.168.0.0/24').containsIP('192.168.1.1')",
        "cidr('192.168.0.0/24').containsCIDR(cidr('192.168.0.0/25')) && !cidr('192.168.0.0/24').containsCIDR('192.168.0.0/23')",
        "cidr('192.168.0.1/24').masked() == cidr('192.168.0.0/24') && cidr('192.168.0.1/24').ip() == ip('192.168.0.1')",
        "cidr('10.0.0.0/8').prefixLength() == 8 && string(cidr('10.0.0.0/8')) == '10.0.0.0/8' && cidr('::/0').containsIP('::1')",
        "isCIDR('10.0.0.0/8') && !isCIDR('10.0.0.0/33') && !isCIDR('10.0.0.0')",
    ]);
}

#[test]
fn quantities_and_versions() {
    all_true(&[
        "isQuantity('1.3Gi') && !isQuantity('200K') && !isQuantity('Three')",
        "quantity('50M') == quantity('50000k') && quantity('1Gi').isGreaterThan(quantity('500Mi'))",
        "quantity('50k').asInteger() == 50000 && quantity('1.5').isInteger() == false && quantity('0.5').asApproximateFloat() == 0.5",
        "quantity('50k').add(quantity('20')) == quantity('50020') && quantity('50k').sub(20000) == quantity('30k')",
        "quantity('200M').compareTo(quantity('0.2G')) == 0 && quantity('-1').sign() == -1 && quantity('1').isLessThan(quantity('2'))",
        "isSemver('1.2.3') && !isSemver('v1.2') && isSemver('v1.2', true) && semver('01.01.01', true) == semver('1.1.1')",
        "semver('1.2.3').isLessThan(semver('1.2.4')) && semver('1.2.3').compareTo(semver('2.0.0')) == -1",
        "semver('1.2.3-rc.1').isLessThan(semver('1.2.3')) && semver('1.2.3+b') == semver('1.2.3')",
        "semver('1.2.3').major() == 1 && semver('1.2.3').minor() == 2 && semver('1.2.3').patch() == 3",
    ]);
    check(&[
        (
            "quantity('x')",
            "failed: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        ("quantity('50.5').asInteger()", "failed: cannot convert value to integer"),
    ]);
}

#[test]
fn named_formats() {
    all_true(&[
        "!format.dns1123Label().validate('my-label').hasValue()",
        "format.dns1123Label().validate('Contains-Uppercase').hasValue()",
        "format.dns1123Label().validate('-x').value().size() > 0",
        "!format.named('uuid').value().validate('123e4567-e89b-12d3-a456-426614174000').hasValue()",
        "!format.named('unknown').hasValue()",
        "!format.datetime().validate('2024-01-01T00:00:00Z').hasValue() && format.date().validate('2024-13-01').hasValue()",
        "!format.uri().validate('https://a/b').hasValue() && format.byte().validate('?').hasValue()",
        "!format.qualifiedName().validate('example.com/a').hasValue() && !format.labelValue().validate('').hasValue()",
    ]);
}

#[test]
fn authorizers_are_asked() {
    use k8s_cel::{Authorizer, Budget, Check, Environment, Opaque, Question, Type, Variables, Verdict};

    #[derive(Debug)]
    struct PodsOfShop;

    impl Authorizer for PodsOfShop {
        fn judge(&self, question: &Question) -> Verdict {
            let allowed = question.resource == "pods" && question.namespace == "shop" && question.verb == "create";
            let reason = if allowed { "a binding".to_owned() } else { String::new() };
            Verdict { allowed, reason, error: (question.verb == "break").then(|| "it broke".to_owned()) }
        }
    }

    let environment = Environment::new().with("authorizer", Type::Opaque(Opaque::Authorizer));
    let ask = |expression: &str| {
        let program = environment.compile(expression).expect(expression);
        let variables = Variables::default().with("authorizer", Check::by(&PodsOfShop));
        let result = program.evaluate(&variables, &mut Budget::new());
        result.map(|value| value.to_json().expect("JSON").to_string()).unwrap_or_else(|error| error.to_string())
    };
    let pods = "authorizer.group('').resource('pods').namespace('shop')";
    assert_eq!(ask(&format!("{pods}.check('create').allowed()")), "true");
    assert_eq!(ask(&format!("{pods}.check('create').reason()")), r#""a binding""#);
    assert_eq!(ask(&format!("{pods}.subresource('status').name('x').check('get').allowed()")), "false");
    assert_eq!(ask(&format!("{pods}.check('break').errored()")), "true");
    assert_eq!(ask("authorizer.path(' ').check('get').allowed()"), "path must not be empty");
    assert_eq!(
        ask("authorizer.serviceAccount('default', 'a@b').path('/x').check('get').allowed()"),
        "Invalid service account name"
    );
    assert_eq!(
        ask(&format!("{pods}.check('a').allowed() || {pods}.check('b').allowed() || {pods}.check('c').allowed()")),
        "operation cancelled: actual cost limit exceeded"
    );
}
