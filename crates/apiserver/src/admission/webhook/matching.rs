//! Which requests a webhook is called for: selectors, rules, other versions of the resource, conditions
//! (upstream: webhook/generic/webhook.go `ShouldCallHook`, webhook/predicates).

use std::sync::Arc;

use api::Resource;
use apimachinery::{Object, StatusError};

use super::hooks::{Hook, Rule};
use super::view::View;
use crate::admission::{Operation, Request};

/// What a webhook gets to see of the request, if it is called.
pub(super) async fn matched(hook: &Hook, request: &Request<'_>) -> Result<Option<View>, StatusError> {
    let namespace = in_namespace(hook, request).await;
    if matches!(namespace, Ok(false)) || !in_objects(hook, request)? {
        return Ok(None);
    }
    let Some(row) = by_rules(hook, request) else { return Ok(None) };
    namespace?;
    let view = View::new(request, &row);
    if let Some(conditions) = &hook.conditions {
        match conditions.hold(request, &view) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(cause) => return Err(request.forbidden(cause)),
        }
    }
    Ok(Some(view))
}

fn is_namespaces(request: &Request<'_>) -> bool {
    request.is_resource("", "namespaces")
}

/// The namespace that selectors judge: that of the request, and of a Namespace itself.
pub(super) fn namespace_of<'r>(request: &'r Request<'_>) -> &'r str {
    if is_namespaces(request) { &request.name } else { request.namespace }
}

async fn in_namespace(hook: &Hook, request: &Request<'_>) -> Result<bool, StatusError> {
    let name = namespace_of(request);
    if name.is_empty() && !is_namespaces(request) {
        return Ok(true);
    }
    let selector = hook.namespace_selector.as_ref().map_err(StatusError::internal)?;
    if selector.is_empty() {
        return Ok(true);
    }
    let own = request.object.as_ref().filter(|_| {
        is_namespaces(request)
            && request.subresource.is_empty()
            && matches!(request.operation, Operation::Create | Operation::Update)
    });
    if let Some(namespace) = own {
        return Ok(selector.matches_object(namespace));
    }
    let registry = request.cx.registry();
    let row = registry.row("", "v1", "namespaces")?;
    let namespace = registry.find(&row, "", name).await?.ok_or_else(|| row.not_found(name))?;
    Ok(selector.matches_object(&namespace))
}

/// Either state of the object is enough (upstream: predicates/object/matcher.go).
fn in_objects(hook: &Hook, request: &Request<'_>) -> Result<bool, StatusError> {
    let selector = hook.object_selector.as_ref().map_err(StatusError::internal)?;
    if selector.is_empty() {
        return Ok(true);
    }
    // Options of a connection have no labels to be judged by.
    let labeled = |object: &Object| object.metadata().is_some() && selector.matches_object(object);
    Ok(request.object.as_ref().is_some_and(labeled) || request.old.as_ref().is_some_and(labeled))
}

/// The resource in the version that a rule names: the request's own, or an equivalent one.
fn by_rules(hook: &Hook, request: &Request<'_>) -> Option<Arc<Resource>> {
    let rows = request.cx.registry().rows();
    if hook.rules.iter().any(|rule| rule.matches(request, request.row)) {
        return rows.all().iter().find(|row| row.gvk == request.row.gvk && row.plural == request.row.plural).cloned();
    }
    if !hook.equivalent {
        return None;
    }
    let stored = request.row.key_prefix();
    let equivalents: Vec<&Arc<Resource>> = rows
        .all()
        .iter()
        .filter(|row| row.plural == request.row.plural && row.gvk != request.row.gvk && row.key_prefix() == stored)
        .collect();
    let mut rules = hook.rules.iter();
    rules.find_map(|rule| equivalents.iter().find(|row| rule.matches(request, row)).map(|row| (*row).clone()))
}

fn one_of(items: &[String], asked: &str) -> bool {
    items.iter().any(|item| item == "*" || item == asked)
}

impl Rule {
    fn matches(&self, request: &Request<'_>, row: &Resource) -> bool {
        let clusterwide = is_namespaces(request) || request.namespace.is_empty();
        let in_scope = match self.scope.as_str() {
            "" | "*" => true,
            "Namespaced" => !clusterwide,
            "Cluster" => clusterwide,
            _ => false,
        };
        in_scope
            && one_of(&self.operations, request.operation.as_str())
            && one_of(&self.groups, &row.gvk.group)
            && one_of(&self.versions, &row.gvk.version)
            && self.resources.iter().any(|resource| names(resource, &row.plural, request.subresource))
    }
}

/// Whether `pods/status`, `pods/*`, `*/scale` or the like names a resource and subresource.
fn names(rule: &str, resource: &str, subresource: &str) -> bool {
    let (named, sub) = rule.split_once('/').unwrap_or((rule, ""));
    (named == "*" || named == resource) && (sub == "*" || sub == subresource)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_named_with_their_parts() {
        for (rule, resource, subresource, expected) in [
            ("pods", "pods", "", true),
            ("pods", "pods", "status", false),
            ("pods/*", "pods", "status", true),
            ("pods/*", "pods", "", true),
            ("*", "pods", "", true),
            ("*", "pods", "status", false),
            ("*/*", "pods", "status", true),
            ("*/scale", "deployments", "scale", true),
            ("services", "pods", "", false),
        ] {
            assert_eq!(names(rule, resource, subresource), expected, "{rule} {resource}/{subresource}");
        }
    }
}
