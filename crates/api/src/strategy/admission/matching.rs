//! `matchConstraints` and `matchResources` (upstream: `validateMatchResources`).

use std::collections::BTreeSet;

use apimachinery::field::{Error, Path};
use serde_json::{Map, Value};

use crate::check::{self, Errors, names};
use crate::json::Read;
use crate::strategy::webhooks;

/// Which requests a policy or a binding is about.
pub(super) fn check(errors: &mut Errors, constraints: &Map<String, Value>, path: &Path) {
    check::required_one_of(errors, constraints, "matchPolicy", &["Equivalent", "Exact"], path);
    for selector in ["namespaceSelector", "objectSelector"] {
        if constraints.has(selector) {
            check::label_selector(errors, constraints, selector, path);
        } else {
            errors.push(Error::required(&path.child(selector), ""));
        }
    }
    for list in ["resourceRules", "excludeResourceRules"] {
        for (index, rule) in constraints.list(list).iter().enumerate() {
            named_rule(errors, rule, &path.child(list).index(index));
        }
    }
}

/// What changes objects is not asked about deletions (upstream: `supportedMutatingOperations`).
pub(super) fn only_changes(errors: &mut Errors, constraints: &Map<String, Value>, path: &Path) {
    let known = ["*", "CONNECT", "CREATE", "UPDATE"];
    let path = path.child("resourceRules").child("operations");
    let operations = constraints.list("resourceRules").iter().flat_map(|rule| rule.texts("operations"));
    errors.extend(operations.filter(|one| !known.contains(one)).map(|one| Error::not_supported(&path, one, &known)));
}

/// Upstream: `validateNamedRuleWithOperations`.
fn named_rule(errors: &mut Errors, rule: &Value, path: &Path) {
    let mut seen = BTreeSet::new();
    for (index, name) in rule.texts("resourceNames").enumerate() {
        let path = path.child("resourceNames").index(index);
        check::named(errors, names::path_segment_name, name, &path);
        if !seen.insert(name) {
            errors.push(Error::duplicate(&path, name));
        }
    }
    webhooks::rule(errors, rule, path);
}
