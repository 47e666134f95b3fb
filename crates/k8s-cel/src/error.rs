//! What can go wrong when an expression is compiled or evaluated, in cel-go's words
//! (upstream: cel-go common/errors.go, checker/errors.go, common/types/err.go).

use std::fmt;

/// One complaint about a source text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// The line, counted from 1.
    pub line: usize,
    /// The character in the line, counted from 0.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl Issue {
    /// A complaint about the character at the byte `offset` of `source`.
    pub(crate) fn at(source: &str, offset: usize, message: impl Into<String>) -> Self {
        let before = source.get(..offset).unwrap_or(source);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count(),
            message: message.into(),
        }
    }
}

/// Why an expression cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileError {
    source: String,
    issues: Vec<Issue>,
}

impl CompileError {
    pub(crate) fn new(source: &str, issues: Vec<Issue>) -> Self {
        Self { source: source.to_owned(), issues }
    }

    /// The complaints, in the order of the text.
    pub fn issues(&self) -> &[Issue] {
        &self.issues
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, issue) in self.issues.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "ERROR: <input>:{}:{}: {}", issue.line, issue.column + 1, issue.message)?;
            if let Some(line) = self.source.lines().nth(issue.line - 1) {
                write!(f, "\n | {line}\n | {:.>width$}", "^", width = issue.column + 1)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for CompileError {}

/// Why an evaluation has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// The expression did more than one evaluation may.
    #[error("operation cancelled: actual cost limit exceeded")]
    CostLimit,
    /// All evaluations together did more than they may.
    #[error("validation failed due to running out of cost budget, no further validation rules will be run")]
    BudgetExhausted,
    /// No overload of the function takes such values.
    #[error("no such overload{0}")]
    NoSuchOverload(String),
    /// A map or an object lacks the key.
    #[error("no such key: {0}")]
    NoSuchKey(String),
    /// A variable has no value.
    #[error("no such attribute(s): {0}")]
    NoSuchAttribute(String),
    /// A list has no such item.
    #[error("index out of bounds: {0}")]
    IndexOutOfBounds(i64),
    /// A number leaves its type.
    #[error("{0} overflow")]
    Overflow(&'static str),
    /// A division by zero.
    #[error("{0} by zero")]
    ByZero(&'static str),
    /// A function refuses its arguments.
    #[error("{0}")]
    Function(String),
}

impl EvalError {
    /// No overload of `function` takes values of these types.
    pub(crate) fn overload(function: &str, types: &[String]) -> Self {
        Self::NoSuchOverload(format!(": {function}({})", types.join(", ")))
    }

    /// A function's own words.
    pub(crate) fn function(message: impl Into<String>) -> Self {
        Self::Function(message.into())
    }

    /// Whether the evaluation was cut off, which no `||` may hide.
    pub fn is_cancellation(&self) -> bool {
        matches!(self, Self::CostLimit | Self::BudgetExhausted)
    }
}
