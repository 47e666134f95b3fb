//! What a claim is filled from, which has two fields for the sake of old clients (KEP-1495; upstream:
//! pkg/api/persistentvolumeclaim/util.go).

use apimachinery::field::{Error, Path};
use serde_json::{Map, Value};

use crate::check::{self, Errors, names};
use crate::json::Read;

const OLD: &str = "dataSource";

const NEW: &str = "dataSourceRef";

/// Drops what no feature enables or what was never taken, and fills the field that is missing.
pub(super) fn prepare(spec: &mut Map<String, Value>, old: &Map<String, Value>) {
    // `CrossNamespaceVolumeDataSource` is alpha, and off.
    if !spec.object(NEW).text("namespace").is_empty() && !old.has(NEW) {
        spec.remove(NEW);
    }
    if !old.has(OLD) && !spec.has(NEW) && !is_claim_or_snapshot(spec.object(OLD)) {
        spec.remove(OLD);
    }
    agree(spec);
}

/// Gives the field that is missing the value of the other (upstream: `NormalizeDataSources`).
pub(super) fn agree(spec: &mut Map<String, Value>) {
    let (from, to) = match (spec.has(OLD), spec.has(NEW)) {
        (true, false) => (OLD, NEW),
        (false, true) if spec.object(NEW).text("namespace").is_empty() => (NEW, OLD),
        _ => return,
    };
    let mut source = spec.object(from).clone();
    source.remove("namespace");
    spec.insert(to.to_owned(), source.into());
}

/// Upstream: `dataSourceIsPvcOrSnapshot`.
fn is_claim_or_snapshot(source: &Map<String, Value>) -> bool {
    matches!(
        (source.text("kind"), source.text("apiGroup")),
        ("PersistentVolumeClaim", "") | ("VolumeSnapshot", "snapshot.storage.k8s.io")
    )
}

/// What a claim is filled from (upstream: `validateDataSource`, `validateDataSourceRef`).
pub(super) fn validate(errors: &mut Errors, spec: &Map<String, Value>, path: &Path) {
    for field in [OLD, NEW] {
        if !spec.has(field) {
            continue;
        }
        let (source, path) = (spec.object(field), path.child(field));
        check::required(errors, source, "name", &path);
        check::required(errors, source, "kind", &path);
        let group = source.text("apiGroup");
        if group.is_empty() && source.text("kind") != "PersistentVolumeClaim" {
            let kind = source.text("kind");
            errors.push(Error::invalid(
                &path,
                kind,
                "must be 'PersistentVolumeClaim' when referencing the default apiGroup",
            ));
        }
        if !group.is_empty() {
            check::named(errors, names::dns1123_subdomain, group, &path.child("apiGroup"));
        }
        check::optional_name(errors, names::dns1123_label, source, "namespace", &path);
    }
    if !spec.has(OLD) || !spec.has(NEW) {
        return;
    }
    let (old, new) = (spec.object(OLD), spec.object(NEW));
    let same = ["apiGroup", "kind", "name"].iter().all(|field| old.text(field) == new.text(field));
    // Upstream shows the path where the value should be.
    let shown = path.child(OLD).to_string();
    if !new.text("namespace").is_empty() {
        errors.push(Error::invalid(path, shown, "may not be specified when dataSourceRef.namespace is specified"));
    } else if !same {
        errors.push(Error::invalid(path, shown, "must match dataSourceRef"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().expect("an object")
    }

    #[test]
    fn old_and_new_clients_see_the_same_source() {
        let claim = json!({"kind": "PersistentVolumeClaim", "name": "a"});
        let snapshot = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "a"});
        let other = json!({"apiGroup": "example.com", "kind": "Image", "name": "a"});
        let mut elsewhere = claim.clone();
        elsewhere["namespace"] = json!("b");
        let both = |source: &Value| json!({OLD: source, NEW: source});
        for (written, old, expected) in [
            (json!({OLD: claim}), json!({}), both(&claim)),
            (json!({NEW: claim}), json!({}), both(&claim)),
            (json!({OLD: snapshot}), json!({}), both(&snapshot)),
            (json!({NEW: other}), json!({}), both(&other)),
            (json!({OLD: other}), json!({}), json!({})),
            (json!({OLD: other}), both(&other), both(&other)),
            (json!({NEW: elsewhere}), json!({}), json!({})),
            (json!({NEW: elsewhere}), json!({NEW: elsewhere}), json!({NEW: elsewhere})),
            (json!({OLD: claim, NEW: other}), json!({}), json!({OLD: claim, NEW: other})),
            (json!({}), json!({}), json!({})),
        ] {
            let mut spec = map(written.clone());
            prepare(&mut spec, &map(old));
            assert_eq!(Value::from(spec), expected, "{written}");
        }
    }
}
