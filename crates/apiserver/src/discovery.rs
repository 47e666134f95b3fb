//! Discovery: which groups, versions and resources there are, in the legacy and the aggregated form
//! (upstream: endpoints/discovery, endpoints/discovery/aggregated).
//!
//! Documents are made when first asked for and kept with their ETag as long as the rows stay the same.

use std::sync::Arc;

use api::{Resource, Scope};
use apimachinery::StatusError;
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::aggregation::Table;
use crate::body::{self, Body};
use crate::negotiate::{Format, Offer, accepted_ranges, format_of, negotiate_offer};
use crate::registry::{Rows, answer};
use crate::request::Query;
use crate::server::ApiServer;

/// The aggregated documents of the rows served now.
#[derive(Debug, Default)]
pub struct Discovery {
    kept: ArcSwapOption<Kept>,
}

#[derive(Debug)]
struct Kept {
    rows: Arc<Rows>,
    others: Arc<Table>,
    core: Document,
    named: Document,
}

/// One aggregated document.
#[derive(Debug)]
struct Document {
    v2: (Bytes, HeaderValue),
    v2beta1: (Bytes, HeaderValue),
}

impl Discovery {
    fn kept(&self, rows: &Arc<Rows>, others: &Arc<Table>) -> Arc<Kept> {
        let is_new = |kept: &Arc<Kept>| Arc::ptr_eq(&kept.rows, rows) && Arc::ptr_eq(&kept.others, others);
        if let Some(kept) = self.kept.load_full().filter(is_new) {
            return kept;
        }
        let (core, named) = (document(discovered(rows, true)), {
            let mut items = discovered(rows, false);
            others.add_discovered(&mut items);
            document(items)
        });
        let kept = Arc::new(Kept { rows: rows.clone(), others: others.clone(), core, named });
        self.kept.store(Some(kept.clone()));
        kept
    }
}

/// Answers a path below `/api` or `/apis` that names no resource.
pub fn answer(server: &ApiServer, parts: &Parts, query: &Query, steps: &[&str]) -> Result<Response<Body>, StatusError> {
    let rows = server.registry.rows();
    let aggregated = (steps.len() == 1).then(|| aggregated_version(parts)).flatten();
    if let Some(version) = aggregated {
        let kept = server.discovery.kept(&rows, &server.aggregator.table());
        let document = if steps[0] == "api" { &kept.core } else { &kept.named };
        return Ok(send(parts, version, document));
    }
    let value = match steps {
        ["api"] => json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": "" }],
        }),
        ["apis"] => {
            let mut groups: Vec<Value> =
                groups(&rows).iter().filter(|name| !name.is_empty()).map(|name| group(&rows, name)).collect();
            server.aggregator.table().add_groups(&mut groups);
            json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
        }
        ["apis", name] => {
            let own = groups(&rows).iter().any(|known| known == name).then(|| group(&rows, name));
            let merged = server.aggregator.table().add_to_group(name, own);
            let mut value = merged.ok_or_else(StatusError::unknown_path)?;
            value["kind"] = "APIGroup".into();
            value["apiVersion"] = "v1".into();
            value
        }
        ["api", version] if rows.has_version("", version) => resources(&rows, "", version),
        ["apis", group, version] if rows.has_version(group, version) => resources(&rows, group, version),
        _ => return Err(StatusError::unknown_path()),
    };
    let accepted = negotiate_offer(&parts.headers, query, Offer { transforms: false, protobuf: true })?;
    Ok(answer::value(&accepted, StatusCode::OK, &value))
}

/// Which aggregated form the client accepts before anything else, if any.
fn aggregated_version(parts: &Parts) -> Option<&'static str> {
    for range in accepted_ranges(&parts.headers) {
        let Some(format) = format_of(range.media_type) else { continue };
        match (range.parameter("as"), range.parameter("g"), range.parameter("v")) {
            (None, ..) => return None,
            // The aggregated form is written as JSON alone.
            _ if format != Format::Json => {}
            (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2")) => return Some("v2"),
            (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2beta1")) => return Some("v2beta1"),
            _ => {}
        }
    }
    None
}

fn send(parts: &Parts, version: &'static str, document: &Document) -> Response<Body> {
    let (bytes, etag) = if version == "v2" { &document.v2 } else { &document.v2beta1 };
    let known = parts.headers.get(header::IF_NONE_MATCH).is_some_and(|tag| tag == etag);
    let mut response = Response::new(if known { body::empty() } else { body::full(bytes.clone()) });
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    let media_type = match version {
        "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::ETAG, etag.clone());
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
    response
}

/// The groups of these rows, the core group or all others.
fn discovered(rows: &Rows, core: bool) -> Vec<Value> {
    groups(rows).iter().filter(|name| name.is_empty() == core).map(|name| discovered_group(rows, name)).collect()
}

fn document(items: Vec<Value>) -> Document {
    let of = |version: &str| {
        let list = json!({
            "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"), "metadata": {}, "items": items,
        });
        let mut bytes = list.to_string().into_bytes();
        bytes.push(b'\n');
        let etag = etag(&bytes);
        (Bytes::from(bytes), etag)
    };
    Document { v2: of("v2"), v2beta1: of("v2beta1") }
}

/// A quoted hash of a document.
pub fn etag(bytes: &[u8]) -> HeaderValue {
    let text = format!("\"{}\"", hex::encode_upper(Sha256::digest(bytes)));
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("\"\""))
}

