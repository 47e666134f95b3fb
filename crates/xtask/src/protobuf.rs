//! Writes `crates/protobuf/src/table.txt`: the field numbers and types of every built-in kind in protobuf.
//!
//! The input is the folder of checkouts that [`crate::go_types`] reads too. Numbers and types are those of the
//! `generated.proto` files, JSON names and what is inlined those of the tags of the Go types. `protobuf::table` says
//! how a line reads.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, anyhow};

const HEAD: &str = "\
# The kinds of Kubernetes v1.37 in protobuf. Made by `cargo run -p xtask -- protobuf`.
# A message begins at the margin; a field follows: its number, its JSON name, its type. `[]` repeats, `{}` maps from
# strings, `@` names a message, `inline` means that the message's fields stand beside the others in JSON, `list` that
# the message is a list in JSON.
";

/// Messages that travel although no row's kind refers to them.
const MORE_ROOTS: &[&str] = &[
    "autoscaling.v1.Scale",
    "meta.v1.APIGroup",
    "meta.v1.APIGroupList",
    "meta.v1.APIResourceList",
    "meta.v1.APIVersions",
    "meta.v1.CreateOptions",
    "meta.v1.DeleteOptions",
    "meta.v1.GetOptions",
    "meta.v1.ListOptions",
    "meta.v1.PartialObjectMetadata",
    "meta.v1.PartialObjectMetadataList",
    "meta.v1.PatchOptions",
    "meta.v1.Status",
    "meta.v1.UpdateOptions",
    "meta.v1.WatchEvent",
];

/// Messages that are one value in JSON; the crate has code for them.
const SCALARS: &[&str] = &[
    "apiextensions.v1.JSON",
    "apiextensions.v1.JSONSchemaPropsOrArray",
    "apiextensions.v1.JSONSchemaPropsOrBool",
    "apiextensions.v1.JSONSchemaPropsOrStringArray",
    "intstr.IntOrString",
    "meta.v1.Duration",
    "meta.v1.FieldsV1",
    "meta.v1.MicroTime",
    "meta.v1.Time",
    "meta.v1.Timestamp",
    "resource.Quantity",
    "runtime.RawExtension",
];

struct Field {
    number: u32,
    name: String,
    /// As the table writes it: `[]@core.v1.Container`.
    kind: String,
}

impl Field {
    fn message(&self) -> Option<&str> {
        self.kind.split_once('@').map(|(_, name)| name)
    }
}

/// What the Go tag says of a field of a struct, by its number: its JSON name; none for an inlined one.
type Tags = HashMap<(String, u32), Option<String>>;

/// Reads the sources and writes the table.
pub fn write(go_sources: &Path, table: &Path) -> anyhow::Result<()> {
    let (mut messages, mut tags) = (BTreeMap::new(), Tags::new());
    visit(go_sources, &mut messages, &mut tags).with_context(|| format!("read {}", go_sources.display()))?;
    let structs: BTreeSet<&String> = tags.keys().map(|(name, _)| name).collect();
    let mut out = HEAD.to_owned();
    for name in reachable(&messages)? {
        let fields = &messages[&name];
        let is_list = matches!(&fields[..], [only] if only.name == "items") && !structs.contains(&name);
        writeln!(out, "{name}{}", if is_list { " list" } else { "" })?;
        for field in fields {
            let (json, inline) = match tags.get(&(name.clone(), field.number)) {
                Some(Some(json)) => (json, ""),
                Some(None) => (&field.name, " inline"),
                None => (&field.name, ""),
            };
            writeln!(out, " {} {json} {}{inline}", field.number, field.kind)?;
        }
    }
    std::fs::write(table, out).with_context(|| format!("write {}", table.display()))
}

/// The messages of the catalogue's kinds, their lists and bodies, and all that these refer to.
fn reachable(messages: &BTreeMap<String, Vec<Field>>) -> anyhow::Result<BTreeSet<String>> {
    let mut todo: Vec<String> = MORE_ROOTS.iter().map(ToString::to_string).collect();
    for row in api::RESOURCES.iter() {
        let bodies = row.subresources.special.iter().map(|special| special.body.clone());
        for gvk in bodies.chain([row.gvk.clone()]) {
            let group = if gvk.group.is_empty() { "core" } else { gvk.group.split('.').next().unwrap_or_default() };
            let name = format!("{group}.{}.{}", gvk.version, gvk.kind);
            todo.extend([format!("{name}List"), name].into_iter().filter(|name| messages.contains_key(name)));
        }
    }
    let mut found = BTreeSet::new();
    while let Some(name) = todo.pop() {
        if SCALARS.contains(&name.as_str()) && !name.ends_with("Array") && !name.ends_with("Bool") {
            continue;
        }
        let fields = messages.get(&name).ok_or_else(|| anyhow!("{name} is referred to and not defined"))?;
        if found.insert(name) {
            todo.extend(fields.iter().filter_map(Field::message).map(str::to_owned));
        }
    }
    Ok(found)
}

