//! [`Cel`]: the expressions of authentication and authorization configurations
//! (upstream: apiserver/pkg/authentication/cel, apiserver/pkg/authorization/cel).

use authn::expression::{Compiler, Program};
use k8s_cel::{Budget, Environment, Type, Variables};
use serde_json::Value;

/// Compiles expressions over one variable.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cel;

#[derive(Debug)]
struct Compiled {
    program: k8s_cel::Program,
    variable: &'static str,
}

impl Compiler for Cel {
    fn compile(&self, expression: &str, variable: &'static str) -> Result<Box<dyn Program>, String> {
        let environment = Environment::new().with(variable, Type::Dyn);
        let program = environment.compile(expression).map_err(|err| format!("compilation failed: {err}"))?;
        Ok(Box::new(Compiled { program, variable }))
    }
}

impl Program for Compiled {
    fn evaluate(&self, variable: &Value) -> Result<Value, String> {
        let variables = Variables::default().with(self.variable, k8s_cel::Value::json(variable));
        let result = self.program.evaluate(&variables, &mut Budget::for_match_conditions());
        result.and_then(|value| value.to_json()).map_err(|err| err.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn expressions_see_their_variable() {
        for (expression, variable, expected) in [
            ("claims.sub + ':' + claims.team", json!({"sub": "ann", "team": "blue"}), Ok(json!("ann:blue"))),
            ("claims.?email_verified.orValue(true) == true", json!({}), Ok(json!(true))),
            (
                "claims.roles.filter(r, r.startsWith('k8s-'))",
                json!({"roles": ["k8s-dev", "x"]}),
                Ok(json!(["k8s-dev"])),
            ),
            ("claims.gone", json!({}), Err("no such key: gone".to_owned())),
        ] {
            let program = Cel.compile(expression, "claims").expect("an expression");
            assert_eq!(program.evaluate(&variable), expected, "{expression}");
        }
        for wrong in ["claims.", "user.name", "1 +"] {
            assert!(Cel.compile(wrong, "claims").is_err(), "{wrong}");
        }
    }
}
