//! The JSON paths of definitions: `.spec.replicas`, `.status.conditions[?(@.type=="Ready")].status`
//! (upstream: client-go/util/jsonpath).

use serde_json::{Map, Value};

/// A parsed path.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath(Vec<Step>);

/// One step of a path.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    Slice(Option<i64>, Option<i64>, i64),
    All,
    Recursive,
    Filter(Box<Filter>),
}

/// `[?(@.type=="Ready")]`.
#[derive(Clone, Debug, PartialEq)]
struct Filter {
    left: Operand,
    comparison: Option<(Operator, Operand)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Path(JsonPath),
    Literal(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Two characters before one, so that the longer is found first.
const OPERATORS: [(&str, Operator); 6] = [
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

/// How deep filters may lie in paths of filters.
const MAX_DEPTH: usize = 8;

/// The most values that a step leads to: `..` again and again would find the same ones more and more often.
const MAX_FOUND: usize = 10_000;

impl JsonPath {
    /// Reads a path; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        Self::parse_within(text, 0)
    }

    fn parse_within(text: &str, depth: usize) -> Option<Self> {
        if depth > MAX_DEPTH {
            return None;
        }
        let mut rest = text.trim();
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix("..") {
                steps.push(Step::Recursive);
                let (name, after) = name(after);
                if !name.is_empty() {
                    steps.push(field(name));
                }
                rest = after;
            } else if let Some(after) = rest.strip_prefix('.') {
                let (name, after) = name(after);
                if !name.is_empty() {
                    steps.push(field(name));
                }
                rest = after;
            } else if let Some(after) = rest.strip_prefix('[') {
                let end = closing(after)?;
                steps.push(bracket(&after[..end], depth)?);
                rest = &after[end + 1..];
            } else if let Some(after) = rest.strip_prefix(['$', '@']).filter(|_| steps.is_empty()) {
                rest = after;
            } else {
                let (name, after) = name(rest);
                if name.is_empty() || !steps.is_empty() {
                    return None;
                }
                steps.push(field(name));
                rest = after;
            }
        }
        Some(Self(steps))
    }

    /// All values that the path leads to.
    pub fn find<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        follow(&self.0, vec![value])
    }

    /// All values that the path leads to from an object's fields.
    pub fn find_in<'v>(&self, fields: &'v Map<String, Value>) -> Vec<&'v Value> {
        match self.0.split_first() {
            Some((Step::Field(name), rest)) => follow(rest, fields.get(name).into_iter().collect()),
            Some((Step::All, rest)) => follow(rest, fields.values().collect()),
            Some((Step::Recursive, _)) => follow(&self.0, fields.values().collect()),
            _ => Vec::new(),
        }
    }
}

fn follow<'v>(steps: &[Step], from: Vec<&'v Value>) -> Vec<&'v Value> {
    let take = |found: Vec<&'v Value>, step: &Step| {
        found.into_iter().flat_map(|value| step.take(value)).take(MAX_FOUND).collect()
    };
    steps.iter().fold(from, take)
}

fn field(name: String) -> Step {
    if name == "*" { Step::All } else { Step::Field(name) }
}

/// A name up to the next `.` or `[`; a backslash takes the sign after it as it is.
fn name(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '.' | '[' => return (name, &text[at..]),
            '\\' => name.extend(letters.next().map(|(_, letter)| letter)),
            other => name.push(other),
        }
    }
    (name, "")
}

/// Where the bracket that was opened before `text` closes.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (1_usize, None);
    for (at, letter) in text.char_indices() {
        match (letter, quote) {
            (letter, Some(open)) if letter == open => quote = None,
            (_, Some(_)) => {}
            ('\'' | '"', None) => quote = Some(letter),
            ('[', None) => depth += 1,
            (']', None) => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

fn bracket(text: &str, depth: usize) -> Option<Step> {
    let text = text.trim();
    if text == "*" {
        return Some(Step::All);
    }
    if let Some(name) = quoted(text) {
        return Some(Step::Field(name.to_owned()));
    }
    if let Some(filter) = text.strip_prefix("?(").and_then(|text| text.strip_suffix(')')) {
        return Some(Step::Filter(Box::new(Filter::parse(filter, depth)?)));
    }
    if !text.contains(':') {
        return Some(Step::Index(text.parse().ok()?));
    }
    let mut bounds = text.splitn(3, ':').map(|bound| match bound.trim() {
        "" => Some(None),
        number => number.parse::<i64>().ok().map(Some),
    });
    let (from, to) = (bounds.next()??, bounds.next()??);
    let step = bounds.next().unwrap_or(Some(None))?.unwrap_or(1);
    (step > 0).then_some(Step::Slice(from, to, step))
}

fn quoted(text: &str) -> Option<&str> {
    ['\'', '"'].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))
}

impl Filter {
    fn parse(text: &str, depth: usize) -> Option<Self> {
        let split = |(sign, operator): &(&str, Operator)| {
            let at = text.find(sign)?;
            Some((text[..at].trim(), *operator, text[at + sign.len()..].trim()))
        };
        match OPERATORS.iter().find_map(split) {
            Some((left, operator, right)) => {
                let comparison = Some((operator, Operand::parse(right, depth)?));
                Some(Self { left: Operand::parse(left, depth)?, comparison })
            }
            None => Some(Self { left: Operand::parse(text.trim(), depth)?, comparison: None }),
        }
    }

