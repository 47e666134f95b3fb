//! CEL, the Common Expression Language, as Kubernetes speaks it: rules of custom resources, admission policies, match
//! conditions.
//!
//! ```text
//! Environment::compile(source) > Program::evaluate(variables, budget) > Value
//! Rules::compile(schema) > Rules::validate(path, object, old, budget) > field errors
//! ```

use apimachinery::field::{self, Path};
use serde_json::Value as Json;

/// How much work evaluations may do together (upstream: `RuntimeCELCostBudget`).
#[derive(Debug)]
pub struct Budget {
    remaining: u64,
}

impl Budget {
    /// The budget of one object or one policy binding: 10,000,000.
    pub fn new() -> Self {
        Self { remaining: 10_000_000 }
    }

    /// What is left.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}

/// The `x-kubernetes-validations` of one schema, compiled.
#[derive(Debug)]
pub struct Rules {}

impl Rules {
    /// Compiles the rules in a structural `openAPIV3Schema` that stands at `path`; `None` where it has none.
    pub fn compile(_schema: &Json, _path: &Path) -> Result<Option<Self>, Vec<field::Error>> {
        Ok(None)
    }

    /// What the rules have against `object`, which replaces `old`.
    pub fn validate(
        &self,
        _path: &Path,
        _object: &Json,
        _old: Option<&Json>,
        _budget: &mut Budget,
    ) -> Vec<field::Error> {
        Vec::new()
    }
}
