//! Rules at work on an object (upstream: schema/cel/validation.go).

use apimachinery::field::{self, ErrorType, Path};
use serde_json::Value as Json;

use super::correlation::{ByKeys, Correlation};
use super::{Findings, MESSAGE_LIMIT, Node, Rule};
use crate::budget::Budget;
use crate::environment::Program;
use crate::error::EvalError;
use crate::eval::Variables;
use crate::value::Value;

/// Judges a part of the object by the rules of its place.
pub(super) fn node<'v>(
    node_rules: &'v Node,
    path: &Path,
    object: &'v Json,
    old: Option<&'v Json>,
    correlation: &Correlation<'v>,
    budget: &mut Budget,
    findings: &mut Findings,
) {
    let old = old.filter(|old| !old.is_null());
    if object.is_null() || (Place { node: node_rules, path, object, old, correlation }).rules(budget, findings).is_err()
    {
        return;
    }
    for part in &node_rules.all_of {
        node(part, path, object, old, &correlation.of_all_of(), budget, findings);
        if budget.is_exhausted() {
            return;
        }
    }
    match object {
        Json::Array(items) => {
            let Some(rules) = &node_rules.items else { return };
            let by_keys = node_rules.keys.as_ref().map(|keys| ByKeys::new(keys, old));
            for (index, item) in items.iter().enumerate() {
                let before = by_keys.as_ref().and_then(|by_keys| by_keys.get(item));
                let below = correlation.item(item, before);
                node(rules, &path.index(index), item, before, &below, budget, findings);
                if budget.is_exhausted() {
                    return;
                }
            }
        }
        Json::Object(fields) => {
            let before = |name: &str| old.and_then(|old| old.get(name));
            if let Some(rules) = &node_rules.additional_properties {
                for (name, value) in fields {
                    node(rules, &path.key(name), value, before(name), &correlation.key(name), budget, findings);
                    if budget.is_exhausted() {
                        return;
                    }
                }
            }
            for (name, rules) in &node_rules.properties {
                if let Some(value) = fields.get(name) {
                    node(rules, &path.child(name), value, before(name), &correlation.key(name), budget, findings);
                    if budget.is_exhausted() {
                        return;
                    }
                }
            }
        }
        _ => {}
    }
}

/// No further rule may run.
struct Stop;

/// A part of the object and the rules of its place.
struct Place<'v, 'p> {
    node: &'v Node,
    path: &'p Path,
    object: &'v Json,
    old: Option<&'v Json>,
    correlation: &'p Correlation<'v>,
}

