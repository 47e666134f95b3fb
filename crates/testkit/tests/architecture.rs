//! The map and the land: ARCHITECTURE.md says who may call whom, the manifests say who does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

type Edges = BTreeMap<String, BTreeSet<String>>;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The rows `| `crate` | ... | a, b |` of the code map.
fn allowed() -> Edges {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let mut edges = Edges::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, _, uses, _] = cells[..] else { continue };
        if let Some(name) = name.strip_prefix('`').and_then(|name| name.strip_suffix('`')) {
            edges.insert(name.to_owned(), uses.split(',').map(|name| name.trim().to_owned()).collect());
        }
    }
    edges
}

/// The rooms each room's manifest names under `[dependencies]`.
fn actual() -> Edges {
    let crates = fs::read_dir(root().join("crates")).expect("crates");
    let names: BTreeSet<String> = crates.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let uses = |name: &str| {
        let manifest = fs::read_to_string(root().join("crates").join(name).join("Cargo.toml")).expect("a manifest");
        let section = manifest.split("\n[").find_map(|part| part.strip_prefix("dependencies]").map(str::to_owned));
        let section = section.unwrap_or_default();
        let named = section.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
        named.filter(|other| names.contains(*other)).map(str::to_owned).collect()
    };
    names.iter().map(|name| (name.clone(), uses(name))).collect()
}

#[test]
fn the_rooms_call_only_whom_they_may() {
    let allowed = allowed();
    let actual = actual();
    assert_eq!(
        allowed.keys().collect::<Vec<_>>(),
        actual.keys().collect::<Vec<_>>(),
        "ARCHITECTURE.md lists every room"
    );
    for (room, uses) in &actual {
        let may = &allowed[room];
        if may.contains("all") {
            continue;
        }
        let beyond: Vec<_> = uses.difference(may).collect();
        assert!(beyond.is_empty(), "{room} uses {beyond:?}, which ARCHITECTURE.md does not allow");
    }
}
