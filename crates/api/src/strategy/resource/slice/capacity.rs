//! How much of a device's capacity may be asked for at once (upstream: `validateRequestPolicy`).

use apimachinery::field::{Error, Path};
use apimachinery::quantity::Quantity;
use serde_json::Value;

use crate::check::{self, Errors};
use crate::json::Read;

const MAX_OPTIONS: usize = 10;

/// The policy of a capacity of this amount.
pub(super) fn policy(errors: &mut Errors, capacity: Option<&Value>, policy: &Value, path: &Path) {
    let Some(capacity) = capacity.map(check::quantity) else { return };
    let options = policy.list("validValues");
    let default = policy.value("default").map(check::quantity);
    match (options.is_empty(), policy.value("validRange")) {
        (true, None) => {}
        (false, Some(_)) => {
            let detail = "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the \
                          same time";
            errors.push(Error::forbidden(path, detail));
        }
        (false, None) => match default {
            None => errors.push(Error::required(&path.child("default"), "required when validValues is defined")),
            Some(default) => values(errors, options, default, capacity, &path.child("validValues")),
        },
        (true, Some(bounds)) => match default {
            None => errors.push(Error::required(&path.child("default"), "required when validRange is defined")),
            Some(default) => range(errors, bounds, default, capacity, &path.child("validRange")),
        },
    }
}

fn values(errors: &mut Errors, options: &[Value], default: Quantity, capacity: Quantity, path: &Path) {
    let amounts: Vec<Quantity> = options.iter().map(check::quantity).collect();
    for (index, pair) in amounts.windows(2).enumerate() {
        if pair[0] > pair[1] {
            let detail = "values must be sorted in ascending order";
            errors.push(Error::invalid(&path.index(index + 1), pair[1].to_string(), detail));
        }
    }
    if options.len() > MAX_OPTIONS {
        errors.push(Error::too_many(path, options.len(), MAX_OPTIONS));
    } else {
        for (index, amount) in amounts.iter().enumerate() {
            if *amount > capacity {
                let detail = format!("option is larger than capacity value: {capacity}");
                errors.push(Error::invalid(&path.index(index), amount.to_string(), detail));
            }
            if amounts[..index].iter().any(|other| other.value() == amount.value()) {
                errors.push(Error::duplicate(&path.index(index), amount.value().to_string()));
            }
        }
    }
    if !amounts.contains(&default) {
        let detail = "default value is not valid according to the requestPolicy";
        errors.push(Error::invalid(path, default.to_string(), detail));
    }
}

fn range(errors: &mut Errors, bounds: &Value, default: Quantity, capacity: Quantity, path: &Path) {
    let bound = |field: &str| bounds.value(field).map(check::quantity);
    let Some(min) = bound("min") else {
        errors.push(Error::required(&path.child("min"), "required when validRange is defined"));
        return;
    };
    let mut larger = |field: &str, one: Quantity, other: Quantity, shown: Quantity, words: &str| {
        if one > other {
            errors.push(Error::invalid(&path.child(field), shown.to_string(), words));
        }
    };
    larger("min", min, capacity, min, &format!("min is larger than capacity value: {capacity}"));
    larger("default", min, default, default, &format!("default is less than min: {min}"));
    let max = bound("max");
    if let Some(max) = max {
        larger("max", min, max, min, &format!("min is larger than max: {max}"));
        larger("max", max, capacity, max, &format!("max is larger than capacity value: {capacity}"));
        larger("default", default, max, default, &format!("default is more than max: {max}"));
    }
    let Some(step) = bound("step") else { return };
    if step.is_zero() || step.is_negative() {
        errors.push(Error::invalid(&path.child("step"), step.to_string(), "must be greater than zero"));
        return;
    }
    let one = min.add(step);
    let words = format!("one step {one} is larger than capacity value: {capacity}");
    larger("step", one, capacity, step, &words);
    steps(errors, min, step, default, max, path);
}

/// The default and the greatest amount are whole steps from the least.
fn steps(errors: &mut Errors, min: Quantity, step: Quantity, default: Quantity, max: Option<Quantity>, path: &Path) {
    let amounts = [("default", Some(default)), ("min", Some(min)), ("max", max), ("step", Some(step))];
    let before = errors.len();
    for (field, amount) in amounts {
        if let Some(amount) = amount.filter(|amount| amount.is_negative()) {
            let detail = "must be greater than or equal to 0";
            errors.push(Error::invalid(&path.child(field), amount.to_string(), detail));
        }
    }
    if errors.len() > before {
        return;
    }
    for amount in [Some(default), max].into_iter().flatten() {
        let rest = amount.value().saturating_sub(min.value()).checked_rem(step.value());
        if rest.is_none_or(|rest| rest != 0) {
            let detail = format!("value is not a multiple of a given step ({step}) from ({min})");
            errors.push(Error::invalid(&path.child("step"), amount.to_string(), detail));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lines(given: Value) -> Vec<String> {
        let mut errors = Errors::new();
        policy(&mut errors, Some(&json!("10Gi")), &given, &Path::new("p"));
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn policies_are_one_of_two() {
        assert!(lines(json!({})).is_empty());
        assert!(lines(json!({"default": "1Gi", "validValues": ["1Gi", "2Gi"]})).is_empty());
        assert!(lines(json!({"default": "2Gi", "validRange": {"min": "1Gi", "max": "9Gi", "step": "1Gi"}})).is_empty());
        assert_eq!(lines(json!({"validValues": ["1Gi"], "validRange": {"min": "1Gi"}})).len(), 1);
        assert_eq!(
            lines(json!({"default": "3Gi", "validValues": ["2Gi", "1Gi", "20Gi"]})),
            [
                "p.validValues[1]: Invalid value: \"1Gi\": values must be sorted in ascending order",
                "p.validValues[2]: Invalid value: \"20Gi\": option is larger than capacity value: 10Gi",
                "p.validValues: Invalid value: \"3Gi\": default value is not valid according to the requestPolicy",
            ]
        );
        assert_eq!(
            lines(json!({"default": "2Gi", "validRange": {"min": "1Gi", "max": "20Gi", "step": "3Gi"}})),
            [
                "p.validRange.max: Invalid value: \"20Gi\": max is larger than capacity value: 10Gi",
                "p.validRange.step: Invalid value: \"2Gi\": value is not a multiple of a given step (3Gi) from (1Gi)",
                "p.validRange.step: Invalid value: \"20Gi\": value is not a multiple of a given step (3Gi) from (1Gi)",
            ]
        );
        assert_eq!(
            lines(json!({"validRange": {"min": "1Gi"}})),
            ["p.default: Required value: required when validRange is defined"]
        );
    }
}