impl<'v> Place<'v, '_> {
    fn rules(&self, budget: &mut Budget, findings: &mut Findings) -> Result<(), Stop> {
        if self.node.rules.is_empty() {
            return Ok(());
        }
        if budget.is_exhausted() {
            findings.errors.push(self.unable(EvalError::BudgetExhausted.to_string()));
            return Err(Stop);
        }
        for rule in &self.node.rules {
            self.rule(rule, budget, findings)?;
        }
        Ok(())
    }

    /// A rule that cannot be evaluated: the schema's type stands for the value.
    fn unable(&self, words: String) -> field::Error {
        field::Error::invalid(self.path, &*self.node.type_name, words)
    }

    fn variables(&self, optional_old: bool) -> Result<Variables<'v>, EvalError> {
        let decl = Some(&*self.node.decl);
        let variables = Variables::default().with("self", Value::typed(self.object, decl)?);
        let old = self.old.map(|old| Value::typed(old, decl)).transpose()?;
        Ok(match (old, optional_old) {
            (old, true) => variables.with("oldSelf", Value::Optional(old.map(std::rc::Rc::new))),
            (Some(old), false) => variables.with("oldSelf", old),
            (None, false) => variables,
        })
    }

    fn rule(&self, rule: &'v Rule, budget: &mut Budget, findings: &mut Findings) -> Result<(), Stop> {
        let program = match &rule.program {
            Ok(program) => program,
            Err(words) => {
                findings.errors.push(self.unable(format!("rule compile error: {words}")));
                return Ok(());
            }
        };
        if rule.uses_old_self && self.old.is_none() && !rule.optional_old_self {
            return Ok(());
        }
        let shown = rule.shown();
        let result = match self.variables(rule.optional_old_self) {
            Ok(variables) => program.evaluate(&variables, budget),
            Err(error) => Err(error),
        };
        match result {
            Ok(Value::Bool(true)) => Ok(()),
            Ok(_) => self.broken(rule, budget, findings),
            Err(EvalError::BudgetExhausted) => {
                findings.errors.push(self.unable(EvalError::BudgetExhausted.to_string()));
                Err(Stop)
            }
            Err(error @ EvalError::CostLimit) => {
                let words = format!(
                    "'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {shown}"
                );
                findings.errors.push(self.unable(words));
                budget.exhaust();
                Err(Stop)
            }
            Err(error @ EvalError::NoSuchOverload(_)) => {
                let words = format!(
                    "'{error}': call arguments did not match a supported operator, function or macro signature for rule: {shown}"
                );
                findings.errors.push(self.unable(words));
                Ok(())
            }
            Err(error) => {
                findings.errors.push(self.unable(format!("{error} evaluating rule: {shown}")));
                Ok(())
            }
        }
    }

    /// Says what is wrong, in the rule's own words where it has any.
    fn broken(&self, rule: &'v Rule, budget: &mut Budget, findings: &mut Findings) -> Result<(), Stop> {
        let path = match &rule.field_path {
            Some(below) => self.path.child(below),
            None => self.path.clone(),
        };
        let mut report = |error: field::Error| {
            if !rule.uses_old_self && self.correlation.is_unchanged() {
                findings.warnings.push(error.to_string());
            } else {
                findings.errors.push(error);
            }
        };
        let made = rule.message_program.as_ref().map(|program| self.message(rule, program, budget));
        let detail = match made {
            Some(Err(words)) => {
                report(field::Error::invalid(&path, &*self.node.type_name, words));
                budget.exhaust();
                return Err(Stop);
            }
            Some(Ok(Some(message))) => message,
            Some(Ok(None)) | None if rule.message.is_empty() => format!("failed rule: {}", rule.source),
            Some(Ok(None)) | None => rule.message.clone(),
        };
        let shows_value = !self.object.is_object() && !self.object.is_array();
        let value = match rule.reason {
            ErrorType::Forbidden | ErrorType::Required => None,
            _ => shows_value.then(|| self.object.clone()),
        };
        let detail = if rule.reason == ErrorType::Duplicate { String::new() } else { detail };
        report(field::Error { kind: rule.reason, field: path.to_string(), value, detail });
        Ok(())
    }

    /// The message that the rule's expression makes; none where it fails, and an error where nothing may run any more.
    fn message(&self, rule: &Rule, program: &'v Program, budget: &mut Budget) -> Result<Option<String>, String> {
        let variables = self.variables(rule.optional_old_self).map_err(|error| error.to_string())?;
        let source = &rule.message_source;
        match program.evaluate(&variables, budget) {
            Ok(Value::String(text)) => {
                let text = text.trim();
                let fits = !text.is_empty() && text.len() <= MESSAGE_LIMIT && !text.contains('\n');
                Ok(fits.then(|| text.to_owned()))
            }
            Err(EvalError::BudgetExhausted) => Err("messageExpression evaluation failed due to running out of cost \
                                                    budget, no further validation rules will be run"
                .to_owned()),
            Err(EvalError::CostLimit) => Err(format!(
                "no further validation rules will be run due to call cost exceeds limit for messageExpression: {source:?}"
            )),
            Ok(_) | Err(_) => Ok(None),
        }
    }
}

impl Rule {
    /// The rule in messages.
    fn shown(&self) -> &str {
        if self.message.is_empty() { &self.source } else { &self.message }
    }
}
