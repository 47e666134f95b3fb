//! [`Rules`]: the `x-kubernetes-validations` of a schema (upstream: apiextensions-apiserver/pkg/apiserver/schema/cel).

mod compile;
mod correlation;
mod evaluate;
pub mod field_path;

use std::collections::BTreeMap;
use std::sync::Arc;

use apimachinery::field::{self, ErrorType, Path};
use serde_json::Value as Json;

use crate::budget::Budget;
use crate::environment::Program;
use crate::schema::Decl;
use correlation::Correlation;

/// What one expression may cost at worst, times how often it may run (upstream: `StaticEstimatedCostLimit`).
pub const EXPRESSION_COST_LIMIT: u64 = 10_000_000;

/// What all expressions of a schema may cost at worst (upstream: `StaticEstimatedCRDCostLimit`).
pub const SCHEMA_COST_LIMIT: u64 = 100_000_000;

/// The longest message an expression may make (upstream: `MaxEvaluatedMessageExpressionSizeBytes`).
pub const MESSAGE_LIMIT: usize = 5 * 1024;

/// The rules of one schema, compiled.
#[derive(Debug)]
pub struct Rules {
    root: Node,
}

/// What an update may have against an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// What keeps the object from being written.
    pub errors: Vec<field::Error>,
    /// What is wrong and was wrong before: it stays as it is and only earns a warning.
    pub warnings: Vec<String>,
}

/// The rules at one place of the schema and below it.
#[derive(Debug)]
struct Node {
    rules: Vec<Rule>,
    decl: Arc<Decl>,
    /// The schema's `type`, which stands for the value in messages about rules that cannot run.
    type_name: Box<str>,
    all_of: Vec<Self>,
    properties: BTreeMap<String, Self>,
    additional_properties: Option<Box<Self>>,
    items: Option<Box<Self>>,
    /// The fields that tell items apart, where old and new items can be told to be the same.
    keys: Option<Vec<String>>,
}

/// One rule.
#[derive(Debug)]
struct Rule {
    source: String,
    message: String,
    /// The program, or why there is none.
    program: Result<Program, String>,
    message_program: Option<Program>,
    message_source: String,
    /// The kind of error that breaking the rule is.
    reason: ErrorType,
    /// The place below the rule's own that the error is about.
    field_path: Option<String>,
    uses_old_self: bool,
    optional_old_self: bool,
}

impl Rules {
    /// Compiles the rules in a structural `openAPIV3Schema` that stands at `path` in its definition, and judges them
    /// and what they may cost; `None` where it has none.
    pub fn compile(schema: &Json, path: &Path) -> Result<Option<Self>, Vec<field::Error>> {
        if !has_rules(schema) {
            return Ok(None);
        }
        Ok(compile::schema(schema, path)?.map(|root| Self { root }))
    }

    /// What the rules have against `object`, which replaces `old`, beyond what was wrong with `old` already.
    pub fn validate(&self, path: &Path, object: &Json, old: Option<&Json>, budget: &mut Budget) -> Vec<field::Error> {
        self.judge(path, object, old, budget).errors
    }

    /// The same, with warnings about what is wrong and was wrong before.
    pub fn judge(&self, path: &Path, object: &Json, old: Option<&Json>, budget: &mut Budget) -> Findings {
        let mut findings = Findings::default();
        let correlation = Correlation::of_root(object, old);
        evaluate::node(&self.root, path, object, old, &correlation, budget, &mut findings);
        findings
    }
}

/// Whether there is a rule anywhere in the schema.
fn has_rules(schema: &Json) -> bool {
    match schema {
        Json::Object(fields) => fields.iter().any(|(name, value)| match name.as_str() {
            "x-kubernetes-validations" => value.as_array().is_some_and(|rules| !rules.is_empty()),
            "properties" => value.as_object().is_some_and(|properties| properties.values().any(has_rules)),
            "items" | "additionalProperties" => has_rules(value),
            "allOf" => value.as_array().is_some_and(|parts| parts.iter().any(has_rules)),
            _ => false,
        }),
        _ => false,
    }
}
