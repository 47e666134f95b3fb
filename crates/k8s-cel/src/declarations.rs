//! Which functions there are and what they take
//! (upstream: cel-go common/stdlib, ext/{strings,lists,sets}.go, apiserver/pkg/cel/library).
//!
//! A line is `function: receiver.(arguments) -> result`, as messages about calls write it; capitals stand for any type.
//! What the functions do is in [`crate::library`], what they cost in [`crate::cost`] and [`crate::charge`].

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::types::{Opaque, Type};

/// One way to call a function.
#[derive(Debug)]
pub(crate) struct Overload {
    /// Whether the first argument stands before the dot.
    pub(crate) member: bool,
    pub(crate) args: Vec<Type>,
    pub(crate) result: Type,
    /// How many types are left open.
    pub(crate) params: u32,
}

const TABLE: &str = "
!_: (bool) -> bool
_&&_: (bool, bool) -> bool
_||_: (bool, bool) -> bool
_?_:_: (bool, A, A) -> A
@not_strictly_false: (bool) -> bool
_==_: (A, A) -> bool
_!=_: (A, A) -> bool
_+_: (int, int) -> int
_+_: (uint, uint) -> uint
_+_: (double, double) -> double
_+_: (string, string) -> string
_+_: (bytes, bytes) -> bytes
_+_: (list(A), list(A)) -> list(A)
_+_: (timestamp, duration) -> timestamp
_+_: (duration, timestamp) -> timestamp
_+_: (duration, duration) -> duration
_-_: (int, int) -> int
_-_: (uint, uint) -> uint
_-_: (double, double) -> double
_-_: (timestamp, timestamp) -> duration
_-_: (timestamp, duration) -> timestamp
_-_: (duration, duration) -> duration
_*_: (int, int) -> int
_*_: (uint, uint) -> uint
_*_: (double, double) -> double
_/_: (int, int) -> int
_/_: (uint, uint) -> uint
_/_: (double, double) -> double
_%_: (int, int) -> int
_%_: (uint, uint) -> uint
-_: (int) -> int
-_: (double) -> double
_[_]: (list(A), int) -> A
_[_]: (map(A, B), A) -> B
_[_]: (optional(list(A)), int) -> optional(A)
_[_]: (optional(map(A, B)), A) -> optional(B)
_[?_]: (list(A), int) -> optional(A)
_[?_]: (map(A, B), A) -> optional(B)
_[?_]: (optional(list(A)), int) -> optional(A)
_[?_]: (optional(map(A, B)), A) -> optional(B)
@in: (A, list(A)) -> bool
@in: (A, map(A, B)) -> bool
size: (string) -> int
size: (bytes) -> int
size: (list(A)) -> int
size: (map(A, B)) -> int
size: string.() -> int
size: bytes.() -> int
size: list(A).() -> int
size: map(A, B).() -> int
type: (A) -> type(A)
dyn: (A) -> dyn
bool: (bool) -> bool
bool: (string) -> bool
bytes: (bytes) -> bytes
bytes: (string) -> bytes
double: (double) -> double
double: (int) -> double
double: (string) -> double
double: (uint) -> double
duration: (duration) -> duration
duration: (int) -> duration
duration: (string) -> duration
int: (int) -> int
int: (double) -> int
int: (duration) -> int
int: (string) -> int
int: (timestamp) -> int
int: (uint) -> int
string: (string) -> string
string: (bool) -> string
string: (bytes) -> string
string: (double) -> string
string: (duration) -> string
string: (int) -> string
string: (timestamp) -> string
string: (uint) -> string
string: (ip) -> string
string: (cidr) -> string
timestamp: (timestamp) -> timestamp
timestamp: (int) -> timestamp
timestamp: (string) -> timestamp
uint: (uint) -> uint
uint: (double) -> uint
uint: (int) -> uint
uint: (string) -> uint
contains: string.(string) -> bool
endsWith: string.(string) -> bool
startsWith: string.(string) -> bool
matches: (string, string) -> bool
matches: string.(string) -> bool
getDate: timestamp.() -> int
getDate: timestamp.(string) -> int
getDayOfMonth: timestamp.() -> int
getDayOfMonth: timestamp.(string) -> int
getDayOfWeek: timestamp.() -> int
getDayOfWeek: timestamp.(string) -> int
getDayOfYear: timestamp.() -> int
getDayOfYear: timestamp.(string) -> int
getFullYear: timestamp.() -> int
getFullYear: timestamp.(string) -> int
getMonth: timestamp.() -> int
getMonth: timestamp.(string) -> int
getHours: timestamp.() -> int
getHours: timestamp.(string) -> int
getHours: duration.() -> int
getMinutes: timestamp.() -> int
getMinutes: timestamp.(string) -> int
getMinutes: duration.() -> int
getSeconds: timestamp.() -> int
getSeconds: timestamp.(string) -> int
getSeconds: duration.() -> int
getMilliseconds: timestamp.() -> int
getMilliseconds: timestamp.(string) -> int
getMilliseconds: duration.() -> int
optional.none: () -> optional(A)
optional.of: (A) -> optional(A)
optional.ofNonZeroValue: (A) -> optional(A)
optional.unwrap: (list(optional(A))) -> list(A)
hasValue: optional(A).() -> bool
value: optional(A).() -> A
or: optional(A).(optional(A)) -> optional(A)
orValue: optional(A).(A) -> A
unwrapOpt: list(optional(A)).() -> list(A)
first: list(A).() -> optional(A)
last: list(A).() -> optional(A)
charAt: string.(int) -> string
indexOf: string.(string) -> int
indexOf: string.(string, int) -> int
lastIndexOf: string.(string) -> int
lastIndexOf: string.(string, int) -> int
join: list(string).() -> string
join: list(string).(string) -> string
lowerAscii: string.() -> string
upperAscii: string.() -> string
replace: string.(string, string) -> string
replace: string.(string, string, int) -> string
split: string.(string) -> list(string)
split: string.(string, int) -> list(string)
substring: string.(int) -> string
substring: string.(int, int) -> string
trim: string.() -> string
format: string.(list(dyn)) -> string
strings.quote: (string) -> string
find: string.(string) -> string
findAll: string.(string) -> list(string)
findAll: string.(string, int) -> list(string)
isSorted: list(int).() -> bool
isSorted: list(uint).() -> bool
isSorted: list(double).() -> bool
isSorted: list(bool).() -> bool
isSorted: list(duration).() -> bool
isSorted: list(timestamp).() -> bool
isSorted: list(string).() -> bool
isSorted: list(bytes).() -> bool
sum: list(int).() -> int
sum: list(uint).() -> uint
sum: list(double).() -> double
sum: list(duration).() -> duration
indexOf: list(A).(A) -> int
lastIndexOf: list(A).(A) -> int
includes: dyn.(dyn) -> bool
slice: list(A).(int, int) -> list(A)
flatten: list(list(A)).() -> list(A)
flatten: list(dyn).(int) -> list(dyn)
reverse: list(A).() -> list(A)
distinct: list(A).() -> list(A)
lists.range: (int) -> list(int)
sets.contains: (list(A), list(A)) -> bool
sets.equivalent: (list(A), list(A)) -> bool
sets.intersects: (list(A), list(A)) -> bool
cel.@mapInsert: (map(A, B), A, B) -> map(A, B)
cel.@mapInsert: (map(A, B), map(A, B)) -> map(A, B)
url: (string) -> url
isURL: (string) -> bool
getScheme: url.() -> string
getHost: url.() -> string
getHostname: url.() -> string
getPort: url.() -> string
getEscapedPath: url.() -> string
getQuery: url.() -> map(string, list(string))
ip: (string) -> ip
ip: cidr.() -> ip
isIP: (string) -> bool
ip.isCanonical: (string) -> bool
family: ip.() -> int
isUnspecified: ip.() -> bool
isLoopback: ip.() -> bool
isLinkLocalMulticast: ip.() -> bool
isLinkLocalUnicast: ip.() -> bool
isGlobalUnicast: ip.() -> bool
cidr: (string) -> cidr
isCIDR: (string) -> bool
containsIP: cidr.(string) -> bool
containsIP: cidr.(ip) -> bool
containsCIDR: cidr.(string) -> bool
containsCIDR: cidr.(cidr) -> bool
prefixLength: cidr.() -> int
masked: cidr.() -> cidr
quantity: (string) -> quantity
isQuantity: (string) -> bool
sign: quantity.() -> int
isInteger: quantity.() -> bool
asInteger: quantity.() -> int
asApproximateFloat: quantity.() -> double
isGreaterThan: quantity.(quantity) -> bool
isLessThan: quantity.(quantity) -> bool
compareTo: quantity.(quantity) -> int
add: quantity.(quantity) -> quantity
add: quantity.(int) -> quantity
sub: quantity.(quantity) -> quantity
sub: quantity.(int) -> quantity
semver: (string) -> semver
semver: (string, bool) -> semver
isSemver: (string) -> bool
isSemver: (string, bool) -> bool
isGreaterThan: semver.(semver) -> bool
isLessThan: semver.(semver) -> bool
compareTo: semver.(semver) -> int
major: semver.() -> int
minor: semver.() -> int
patch: semver.() -> int
validate: format.(string) -> optional(list(string))
format.named: (string) -> optional(format)
jsonpatch.escapeKey: (string) -> string
path: authorizer.(string) -> pathcheck
group: authorizer.(string) -> groupcheck
serviceAccount: authorizer.(string, string) -> authorizer
resource: groupcheck.(string) -> resourcecheck
subresource: resourcecheck.(string) -> resourcecheck
namespace: resourcecheck.(string) -> resourcecheck
name: resourcecheck.(string) -> resourcecheck
fieldSelector: resourcecheck.(string) -> resourcecheck
labelSelector: resourcecheck.(string) -> resourcecheck
check: pathcheck.(string) -> decision
check: resourcecheck.(string) -> decision
allowed: decision.() -> bool
reason: decision.() -> string
errored: decision.() -> bool
error: decision.() -> string
";