/// The groups in the order in which clients prefer them; unknown ones last.
fn groups(rows: &Rows) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let built_in = api::catalogue::GROUP_VERSIONS.iter().map(|gv| gv.group);
    for name in built_in.chain(rows.all().iter().map(|row| row.gvk.group.as_str())) {
        let served = rows.all().iter().any(|row| row.gvk.group == name);
        if served && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// The versions of a group, the preferred one first.
fn versions(rows: &Rows, group: &str) -> Vec<String> {
    let built_in = api::catalogue::versions_of(group).filter(|version| rows.has_version(group, version));
    let mut names: Vec<String> = built_in.map(str::to_owned).collect();
    let known = names.len();
    for row in rows.all().iter().filter(|row| row.gvk.group == group) {
        if !names.contains(&row.gvk.version) {
            names.push(row.gvk.version.clone());
        }
    }
    // Of versions that were defined at run time the most mature comes first.
    names[known..].sort_by(|a, b| apiextensions::compare_versions(b, a));
    names
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn group(rows: &Rows, name: &str) -> Value {
    let versions: Vec<Value> = versions(rows, name)
        .iter()
        .map(|version| json!({ "groupVersion": group_version(name, version), "version": version }))
        .collect();
    json!({ "name": name, "versions": versions, "preferredVersion": versions.first() })
}

/// `APIResourceList` of a group version.
fn resources(rows: &Rows, group: &str, version: &str) -> Value {
    let mut list: Vec<Value> = Vec::new();
    for row in rows.all().iter().filter(|row| row.gvk.group == group && row.gvk.version == version) {
        let mut entry = json!({
            "name": row.plural, "singularName": row.singular, "namespaced": row.is_namespaced(), "kind": row.gvk.kind,
            "verbs": row.verbs.names(), "storageVersionHash": storage_version_hash(row),
        });
        put_names(&mut entry, row);
        list.push(entry);
        for sub in subresources(row) {
            let mut entry = json!({
                "name": format!("{}/{}", row.plural, sub.name), "singularName": "", "namespaced": row.is_namespaced(),
                "kind": sub.kind, "verbs": sub.verbs,
            });
            if sub.group != row.gvk.group || sub.version != row.gvk.version {
                entry["group"] = sub.group.into();
                entry["version"] = sub.version.into();
            }
            list.push(entry);
        }
    }
    list.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version(group, version), "resources": list })
}

/// A short hash that changes when the stored version does (upstream: endpoints/discovery/storageversionhash.go).
fn storage_version_hash(row: &Resource) -> String {
    use base64::Engine;
    let text = format!("{}/{}/{}", row.storage_group, row.storage_version, row.gvk.kind);
    base64::engine::general_purpose::STANDARD.encode(&Sha256::digest(text)[..8])
}

fn discovered_group(rows: &Rows, name: &str) -> Value {
    let versions: Vec<Value> = versions(rows, name)
        .iter()
        .map(|version| {
            let mut listed: Vec<&Arc<Resource>> =
                rows.all().iter().filter(|row| row.gvk.group == name && row.gvk.version == *version).collect();
            listed.sort_by(|a, b| a.plural.cmp(&b.plural));
            let resources: Vec<Value> = listed.iter().map(|row| discovered_resource(row)).collect();
            json!({ "version": version, "resources": resources, "freshness": "Current" })
        })
        .collect();
    json!({ "metadata": { "name": name, "creationTimestamp": null }, "versions": versions })
}

fn discovered_resource(row: &Resource) -> Value {
    let mut entry = json!({
        "resource": row.plural,
        "responseKind": { "group": row.gvk.group, "version": row.gvk.version, "kind": row.gvk.kind },
        "scope": match row.scope { Scope::Namespaced => "Namespaced", Scope::Cluster => "Cluster" },
        "singularResource": row.singular,
        "verbs": row.verbs.names(),
    });
    put_names(&mut entry, row);
    let subresources: Vec<Value> = subresources(row)
        .into_iter()
        .map(|sub| {
            json!({
                "subresource": sub.name, "verbs": sub.verbs,
                "responseKind": { "group": sub.group, "version": sub.version, "kind": sub.kind },
            })
        })
        .collect();
    if !subresources.is_empty() {
        entry["subresources"] = subresources.into();
    }
    entry
}

fn put_names(entry: &mut Value, row: &Resource) {
    let Some(entry): Option<&mut Map<String, Value>> = entry.as_object_mut() else { return };
    if !row.short_names.is_empty() {
        entry.insert("shortNames".into(), row.short_names.clone().into());
    }
    if !row.categories.is_empty() {
        entry.insert("categories".into(), row.categories.clone().into());
    }
}

/// A subresource as discovery names it.
struct Subresource<'a> {
    name: &'a str,
    group: &'a str,
    version: &'a str,
    kind: &'a str,
    verbs: &'a [&'static str],
}

fn subresources(row: &Resource) -> Vec<Subresource<'_>> {
    const READ_WRITE: &[&str] = &["get", "patch", "update"];
    let gvk = &row.gvk;
    let mut list: Vec<Subresource<'_>> = Vec::new();
    if row.subresources.status {
        list.push(Subresource {
            name: "status",
            group: &gvk.group,
            version: &gvk.version,
            kind: &gvk.kind,
            verbs: READ_WRITE,
        });
    }
    if row.subresources.scale.is_some() {
        list.push(Subresource { name: "scale", group: "autoscaling", version: "v1", kind: "Scale", verbs: READ_WRITE });
    }
    list.extend(row.subresources.special.iter().map(|special| Subresource {
        name: special.name,
        group: &special.body.group,
        version: &special.body.version,
        kind: &special.body.kind,
        verbs: special.verbs,
    }));
    list.sort_by_key(|sub| sub.name);
    list
}
