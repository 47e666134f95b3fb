//! LimitRanges and ResourceQuotas (upstream: `SetDefaults_LimitRangeItem`, `ValidateLimitRange`, `ValidateResourceQuota`).

use std::collections::BTreeSet;

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use apimachinery::quantity::{Format, Quantity};
use apimachinery::resources::{is_compute_of_quotas, is_counted};
use serde_json::{Map, Value};

use super::pod::{container_resource, not_below_zero, overcommits, resource_name};
use crate::check::{self, Errors, names, quantity};
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
        let mut seen = BTreeSet::new();
        for (index, limit) in object.object("spec").list("limits").iter().enumerate() {
            let path = Path::new("spec").child("limits").index(index);
            limit_item(&mut errors, limit.fields(), &path);
            let kind = limit.text("type");
            if !kind.is_empty() && !seen.insert(kind) {
                errors.push(Error::duplicate(&path.child("type"), kind));
            }
        }
        errors
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }

    fn allow_create_on_update(&self) -> bool {
        true
    }
}

const BOUNDS: [&str; 5] = ["min", "max", "default", "defaultRequest", "maxLimitRequestRatio"];

fn limit_item(errors: &mut Errors, limit: &Map<String, Value>, path: &Path) {
    let (kind, at) = (limit.text("type"), path.child("type"));
    let wrong = names::qualified_name(kind);
    if wrong.is_empty() && !kind.contains('/') && !["Pod", "Container", "PersistentVolumeClaim"].contains(&kind) {
        errors.push(Error::invalid(&at, kind, "must be a standard limit type or fully qualified"));
    }
    errors.extend(wrong.into_iter().map(|words| Error::invalid(&at, kind, words)));
    if kind == "Pod" {
        for field in ["default", "defaultRequest"] {
            if !limit.object(field).is_empty() {
                errors.push(Error::forbidden(&path.child(field), "may not be specified when `type` is 'Pod'"));
            }
        }
    }
    if kind == "PersistentVolumeClaim" && !limit.object("min").has("storage") && !limit.object("max").has("storage") {
        let detail = "either minimum or maximum storage value is required, but neither was provided";
        errors.push(Error::required(&path.child("limits"), detail));
    }
    let mut all = BTreeSet::new();
    let of_pods = |field: &str| kind != "Pod" || !field.starts_with("default");
    for field in BOUNDS.into_iter().filter(|field| of_pods(field)) {
        for name in limit.object(field).keys() {
            let path = path.child(field).key(name);
            match kind {
                "Pod" | "Container" => container_resource(errors, name, &path),
                _ => resource_name(errors, name, &path),
            }
            all.insert(name.as_str());
        }
    }
    all.iter().for_each(|name| bounds(errors, limit, name, path));
}

/// The bounds of one resource are in order.
fn bounds(errors: &mut Errors, limit: &Map<String, Value>, name: &str, path: &Path) {
    let is_pods = limit.text("type") == "Pod";
    let of = |field: &str| limit.object(field).get(name).filter(|_| !is_pods || !field.starts_with("default"));
    let [min, max, default, request, ratio] = BOUNDS.map(|field| of(field).map(quantity));
    for (low, low_word, high, high_word, at, shown) in [
        (min, "min", max, "max", "min", min),
        (min, "min", request, "default request", "defaultRequest", request),
        (request, "default request", max, "max", "defaultRequest", request),
        (request, "default request", default, "default limit", "defaultRequest", request),
        (min, "min", default, "default", "default", min),
        (default, "default", max, "max", "default", max),
    ] {
        if let (Some(low), Some(high)) = (low, high)
            && low > high
        {
            let detail = format!("{low_word} value {low} is greater than {high_word} value {high}");
            let shown = shown.unwrap_or_default().to_string();
            errors.push(Error::invalid(&path.child(at).key(name), shown, detail));
        }
    }
    if let Some(ratio) = ratio {
        ratio_of(errors, (min, max), ratio, &path.child("maxLimitRequestRatio").key(name));
    }
    if let (Some(default), Some(request)) = (default, request)
        && !overcommits(name)
        && default != request
    {
        let detail = format!("default value {default} must equal to defaultRequest value {request} in {name}");
        errors.push(Error::invalid(&path.child("defaultRequest").key(name), request.to_string(), detail));
    }
}

/// How many times the limit may be the request.
fn ratio_of(errors: &mut Errors, (min, max): (Option<Quantity>, Option<Quantity>), ratio: Quantity, at: &Path) {
    if ratio < Quantity::new(1, Format::DecimalSi) {
        errors.push(Error::invalid(at, ratio.to_string(), format!("ratio {ratio} is less than 1")));
    }
    if let (Some(min), Some(max)) = (min.filter(|min| !min.is_zero()), max) {
        let most = max.as_f64() / min.as_f64();
        if ratio.as_f64() > most {
            let detail = format!("ratio {ratio} is greater than max/min = {most:.6}");
            errors.push(Error::invalid(at, ratio.to_string(), detail));
        }
    }
}

