//! Objects as JSON and YAML, their structure, and the definitions of custom resources.

use std::sync::LazyLock;

use api::SCHEMAS;
use api::resource::Strategy;
use apiextensions::rules::DefinitionRules;
use apimachinery::codec::{self, Format, yaml};
use apimachinery::schema::{self, NodeId};
use apimachinery::{GroupVersionKind, Object};
use serde_json::Value;

use super::{depth, document, text};
use crate::target::{Memory, Target};

pub(crate) static JSON: Target = Target::new("json", check_json).words(&[
    "{\"a\":",
    "[",
    "]",
    "}",
    ",",
    "null",
    "true",
    "1e9",
    "-0.0",
    "\\u00e9",
    "\\ud83d\\ude00",
    "\"a\":1",
]);

// Aliases repeat what was read: up to 100,000 nodes of it.
pub(crate) static YAML: Target = Target::new("yaml", check_yaml)
    .memory(Memory { base: 48 << 20, per_byte: 1024 })
    .words(&[
        "&a ", "*a", "<<: *a", "- ", ": ", "|\n  ", ">-\n  ", "!!str ", "---\n", "...\n", "? ", "[", "]", "{", "}",
        "'", "\"", "#", "yes", "0o7", "~",
    ])
    .longest(2048);

pub(crate) static OBJECT: Target = Target::new("object", check_object).words(POD_WORDS);

pub(crate) static DEFINITION: Target =
    Target::new("definition", check_definition).memory(Memory { base: 32 << 20, per_byte: 4096 }).words(&[
        "\"type\":\"object\"",
        "\"properties\":{",
        "\"items\":{",
        "\"additionalProperties\":",
        "\"x-kubernetes-validations\":[{\"rule\":\"",
        "\"x-kubernetes-preserve-unknown-fields\":true",
        "\"pattern\":\"(a+)+$\"",
        "\"default\":",
        "\"enum\":[",
        "\"maxItems\":",
        "\"x-kubernetes-list-type\":\"map\"",
        "\"x-kubernetes-list-map-keys\":[\"a\"]",
        "\"anyOf\":[{",
        "\"not\":{",
        "\"format\":\"int32\"",
        "\"x-kubernetes-int-or-string\":true",
        "\"nullable\":true",
        "\"jsonPath\":\".spec",
        "self.",
        "oldSelf",
    ]);

pub(super) const POD_WORDS: &[&str] = &[
    "\"metadata\":{",
    "\"spec\":{",
    "\"containers\":[{",
    "\"name\":\"a\"",
    "\"labels\":{",
    "\"env\":[{",
    "\"ports\":[{\"containerPort\":80}]",
    "\"resources\":{\"limits\":{\"cpu\":\"1\"}}",
    "\"volumes\":[",
    "\"$patch\":\"delete\"",
    "\"$patch\":\"replace\"",
    "\"$retainKeys\":[\"a\"]",
    "\"$setElementOrder/containers\":[{\"name\":\"a\"}]",
    "\"$deleteFromPrimitiveList/finalizers\":[\"a\"]",
    "null",
    "{",
    "}",
    "[",
    "]",
    ",",
    "\"finalizers\":[\"a\"]",
    "\"creationTimestamp\":null",
    "\"managedFields\":[",
    "\"f:spec\":{",
    "\"k:{\\\"name\\\":\\\"a\\\"}\":{",
    "\"v:\\\"a\\\"\":{}",
    "\".\":{}",
];

/// Our reader, which tells duplicates, takes what serde_json takes, and reads the same.
fn check_json(input: &[u8]) {
    let ours = codec::json::decode(input);
    let theirs = serde_json::from_slice::<Value>(input);
    assert_eq!(ours.is_ok(), theirs.is_ok(), "{ours:?} {theirs:?}");
    let (Ok(ours), Ok(theirs)) = (ours, theirs) else { return };
    assert_eq!(ours.value, theirs);
    assert!(depth(&theirs) <= codec::json::MAX_DEPTH);
    let written = serde_json::to_vec(&ours.value).expect("JSON");
    let again = codec::json::decode(&written).expect("what was written is read");
    assert_eq!(again.value, ours.value);
    assert!(again.duplicates.is_empty());
}

/// What is written is read again as the same; JSON is YAML.
fn check_yaml(input: &[u8]) {
    let _ = yaml::decode_all(input);
    let Ok(parsed) = codec::decode(input, Format::Yaml) else { return };
    assert!(depth(&parsed.value) <= codec::json::MAX_DEPTH);
    // Whoever repeats by alias is not repeated here.
    if text(input).is_some_and(|text| text.contains('*')) {
        return;
    }
    let written = yaml::encode(&parsed.value).expect("any value can be written");
    let again = yaml::decode(written.as_bytes()).unwrap_or_else(|error| panic!("{written:?}: {error}"));
    assert_eq!(again.value, parsed.value, "{written:?}");
}

/// The structure of pods.
pub(super) static POD: LazyLock<NodeId> =
    LazyLock::new(|| SCHEMAS.of(&GroupVersionKind::new("", "v1", "Pod")).expect("pods have a schema"));

/// What fits the schema fits it again, and is then as it should be.
fn check_object(input: &[u8]) {
    let root = *POD;
    let Some(Value::Object(fields)) = document(input) else { return };
    let mut object = Object(fields);
    if schema::decode(&SCHEMAS.set, root, &mut object).is_err() {
        return;
    }
    let once = object.clone();
    let problems = schema::decode(&SCHEMAS.set, root, &mut object).expect("what was decoded decodes again");
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(object, once);
    let mut pruned = once.0.clone();
    schema::prune(&SCHEMAS.set, root, &mut pruned);
    assert_eq!(pruned, once.0, "nothing unknown is left");
}

/// A definition is good or bad, and the rows that come of a good one can be asked.
fn check_definition(input: &[u8]) {
    let Some(Value::Object(fields)) = document(input) else { return };
    let mut object = Object(fields);
    let root = SCHEMAS.of(&GroupVersionKind::new("apiextensions.k8s.io", "v1", "CustomResourceDefinition"));
    let Some(root) = root else { return };
    if schema::decode(&SCHEMAS.set, root, &mut object).is_err() {
        return;
    }
    let rules = DefinitionRules::new(None);
    rules.default(&mut object);
    let once = object.clone();
    rules.default(&mut object);
    assert_eq!(object, once, "defaults settle");
    let first = rules.validate(&object);
    assert_eq!(first.len(), rules.validate(&object).len());
}
