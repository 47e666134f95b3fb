//! CEL behind the rules of schemas.

use apiextensions::Schema;
use apiextensions::expressions::{Compiler, Findings, Rules};
use apimachinery::field::{Error, Path};
use k8s_cel::Budget;
use serde_json::Value;

/// Compiles the rules of schemas as CEL.
pub(super) struct Cel;

struct Compiled(k8s_cel::Rules);

impl Compiler for Cel {
    fn check(&self, schema: &Schema, path: &Path, old: Option<&Schema>) -> Vec<Error> {
        if old == Some(schema) {
            // What was good enough stays so, whatever limits came since.
            return Vec::new();
        }
        k8s_cel::Rules::compile(&json(schema), path).err().unwrap_or_default()
    }

    fn compile(&self, schema: &Schema) -> Option<Box<dyn Rules>> {
        let rules = k8s_cel::Rules::compile(&json(schema), &Path::default()).ok().flatten()?;
        Some(Box::new(Compiled(rules)))
    }
}

impl Rules for Compiled {
    fn judge(&self, path: &Path, object: &Value, old: Option<&Value>) -> Findings {
        let k8s_cel::Findings { errors, warnings } = self.0.judge(path, object, old, &mut Budget::new());
        Findings { errors, warnings }
    }
}

fn json(schema: &Schema) -> Value {
    serde_json::to_value(schema).unwrap_or_default()
}
