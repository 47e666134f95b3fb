//! The seam to CEL: configurations carry expressions over one variable (`claims`, `user`, `request`); whoever builds
//! the server says who compiles them.

use serde_json::Value;

/// Compiles expressions.
pub trait Compiler: Send + Sync {
    /// The program of an expression that sees `variable`, or what is wrong with it.
    fn compile(&self, expression: &str, variable: &'static str) -> Result<Box<dyn Program>, String>;
}

/// A compiled expression.
pub trait Program: Send + Sync + std::fmt::Debug {
    /// Its value where the variable has this one.
    fn evaluate(&self, variable: &Value) -> Result<Value, String>;
}

/// Compiles nothing: for configurations without expressions.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoExpressions;

impl Compiler for NoExpressions {
    fn compile(&self, expression: &str, _variable: &'static str) -> Result<Box<dyn Program>, String> {
        Err(format!("compilation failed: no expression language is configured for {expression:?}"))
    }
}
