//! OpenAPI documents, made from the catalogue and the schemas: version 3 by group version, version 2 as a whole.
//!
//! They are made when asked for and not kept: the API server answers them rarely, and clients keep them. kubectl
//! reads `paths` to find which kind a resource is and whether the server validates fields, and `components.schemas`
//! for patches and `explain`. Start reading at [`v3`].

use std::sync::Arc;

use serde_json::{Value, json};

use crate::resource::Resource;
use crate::schemas::Schemas;

mod descriptions;
mod merge;
mod operations;
mod parameters;
mod protobuf;
mod resolved;
mod schema;
mod v2;
mod v3;

pub use merge::filter as v2_of_paths;
pub use resolved::resolved;

/// The version that documents name.
const VERSION: &str = "v1.37.0";

/// What the definitions of kinds that were defined at run time refer to.
const SHARED: [&str; 2] =
    ["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"];

/// The document of one group version, as JSON. `rows` may be of any version; others are passed over.
pub fn v3(group: &str, version: &str, rows: &[Arc<Resource>], schemas: &Schemas) -> Vec<u8> {
    v3::document(group, version, rows, schemas)
}

/// The document of all rows in the older form, with what other servers serve, as JSON.
pub fn v2(rows: &[Arc<Resource>], schemas: &Schemas, others: &[Arc<Value>]) -> Vec<u8> {
    serde_json::to_vec(&merged(rows, schemas, others)).unwrap_or_default()
}

/// The same as protobuf.
pub fn v2_protobuf(rows: &[Arc<Resource>], schemas: &Schemas, others: &[Arc<Value>]) -> Vec<u8> {
    protobuf::encode(&merged(rows, schemas, others))
}

fn merged(rows: &[Arc<Resource>], schemas: &Schemas, others: &[Arc<Value>]) -> Value {
    let mut document = v2::document(rows, schemas);
    others.iter().for_each(|other| merge::merge(&mut document, other));
    document
}

/// Where the document of a group version lies below `/openapi/v3/`: `api/v1`, `apis/apps/v1`.
pub fn v3_path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// The answer of `/openapi/v3`: the documents by path, each with a hash that changes when the document does.
pub fn v3_index<'a>(documents: impl IntoIterator<Item = (&'a str, &'a str, String)>) -> Value {
    let entry = |(group, version, hash): (&str, &str, String)| {
        let path = v3_path(group, version);
        let url = format!("/openapi/v3/{path}?hash={hash}");
        (path, json!({"serverRelativeURL": url}))
    };
    json!({"paths": documents.into_iter().map(entry).collect::<serde_json::Map<_, _>>()})
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::{RESOURCES, SCHEMAS};

    fn parsed(bytes: &[u8]) -> Value {
        serde_json::from_slice(bytes).expect("JSON")
    }

    fn references<'a>(value: &'a Value, into: &mut HashSet<&'a str>) {
        match value {
            Value::Object(map) => {
                into.extend(map.get("$ref").and_then(Value::as_str));
                map.values().for_each(|value| references(value, into));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, into)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        for gv in crate::catalogue::GROUP_VERSIONS {
            let document = parsed(&v3(gv.group, gv.version, &RESOURCES, &SCHEMAS));
            let mut found = HashSet::new();
            references(&document, &mut found);
            assert!(!found.is_empty());
            for reference in found {
                let name = reference.strip_prefix("#/components/schemas/").expect("a component");
                assert!(document["components"]["schemas"].get(name).is_some(), "{}: {name}", gv.group);
            }
        }
        let document = parsed(&v2(&RESOURCES, &SCHEMAS, &[]));
        let mut found = HashSet::new();
        references(&document, &mut found);
        for name in found.into_iter().filter_map(|reference| reference.strip_prefix("#/definitions/")) {
            assert!(document["definitions"].get(name).is_some(), "{name}");
        }
    }

    #[test]
    fn what_clients_look_for_is_there() {
        let document = parsed(&v3("apps", "v1", &RESOURCES, &SCHEMAS));
        let item = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"];
        let patch = &item["patch"];
        assert_eq!(patch["x-kubernetes-action"], "patch");
        let kind = json!({"group": "apps", "version": "v1", "kind": "Deployment"});
        assert_eq!(patch["x-kubernetes-group-version-kind"], kind);
        let parameters = patch["parameters"].as_array().expect("a list");
        assert!(
            parameters.iter().any(|parameter| parameter["name"] == "fieldValidation" && parameter["in"] == "query")
        );
        let schema = &document["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"];
        assert_eq!(schema["x-kubernetes-group-version-kind"], json!([kind]));
        let containers = &document["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
        assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
        assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    }

    #[test]
    fn operations_have_names_of_their_own() {
        let document = parsed(&v3("", "v1", &RESOURCES, &SCHEMAS));
        let mut seen = HashSet::new();
        let items = document["paths"].as_object().expect("an object").values();
        for operation in items.filter_map(Value::as_object).flat_map(|item| item.values()) {
            if let Some(id) = operation.get("operationId").and_then(Value::as_str) {
                assert!(seen.insert(id), "{id} twice");
            }
        }
        for id in [
            "listCoreV1NamespacedPod",
            "listCoreV1PodForAllNamespaces",
            "connectCoreV1GetNamespacedPodExec",
            "readCoreV1NamespacedPodLog",
        ] {
            assert!(seen.contains(id), "{id}");
        }
    }

    #[test]
    fn the_index_names_the_documents() {
        let index = v3_index([("", "v1", "1".to_owned()), ("apps", "v1", "2".to_owned())]);
        assert_eq!(index["paths"]["api/v1"]["serverRelativeURL"], "/openapi/v3/api/v1?hash=1");
        assert_eq!(index["paths"]["apis/apps/v1"]["serverRelativeURL"], "/openapi/v3/apis/apps/v1?hash=2");
    }
}
