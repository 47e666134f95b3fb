//! What both plugins do: matching with the policy's words for what cannot be told, the request's namespace, and the
//! judgement of policies when they are written (upstream: pkg/apis/admissionregistration/validation).

use apimachinery::field::{self, Path};
use apimachinery::labels::SelectorError;
use apimachinery::{GroupKind, Object, StatusError};

use super::conditions::MatchConditions;
use super::definition::{Definition, items, text};
use crate::admission::matching::{self, Criteria, Matched};
use crate::admission::metrics::Holder;
use crate::admission::{Operation, Request};

/// Whether criteria are about the request.
pub(super) async fn matches(
    criteria: &Result<Criteria, SelectorError>,
    request: &Request<'_>,
) -> Result<Option<Matched>, String> {
    match criteria {
        Ok(criteria) => criteria.matches(request).await.map_err(|error| error.message),
        Err(error) => Err(error.to_string()),
    }
}

/// The namespace of the request's object; none for objects of the cluster, and for namespaces themselves.
pub(super) async fn namespace_of(request: &Request<'_>) -> Result<Option<Object>, StatusError> {
    let is_namespace = request.row.gvk.group.is_empty() && request.row.gvk.kind == "Namespace";
    if is_namespace || request.namespace.is_empty() {
        return Ok(None);
    }
    matching::namespace(request, request.namespace).await.map(Some)
}

/// A note for the audit log.
pub(super) fn annotate(request: &Request<'_>, key: &str, value: &str) {
    request.annotate(key, value);
}

/// Variables whose names no expression could write.
fn misnamed(policy: &serde_json::Value) -> Vec<field::Error> {
    let spec = policy.get("spec").unwrap_or(&serde_json::Value::Null);
    let path = Path::new("spec").child("variables");
    let named = items(spec, "variables").map(|variable| text(variable, "name")).enumerate();
    let wrong = named.filter(|(_, name)| !k8s_cel::escaping::is_identifier(name));
    let words = "name is not a valid CEL identifier";
    wrong.map(|(index, name)| field::Error::invalid(&path.index(index).child("name"), name, words)).collect()
}

/// Judges what is written into the configuration of admission: expressions must compile.
pub(super) fn written(request: &Request<'_>) -> Result<(), StatusError> {
    let writes = matches!(request.operation, Operation::Create | Operation::Update) && request.subresource.is_empty();
    let Some(object) = request.object.as_ref().filter(|_| writes) else { return Ok(()) };
    let kind = request.row.gvk.kind.as_str();
    let value = serde_json::Value::Object(object.0.clone());
    let mut errors = Vec::new();
    match kind {
        "ValidatingAdmissionPolicy" | "MutatingAdmissionPolicy" => {
            errors.extend(misnamed(&value));
            let definition = Definition::read(object.name(), &value);
            for (place, expression) in definition.problems() {
                let path = Path::new("spec").child(&place);
                errors.push(field::Error::invalid(
                    &path,
                    expression.source(),
                    expression.problem().unwrap_or_default(),
                ));
            }
        }
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => {
            for (index, webhook) in items(&value, "webhooks").enumerate() {
                let fails = text(webhook, "failurePolicy") != "Ignore";
                let conditions = MatchConditions::compile(webhook.get("matchConditions"), fails, Holder::default());
                for (place, expression) in conditions.expressions() {
                    if let Some(problem) = expression.problem() {
                        let path = Path::new("webhooks").index(index).child(&place);
                        errors.push(field::Error::invalid(&path, expression.source(), problem));
                    }
                }
            }
        }
        _ => {}
    }
    if errors.is_empty() {
        return Ok(());
    }
    let kind = GroupKind::new(request.row.gvk.group.clone(), kind);
    Err(StatusError::invalid(&kind, object.name(), &errors))
}
