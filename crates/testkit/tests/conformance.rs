//! Every specification that sig-api-machinery and sig-auth have in the official conformance suite has a test of ours.
//!
//! conformance-v1.20.txt holds their names, and below each the name of its end-to-end test upstream. A test says in its
//! doc comment, `Conformance: <name>.`, whose demands it checks; it is in a file of a folder named `conformance`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const KEY: &str = "/// Conformance: ";

/// The names of the specifications.
fn specified() -> BTreeSet<&'static str> {
    let lines = include_str!("conformance-v1.20.txt").lines();
    lines.filter(|line| !line.starts_with(' ')).map(|name| name.trim_end_matches('.')).collect()
}

/// The files of all folders `crates/*/tests/*/conformance`.
fn files() -> Vec<PathBuf> {
    let inside = |dir: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let crates = inside(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")));
    let binaries = crates.iter().flat_map(|room| inside(&room.join("tests")));
    binaries.flat_map(|binary| inside(&binary.join("conformance"))).collect()
}

/// The test of each name. A key counts only right above a test.
fn tested() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for path in files() {
        let text = fs::read_to_string(&path).expect("a source file");
        let mut names: Vec<String> = Vec::new();
        let mut is_test = false;
        for line in text.lines() {
            if let Some(name) = line.strip_prefix(KEY) {
                names.push(name.trim_end_matches('.').to_owned());
            } else if line == "#[test]" || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if line.contains("fn ") && !names.is_empty() {
                assert!(is_test, "{}: {line} has a key and is no test", path.display());
                let function = line.split("fn ").nth(1).and_then(|rest| rest.split('(').next()).expect("its name");
                for name in names.drain(..) {
                    let before = found.insert(name.clone(), function.to_owned());
                    assert_eq!(before, None, "{name} has two tests");
                }
                is_test = false;
            } else if !line.starts_with("///") && !line.starts_with("#[") {
                is_test = false;
            }
        }
    }
    found
}

#[test]
fn every_specification_has_its_test() {
    let (specified, tested) = (specified(), tested());
    let without: Vec<&&str> = specified.iter().filter(|name| !tested.contains_key(**name)).collect();
    assert!(without.is_empty(), "no test checks these: {without:#?}");
    let unknown: Vec<&String> = tested.keys().filter(|name| !specified.contains(name.as_str())).collect();
    assert!(unknown.is_empty(), "these are no specifications: {unknown:#?}");
    assert_eq!(specified.len(), 74, "the list is whole");
}
