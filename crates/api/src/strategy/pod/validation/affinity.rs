//! Where a pod may run: affinity, tolerations, topology spread.

use std::collections::HashSet;

use apimachinery::field::{Error, Path};
use serde_json::{Map, Value};

use crate::check::{self, Errors, names};
use crate::json::Read;

/// `affinity`.
pub(super) fn affinity(errors: &mut Errors, affinity: &Map<String, Value>, path: &Path) {
    node_affinity(errors, affinity.object("nodeAffinity"), &path.child("nodeAffinity"));
    for sort in ["podAffinity", "podAntiAffinity"] {
        let (terms, path) = (affinity.object(sort), path.child(sort));
        for (index, term) in terms.list(REQUIRED).iter().enumerate() {
            pod_term(errors, term.fields(), &path.child(REQUIRED).index(index));
        }
        for (index, weighted) in terms.list(PREFERRED).iter().enumerate() {
            let path = path.child(PREFERRED).index(index);
            weight(errors, weighted, &path);
            pod_term(errors, weighted.object("podAffinityTerm"), &path.child("podAffinityTerm"));
        }
    }
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

fn node_affinity(errors: &mut Errors, affinity: &Map<String, Value>, path: &Path) {
    if affinity.has(REQUIRED) {
        node_selector(errors, affinity.object(REQUIRED), &path.child(REQUIRED));
    }
    for (index, term) in affinity.list(PREFERRED).iter().enumerate() {
        let path = path.child(PREFERRED).index(index);
        weight(errors, term, &path);
        node_term(errors, term.object("preference"), &path.child("preference"));
    }
}

fn weight(errors: &mut Errors, of: &Value, path: &Path) {
    let weight = of.int("weight").unwrap_or_default();
    if !(1..=100).contains(&weight) {
        errors.push(Error::invalid(&path.child("weight"), weight, "must be in the range 1-100"));
    }
}

/// A `NodeSelector`.
pub(crate) fn node_selector(errors: &mut Errors, selector: &Map<String, Value>, path: &Path) {
    let (terms, path) = (selector.list("nodeSelectorTerms"), path.child("nodeSelectorTerms"));
    if terms.is_empty() {
        errors.push(Error::required(&path, "must have at least one node selector term"));
    }
    for (index, term) in terms.iter().enumerate() {
        node_term(errors, term.fields(), &path.index(index));
    }
}

fn node_term(errors: &mut Errors, term: &Map<String, Value>, path: &Path) {
    for (index, requirement) in term.list("matchExpressions").iter().enumerate() {
        let path = path.child("matchExpressions").index(index);
        let values = requirement.list("values").len();
        match requirement.text("operator") {
            "In" | "NotIn" if values == 0 => {
                let detail = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.push(Error::required(&path.child("values"), detail));
            }
            "Exists" | "DoesNotExist" if values > 0 => {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(Error::forbidden(&path.child("values"), detail));
            }
            "Gt" | "Lt" if values != 1 => {
                let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                errors.push(Error::required(&path.child("values"), detail));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            other => errors.push(Error::invalid(&path.child("operator"), other, "not a valid selector operator")),
        }
        check::named(errors, names::qualified_name, requirement.text("key"), &path.child("key"));
    }
    for (index, requirement) in term.list("matchFields").iter().enumerate() {
        let path = path.child("matchFields").index(index);
        if !matches!(requirement.text("operator"), "In" | "NotIn") {
            errors.push(Error::invalid(
                &path.child("operator"),
                requirement.text("operator"),
                "not a valid selector operator",
            ));
        } else if requirement.list("values").len() != 1 {
            let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            errors.push(Error::required(&path.child("values"), detail));
        }
        if requirement.text("key") != "metadata.name" {
            errors.push(Error::invalid(&path.child("key"), requirement.text("key"), "not a valid field selector key"));
        }
    }
}

fn pod_term(errors: &mut Errors, term: &Map<String, Value>, path: &Path) {
    for selector in ["labelSelector", "namespaceSelector"] {
        check::label_selector(errors, term, selector, path);
    }
    for (index, namespace) in term.texts("namespaces").enumerate() {
        check::named(errors, names::dns1123_label, namespace, &path.child("namespaces").index(index));
    }
    topology_key(errors, term, path);
    for field in ["matchLabelKeys", "mismatchLabelKeys"] {
        label_keys(errors, term, field, path);
    }
    for (index, key) in term.texts("matchLabelKeys").enumerate() {
        if term.texts("mismatchLabelKeys").any(|other| other == key) {
            let path = path.child("matchLabelKeys").index(index);
            errors.push(Error::invalid(&path, key, "exists in both matchLabelKeys and mismatchLabelKeys"));
        }
    }
}

/// Keys whose values the pod's own labels give.
fn label_keys(errors: &mut Errors, of: &Map<String, Value>, field: &str, path: &Path) {
    let path = path.child(field);
    if !of.list(field).is_empty() && !of.has("labelSelector") {
        errors.push(Error::forbidden(&path, "must not be specified when labelSelector is not set"));
    }
    for (index, key) in of.texts(field).enumerate() {
        check::named(errors, names::qualified_name, key, &path.index(index));
    }
}

fn topology_key(errors: &mut Errors, of: &Map<String, Value>, path: &Path) {
    match of.text("topologyKey") {
        "" => errors.push(Error::required(&path.child("topologyKey"), "can not be empty")),
        key => check::named(errors, names::qualified_name, key, &path.child("topologyKey")),
    }
}

/// `topologySpreadConstraints`.
pub(super) fn spread(errors: &mut Errors, constraints: &[Value], path: &Path) {
    let mut seen = HashSet::new();
    for (index, constraint) in constraints.iter().enumerate() {
        let path = path.index(index);
        let skew = constraint.int("maxSkew").unwrap_or_default();
        if skew <= 0 {
            errors.push(Error::invalid(&path.child("maxSkew"), skew, "must be greater than zero"));
        }
        topology_key(errors, constraint.fields(), &path);
        let (key, action) = (constraint.text("topologyKey"), constraint.text("whenUnsatisfiable"));
        if !matches!(action, "DoNotSchedule" | "ScheduleAnyway") {
            let actions = ["DoNotSchedule", "ScheduleAnyway"];
            errors.push(Error::not_supported(&path.child("whenUnsatisfiable"), action, &actions));
        }
        if !seen.insert((key, action)) {
            let path = path.child("{topologyKey, whenUnsatisfiable}");
            errors.push(Error::duplicate(&path, format!("{{{key}, {action}}}")));
        }
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            check::one_of(errors, constraint.fields(), policy, &["Honor", "Ignore"], &path);
        }
        label_keys(errors, constraint.fields(), "matchLabelKeys", &path);
        check::label_selector(errors, constraint.fields(), "labelSelector", &path);
        if let Some(domains) = constraint.int("minDomains") {
            if domains <= 0 {
                errors.push(Error::invalid(&path.child("minDomains"), domains, "must be greater than zero"));
            }
            if constraint.text("whenUnsatisfiable") != "DoNotSchedule" {
                let detail = format!(
                    "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}",
                    constraint.text("whenUnsatisfiable")
                );
                errors.push(Error::invalid(&path.child("minDomains"), domains, detail));
            }
        }
    }
}

/// `tolerations`.
pub(crate) fn tolerations(errors: &mut Errors, tolerations: &[Value], path: &Path) {
    for (index, toleration) in tolerations.iter().enumerate() {
        let path = path.index(index);
        let (key, operator, value, effect) =
            (toleration.text("key"), toleration.text("operator"), toleration.text("value"), toleration.text("effect"));
        if !key.is_empty() {
            check::named(errors, names::qualified_name, key, &path.child("key"));
        } else if operator != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(Error::invalid(&path.child("operator"), operator, detail));
        }
        if toleration.has("tolerationSeconds") && effect != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(Error::invalid(&path.child("effect"), effect, detail));
        }
        match operator {
            "" | "Equal" => check::named(errors, names::label_value, value, &path.child("operator")),
            "Exists" if value.is_empty() => {}
            "Exists" => {
                let detail = "value must be empty when `operator` is 'Exists'";
                errors.push(Error::invalid(&path.child("operator"), toleration.clone(), detail));
            }
            "Gt" | "Lt" if value.parse::<i64>().is_ok() => {}
            "Gt" | "Lt" => {
                errors.push(Error::invalid(
                    &path.child("value"),
                    value,
                    "value must be a valid integer when `operator` is 'Lt' or 'Gt'",
                ));
            }
            other => {
                errors.push(Error::not_supported(&path.child("operator"), other, &["Equal", "Exists", "Gt", "Lt"]))
            }
        }
        check::one_of(errors, toleration.fields(), "effect", &["NoSchedule", "PreferNoSchedule", "NoExecute"], &path);
    }
}
