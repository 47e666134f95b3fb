//! Which requests a flow schema is about (upstream: `ValidateFlowSchemaPolicyRulesWithSubjects`).

use apimachinery::field::{Error, Path};
use serde_json::Value;

use crate::check::{self, Errors, names};
use crate::json::Read;

/// Subject kinds and the fields that belong to them.
const SUBJECTS: &[(&str, &str)] = &[("Group", "group"), ("ServiceAccount", "serviceAccount"), ("User", "user")];

const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

/// One rule.
pub(super) fn rule(errors: &mut Errors, rule: &Value, path: &Path) {
    if rule.list("subjects").is_empty() {
        errors.push(Error::required(&path.child("subjects"), "subjects must contain at least one value"));
    }
    for (index, one) in rule.list("subjects").iter().enumerate() {
        subject(errors, one, &path.child("subjects").index(index));
    }
    if rule.list("resourceRules").is_empty() && rule.list("nonResourceRules").is_empty() {
        let detail = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.push(Error::required(path, detail));
    }
    for (index, one) in rule.list("resourceRules").iter().enumerate() {
        resource_rule(errors, one, &path.child("resourceRules").index(index));
    }
    for (index, one) in rule.list("nonResourceRules").iter().enumerate() {
        let path = path.child("nonResourceRules").index(index);
        non_resource_rule(errors, one, &path);
    }
}

fn subject(errors: &mut Errors, subject: &Value, path: &Path) {
    let kind = subject.text("kind");
    if !SUBJECTS.iter().any(|(name, _)| *name == kind) {
        let known: Vec<&str> = SUBJECTS.iter().map(|(name, _)| *name).collect();
        errors.push(Error::not_supported(&path.child("kind"), kind, &known));
        return;
    }
    for (name, field) in SUBJECTS.iter().rev() {
        let (value, path) = (subject.object(field), path.child(field));
        match (*name == kind, subject.has(field)) {
            (true, false) => {
                errors.push(Error::required(&path, format!("{field} is required when subject kind is '{name}'")));
            }
            (false, true) => {
                errors.push(Error::forbidden(&path, format!("{field} is forbidden when subject kind is not '{name}'")));
            }
            (true, true) if *name == "ServiceAccount" => {
                if check::required(errors, value, "name", &path) && value.text("name") != "*" {
                    check::named(errors, names::dns1123_subdomain, value.text("name"), &path.child("name"));
                }
                let namespace = value.text("namespace");
                if namespace.is_empty() {
                    let detail = "must specify namespace for service account";
                    errors.push(Error::required(&path.child("namespace"), detail));
                } else {
                    check::named(errors, names::dns1123_label, namespace, &path.child("namespace"));
                }
            }
            (true, true) => {
                check::required(errors, value, "name", &path);
            }
            (false, false) => {}
        }
    }
}

/// A list that must not be empty, and in which `*` stands alone.
fn all_or_some(errors: &mut Errors, rule: &Value, field: &str, missing: &str, what: &str, path: &Path) -> bool {
    let (values, path) = (rule.list(field), path.child(field));
    if values.is_empty() {
        errors.push(Error::required(&path, missing));
        return false;
    }
    let all = values.iter().any(|value| value == "*");
    if all && values.len() > 1 {
        let detail = format!("if '*' is present, must not specify other {what}");
        errors.push(Error::invalid(&path, values.to_vec(), detail));
    }
    !all
}

fn verbs(errors: &mut Errors, rule: &Value, path: &Path) {
    let missing = "verbs must contain at least one value";
    if all_or_some(errors, rule, "verbs", missing, "verbs", path)
        && rule.texts("verbs").any(|verb| !VERBS.contains(&verb))
    {
        errors.push(Error::not_supported(&path.child("verbs"), rule.list("verbs").to_vec(), VERBS));
    }
}

fn resource_rule(errors: &mut Errors, rule: &Value, path: &Path) {
    verbs(errors, rule, path);
    let missing = "resource rules must supply at least one api group";
    all_or_some(errors, rule, "apiGroups", missing, "api groups", path);
    let missing = "resource rules must supply at least one resource";
    all_or_some(errors, rule, "resources", missing, "resources", path);
    let path = path.child("namespaces");
    let namespaces: Vec<&str> = rule.texts("namespaces").collect();
    if namespaces.is_empty() && !rule.flag("clusterScope") {
        let detail = "resource rules that are not cluster scoped must supply at least one namespace";
        errors.push(Error::required(&path, detail));
    } else if namespaces.contains(&"*") && namespaces.len() > 1 {
        let detail = "if '*' is present, must not specify other namespaces";
        errors.push(Error::invalid(&path, namespaces, detail));
    } else {
        for (index, namespace) in namespaces.iter().enumerate().filter(|(_, namespace)| **namespace != "*") {
            let wrong = names::dns1123_label(namespace).into_iter();
            let intro = "each member of this list must be '*' or a DNS-1123 label; ";
            errors.extend(wrong.map(|words| Error::invalid(&path.index(index), *namespace, format!("{intro}{words}"))));
        }
    }
}

fn non_resource_rule(errors: &mut Errors, rule: &Value, path: &Path) {
    verbs(errors, rule, path);
    let missing = "nonResourceURLs must contain at least one value";
    if !all_or_some(errors, rule, "nonResourceURLs", missing, "non-resource URLs", path) {
        return;
    }
    for (index, url) in rule.texts("nonResourceURLs").enumerate() {
        let path = path.child("nonResourceURLs").index(index);
        let stem = url.strip_suffix('*').unwrap_or(url);
        match url {
            "" => errors.push(Error::invalid(&path, url, "must not be empty")),
            _ if !url.starts_with('/') => errors.push(Error::invalid(&path, url, "must start with slash")),
            _ if url.contains(' ') => errors.push(Error::invalid(&path, url, "must not contain white-space")),
            _ if url.contains("//") => errors.push(Error::invalid(&path, url, "must not contain double slash")),
            _ if stem.contains('*') || (stem != url && !stem.ends_with('/')) => {
                errors.push(Error::invalid(&path, url, "wildcard can only do suffix matching"));
            }
            _ => {}
        }
    }
}
