//! YAML to [`Value`] and back, as `sigs.k8s.io/yaml` reads and writes it: YAML 1.1 scalars (`yes` and `on` are
//! booleans, `0644` is octal), duplicate keys told, alias bombs refused.

mod repeated;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Options, budget, options, ser_options};

use super::json::{Parsed, parse};
use repeated::Lines;

/// The most bytes of a YAML document. JSON may be longer: YAML costs more to read.
pub const MAX_BYTES: usize = 3 * 1024 * 1024;

/// Why a text is no YAML document.
#[derive(Debug, thiserror::Error)]
pub enum YamlError {
    /// The text breaks the grammar, nests too deeply, or repeats itself too often.
    #[error("error converting YAML to JSON: yaml: {0}")]
    Syntax(String),
    /// The text is longer than the limit.
    #[error("YAML document of {0} bytes is larger than the limit of {MAX_BYTES}")]
    TooLarge(usize),
    /// A value that YAML cannot express.
    #[error("error converting JSON to YAML: {0}")]
    Encode(String),
}

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse(deserializer)
    }
}

/// Decodes one YAML document.
pub fn decode(bytes: &[u8]) -> Result<Parsed, YamlError> {
    check_size(bytes)?;
    let mut parsed: Parsed =
        serde_saphyr::from_slice_with_options(bytes, limits()).map_err(|err| YamlError::Syntax(err.to_string()))?;
    if !parsed.duplicates.is_empty()
        && let Ok(lines) = serde_saphyr::from_slice_with_options::<Lines>(bytes, limits())
        && !lines.0.is_empty()
    {
        parsed.duplicates = lines.0;
    }
    Ok(parsed)
}

/// Decodes all documents of a stream; empty ones are passed over.
pub fn decode_all(bytes: &[u8]) -> Result<Vec<Parsed>, YamlError> {
    check_size(bytes)?;
    let documents: Vec<Parsed> = serde_saphyr::from_slice_multiple_with_options(bytes, limits())
        .map_err(|err| YamlError::Syntax(err.to_string()))?;
    Ok(documents.into_iter().filter(|document| !document.value.is_null()).collect())
}

/// Writes a value as a YAML document.
pub fn encode(value: &Value) -> Result<String, YamlError> {
    let style = ser_options! { compact_list_indent: true };
    serde_saphyr::to_string_with_options(value, style).map_err(|err| YamlError::Encode(err.to_string()))
}

fn check_size(bytes: &[u8]) -> Result<(), YamlError> {
    if bytes.len() > MAX_BYTES { Err(YamlError::TooLarge(bytes.len())) } else { Ok(()) }
}

fn limits() -> Options {
    let mut options = options! {
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        legacy_octal_numbers: true,
        with_snippet: false,
        emit_comments: false,
        // Texts too, for one long text may be repeated by many short aliases.
        budget: budget! { max_depth: 100, max_nodes: 500_000, max_total_scalar_bytes: 2 * MAX_BYTES },
    };
    options.alias_limits.max_total_replayed_events = 100_000;
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Problem;
    use serde_json::json;

    #[test]
    fn scalars_are_what_upstream_takes_them_for() {
        for (text, value) in [
            ("yes", json!(true)),
            ("No", json!(false)),
            ("on", json!(true)),
            ("off", json!(false)),
            ("y", json!(true)),
            ("true", json!(true)),
            ("'yes'", json!("yes")),
            ("\"1\"", json!("1")),
            ("~", json!(null)),
            ("null", json!(null)),
            ("", json!(null)),
            ("1", json!(1)),
            ("-1", json!(-1)),
            ("0644", json!(420)),
            ("0x1F", json!(31)),
            ("0o17", json!(15)),
            ("1.5", json!(1.5)),
            ("1e3", json!(1000.0)),
            ("1_000", json!(1000)),
            ("100m", json!("100m")),
            ("1.2.3", json!("1.2.3")),
            ("2026-01-02", json!("2026-01-02")),
            ("2026-01-02T03:04:05Z", json!("2026-01-02T03:04:05Z")),
            ("12345678901234567890", json!(12345678901234567890u64)),
            ("10.0.0.1", json!("10.0.0.1")),
            ("!!str 1", json!("1")),
            ("+1", json!(1)),
            ("1Gi", json!("1Gi")),
            ("nope", json!("nope")),
            ("0.5", json!(0.5)),
        ] {
            let document = decode(format!("a: {text}\n").as_bytes()).unwrap_or_else(|err| panic!("{text}: {err}"));
            assert_eq!(document.value, json!({"a": value}), "{text}");
        }
    }

    #[test]
    fn documents_have_structure() {
        let text = "apiVersion: v1\nkind: List\nitems:\n- a: &x {b: [1, two]}\n- *x\n- |\n  text\n  more\n- >-\n  one\n  line\n80: port\n";
        let value = json!({"apiVersion": "v1", "kind": "List", "80": "port",
            "items": [{"a": {"b": [1, "two"]}}, {"b": [1, "two"]}, "text\nmore\n", "one line"]});
        assert_eq!(decode(text.as_bytes()).expect("YAML").value, value);
        assert_eq!(decode(br#"{"a": [1, {"b": null}]}"#).expect("JSON is YAML").value, json!({"a": [1, {"b": null}]}));
        let merged = "base: &b {x: 1}\nmore: {<<: *b, y: 2}\n";
        assert_eq!(decode(merged.as_bytes()).expect("YAML").value["more"], json!({"x": 1, "y": 2}));
    }

    #[test]
    fn duplicates_are_told() {
        let text = b"spec:\n  a: 1\n  a:\n    d: 1\n    d: 2\n  b: [{c: 1, c: 2}]\n";
        let document = decode(text).expect("YAML");
        let found = [(5, "d"), (4, "a"), (6, "c")].map(|(line, key)| Problem::Repeated(line, key.into()));
        assert_eq!((document.value["spec"]["a"].clone(), document.duplicates), (json!({"d": 2}), found.to_vec()));
    }

    #[test]
    fn streams_have_many_documents() {
        let documents = decode_all(b"---\na: 1\n---\n---\nb: 2\n").expect("YAML");
        let values: Vec<Value> = documents.into_iter().map(|document| document.value).collect();
        assert_eq!(values, [json!({"a": 1}), json!({"b": 2})]);
        assert!(decode(b"a: 1\n---\nb: 2\n").is_err(), "one document only");
    }

    #[test]
    fn bad_and_malicious_documents_are_refused() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..10 {
            let list = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{list}]\n"));
        }
        let mut tower = String::from("a0: &a0 [x]\n");
        for level in 1..300 {
            tower.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
        }
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), "*a, ".repeat(1000));
        let deep = "[".repeat(5000);
        for text in ["a: [", "a: b: c", long.as_str(), tower.as_str(), "a: *missing", bomb.as_str(), deep.as_str()] {
            let error = decode(text.as_bytes()).expect_err("refused").to_string();
            assert!(error.starts_with("error converting YAML to JSON: yaml: "), "{error}");
        }
        assert!(matches!(decode(&vec![b' '; MAX_BYTES + 1]), Err(YamlError::TooLarge(_))));
    }

    #[test]
    fn what_is_written_reads_back() {
        let value = json!({"kind": "X", "spec": {"a": ["1", "yes", "0644", "", " x", "a: b", "line\nline\n", "null", "1e3"],
            "b": {}, "c": [], "d": null, "e": 1.5, "f": [{"x": 1, "y": [true]}]}});
        let text = encode(&value).expect("YAML");
        assert_eq!(decode(text.as_bytes()).expect("YAML").value, value, "{text}");
    }
}
