//! JSON to [`Value`] with the paths of keys that are there twice (upstream: `sigs.k8s.io/json`, strict mode).

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use crate::schema::Problem;

/// A decoded document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parsed {
    /// The document; of a key that is there twice the last value.
    pub value: Value,
    /// The keys that are there twice, in reading order.
    pub duplicates: Vec<Problem>,
}

/// Why bytes are no JSON document.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// The bytes break the grammar, nest too deeply, or go on after the document.
    #[error("invalid JSON: {0}")]
    Syntax(#[from] serde_json::Error),
}

/// The most levels of lists and maps in a document, so that whatever walks it later is safe too.
pub const MAX_DEPTH: usize = 128;

/// The most problems that are told of one document, as upstream: each carries its whole path.
pub const MAX_PROBLEMS: usize = 100;

/// Decodes one JSON document. Nesting is limited to [`MAX_DEPTH`], the number of bytes by the caller.
pub fn decode(bytes: &[u8]) -> Result<Parsed, JsonError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let parsed = parse(&mut reader)?;
    reader.end()?;
    Ok(parsed)
}

/// Reads one value from any self-describing format, with the duplicates found in it.
pub(super) fn parse<'de, D: Deserializer<'de>>(reader: D) -> Result<Parsed, D::Error> {
    let mut keys = Keys::default();
    let value = Node(&mut keys).deserialize(reader)?;
    Ok(Parsed { value, duplicates: keys.duplicates })
}

/// Brings what is wrong with a document into the order in which upstream's decoder meets it: fields that are unknown
/// and fields that are there twice in one row. Below what is unknown it does not look.
pub fn in_reading_order(bytes: &[u8], problems: Vec<Problem>) -> Vec<Problem> {
    let unknown: HashSet<String> = problems.iter().filter_map(Problem::unknown).map(str::to_owned).collect();
    let hidden = |path: &str| {
        let mut ends = path.match_indices(['.', '[']).map(|(end, _)| end).chain([path.len()]);
        ends.any(|end| unknown.contains(&path[..end]))
    };
    let places = problems.iter().map(|problem| (problem.path().to_owned(), Vec::new())).collect();
    let mut keys = Keys { places, ..Keys::default() };
    // It was read before.
    let _ = Node(&mut keys).deserialize(&mut serde_json::Deserializer::from_slice(bytes));
    let place = |problem: &Problem| {
        let occurrence = usize::from(matches!(problem, Problem::Duplicate(_)));
        keys.places.get(problem.path()).and_then(|places| places.get(occurrence)).copied().unwrap_or(usize::MAX)
    };
    let mut problems: Vec<Problem> =
        problems.into_iter().filter(|problem| !matches!(problem, Problem::Duplicate(path) if hidden(path))).collect();
    problems.sort_by_key(place);
    problems.dedup();
    problems
}

/// The place in the document, as one text that grows and shrinks, and what was found.
#[derive(Default)]
struct Keys {
    path: String,
    depth: usize,
    duplicates: Vec<Problem>,
    /// How many keys were met, and which of them have the paths that are asked for.
    met: usize,
    places: HashMap<String, Vec<usize>>,
}

impl Keys {
    /// One level deeper. YAML's aliases can nest deeper than the text does, hence the count here.
    fn enter<E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(E::custom("the document nests too deeply")) } else { Ok(()) }
    }

    fn met(&mut self, again: bool) {
        self.met += 1;
        if !self.places.is_empty()
            && let Some(places) = self.places.get_mut(&self.path)
        {
            places.push(self.met);
        }
        if again && self.duplicates.len() < MAX_PROBLEMS {
            self.duplicates.push(Problem::Duplicate(self.path.clone()));
        }
    }
}

struct Node<'k>(&'k mut Keys);

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        self.deserialize(reader)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let keys = self.0;
        keys.enter()?;
        let length = keys.path.len();
        let mut list = Vec::new();
        loop {
            use fmt::Write as _;
            write!(keys.path, "[{}]", list.len()).map_err(serde::de::Error::custom)?;
            let item = items.next_element_seed(Node(keys))?;
            keys.path.truncate(length);
            match item {
                Some(item) => list.push(item),
                None => {
                    keys.depth -= 1;
                    return Ok(Value::Array(list));
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let keys = self.0;
        keys.enter()?;
        let length = keys.path.len();
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if length > 0 {
                keys.path.push('.');
            }
            keys.path.push_str(&key);
            let entry = map.entry(key);
            keys.met(matches!(entry, Entry::Occupied(_)));
            let value = entries.next_value_seed(Node(keys))?;
            keys.path.truncate(length);
            match entry {
                Entry::Vacant(entry) => {
                    entry.insert(value);
                }
                Entry::Occupied(mut entry) => {
                    entry.insert(value);
                }
            }
        }
        keys.depth -= 1;
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn duplicates_are_told_and_the_last_one_counts() {
        let parsed =
            decode(br#"{"spec": {"a": 1, "a": 2, "list": [{}, {"x": 1, "x": null}]}, "spec2": []}"#).expect("JSON");
        assert_eq!(parsed.value, json!({"spec": {"a": 2, "list": [{}, {"x": null}]}, "spec2": []}));
        let texts: Vec<String> = parsed.duplicates.iter().map(Problem::to_string).collect();
        assert_eq!(texts, [r#"duplicate field "spec.a""#, r#"duplicate field "spec.list[1].x""#]);
    }

    /// Upstream: sigs.k8s.io/json/internal/golang/encoding/json/kubernetes_patch.go `saveStrictError`.
    #[test]
    fn problems_are_told_in_reading_order() {
        let text =
            br#"{"x": 1, "spec": {"u": {"a": 1, "a": 2}, "b": 1, "b": 2, "b": 3}, "z": [{"c": 1, "c": 2}], "x": 2}"#;
        let mut problems = decode(text).expect("JSON").duplicates;
        problems.extend(["spec.u", "x"].map(|path| Problem::Unknown(path.into())));
        let texts: Vec<String> = in_reading_order(text, problems).iter().map(Problem::to_string).collect();
        let expected = [
            r#"unknown field "x""#,
            r#"unknown field "spec.u""#,
            r#"duplicate field "spec.b""#,
            r#"duplicate field "z[0].c""#,
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn what_is_told_has_an_end() {
        let text = format!("{{{}: 1}}", vec![r#""a""#; 300].join(": 1, "));
        assert_eq!(decode(text.as_bytes()).expect("JSON").duplicates.len(), MAX_PROBLEMS);
    }

    #[test]
    fn values_come_out_as_serde_json_reads_them() {
        for text in [r#"{"a": [1, -2, 1.5, 18446744073709551615, true, null, "\u00e9\n"]}"#, "3", "[]", r#""x""#] {
            assert_eq!(
                decode(text.as_bytes()).expect("JSON").value,
                serde_json::from_str::<Value>(text).expect("JSON")
            );
        }
    }

    #[test]
    fn bad_documents_are_refused() {
        let deep = "[".repeat(1000);
        for text in ["", "{", "{]", r#"{"a": 1} x"#, "{'a': 1}", "nul", deep.as_str()] {
            assert!(decode(text.as_bytes()).is_err(), "{text}");
        }
    }
}
