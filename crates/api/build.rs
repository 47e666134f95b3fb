//! Collects what `kubectl explain` tells about each field into a table in `OUT_DIR`.
//!
//! The sentences belong to the library of Kubernetes types, k8s-openapi: its generated sources carry them in the
//! JSON schemas that its feature `schemars` would compile. Compiling that feature costs half a minute to more than
//! one and gigabytes; reading the sources costs a moment. The table is sorted, one entry a line, so that the
//! program searches it where it lies and keeps nothing in memory: `definition[.field]<tab>sentences`.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

#[path = "src/schemas/names.rs"]
mod names;

/// The folder of the library's sources for the version that Kaji serves.
const VERSION_FOLDER: &str = "src/v1_37";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/schemas/table.txt");
    println!("cargo::rerun-if-changed=../../Cargo.lock");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let table = collect().unwrap_or_else(|error| {
        println!("cargo::warning=kubectl explain will have no descriptions: {error}");
        BTreeMap::new()
    });
    let lines: Vec<String> = table.iter().map(|(key, text)| format!("{key}\t{}", text.replace('\n', "\\n"))).collect();
    fs::write(out.join("descriptions.txt"), lines.join("\n")).expect("OUT_DIR is writable");
}

fn collect() -> Result<BTreeMap<String, String>, String> {
    let known: HashSet<String> = fs::read_to_string("src/schemas/table.txt")
        .map_err(|error| format!("read the table of schemas: {error}"))?
        .lines()
        .filter(|line| !line.starts_with([' ', '#']))
        .map(|line| line.split(' ').next().unwrap_or_default().to_owned())
        .collect();
    let mut table = BTreeMap::new();
    visit(&library()?.join(VERSION_FOLDER), &mut |source| read(source, &known, &mut table))
        .map_err(|error| format!("read the sources of k8s-openapi: {error}"))?;
    Ok(table)
}

/// Where cargo keeps the sources of the library: among those of the registry, or wherever cargo says (vendored).
fn library() -> Result<PathBuf, String> {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let folder = format!("k8s-openapi-{}", locked_version()?);
    let registries = home.and_then(|home| fs::read_dir(home.join("registry/src")).ok()).into_iter().flatten().flatten();
    match registries.map(|registry| registry.path().join(&folder)).find(|path| path.is_dir()) {
        Some(path) => Ok(path),
        None => from_cargo(&folder),
    }
}

/// The library's version in Cargo.lock.
fn locked_version() -> Result<String, String> {
    let lock = fs::read_to_string("../../Cargo.lock").map_err(|error| format!("read Cargo.lock: {error}"))?;
    let entry = lock.split("[[package]]").find(|entry| entry.contains("name = \"k8s-openapi\"\n"));
    let version = entry.and_then(|entry| entry.split_once("version = \"")?.1.split('"').next().map(str::to_owned));
    version.ok_or_else(|| "Cargo.lock does not name k8s-openapi".into())
}

fn from_cargo(folder: &str) -> Result<PathBuf, String> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let output = command
        .args(["metadata", "--format-version", "1", "--offline"])
        .output()
        .map_err(|error| format!("run cargo metadata: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let manifest = text
        .split("\"manifest_path\":\"")
        .filter_map(|rest| rest.split('"').next())
        .find(|path| path.contains("/k8s-openapi/") || path.contains(folder))
        .ok_or_else(|| {
            format!("cargo metadata does not name k8s-openapi: {}", String::from_utf8_lossy(&output.stderr))
        })?;
    Path::new(manifest).parent().map(Path::to_path_buf).ok_or_else(|| "a manifest without a folder".into())
}

fn visit(folder: &Path, file: &mut dyn FnMut(&str)) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            visit(&path, file)?;
        } else {
            file(&fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

/// Reads the sentences off one generated file: `"description": "..."` lines, by their indentation.
fn read(source: &str, known: &HashSet<String>, table: &mut BTreeMap<String, String>) {
    let Some(name) = source.lines().next().and_then(|line| line.strip_prefix("// Generated from definition ")) else {
        return;
    };
    let name = names::short_name(name.trim());
    if !known.contains(&name) {
        return;
    }
    let mut field = None;
    for line in source.lines().skip_while(|line| !line.contains("fn json_schema")) {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim_start();
        let quoted = line.strip_prefix('"').and_then(|rest| rest.split_once("\":"));
        let text = match quoted {
            Some(("description", text)) => unquote(text.trim()),
            Some((property, _)) if indent == 16 => {
                field = Some(property.to_owned());
                None
            }
            _ => line.split_once("insert(\"description\".into(), ").and_then(|(_, text)| unquote(text)),
        };
        let Some(text) = text else { continue };
        let key = match &field {
            // The same in every kind: one entry serves all.
            Some(field) if matches!(field.as_str(), "apiVersion" | "kind") && text.contains("api-conventions") => {
                format!("*.{field}")
            }
            Some(field) => format!("{name}.{field}"),
            None => name.clone(),
        };
        table.entry(key).or_insert(text);
    }
}

/// A Rust string literal at the beginning of the text.
fn unquote(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut signs = text.strip_prefix('"')?.chars();
    loop {
        match signs.next()? {
            '"' => return Some(out),
            '\\' => match signs.next()? {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                'u' => {
                    let code: String = signs.by_ref().skip(1).take_while(|sign| *sign != '}').collect();
                    out.push(char::from_u32(u32::from_str_radix(&code, 16).ok()?)?);
                }
                other => out.push(other),
            },
            sign => out.push(sign),
        }
    }
}