fn visit(folder: &Path, messages: &mut BTreeMap<String, Vec<Field>>, tags: &mut Tags) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            visit(&path, messages, tags)?;
        } else if file == "generated.proto" {
            proto(&std::fs::read_to_string(&path)?, messages).with_context(|| path.display().to_string())?;
        } else if file.starts_with("types") && file.ends_with(".go") && !file.contains("_test") {
            let mut above = folder.iter().rev().map(|step| step.to_string_lossy());
            let (version, group) = (above.next().unwrap_or_default(), above.next().unwrap_or_default());
            go(&format!("{group}.{version}"), &std::fs::read_to_string(&path)?, tags);
        }
    }
    Ok(())
}

/// The messages of a `generated.proto`.
fn proto(source: &str, messages: &mut BTreeMap<String, Vec<Field>>) -> anyhow::Result<()> {
    let (mut package, mut open) = (String::new(), None);
    for line in source.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("package ") {
            package = short_package(name.trim_end_matches(';'));
        } else if let Some(name) = line.strip_prefix("message ") {
            open = Some((format!("{package}.{}", name.trim_end_matches([' ', '{'])), Vec::new()));
        } else if line == "}" {
            messages.extend(open.take().map(|(name, mut fields): (String, Vec<Field>)| {
                fields.sort_by_key(|field| field.number);
                (name, fields)
            }));
        } else if let Some((_, fields)) = &mut open
            && !line.starts_with("//")
            && let Some((declaration, number)) = line.trim_end_matches(';').rsplit_once(" = ")
        {
            let (kind, name) = declaration.rsplit_once(' ').ok_or_else(|| anyhow!("{line}"))?;
            fields.push(Field { number: number.parse()?, name: name.to_owned(), kind: kind_of(kind, &package) });
        }
    }
    Ok(())
}

/// `k8s.io.api.core.v1` is `core.v1`, `k8s.io.apimachinery.pkg.util.intstr` is `intstr`.
fn short_package(full: &str) -> String {
    let mut steps = full.rsplit('.');
    let (last, before) = (steps.next().unwrap_or_default(), steps.next().unwrap_or_default());
    let is_version = last.starts_with('v') && last[1..].starts_with(|digit: char| digit.is_ascii_digit());
    if is_version { format!("{before}.{last}") } else { last.to_owned() }
}

fn kind_of(words: &str, package: &str) -> String {
    if let Some(value) = words.strip_prefix("map<string, ").and_then(|rest| rest.strip_suffix('>')) {
        return format!("{{}}{}", type_of(value, package));
    }
    match words.split_once(' ') {
        Some(("repeated", kind)) => format!("[]{}", type_of(kind, package)),
        Some((_, kind)) => type_of(kind, package),
        None => type_of(words, package),
    }
}

fn type_of(word: &str, package: &str) -> String {
    if word.starts_with(|letter: char| letter.is_ascii_lowercase()) {
        return word.to_owned();
    }
    match word.strip_prefix('.').and_then(|full| full.rsplit_once('.')) {
        Some((other, name)) => format!("@{}.{name}", short_package(other)),
        None => format!("@{package}.{word}"),
    }
}

/// The tags of the structs of a Go file.
fn go(package: &str, source: &str, tags: &mut Tags) {
    let mut open = String::new();
    for line in source.lines() {
        if let Some(rest) = line.strip_prefix("type ") {
            let mut words = rest.split_whitespace();
            open = match (words.next(), words.next()) {
                (Some(name), Some("struct")) => format!("{package}.{name}"),
                _ => String::new(),
            };
        } else if line == "}" {
            open.clear();
        } else if !open.is_empty() && !line.trim_start().starts_with("//") {
            let tag = |name: &str| line.split(&format!("{name}:\"")).nth(1).and_then(|rest| rest.split('"').next());
            let (Some(json), Some(proto)) = (tag("json"), tag("protobuf")) else { continue };
            let Some(number) = proto.split(',').nth(1).and_then(|number| number.parse().ok()) else { continue };
            let json = json.split(',').next().filter(|name| !name.is_empty()).map(str::to_owned);
            tags.insert((open.clone(), number), json);
        }
    }
}
