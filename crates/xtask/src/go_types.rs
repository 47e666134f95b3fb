//! Reads off upstream's Go types which fields vanish when they are zero: non-pointers tagged `omitempty`; and which
//! are always written: values that are no pointers, where the tag does not let them vanish.
//!
//! OpenAPI does not tell a pointer from a value, yet the two are written differently: `replicas: 0` stays,
//! `hostNetwork: false` goes, and `status: {}` comes though nobody said so. The input is a folder with checkouts of k8s.io/api, apimachinery,
//! apiextensions-apiserver and kube-aggregator; only their `types*.go` are read.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;

/// `core.v1.PodSpec` and its fields that are no pointers.
pub type Values = BTreeMap<String, BTreeMap<String, Tag>>;

/// How a field that is no pointer is written when it is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// Always: the tag says nothing.
    Plain,
    /// `omitempty`: not at all, unless it is a struct, which `encoding/json` never takes for empty.
    OmitEmpty,
    /// `omitzero`: not at all.
    OmitZero,
}

#[derive(Default)]
struct Struct {
    values: BTreeMap<String, Tag>,
    /// Types of the same package whose fields are part of this one.
    embedded: Vec<String>,
}

/// Reads all types below a folder.
pub fn read(folder: &Path) -> anyhow::Result<Values> {
    let mut structs = BTreeMap::new();
    visit(folder, &mut structs).with_context(|| format!("read Go types below {}", folder.display()))?;
    let names: Vec<&String> = structs.keys().collect();
    Ok(names.into_iter().map(|name| (name.clone(), fields(name, &structs))).collect())
}

fn visit(folder: &Path, structs: &mut BTreeMap<String, Struct>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            visit(&path, structs)?;
        } else if file.starts_with("types")
            && file.ends_with(".go")
            && !file.contains("_test")
            && !file.contains("generated")
        {
            let mut above = folder.iter().rev().map(|step| step.to_string_lossy());
            let (version, group) = (above.next().unwrap_or_default(), above.next().unwrap_or_default());
            package(&format!("{group}.{version}"), &std::fs::read_to_string(&path)?, structs);
        }
    }
    Ok(())
}

fn package(prefix: &str, source: &str, structs: &mut BTreeMap<String, Struct>) {
    let mut open: Option<(String, Struct)> = None;
    for line in source.lines() {
        if let Some(rest) = line.strip_prefix("type ") {
            let mut words = rest.split_whitespace();
            if let (Some(name), Some("struct"), Some("{")) = (words.next(), words.next(), words.next()) {
                open = Some((format!("{prefix}.{name}"), Struct::default()));
            }
        } else if line == "}" {
            structs.extend(open.take());
        } else if let Some((_, body)) = &mut open {
            member(prefix, line.trim(), body);
        }
    }
}

fn member(prefix: &str, line: &str, body: &mut Struct) {
    let Some((declaration, tag)) = line.split_once('`').filter(|_| !line.starts_with("//")) else { return };
    let Some(json) = tag.split("json:\"").nth(1).and_then(|rest| rest.split('"').next()) else { return };
    let words: Vec<&str> = declaration.split_whitespace().collect();
    let (name, options) = json.split_once(',').unwrap_or((json, ""));
    match words.as_slice() {
        [embedded] if name.is_empty() && !embedded.contains('.') => body.embedded.push(format!("{prefix}.{embedded}")),
        // An embedded struct may have a name in JSON all the same: `metadata`.
        [.., kind] if words.len() <= 2 && !name.is_empty() && !kind.starts_with('*') => {
            let tag = match options {
                options if options.contains("omitzero") => Tag::OmitZero,
                options if options.contains("omitempty") => Tag::OmitEmpty,
                _ => Tag::Plain,
            };
            body.values.insert(name.to_owned(), tag);
        }
        _ => {}
    }
}

fn fields(name: &str, structs: &BTreeMap<String, Struct>) -> BTreeMap<String, Tag> {
    let Some(found) = structs.get(name) else { return BTreeMap::new() };
    let embedded = found.embedded.iter().filter(|inner| *inner != name).flat_map(|inner| fields(inner, structs));
    found.values.iter().map(|(name, tag)| (name.clone(), *tag)).chain(embedded).collect()
}
