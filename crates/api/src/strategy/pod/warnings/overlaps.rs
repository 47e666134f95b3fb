//! Paths within a volume of which one is, or is below, another: what is written last wins, or nothing can be written.

use serde_json::{Map, Value};

use crate::json::Read;

/// A path, and whose it is where a volume has several sources.
#[derive(Clone, PartialEq)]
struct Placed {
    path: String,
    source: String,
}

impl std::fmt::Display for Placed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.path)?;
        if self.source.is_empty() { Ok(()) } else { write!(f, " ({})", self.source) }
    }
}

fn placed(items: &[Value], source: &str) -> Vec<Placed> {
    items.iter().map(|item| Placed { path: item.text("path").to_owned(), source: source.to_owned() }).collect()
}

/// Words about the paths of all volumes.
pub(super) fn overlaps(found: &mut Vec<String>, volumes: &[Value]) {
    for volume in volumes {
        for (field, kind, name) in [("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName")] {
            let source = volume.object(field);
            let words = format!("{kind} {:?}", source.text(name));
            told(found, volume, &words, placed(source.list("items"), ""));
        }
        told(found, volume, "DownwardAPI", placed(volume.object("downwardAPI").list("items"), ""));
        if !volume.has("projected") {
            continue;
        }
        let mut all = Vec::new();
        for source in volume.object("projected").list("sources") {
            if source.fields().is_empty() {
                found.push(format!("volume {:?} (Projected) has no sources provided", volume.text("name")));
            }
            all.extend(projected(source.fields()));
        }
        told(found, volume, "Projected", all);
    }
}

/// The paths of one source of a projected volume.
fn projected(source: &Map<String, Value>) -> Vec<Placed> {
    let one = |path: &str, source: &str| vec![Placed { path: path.to_owned(), source: source.to_owned() }];
    for (field, kind) in [("configMap", "ConfigMap"), ("secret", "Secret")] {
        if source.object(field).has("items") {
            let name = source.object(field).text("name");
            return placed(source.object(field).list("items"), &format!("{kind} {name:?}"));
        }
    }
    if source.object("downwardAPI").has("items") {
        return placed(source.object("downwardAPI").list("items"), "DownwardAPI");
    }
    if source.has("serviceAccountToken") {
        return one(source.object("serviceAccountToken").text("path"), "ServiceAccountToken");
    }
    if source.has("clusterTrustBundle") {
        let bundle = source.object("clusterTrustBundle");
        let name = if bundle.has("name") { bundle.text("name") } else { bundle.text("signerName") };
        return one(bundle.text("path"), &format!("ClusterTrustBundle {name:?}"));
    }
    let certificate = source.object("podCertificate");
    let parts = [
        ("certificateChainPath", "PodCertificate chain"),
        ("keyPath", "PodCertificate key"),
        ("credentialBundlePath", "PodCertificate credential bundle"),
    ];
    let parts = parts.iter().filter(|(field, _)| !certificate.text(field).is_empty());
    parts.flat_map(|(field, words)| one(certificate.text(field), words)).collect()
}

fn told(found: &mut Vec<String>, volume: &Value, source: &str, paths: Vec<Placed>) {
    let mut before: Vec<Placed> = Vec::new();
    for mut this in paths {
        this.path.truncate(this.path.trim_end_matches('/').len());
        for other in before.iter().filter(|other| collide(&this, other)) {
            let name = volume.text("name");
            found.push(format!("volume {name:?} ({source}): overlapping paths: {this} with {other}"));
        }
        before.push(this);
    }
}

fn collide(one: &Placed, other: &Placed) -> bool {
    let is_below = |inner: &str, outer: &str| format!("{inner}/").starts_with(&format!("{outer}/"));
    !one.path.is_empty()
        && !other.path.is_empty()
        && (is_below(&one.path, &other.path) || is_below(&other.path, &one.path))
}