    fn accepts(&self, value: &Value) -> bool {
        let Some(left) = self.left.value(value) else { return false };
        let Some((operator, right)) = &self.comparison else { return true };
        let Some(right) = right.value(value) else { return false };
        let order = match (left, right) {
            (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
            (left, right) => match (left.as_f64(), right.as_f64()) {
                (Some(left), Some(right)) => left.partial_cmp(&right),
                _ => None,
            },
        };
        match operator {
            Operator::Equal => left == right || order.is_some_and(|order| order.is_eq()),
            Operator::NotEqual => left != right && !order.is_some_and(|order| order.is_eq()),
            Operator::Less => order.is_some_and(|order| order.is_lt()),
            Operator::LessOrEqual => order.is_some_and(|order| order.is_le()),
            Operator::Greater => order.is_some_and(|order| order.is_gt()),
            Operator::GreaterOrEqual => order.is_some_and(|order| order.is_ge()),
        }
    }
}

impl Operand {
    fn parse(text: &str, depth: usize) -> Option<Self> {
        if let Some(text) = quoted(text) {
            return Some(Self::Literal(text.into()));
        }
        if text.starts_with('@') || text.starts_with('.') || text.starts_with('$') {
            return JsonPath::parse_within(text, depth + 1).map(Self::Path);
        }
        serde_json::from_str(text).ok().map(Self::Literal)
    }

    fn value<'v>(&'v self, value: &'v Value) -> Option<&'v Value> {
        match self {
            Self::Path(path) => path.find(value).first().copied(),
            Self::Literal(value) => Some(value),
        }
    }
}

impl Step {
    fn take<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        match (self, value) {
            (Self::Field(name), Value::Object(map)) => map.get(name).into_iter().collect(),
            (Self::All, Value::Object(map)) => map.values().collect(),
            (Self::All, Value::Array(list)) => list.iter().collect(),
            (Self::Index(index), Value::Array(list)) => {
                let at = if *index < 0 { list.len() as i64 + index } else { *index };
                usize::try_from(at).ok().and_then(|at| list.get(at)).into_iter().collect()
            }
            (Self::Slice(from, to, step), Value::Array(list)) => {
                let bound = |bound: Option<i64>, missing: i64| {
                    let bound = bound.unwrap_or(missing);
                    let bound = if bound < 0 { bound + list.len() as i64 } else { bound };
                    bound.clamp(0, list.len() as i64) as usize
                };
                let (from, to) = (bound(*from, 0), bound(*to, list.len() as i64));
                let step = usize::try_from(*step).unwrap_or(1);
                list.iter().take(to).skip(from).step_by(step).collect()
            }
            (Self::Filter(filter), Value::Array(list)) => list.iter().filter(|item| filter.accepts(item)).collect(),
            (Self::Recursive, value) => {
                let mut found = vec![value];
                let below: Vec<&Value> = match value {
                    Value::Object(map) => map.values().collect(),
                    Value::Array(list) => list.iter().collect(),
                    _ => Vec::new(),
                };
                found.extend(below.into_iter().flat_map(|value| self.take(value)));
                found
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_lead_where_upstreams_lead() {
        let object = json!({
            "spec": {"replicas": 3, "a.b": "dotted", "list": [1, 2, 3, 4]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Synced", "status": "False"}]},
            "metadata": {"labels": {"app.kubernetes.io/name": "x"}},
        });
        for (path, expected) in [
            (".spec.replicas", json!([3])),
            ("spec.replicas", json!([3])),
            (".spec.missing", json!([])),
            (".spec['a.b']", json!(["dotted"])),
            (".spec.list[-1]", json!([4])),
            (".spec.list[1:3]", json!([2, 3])),
            (".spec.list[*]", json!([1, 2, 3, 4])),
            (r".metadata.labels.app\.kubernetes\.io/name", json!(["x"])),
            (r#".status.conditions[?(@.type=="Ready")].status"#, json!(["True"])),
            (".status.conditions[?(@.type!='Ready')].type", json!(["Synced"])),
            ("..status", json!([object["status"], "True", "False"])),
        ] {
            let found = JsonPath::parse(path).unwrap_or_else(|| panic!("{path} is a path"));
            assert_eq!(json!(found.find(&object)), expected, "{path}");
        }
        for broken in [".spec.list[", ".spec.list[x]", ".a[?(@.b==)]", ".a[::0]"] {
            assert_eq!(JsonPath::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn paths_that_mean_harm_end() {
        let filters = "[?(@".repeat(100_000);
        assert_eq!(JsonPath::parse(&(filters.clone() + &")]".repeat(100_000))), None);
        assert_eq!(JsonPath::parse(&filters), None);
        let deep = (0..100).fold(json!(1), |inner, _| json!({ "a": [inner] }));
        let everything = JsonPath::parse(&"..".repeat(100)).expect("a path");
        assert_eq!(everything.find(&deep).len(), MAX_FOUND);
    }
}
