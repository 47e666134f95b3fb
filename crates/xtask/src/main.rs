//! The project's own tools: `cargo run -p xtask -- <tool>`.

use std::path::Path;

use anyhow::{Context, bail};

mod schemas;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["schemas", definitions] => {
            schemas::write(Path::new(definitions), &table_path()).context("write the schema table")
        }
        _ => bail!("usage: cargo run -p xtask -- schemas DEFINITIONS.json"),
    }
}

fn table_path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/src/schemas/table.txt")
}
