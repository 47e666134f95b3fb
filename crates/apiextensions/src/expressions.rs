//! Where the expressions of `x-kubernetes-validations` plug in. The language itself is a crate of its own.

use apimachinery::field::{Error, Path};
use serde_json::Value;

use crate::schema::Schema;

/// The compiled rules of one schema.
pub trait Rules: Send + Sync {
    /// Judges an object, at an update beside the old one.
    fn validate(&self, path: &Path, object: &Value, old: Option<&Value>) -> Vec<Error> {
        self.judge(path, object, old).errors
    }

    /// The same, with what is let pass because it was wrong before.
    fn judge(&self, path: &Path, object: &Value, old: Option<&Value>) -> Findings;
}

/// What rules have against an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// What keeps it from being written.
    pub errors: Vec<Error>,
    /// What is wrong, was wrong before, and only earns a warning (upstream: ratcheting, KEP-4008).
    pub warnings: Vec<String>,
}

/// Compiles rules.
pub trait Compiler: Send + Sync {
    /// What is wrong with the rules of a definition's schema at `path`; those that `old` has already may be as they are.
    fn check(&self, schema: &Schema, path: &Path, old: Option<&Schema>) -> Vec<Error>;

    /// The rules of a schema that was found good; nothing where it has none.
    fn compile(&self, schema: &Schema) -> Option<Box<dyn Rules>>;
}
