//! The parameters of a policy (upstream: policy/generic/policy_dispatcher.go `CollectParams`).

use apimachinery::labels::Selector;
use apimachinery::{GroupVersionKind, Object};
use serde_json::Value;
use store::RangeRequest;

use super::binding::Binding;
use super::definition::{Definition, text};
use crate::admission::Request;
use crate::registry::{convert, decode_entry};

/// The objects that the policy is evaluated with, each by itself; one `None` where it takes none.
pub(super) async fn collect(
    request: &Request<'_>,
    definition: &Definition,
    binding: &Binding,
) -> Result<Vec<Option<Object>>, String> {
    let (Some((api_version, kind)), Some(reference)) = (&definition.param_kind, &binding.param_ref) else {
        return Ok(vec![None]);
    };
    let wanted = GroupVersionKind::from_api_version(api_version, kind);
    let registry = request.cx.registry();
    let row = registry.rows().all().iter().find(|row| row.gvk == wanted).cloned();
    let Some(row) = row else {
        let (group, version, kind) = (&wanted.group, &wanted.version, &wanted.kind);
        return Err(format!("paramKind kind `{group}/{version}, Kind={kind}` not known"));
    };
    let given = text(reference, "namespace");
    let namespace = match (row.is_namespaced(), given.is_empty()) {
        (false, false) => {
            return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".to_owned());
        }
        (false, true) => "",
        (true, false) => given,
        (true, true) if request.namespace.is_empty() => {
            return Err(
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".to_owned()
            );
        }
        (true, true) => request.namespace,
    };
    let name = text(reference, "name");
    let mut found = Vec::new();
    if !name.is_empty() {
        let object = registry.find(&row, namespace, name).await.map_err(|error| error.message)?;
        found.extend(object.map(|object| Some(convert::to_served(&row, object))));
    } else if let Some(selector) = reference.get("selector").filter(|selector| !selector.is_null()) {
        let selector = Selector::from_label_selector(Some(selector)).map_err(|error| error.to_string())?;
        let prefix = if namespace.is_empty() { row.key_prefix() } else { format!("{}{namespace}/", row.key_prefix()) };
        let range = RangeRequest { prefix, ..RangeRequest::default() };
        let range = registry.store().range(&range).await.map_err(|error| error.to_string())?;
        for entry in &range.entries {
            let object = decode_entry(entry).map_err(|error| error.message)?;
            if selector.matches_object(&object) {
                found.push(Some(convert::to_served(&row, object)));
            }
        }
    } else {
        return Err("one of name or selector must be provided".to_owned());
    }
    if found.is_empty() && reference.get("parameterNotFoundAction").and_then(Value::as_str) == Some("Deny") {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned());
    }
    Ok(found)
}
