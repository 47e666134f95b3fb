//! Decodes upstream's sample objects with our schemas: nothing may be refused, dropped or changed.
//!
//! The input is a folder of `<group>.<version>.<Kind>.json` files, as upstream's k8s.io/api keeps them in
//! `testdata/HEAD`; the core group is `core`.

use std::path::Path;

use anyhow::{Context, bail};
use api::SCHEMAS;
use apimachinery::{GroupVersionKind, Object, schema};

/// Checks every sample of a kind that is served.
pub fn check(folder: &Path) -> anyhow::Result<()> {
    let (mut checked, mut wrong) = (0, 0);
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        let before: Object = serde_json::from_str(&text).with_context(|| format!("parse {}", path.display()))?;
        let kind = GroupVersionKind::from_api_version(before.api_version(), before.kind());
        let Some(root) = SCHEMAS.of(&kind) else { continue };
        checked += 1;
        let mut after = before.clone();
        match schema::decode(&SCHEMAS.set, root, &mut after) {
            Ok(problems) if problems.is_empty() && after == before => {}
            Ok(problems) => {
                wrong += 1;
                println!("{kind:?}: {problems:?}{}", if after == before { "" } else { ", and it changed" });
            }
            Err(error) => {
                wrong += 1;
                println!("{kind:?}: {error:?}");
            }
        }
    }
    println!("{checked} samples, {wrong} wrong");
    if wrong == 0 { Ok(()) } else { bail!("some samples do not survive") }
}
