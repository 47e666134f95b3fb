//! LimitRanges and ResourceQuotas (upstream: `SetDefaults_LimitRangeItem`, `ValidateLimitRange`, `ValidateResourceQuota`).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::{Map, Value};

use super::pod::not_below_zero;
use crate::check::{self, Errors, quantity};
use crate::json::{Read, Write};
use crate::resource::{Generation, Strategy};

/// The strategy of limit ranges.
pub(crate) struct LimitRange;

impl Strategy for LimitRange {
    fn default(&self, object: &mut Object) {
        let Some(spec) = object.object_at("spec") else { return };
        for limit in spec.items_mut("limits").filter(|limit| limit.text("type") == "Container") {
            for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
                let values = limit.object(from).clone();
                if let Some(into) = limit.object_made(to) {
                    values.into_iter().for_each(|(name, value)| into.default_to(&name, value));
                }
            }
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        for (index, limit) in object.object("spec").list("limits").iter().enumerate() {
            let path = Path::new("spec").child("limits").index(index);
            check::required(&mut errors, limit.fields(), "type", &path);
            // Each bound may not exceed the next.
            let order = ["min", "defaultRequest", "default", "max"];
            for (lower, upper) in [(0, 1), (1, 2), (2, 3), (0, 3)] {
                ordered(&mut errors, limit.fields(), order[lower], order[upper], &path);
            }
        }
        errors
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}

fn ordered(errors: &mut Errors, limit: &Map<String, Value>, lower: &str, upper: &str, path: &Path) {
    for (name, low) in limit.object(lower) {
        let Some(high) = limit.object(upper).get(name) else { continue };
        if quantity(low) > quantity(high) {
            let words = |field: &str| match field {
                "defaultRequest" => "default request".to_owned(),
                other => other.to_owned(),
            };
            let (low, high) = (low.as_str().unwrap_or_default(), high.as_str().unwrap_or_default());
            let detail = format!("{} value {low} is greater than {} value {high}", words(lower), words(upper));
            errors.push(Error::invalid(&path.child(lower).key(name), low, detail));
        }
    }
}

/// The strategy of quotas.
pub(crate) struct ResourceQuota;

impl Strategy for ResourceQuota {
    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let path = Path::new("spec").child("hard");
        for (name, value) in object.object("spec").object("hard") {
            check::named(&mut errors, check::names::qualified_name, name, &path.key(name));
            not_below_zero(&mut errors, value, &path.key(name));
        }
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let scopes = |object: &Object| object.at(&["spec", "scopes"]).cloned();
        check::immutable(
            &mut errors,
            scopes(object).as_ref(),
            scopes(old).as_ref(),
            &Path::new("spec").child("scopes"),
        );
        errors
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}
