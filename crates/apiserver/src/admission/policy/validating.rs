//! The plugin ValidatingAdmissionPolicy (upstream: policy/validating/{dispatcher,validator}.go).

use std::sync::Arc;
use std::time::Duration;

use apimachinery::StatusError;
use async_trait::async_trait;
use jiff::Timestamp;
use k8s_cel::{Budget, Value as CelValue};
use serde_json::json;

use super::activation::Input;
use super::binding::Binding;
use super::conditions::Judgement;
use super::definition::{Definition, Validation};
use super::expression::Failure;
use super::metrics::{Checks, PolicyMetrics};
use super::questions::Questions;
use super::{Hook, Policies, judge, params};
use crate::admission::matching;
use crate::admission::{Handles, Plugin, Request};
use crate::authorization::follow::Follower;

/// The longest message an expression may make (upstream: `MaxEvaluatedMessageExpressionSizeBytes`).
const MESSAGE_LIMIT: usize = 5 * 1024;

/// The longest audit annotation (upstream: `maxAuditAnnotationValueLength`).
const NOTE_LIMIT: usize = 10 * 1024;

/// See the module.
pub(super) struct ValidatingAdmissionPolicy {
    policies: Arc<Follower<Policies>>,
    metrics: PolicyMetrics,
}

/// Why a policy is not content.
struct Denial {
    message: String,
    /// The reason of the answer; empty for the usual one.
    reason: String,
    /// Whether the policy itself failed.
    failed: bool,
    took: Duration,
}

/// What a policy says of a request.
struct Findings {
    /// By the place of the validation.
    denials: Vec<(usize, Denial)>,
    /// Audit annotations, or why there is none.
    notes: Vec<Result<(String, String), String>>,
}

impl Denial {
    fn failed(message: String) -> Self {
        Self { message, reason: String::new(), failed: true, took: Duration::ZERO }
    }
}

impl Findings {
    /// A policy that cannot tell has something against the request, where its failures count.
    fn failed(definition: &Definition, words: String, began: Timestamp) -> Self {
        let denial = || Denial { took: since(began), ..Denial::failed(words) };
        Self { denials: definition.fails.then(|| (0, denial())).into_iter().collect(), notes: Vec::new() }
    }
}

fn since(began: Timestamp) -> Duration {
    Duration::try_from(component_base::now().duration_since(began)).unwrap_or_default()
}

impl ValidatingAdmissionPolicy {
    pub(super) fn new(policies: Arc<Follower<Policies>>, metrics: PolicyMetrics) -> Self {
        Self { policies, metrics }
    }
}

#[async_trait]
impl Plugin for ValidatingAdmissionPolicy {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionPolicy"
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.validates(Handles::ALL)
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), StatusError> {
        if matching::is_exempt(request.row) {
            return judge::written(request);
        }
        let hooks = self.policies.read(|policies| policies.validating.hooks.clone());
        if hooks.is_empty() {
            return Ok(());
        }
        let mut denied = Vec::new();
        for hook in hooks.iter() {
            self.hook(request, hook, &mut denied).await?;
        }
        denied.into_iter().next().map_or(Ok(()), Err)
    }
}

impl ValidatingAdmissionPolicy {
    async fn hook(&self, request: &Request<'_>, hook: &Hook, denied: &mut Vec<StatusError>) -> Result<(), StatusError> {
        let definition = &*hook.definition;
        let matched = match judge::matches(&definition.criteria, request).await {
            Ok(Some(matched)) => matched,
            Ok(None) => return Ok(()),
            Err(words) => {
                if definition.fails {
                    let words = format!("failed to configure policy: {words}");
                    denied.push(refusal(request, definition, None, &Denial::failed(words)));
                }
                return Ok(());
            }
        };
        for binding in &hook.bindings {
            let configured = match judge::matches(&binding.criteria, request).await {
                Ok(None) => continue,
                Ok(Some(_)) => params::collect(request, definition, binding).await,
                Err(words) => Err(words),
            };
            let params = match configured {
                Ok(params) => params,
                Err(words) => {
                    if definition.fails {
                        let words = format!("failed to configure binding: {words}");
                        denied.push(refusal(request, definition, Some(binding), &Denial::failed(words)));
                    }
                    continue;
                }
            };
            let namespace = judge::namespace_of(request).await?;
            for param in &params {
                let questions = Questions::of(request.cx);
                let began = component_base::now();
                // Conditions see no namespace.
                let input = || Input::of(request, &matched, None, param.as_ref(), &questions);
                let findings = match definition.conditions.settle(request, &questions, input).await {
                    Judgement::Excluded(_) => continue,
                    Judgement::Failed(words) => Findings::failed(definition, words, began),
                    Judgement::Matches => {
                        let evaluate = || {
                            let input = Input::of(request, &matched, namespace.as_ref(), param.as_ref(), &questions);
                            let denials = evaluate(definition, &input, began);
                            Findings { denials, notes: notes(definition, &input) }
                        };
                        questions.settle(evaluate).await
                    }
                };
                self.enforce(request, definition, binding, findings, denied);
            }
        }
        Ok(())
    }