/// The types that have an order.
const COMPARABLE: [&str; 8] = ["int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes"];

/// All functions by name.
pub(crate) static FUNCTIONS: LazyLock<HashMap<String, Vec<Overload>>> = LazyLock::new(|| {
    let mut functions: HashMap<String, Vec<Overload>> = HashMap::new();
    let mut declare = |line: &str| {
        let (name, overload) = read_line(line);
        functions.entry(name.to_owned()).or_default().push(overload);
    };
    TABLE.lines().filter(|line| !line.is_empty()).for_each(&mut declare);
    for operator in ["_<_", "_<=_", "_>_", "_>=_"] {
        for ty in COMPARABLE {
            declare(&format!("{operator}: ({ty}, {ty}) -> bool"));
        }
        for (left, right) in [("int", "uint"), ("int", "double"), ("uint", "double")] {
            declare(&format!("{operator}: ({left}, {right}) -> bool"));
            declare(&format!("{operator}: ({right}, {left}) -> bool"));
        }
    }
    for ty in COMPARABLE {
        declare(&format!("min: list({ty}).() -> {ty}"));
        declare(&format!("max: list({ty}).() -> {ty}"));
        declare(&format!("sort: list({ty}).() -> list({ty})"));
        declare(&format!("@sortByAssociatedKeys: list(A).(list({ty})) -> list(A)"));
    }
    for format in crate::library::FORMATS {
        declare(&format!("format.{format}: () -> format"));
    }
    functions
});