/// The strategy of quotas.
pub(crate) struct ResourceQuota;

impl Strategy for ResourceQuota {
    /// What is requested cannot be more than the limit (upstream: pkg/registry/core/resourcequota/strategy.go).
    fn warnings(&self, object: &Object) -> Vec<String> {
        let hard = object.object("spec").object("hard");
        let told = ["cpu", "memory", "storage", "ephemeral-storage"].into_iter().filter_map(|name| {
            let (requests, limits) = (format!("requests.{name}"), format!("limits.{name}"));
            let bare = matches!(name, "cpu" | "memory") && !hard.has(&requests);
            let requests = if bare { name.to_owned() } else { requests };
            let (request, limit) = (quantity(hard.value(&requests)?), quantity(hard.value(&limits)?));
            let words = || format!("ResourceQuota {requests} ({request}) should be less than {limits} ({limit})");
            (request > limit).then(words)
        });
        told.collect()
    }

    fn update_warnings(&self, _object: &Object, _old: &Object) -> Vec<String> {
        Vec::new()
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (spec, path) = (object.object("spec"), Path::new("spec"));
        amounts(&mut errors, spec.object("hard"), &path.child("hard"));
        let scopes: Vec<&str> = spec.texts("scopes").collect();
        scope_rules(&mut errors, spec, &scopes, &path.child("scopes"));
        let expressions = spec.object("scopeSelector").list("matchExpressions");
        let path = path.child("scopeSelector").child("matchExpressions");
        let named: Vec<&str> = expressions.iter().map(|one| one.text("scopeName")).collect();
        scope_rules(&mut errors, spec, &named, &path);
        for expression in expressions {
            scope_operator(&mut errors, expression, &path);
        }
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let scopes = |object: &Object| -> BTreeSet<String> {
            object.object("spec").texts("scopes").map(str::to_owned).collect()
        };
        if scopes(object) != scopes(old) {
            let new = object.at(&["spec", "scopes"]);
            check::immutable(&mut errors, new, None, &Path::new("spec").child("scopes"));
        }
        errors
    }

    fn validate_status_update(&self, object: &Object, _old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        for field in ["hard", "used"] {
            amounts(&mut errors, object.object("status").object(field), &Path::new("status").child(field));
        }
        errors
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}

/// Amounts that need no domain (upstream: `standardQuotaResources`).
fn is_standard(name: &str) -> bool {
    is_compute_of_quotas(name) || name == "requests.storage" || is_counted(name) || is_huge_page(name)
}

fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-") || name.starts_with("requests.hugepages-")
}

fn amounts(errors: &mut Errors, list: &Map<String, Value>, path: &Path) {
    for (name, value) in list {
        let path = path.key(name);
        check::named(errors, names::qualified_name, name, &path);
        if !name.contains('/') && !is_standard(name) {
            errors.push(Error::invalid(&path, name.as_str(), "must be a standard resource for quota"));
        }
        not_below_zero(errors, value, &path);
        let counts = is_counted(name) || name.starts_with("count/");
        if counts && quantity(value).as_i64().is_none() {
            errors.push(Error::invalid(&path, value.clone(), "must be an integer"));
        }
    }
}

const SCOPES: [&str; 7] = [
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];

/// Whether a scope can pick among what an amount is about (upstream: `IsResourceQuotaScopeValidForResource`).
fn fits(scope: &str, amount: &str) -> bool {
    let of_claims = matches!(amount, "persistentvolumeclaims" | "requests.storage");
    let compute =
        matches!(amount, "cpu" | "memory" | "requests.cpu" | "requests.memory" | "limits.cpu" | "limits.memory");
    match scope {
        "BestEffort" => amount == "pods",
        "VolumeAttributesClass" => of_claims,
        _ => amount == "pods" || compute || !SCOPES.contains(&scope),
    }
}

/// The scopes of a quota, and those that its selector names; both are shown as they were given.
fn scope_rules(errors: &mut Errors, spec: &Map<String, Value>, scopes: &[&str], path: &Path) {
    let list = Value::from(spec.list("scopes").to_vec());
    let by_selector = path.to_string().ends_with("matchExpressions");
    let shown = if by_selector { Value::Object(spec.object("scopeSelector").clone()) } else { list.clone() };
    for scope in scopes {
        if !SCOPES.contains(scope) {
            errors.push(match by_selector {
                true => Error::invalid(&path.child("scopeName"), *scope, "unsupported scope"),
                false => Error::invalid(path, list.clone(), "unsupported scope"),
            });
        }
        for name in spec.object("hard").keys().filter(|name| is_standard(name)) {
            if !fits(scope, name) {
                errors.push(Error::invalid(path, shown.clone(), "unsupported scope applied to resource"));
            }
        }
    }
    for pair in [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]] {
        if pair.iter().all(|scope| scopes.contains(scope)) {
            errors.push(Error::invalid(path, list.clone(), "conflicting scopes"));
        }
    }
}

