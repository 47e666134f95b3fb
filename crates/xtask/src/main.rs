//! The project's own tools: `cargo run -p xtask -- <tool>`.

use std::path::Path;

use anyhow::{Context, bail};

mod go_types;
mod protobuf;
mod roundtrip;
mod schemas;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["schemas", definitions, go_sources] => {
            schemas::write(Path::new(definitions), Path::new(go_sources), &crates().join("api/src/schemas/table.txt"))
                .context("write the schema table")
        }
        ["protobuf", go_sources] => protobuf::write(Path::new(go_sources), &crates().join("protobuf/src/table.txt"))
            .context("write the table of protobuf messages"),
        ["roundtrip", samples] => roundtrip::check(Path::new(samples)),
        ["openapi", "v2"] => print(&api::openapi::v2(&api::RESOURCES, &api::SCHEMAS, &[])),
        ["openapi", group, version] => print(&api::openapi::v3(group, version, &api::RESOURCES, &api::SCHEMAS)),
        _ => bail!(
            "usage: cargo run -p xtask -- schemas DEFINITIONS.json GO_SOURCES | protobuf GO_SOURCES | roundtrip SAMPLES | openapi v2 | openapi GROUP VERSION"
        ),
    }
}

fn print(document: &[u8]) -> anyhow::Result<()> {
    use std::io::Write;
    std::io::stdout().write_all(document).context("write to stdout")
}

/// The folder of all crates.
fn crates() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