fn read_line(line: &str) -> (&str, Overload) {
    let (name, signature) = line.split_once(": ").expect("the table has a name before the colon");
    let (from, result) = signature.split_once(" -> ").expect("the table has an arrow");
    let open = if from.starts_with('(') { 0 } else { from.find(".(").expect("a receiver has a dot") + 1 };
    let mut args = Vec::new();
    if open > 0 {
        args.push(read_type(&from[..open - 1]));
    }
    args.extend(split(&from[open + 1..from.len() - 1]).into_iter().map(read_type));
    let result = read_type(result);
    let params = u32::from(signature.contains('A')) + u32::from(signature.contains('B'));
    (name, Overload { member: open > 0, args, result, params })
}

/// The parts between commas that no brackets enclose.
fn split(list: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, c) in list.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(list[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    let last = list[start..].trim();
    if !last.is_empty() {
        parts.push(last);
    }
    parts
}

fn read_type(text: &str) -> Type {
    let (name, params) = text.strip_suffix(')').and_then(|text| text.split_once('(')).unwrap_or((text, ""));
    let mut params = split(params).into_iter().map(read_type);
    let mut next = || Arc::new(params.next().expect("the table gives every type its parameters"));
    match name {
        "A" => Type::Param(0),
        "B" => Type::Param(1),
        "type" => Type::Type(next()),
        "list" => Type::List(next()),
        "map" => {
            let key = next();
            Type::Map(key, next())
        }
        "optional" => Type::Optional(next()),
        "timestamp" => Type::Timestamp,
        "duration" => Type::Duration,
        "url" => Type::Opaque(Opaque::Url),
        "ip" => Type::Opaque(Opaque::Ip),
        "cidr" => Type::Opaque(Opaque::Cidr),
        "quantity" => Type::Opaque(Opaque::Quantity),
        "semver" => Type::Opaque(Opaque::Semver),
        "format" => Type::Opaque(Opaque::Format),
        "authorizer" => Type::Opaque(Opaque::Authorizer),
        "pathcheck" => Type::Opaque(Opaque::PathCheck),
        "groupcheck" => Type::Opaque(Opaque::GroupCheck),
        "resourcecheck" => Type::Opaque(Opaque::ResourceCheck),
        "decision" => Type::Opaque(Opaque::Decision),
        other => Type::named(other).expect("the table names types that exist"),
    }
}