fn scope_operator(errors: &mut Errors, expression: &Value, path: &Path) {
    let (scope, operator) = (expression.text("scopeName"), expression.text("operator"));
    let is_plain = SCOPES.contains(&scope) && !matches!(scope, "PriorityClass" | "VolumeAttributesClass");
    if is_plain && operator != "Exists" {
        let detail = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, \
                      ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, \
                      ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
        errors.push(Error::invalid(&path.child("operator"), operator, detail));
    }
    let values = expression.list("values");
    match operator {
        "In" | "NotIn" if values.is_empty() => {
            let detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
            errors.push(Error::required(&path.child("values"), detail));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
            errors.push(Error::invalid(&path.child("values"), values.to_vec(), detail));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => errors.push(Error::invalid(&path.child("operator"), other, "not a valid selector operator")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn check(strategy: &dyn Strategy, spec: Value, expected: Expect) {
        let object = Object::from_value(json!({"spec": spec})).expect("an object");
        let errors: Vec<String> = strategy.validate(&object).iter().map(ToString::to_string).collect();
        expected.assert_eq(&errors.join("\n"));
    }

    #[test]
    fn quotas_are_checked() {
        let quota = &ResourceQuota;
        check(
            quota,
            json!({"hard": {"pods": "5", "requests.nvidia.com/gpu": "1", "count/jobs.batch": "2"}}),
            expect![""],
        );
        check(
            quota,
            json!({"hard": {"weather": "1"}}),
            expect![[r#"spec.hard[weather]: Invalid value: "weather": must be a standard resource for quota"#]],
        );
        check(
            quota,
            json!({"hard": {"pods": "1500m"}}),
            expect![[r#"spec.hard[pods]: Invalid value: "1500m": must be an integer"#]],
        );
        check(
            quota,
            json!({"hard": {"pods": "1"}, "scopes": ["BestEffort", "NotBestEffort"]}),
            expect![[r#"spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: conflicting scopes"#]],
        );
        check(
            quota,
            json!({"hard": {"cpu": "1"}, "scopes": ["BestEffort"]}),
            expect![[r#"spec.scopes: Invalid value: ["BestEffort"]: unsupported scope applied to resource"#]],
        );
        let selector = json!({"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]});
        check(
            quota,
            json!({"hard": {"pods": "1"}, "scopeSelector": selector}),
            expect![
                "spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
            ],
        );
    }

    #[test]
    fn limit_ranges_are_checked() {
        let range = &LimitRange;
        let limits = |limit: Value| json!({"limits": [limit]});
        check(range, limits(json!({"type": "Container", "min": {"cpu": "1"}, "max": {"cpu": "2"}})), expect![""]);
        check(
            range,
            limits(json!({"type": "Container", "min": {"cpu": "3"}, "max": {"cpu": "2"}})),
            expect![[r#"spec.limits[0].min[cpu]: Invalid value: "3": min value 3 is greater than max value 2"#]],
        );
        check(
            range,
            limits(json!({"type": "Pod", "default": {"cpu": "1"}})),
            expect!["spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'"],
        );
        check(
            range,
            limits(json!({"type": "Odd", "min": {"x": "1"}})),
            expect![
                "spec.limits[0].type: Invalid value: \"Odd\": must be a standard limit type or fully qualified\nspec.limits[0].min[x]: Invalid value: \"x\": must be a standard resource type or fully qualified"
            ],
        );
        check(
            range,
            limits(json!({
                "type": "Container", "min": {"x": "1", "cpu": "2"}, "default": {"cpu": "1", "hugepages-2Mi": "4Mi"},
                "defaultRequest": {"hugepages-2Mi": "2Mi"},
            })),
            expect![
                "spec.limits[0].min[x]: Invalid value: \"x\": must be a standard resource type or fully qualified\nspec.limits[0].min[x]: Invalid value: \"x\": must be a standard resource for containers\nspec.limits[0].default[cpu]: Invalid value: \"2\": min value 2 is greater than default value 1\nspec.limits[0].defaultRequest[hugepages-2Mi]: Invalid value: \"2Mi\": default value 4Mi must equal to defaultRequest value 2Mi in hugepages-2Mi"
            ],
        );
        check(
            range,
            limits(json!({"type": "PersistentVolumeClaim"})),
            expect![
                "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided"
            ],
        );
        check(
            range,
            limits(json!({"type": "Pod", "maxLimitRequestRatio": {"cpu": "500m"}})),
            expect![[r#"spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "500m": ratio 500m is less than 1"#]],
        );
    }
}
