//! Selectors of devices: what a claim says of the devices that it wants
//! (upstream: dynamic-resource-allocation/cel/compile.go).

use std::sync::{Arc, LazyLock};

use crate::environment::{Environment, Program};
use crate::schema::{Decl, Field, Shape};
use crate::types::Type;

/// What a selector may cost (upstream: `CELSelectorExpressionMaxCost`).
pub const MAX_COST: u64 = 1_000_000;

/// The greatest lengths of an attribute's value, of a driver's name, and how many attributes and capacities there are.
const MAX_VALUE: u64 = 64;
const MAX_DRIVER: u64 = 63;
const MAX_FACTS: u64 = 32;

/// `device`, with its attributes and capacities by the domain and then the name.
static DEVICES: LazyLock<Environment> = LazyLock::new(|| {
    let by_name = |values: Arc<Decl>| Decl::scalar(Shape::Map { values }, MAX_FACTS, 2);
    let field = |name: &str, decl: Arc<Decl>| (Box::from(name), Field { json: name.into(), decl });
    let fields = [
        field("driver", Decl::scalar(Shape::String, MAX_DRIVER, 2)),
        field("allowMultipleAllocations", Decl::scalar(Shape::Bool, 0, 4)),
        field("attributes", by_name(by_name(Decl::scalar(Shape::Any, MAX_VALUE, 2)))),
        field("capacity", by_name(by_name(Decl::scalar(Shape::Quantity, 0, 2)))),
    ];
    let device = Shape::Object { name: "kubernetes.DRADevice".to_owned(), fields: fields.into() };
    Environment::new().with_bindings().with_schema("device", &Decl::scalar(device, 0, 2), false)
});

/// Compiles a selector; what is wrong with one is said in upstream's words.
pub fn compile(expression: &str) -> Result<Program, String> {
    let program = DEVICES.compile(expression).map_err(|error| format!("compilation failed: {error}"))?;
    match program.output() {
        Type::Bool | Type::Dyn => Ok(program),
        other => Err(format!("must evaluate to bool or the unknown type, not {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_see_devices() {
        for right in [
            "device.driver == 'gpu.example.com'",
            "device.attributes['gpu.example.com'].model == 'x'",
            "device.attributes['gpu.example.com'].is_big",
            "'gpu.example.com' in device.attributes && has(device.attributes['gpu.example.com'].model)",
            "device.attributes['gpu.example.com'].driver_version.isGreaterThan(semver('1.0.0'))",
            "device.capacity['gpu.example.com'].memory.compareTo(quantity('8Gi')) >= 0",
            "cel.bind(gpu, device.attributes['gpu.example.com'], gpu.is_big && gpu.model == 'x')",
            "device.allowMultipleAllocations",
            "device.attributes['gpu.example.com'].?model.orValue('') == ''",
        ] {
            let program = compile(right).unwrap_or_else(|error| panic!("{right}: {error}"));
            assert!(program.max_cost() <= MAX_COST, "{right}: {}", program.max_cost());
        }
    }

    #[test]
    fn other_things_are_no_selectors() {
        let wrong = |expression: &str| compile(expression).expect_err("no selector");
        assert_eq!(wrong("device.driver"), "must evaluate to bool or the unknown type, not string");
        assert!(wrong("device.name == 'x'").contains("undefined field 'name'"));
        assert!(wrong("self.x").contains("undeclared reference to 'self'"));
        assert!(wrong("1 +").starts_with("compilation failed: "));
        assert!(Environment::new().compile("cel.bind(x, 1, x == 1)").is_err(), "only selectors bind");
    }

    #[test]
    fn loops_within_loops_are_too_dear() {
        let all = "device.attributes.all(a, device.attributes.all(b, device.attributes.all(c, ";
        let expression = format!("{all}device.attributes.all(d, device.attributes[d].all(e, e == a + b + c)))))");
        assert!(compile(&expression).is_ok_and(|program| program.max_cost() > MAX_COST));
    }
}
