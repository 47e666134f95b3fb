//! Where the expressions of `x-kubernetes-validations` plug in. The language itself is a crate of its own.

use apimachinery::field::{Error, Path};
use serde_json::Value;

use crate::schema::Schema;

/// The compiled rules of one schema.
pub trait Rules: Send + Sync {
    /// Judges an object, at an update beside the old one.
    fn validate(&self, path: &Path, object: &Value, old: Option<&Value>) -> Vec<Error>;
}

/// Compiles rules.
pub trait Compiler: Send + Sync {
    /// What is wrong with the rules of a definition's schema at `path`; those that `old` has already may be as they are.
    fn check(&self, schema: &Schema, path: &Path, old: Option<&Schema>) -> Vec<Error>;

    /// The rules of a schema that was found good; nothing where it has none.
    fn compile(&self, schema: &Schema) -> Option<Box<dyn Rules>>;
}
