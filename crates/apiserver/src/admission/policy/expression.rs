//! [`Expression`]: one expression of a policy, compiled, or the reason why it is not
//! (upstream: admission/plugin/cel/{compile,condition}.go).

use std::fmt::Write as _;

use k8s_cel::{Budget, Environment, EvalError, Program, Type, Value, Variables};

/// See the module.
#[derive(Debug)]
pub struct Expression {
    source: String,
    program: Result<Program, String>,
}

impl Expression {
    /// Compiles an expression that must be of one of `wanted`; of any type where that is empty.
    pub fn compile(environment: &Environment, source: &str, wanted: &[Type]) -> Self {
        let program = match environment.compile(source) {
            Ok(program) if wanted.is_empty() || wanted.contains(program.output()) => Ok(program),
            Ok(program) => Err(wrong_type(wanted, program.output())),
            Err(error) => Err(format!("compilation failed: {error}")),
        };
        Self { source: source.to_owned(), program }
    }

    /// The text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Why there is no program.
    pub fn problem(&self) -> Option<&str> {
        self.program.as_ref().err().map(String::as_str)
    }

    /// The program, where there is one.
    pub fn program(&self) -> Option<&Program> {
        self.program.as_ref().ok()
    }

    /// Evaluates it; an error is worded for whoever's request it was.
    pub fn evaluate<'a>(&'a self, variables: &Variables<'a>, budget: &mut Budget) -> Result<Value<'a>, Failure> {
        let program =
            self.program.as_ref().map_err(|problem| Failure::Expression(format!("compilation error: {problem}")))?;
        program.evaluate(variables, budget).map_err(|error| match error {
            EvalError::BudgetExhausted => Failure::OutOfBudget,
            EvalError::CostLimit => Failure::Expression(format!(
                "no further validation rules will be run due to call cost exceeds limit for expression: {}",
                self.source
            )),
            other => Failure::Expression(format!("expression '{}' resulted in error: {other}", self.source)),
        })
    }
}

/// Why an evaluation has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// This expression failed.
    #[error("{0}")]
    Expression(String),
    /// Nothing further may run.
    #[error("validation failed due to running out of cost budget, no further validation rules will be run")]
    OutOfBudget,
}

fn wrong_type(wanted: &[Type], found: &Type) -> String {
    if let [one] = wanted {
        return format!("must evaluate to {one} but got {found}");
    }
    let mut words = "must evaluate to one of [".to_owned();
    for (index, ty) in wanted.iter().enumerate() {
        let gap = if index == 0 { "" } else { " " };
        // Writing to a String does not fail.
        let _ = write!(words, "{gap}{ty}");
    }
    words + "]"
}