    /// Does what the binding says with what the policy finds.
    fn enforce(
        &self,
        request: &Request<'_>,
        definition: &Definition,
        binding: &Binding,
        findings: Findings,
        denied: &mut Vec<StatusError>,
    ) {
        let (policy, by) = (&definition.name, &binding.name);
        for (index, denial) in findings.denials {
            let observe = |action| {
                self.metrics.observe(Checks::Validating, policy, by, denial.failed, action, denial.took);
            };
            for action in &binding.actions {
                match action.as_str() {
                    "Deny" => {
                        observe("deny");
                        denied.push(refusal(request, definition, Some(binding), &denial));
                    }
                    "Warn" => {
                        observe("warn");
                        request.cx.warn(format!(
                            "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{by}': {}",
                            denial.message
                        ));
                    }
                    "Audit" => {
                        observe("audit");
                        let failure = json!([{
                            "message": denial.message, "policy": policy, "binding": by, "expressionIndex": index,
                            "validationActions": binding.actions,
                        }]);
                        judge::annotate(
                            request,
                            "validation.policy.admission.k8s.io/validation_failure",
                            &failure.to_string(),
                        );
                    }
                    _ => {}
                }
            }
        }
        for note in findings.notes {
            match note {
                Ok((key, text)) => judge::annotate(request, &format!("{policy}/{key}"), &text),
                Err(words) if definition.fails => {
                    denied.push(refusal(request, definition, Some(binding), &Denial::failed(words)));
                }
                Err(_) => {}
            }
        }
    }
}

/// What the policy has against the request: by the place of the validation.
fn evaluate(definition: &Definition, input: &Input<'_>, began: Timestamp) -> Vec<(usize, Denial)> {
    let on_failure = |words: String| Findings::failed(definition, words, began).denials;
    let mut budget = Budget::new();
    let variables = input.with_composed(&definition.variables);
    let mut denials = Vec::new();
    for (index, validation) in definition.validations.iter().enumerate() {
        match validation.expression.evaluate(&variables, &mut budget) {
            Ok(CelValue::Bool(true)) => {}
            Ok(_) => {
                let made =
                    validation.message_expression.as_ref().map(|message| message.evaluate(&variables, &mut budget));
                if let Some(Err(failure @ Failure::OutOfBudget)) = &made {
                    denials.extend(on_failure(format!("failed messageExpression: {failure}")));
                    return denials;
                }
                let message = message(validation, made.and_then(Result::ok).as_ref());
                let reason = validation.reason.clone();
                denials.push((index, Denial { message, reason, failed: false, took: since(began) }));
            }
            Err(failure @ Failure::OutOfBudget) => {
                denials.extend(on_failure(failure.to_string()));
                return denials;
            }
            Err(failure) => {
                denials.extend(on_failure(failure.to_string()).into_iter().map(|(_, denial)| (index, denial)));
            }
        }
    }
    denials
}

/// The words of a broken rule: what its expression made, its message, or the rule itself.
fn message(validation: &Validation, made: Option<&CelValue<'_>>) -> String {
    let made = made.and_then(CelValue::as_str).map(str::trim);
    let made = made.filter(|text| !text.is_empty() && text.len() <= MESSAGE_LIMIT && !text.contains('\n'));
    match made {
        Some(text) => text.to_owned(),
        None if validation.message.is_empty() => {
            format!("failed expression: {}", validation.expression.source().trim())
        }
        None => validation.message.clone(),
    }
}

/// What the audit annotations of the policy say (upstream: `AuditAnnotationCondition`).
fn notes(definition: &Definition, input: &Input<'_>) -> Vec<Result<(String, String), String>> {
    let variables = input.with_composed(&definition.variables);
    let mut notes = Vec::new();
    for (key, value) in &definition.annotations {
        match value.evaluate(&variables, &mut Budget::new()) {
            Ok(CelValue::String(text)) => {
                let text = text.trim();
                let end = text.char_indices().map(|(at, _)| at).find(|at| *at >= NOTE_LIMIT).unwrap_or(text.len());
                if !text.is_empty() {
                    notes.push(Ok((key.clone(), text[..end].to_owned())));
                }
            }
            Ok(CelValue::Null) => {}
            Ok(_) => notes.push(Err(format!(
                "valueExpression '{}' resulted in unsupported return type. Return type must be either string or null.",
                value.source()
            ))),
            Err(failure) => notes.push(Err(failure.to_string())),
        }
    }
    notes
}

/// The answer to a denied request.
fn refusal(request: &Request<'_>, definition: &Definition, binding: Option<&Binding>, denial: &Denial) -> StatusError {
    let with = binding.map(|binding| format!(" with binding '{}'", binding.name)).unwrap_or_default();
    let message = format!("ValidatingAdmissionPolicy '{}'{with} denied request: {}", definition.name, denial.message);
    let mut error = request.forbidden(&message).with_causes(vec![json!({ "message": message })]);
    (error.reason, error.code) = match denial.reason.as_str() {
        "Forbidden" => ("Forbidden", 403),
        "Unauthorized" => ("Unauthorized", 401),
        "RequestEntityTooLarge" => ("RequestEntityTooLarge", 413),
        _ => ("Invalid", 422),
    };
    error
}
