//! The plugin MutatingAdmissionPolicy (upstream: policy/mutating/{dispatcher,patch/*}.go).

use std::sync::Arc;
use std::time::Duration;

use apimachinery::patch::json::JsonPatch;
use apimachinery::{Object, StatusError};
use async_trait::async_trait;
use k8s_cel::Budget;
use serde_json::{Value, json};

use super::activation::Input;
use super::binding::Binding;
use super::conditions::Judgement;
use super::definition::{Definition, Mutation};
use super::metrics::{Checks, PolicyMetrics};
use super::questions::Questions;
use super::{Hook, Policies, judge, params};
use crate::admission::matching::{self, Matched};
use crate::admission::{Handles, Plugin, Request};
use crate::authorization::follow::Follower;
use crate::registry::fields;

/// See the module.
pub(super) struct MutatingAdmissionPolicy {
    policies: Arc<Follower<Policies>>,
    metrics: PolicyMetrics,
}

/// A policy, by a binding, with a parameter: what is applied at once.
struct Invocation<'h> {
    definition: &'h Definition,
    binding: &'h Binding,
    matched: Matched,
    param: Option<Object>,
}

impl MutatingAdmissionPolicy {
    pub(super) fn new(policies: Arc<Follower<Policies>>, metrics: PolicyMetrics) -> Self {
        Self { policies, metrics }
    }
}

#[async_trait]
impl Plugin for MutatingAdmissionPolicy {
    fn name(&self) -> &'static str {
        "MutatingAdmissionPolicy"
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.admits(Handles::ALL)
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), StatusError> {
        if request.object.is_none() || matching::is_exempt(request.row) {
            return Ok(());
        }
        let hooks = self.policies.read(|policies| policies.mutating.hooks.clone());
        if hooks.is_empty() {
            return Ok(());
        }
        let mut errors = Vec::new();
        let mut invocations = Vec::new();
        for hook in hooks.iter() {
            collect(request, hook, &mut invocations, &mut errors).await;
        }
        if !invocations.is_empty() {
            let namespace = judge::namespace_of(request).await?;
            self.run(request, &invocations, namespace.as_ref(), &mut errors).await;
        }
        refuse(request, &errors)
    }
}

/// Why a policy could not do its work.
struct Failed {
    policy: String,
    binding: Option<String>,
    message: String,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (policy, message) = (&self.policy, &self.message);
        match &self.binding {
            Some(binding) => write!(f, "policy '{policy}' with binding '{binding}' denied request: {message}"),
            None => write!(f, "policy '{policy}' denied request: {message}"),
        }
    }
}

/// The invocations of a policy; what is wrong with its configuration counts where the policy says so.
async fn collect<'h>(
    request: &Request<'_>,
    hook: &'h Hook,
    invocations: &mut Vec<Invocation<'h>>,
    errors: &mut Vec<Failed>,
) {
    let definition = &*hook.definition;
    let mut fail = |binding: Option<&Binding>, message: String| {
        if definition.fails {
            let binding = binding.map(|binding| binding.name.clone());
            errors.push(Failed { policy: definition.name.clone(), binding, message });
        }
    };
    let matched = match judge::matches(&definition.criteria, request).await {
        Ok(Some(matched)) => matched,
        Ok(None) => return,
        Err(words) => return fail(None, format!("failed to configure policy: {words}")),
    };
    for binding in &hook.bindings {
        let configured = match judge::matches(&binding.criteria, request).await {
            Ok(None) => continue,
            Ok(Some(_)) => params::collect(request, definition, binding).await,
            Err(words) => Err(words),
        };
        match configured {
            Ok(params) => invocations.extend(params.into_iter().map(|param| Invocation {
                definition,
                binding,
                matched: matched.clone(),
                param,
            })),
            Err(words) => fail(Some(binding), format!("failed to configure binding: {words}")),
        }
    }
}

