//! [`Definition`]: a policy, compiled (upstream: policy/validating/plugin.go `compilePolicy`, mutating/compilation.go).

use apimachinery::labels::SelectorError;
use k8s_cel::{Environment, Type};
use serde_json::Value;

use super::conditions::MatchConditions;
use super::environment;
use super::expression::Expression;
use crate::admission::matching::Criteria;
use crate::admission::metrics::Holder;

/// A policy of either kind.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) generation: i64,
    /// Whether a policy that fails denies the request.
    pub(super) fails: bool,
    pub(super) criteria: Result<Criteria, SelectorError>,
    pub(super) conditions: MatchConditions,
    /// apiVersion and kind of the policy's parameters.
    pub(super) param_kind: Option<(String, String)>,
    pub(super) variables: Vec<(String, Expression)>,
    pub(super) validations: Vec<Validation>,
    pub(super) annotations: Vec<(String, Expression)>,
    pub(super) mutations: Vec<Mutation>,
    /// Whether the mutations may run a second time when something else changed the object.
    pub(super) reinvokes: bool,
}

/// One rule of a validating policy.
#[derive(Debug)]
pub(super) struct Validation {
    pub(super) expression: Expression,
    pub(super) message: String,
    pub(super) message_expression: Option<Expression>,
    pub(super) reason: String,
}

/// One change of a mutating policy.
#[derive(Debug)]
pub(super) enum Mutation {
    /// Fields that are merged as apply merges them.
    Apply(Expression),
    /// Operations.
    JsonPatch(Expression),
}

pub(super) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn items<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

impl Definition {
    /// Compiles a policy.
    pub(super) fn read(name: &str, object: &Value) -> Self {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        let param_kind = spec
            .get("paramKind")
            .filter(|kind| kind.is_object())
            .map(|kind| (text(kind, "apiVersion").to_owned(), text(kind, "kind").to_owned()));
        let base = environment::of_policy(param_kind.is_some());
        let (variables, environment) = compile_variables(&base, spec);
        let fails = text(spec, "failurePolicy") != "Ignore";
        Self {
            name: name.to_owned(),
            uid: object.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default().to_owned(),
            generation: object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0),
            fails,
            criteria: Criteria::of_policy(spec.get("matchConstraints")),
            conditions: MatchConditions::compile_in(&base, spec.get("matchConditions"), fails, Holder::policy(name)),
            param_kind,
            variables,
            validations: items(spec, "validations").map(|one| Validation::read(&environment, one)).collect(),
            annotations: items(spec, "auditAnnotations")
                .map(|one| {
                    let wanted = [Type::String, Type::Null];
                    let value = Expression::compile(&environment, text(one, "valueExpression"), &wanted);
                    (text(one, "key").to_owned(), value)
                })
                .collect(),
            mutations: items(spec, "mutations").filter_map(|one| Mutation::read(&environment, one)).collect(),
            reinvokes: text(spec, "reinvocationPolicy") == "IfNeeded",
        }
    }

    /// Every expression that cannot be compiled, with its field below `spec`.
    pub(super) fn problems(&self) -> Vec<(String, &Expression)> {
        let mut all: Vec<(String, &Expression)> = self.conditions.expressions();
        for (index, (_, expression)) in self.variables.iter().enumerate() {
            all.push((format!("variables[{index}].expression"), expression));
        }
        for (index, validation) in self.validations.iter().enumerate() {
            all.push((format!("validations[{index}].expression"), &validation.expression));
            if let Some(message) = &validation.message_expression {
                all.push((format!("validations[{index}].messageExpression"), message));
            }
        }
        for (index, (_, expression)) in self.annotations.iter().enumerate() {
            all.push((format!("auditAnnotations[{index}].valueExpression"), expression));
        }
        for (index, mutation) in self.mutations.iter().enumerate() {
            all.push(match mutation {
                Mutation::Apply(expression) => {
                    (format!("mutations[{index}].applyConfiguration.expression"), expression)
                }
                Mutation::JsonPatch(expression) => (format!("mutations[{index}].jsonPatch.expression"), expression),
            });
        }
        all.retain(|(_, expression)| expression.problem().is_some());
        all
    }
}

/// The policy's variables, each of which may name those before it, and what all other expressions may name.
pub(super) fn compile_variables(base: &Environment, spec: &Value) -> (Vec<(String, Expression)>, Environment) {
    let mut types: Vec<(&str, Type)> = Vec::new();
    let mut variables = Vec::new();
    let mut environment = environment::with_variables(base, &types);
    for variable in items(spec, "variables") {
        let name = text(variable, "name");
        let expression = Expression::compile(&environment, text(variable, "expression"), &[]);
        types.push((name, expression.program().map_or(Type::Dyn, |program| program.output().clone())));
        variables.push((name.to_owned(), expression));
        environment = environment::with_variables(base, &types);
    }
    (variables, environment)
}

impl Validation {
    fn read(environment: &Environment, value: &Value) -> Self {
        let message = text(value, "messageExpression");
        // What is said to people must not depend on what they may do.
        let of_messages = || environment.clone().without("authorizer").without("authorizer.requestResource");
        Self {
            expression: Expression::compile(environment, text(value, "expression"), &[Type::Bool]),
            message: text(value, "message").trim().to_owned(),
            message_expression: (!message.is_empty())
                .then(|| Expression::compile(&of_messages(), message, &[Type::String])),
            reason: text(value, "reason").to_owned(),
        }
    }
}

impl Mutation {
    fn read(environment: &Environment, value: &Value) -> Option<Self> {
        let environment = environment.clone().with_mutations();
        let expression = |part: &str, wanted: Type| {
            let source = text(value.get(part)?, "expression");
            Some(Expression::compile(&environment, source, &[wanted]))
        };
        let object = || Type::Message("Object".into());
        let patches = || Type::list(Type::Message("JSONPatch".into()));
        expression("applyConfiguration", object())
            .map(Self::Apply)
            .or_else(|| expression("jsonPatch", patches()).map(Self::JsonPatch))
    }
}