impl MutatingAdmissionPolicy {
    /// Applies the policies in order. One that changes the object asks for the second round of all mutating plugins,
    /// in which only those run that want to (upstream: policy/mutating/reinvocationcontext.go).
    async fn run(
        &self,
        request: &mut Request<'_>,
        invocations: &[Invocation<'_>],
        namespace: Option<&Object>,
        errors: &mut Vec<Failed>,
    ) {
        let again = request.reinvocation.is_again();
        for invocation in invocations.iter().filter(|invocation| !again || invocation.definition.reinvokes) {
            if self.invoke(request, invocation, namespace, errors).await {
                request.reinvocation.ask();
            }
        }
    }

    /// Applies the mutations of one policy; answers whether the object changed.
    async fn invoke(
        &self,
        request: &mut Request<'_>,
        invocation: &Invocation<'_>,
        namespace: Option<&Object>,
        errors: &mut Vec<Failed>,
    ) -> bool {
        let Invocation { definition, binding, matched, param } = invocation;
        let mut changed = false;
        let mut fail = |message: String| {
            if definition.fails {
                let binding = Some(binding.name.clone());
                errors.push(Failed { policy: definition.name.clone(), binding, message });
            }
        };
        if let Err(error) = request.prepare(&matched.row).await {
            fail(error.message);
            return false;
        }
        let cx = request.cx;
        let questions = Questions::of(cx);
        // Conditions see no namespace.
        let input = || Input::of(request, matched, None, param.as_ref(), &questions);
        match definition.conditions.settle(request, &questions, input).await {
            Judgement::Matches => {}
            Judgement::Excluded(_) => return false,
            Judgement::Failed(words) => {
                fail(words);
                return false;
            }
        }
        for mutation in &definition.mutations {
            let began = component_base::now();
            let mutate = || {
                let input = Input::of(request, matched, namespace, param.as_ref(), &questions);
                mutate(request, invocation, mutation, &input)
            };
            let result = questions.settle(mutate).await;
            let took = Duration::try_from(component_base::now().duration_since(began)).unwrap_or_default();
            let action = if result.is_ok() { "allow" } else { "deny" };
            self.metrics.observe(Checks::Mutating, &definition.name, &binding.name, result.is_err(), action, took);
            let owned = match result {
                Ok(mutated) => request.own(&matched.row, mutated).await.map_err(|error| error.message),
                Err(words) => Err(words),
            };
            match owned {
                Ok(mut object) => {
                    if request.subresource.is_empty() {
                        request.row.strategy.default(&mut object);
                    }
                    changed |= request.object.as_ref() != Some(&object);
                    request.object = Some(object);
                    if let Err(error) = request.prepare(&matched.row).await {
                        fail(error.message);
                        return changed;
                    }
                }
                Err(words) => fail(words),
            }
        }
        changed
    }
}

/// The object after one mutation.
fn mutate(
    request: &Request<'_>,
    invocation: &Invocation<'_>,
    mutation: &Mutation,
    input: &Input<'_>,
) -> Result<Object, String> {
    let object = input.object().ok_or_else(|| "there is no object to change".to_owned())?;
    let variables = input.with_composed(&invocation.definition.variables);
    let (Mutation::Apply(expression) | Mutation::JsonPatch(expression)) = mutation;
    let value = expression.evaluate(&variables, &mut Budget::new()).map_err(|failure| failure.to_string())?;
    let made = value.to_json().map_err(|error| error.to_string())?;
    match mutation {
        Mutation::Apply(_) => apply(request, &invocation.matched, object, made),
        Mutation::JsonPatch(_) => json_patch(object, made),
    }
}

/// Merges fields as apply merges them; nobody comes to own them by this
/// (upstream: policy/mutating/patch/smd.go).
fn apply(request: &Request<'_>, matched: &Matched, object: &Object, made: Value) -> Result<Object, String> {
    let mut config = Object::from_value(made).ok_or_else(|| "applyConfiguration is no object".to_owned())?;
    config.set_type(&matched.kind);
    if config.metadata().is_some_and(|metadata| metadata.contains_key("managedFields")) {
        return Err("error applying patch: invalid ApplyConfiguration: managedFields may not be set".to_owned());
    }
    let mut merged = fields::merge(request.cx, &matched.kind, object, &config)
        .map_err(|error| format!("error applying patch: {}", error.message))?;
    match object.metadata().and_then(|metadata| metadata.get("managedFields")) {
        Some(owners) => merged.metadata_mut().insert("managedFields".into(), owners.clone()),
        None => merged.metadata_mut().remove("managedFields"),
    };
    Ok(merged)
}

/// Applies operations; where one of them is a test that fails, nothing changes
/// (upstream: policy/mutating/patch/json_patch.go).
fn json_patch(object: &Object, made: Value) -> Result<Object, String> {
    let words = |error: &dyn std::fmt::Display| format!("JSON Patch: {error}");
    let patch = JsonPatch::parse(made).map_err(|error| words(&error))?;
    let mut document = Value::Object(object.0.clone());
    match patch.apply(&mut document) {
        Ok(()) => Object::from_value(document).ok_or_else(|| "JSON Patch: the result is no object".to_owned()),
        Err(error) if error.to_string().contains("test failed") => Ok(object.clone()),
        Err(error) => Err(words(&error)),
    }
}

/// The answer where a policy failed that must not.
fn refuse(request: &Request<'_>, errors: &[Failed]) -> Result<(), StatusError> {
    let Some(first) = errors.first() else { return Ok(()) };
    let causes = errors.iter().map(|error| json!({ "message": error.to_string() })).collect();
    let mut refusal = request.forbidden("admission request denied by policy").with_causes(causes);
    refusal.message = first.to_string();
    if !first.message.starts_with("failed to configure") {
        refusal.reason = "Invalid";
    }
    Err(refusal)
}
