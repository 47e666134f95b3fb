//! Webhook configurations (upstream: pkg/apis/admissionregistration/v1/defaults.go,
//! pkg/apis/admissionregistration/validation, apiserver/pkg/util/webhook/validation.go).

use std::collections::BTreeSet;

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::{Map, Value};

use crate::check::{self, Errors, names};
use crate::json::{Read, Write};
use crate::resource::{Generation, Strategy};

/// The strategy of webhook configurations.
pub(crate) struct WebhookConfiguration {
    /// Whether the webhooks may change objects.
    pub(crate) mutating: bool,
}

impl Strategy for WebhookConfiguration {
    fn default(&self, object: &mut Object) {
        for webhook in object.items_mut("webhooks") {
            webhook.default_to("failurePolicy", "Fail");
            webhook.default_to("matchPolicy", "Equivalent");
            webhook.default_to("namespaceSelector", Map::new());
            webhook.default_to("objectSelector", Map::new());
            webhook.default_to("timeoutSeconds", 10);
            if self.mutating {
                webhook.default_to("reinvocationPolicy", "Never");
            }
            webhook.items_mut("rules").for_each(|rule| rule.default_to("scope", "*"));
            if let Some(service) = webhook.object_at("clientConfig").and_then(|config| config.object_at("service")) {
                service.default_to("port", 443);
            }
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let mut seen = BTreeSet::new();
        for (index, webhook) in object.list("webhooks").iter().enumerate() {
            let path = Path::new("webhooks").index(index);
            self.webhook(&mut errors, webhook.fields(), &path);
            review_versions(&mut errors, webhook, &path.child("admissionReviewVersions"));
            let name = webhook.text("name");
            if !name.is_empty() && !seen.insert(name) {
                errors.push(Error::duplicate(&path.child("name"), name));
            }
        }
        errors
    }

    fn generation(&self) -> Generation {
        Generation::Content
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }
}

impl WebhookConfiguration {
    fn webhook(&self, errors: &mut Errors, webhook: &Map<String, Value>, path: &Path) {
        qualified(errors, webhook.text("name"), &path.child("name"));
        for (index, one) in webhook.list("rules").iter().enumerate() {
            rule(errors, one, &path.child("rules").index(index));
        }
        check::one_of(errors, webhook, "failurePolicy", &["Fail", "Ignore"], path);
        check::one_of(errors, webhook, "matchPolicy", &["Equivalent", "Exact"], path);
        if webhook.has("sideEffects") {
            check::one_of(errors, webhook, "sideEffects", &["None", "NoneOnDryRun"], path);
        } else {
            errors.push(Error::required(&path.child("sideEffects"), "must specify one of None, NoneOnDryRun"));
        }
        if let Some(seconds) = webhook.int("timeoutSeconds").filter(|seconds| !(1..=30).contains(seconds)) {
            let detail = "the timeout value must be between 1 and 30 seconds";
            errors.push(Error::invalid(&path.child("timeoutSeconds"), seconds, detail));
        }
        check::label_selector(errors, webhook, "namespaceSelector", path);
        check::label_selector(errors, webhook, "objectSelector", path);
        if self.mutating {
            check::one_of(errors, webhook, "reinvocationPolicy", &["IfNeeded", "Never"], path);
        }
        client_config(errors, webhook.object("clientConfig"), &path.child("clientConfig"));
        conditions(errors, webhook.list("matchConditions"), &path.child("matchConditions"));
    }
}

/// A name with three parts at least (upstream: `IsFullyQualifiedName`).
fn qualified(errors: &mut Errors, name: &str, path: &Path) {
    if name.is_empty() {
        errors.push(Error::required(path, ""));
        return;
    }
    let wrong = names::dns1123_subdomain(name);
    if !wrong.is_empty() {
        errors.push(Error::invalid(path, name, wrong.join(",")));
    } else if name.split('.').count() < 3 {
        errors.push(Error::invalid(path, name, "should be a domain with at least three segments separated by dots"));
    }
}

/// Operations on resources (upstream: `validateRuleWithOperations`).
pub(super) fn rule(errors: &mut Errors, rule: &Value, path: &Path) {
    let operations: Vec<&str> = rule.texts("operations").collect();
    if operations.is_empty() {
        errors.push(Error::required(&path.child("operations"), ""));
    }
    alone(errors, rule, "operations", "if '*' is present, must not specify other operations", path);
    for (index, operation) in operations.iter().enumerate() {
        let known = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
        if !known.contains(operation) {
            errors.push(Error::not_supported(&path.child("operations").index(index), *operation, &known));
        }
    }
    for (field, what) in [("apiGroups", "API groups"), ("apiVersions", "API versions")] {
        if rule.list(field).is_empty() {
            errors.push(Error::required(&path.child(field), ""));
        }
        alone(errors, rule, field, &format!("if '*' is present, must not specify other {what}"), path);
    }
    for (index, _) in rule.texts("apiVersions").enumerate().filter(|(_, version)| version.is_empty()) {
        errors.push(Error::required(&path.child("apiVersions").index(index), ""));
    }
    resources(errors, rule, &path.child("resources"));
    check::one_of(errors, rule.fields(), "scope", &["*", "Cluster", "Namespaced"], path);
}

/// A wildcard says it all.
fn alone(errors: &mut Errors, rule: &Value, field: &str, detail: &str, path: &Path) {
    let list = rule.list(field);
    if list.len() > 1 && rule.texts(field).any(|one| one == "*") {
        errors.push(Error::invalid(&path.child(field), list.to_vec(), detail));
    }
}

fn resources(errors: &mut Errors, rule: &Value, path: &Path) {
    let all = rule.list("resources");
    if all.is_empty() {
        errors.push(Error::required(path, ""));
    }
    let (mut whole, mut everywhere) = (BTreeSet::new(), BTreeSet::new());
    for (index, one) in rule.texts("resources").enumerate() {
        if one.is_empty() {
            errors.push(Error::required(&path.index(index), ""));
        }
        let Some((resource, sub)) = one.split_once('/') else { continue };
        if whole.contains(resource) {
            let detail = format!("if '{resource}/*' is present, must not specify {one}");
            errors.push(Error::invalid(&path.index(index), one, detail));
        }
        if everywhere.contains(sub) {
            let detail = format!("if '*/{sub}' is present, must not specify {one}");
            errors.push(Error::invalid(&path.index(index), one, detail));
        }
        if sub == "*" {
            whole.insert(resource);
        }
        if resource == "*" {
            everywhere.insert(sub);
        }
    }
    let has = |wanted: &str| rule.texts("resources").any(|one| one == wanted);
    if all.len() > 1 && has("*/*") {
        let detail = "if '*/*' is present, must not specify other resources";
        errors.push(Error::invalid(path, all.to_vec(), detail));
    }
    if has("*") && rule.texts("resources").any(|one| one != "*" && !one.contains('/')) {
        let detail = "if '*' is present, must not specify other resources without subresources";
        errors.push(Error::invalid(path, all.to_vec(), detail));
    }
}

fn review_versions(errors: &mut Errors, webhook: &Value, path: &Path) {
    let versions: Vec<&str> = webhook.texts("admissionReviewVersions").collect();
    if versions.is_empty() {
        errors.push(Error::required(path, "must specify one of v1, v1beta1"));
        return;
    }
    for (index, version) in versions.iter().enumerate() {
        if versions[..index].contains(version) {
            errors.push(Error::invalid(&path.index(index), *version, "duplicate version"));
        } else {
            check::named(errors, names::dns1035_label, version, &path.index(index));
        }
    }
    if !versions.iter().any(|version| matches!(*version, "v1" | "v1beta1")) {
        let detail = "must include at least one of v1, v1beta1";
        errors.push(Error::invalid(path, webhook.list("admissionReviewVersions").to_vec(), detail));
    }
}

fn client_config(errors: &mut Errors, config: &Map<String, Value>, path: &Path) {
    match (config.has("url"), config.value("service")) {
        (true, None) => url(errors, config.text("url"), &path.child("url")),
        (false, Some(service)) => reference(errors, service.fields(), &path.child("service")),
        _ => errors.push(Error::required(path, "exactly one of url or service is required")),
    }
}

/// Upstream: `ValidateWebhookURL`.
fn url(errors: &mut Errors, text: &str, path: &Path) {
    const FORM: &str = "; desired format: https://host[/path]";
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    if scheme != "https" {
        errors.push(Error::invalid(path, scheme, format!("'https' is the only allowed URL scheme{FORM}")));
    }
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = rest.split('/').next().unwrap_or_default();
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if host.is_empty() {
        errors.push(Error::invalid(path, host, format!("host must be specified{FORM}")));
    }
    for (part, detail) in [
        (user, "user information is not permitted in the URL"),
        (fragment, "fragments are not permitted in the URL"),
        (query, "query parameters are not permitted in the URL"),
    ] {
        if !part.is_empty() {
            errors.push(Error::invalid(path, part, detail));
        }
    }
}

/// Upstream: `ValidateWebhookService`.
fn reference(errors: &mut Errors, service: &Map<String, Value>, path: &Path) {
    check::required(errors, service, "name", path);
    check::required(errors, service, "namespace", path);
    let port = service.int("port").unwrap_or_default();
    for sentence in names::port_number(port) {
        errors.push(Error::invalid(&path.child("port"), port, format!("port is not valid: {sentence}")));
    }
    let (text, path) = (service.text("path"), path.child("path"));
    if matches!(text, "" | "/") {
        return;
    }
    if !text.starts_with('/') {
        errors.push(Error::invalid(&path, text, "must start with a '/'"));
    }
    let steps = text.strip_prefix('/').unwrap_or(text);
    for (index, step) in steps.strip_suffix('/').unwrap_or(steps).split('/').enumerate() {
        if step.is_empty() {
            errors.push(Error::invalid(&path, text, format!("segment[{index}] may not be empty")));
            continue;
        }
        for sentence in names::dns1123_subdomain(step) {
            errors.push(Error::invalid(&path, text, format!("segment[{index}]: {sentence}")));
        }
    }
}

/// So many conditions a webhook may have (upstream: `validateMatchConditions`).
const MAX_CONDITIONS: usize = 64;

/// The form of match conditions.
pub(super) fn conditions(errors: &mut Errors, conditions: &[Value], path: &Path) {
    if conditions.len() > MAX_CONDITIONS {
        errors.push(Error::too_many(path, conditions.len(), MAX_CONDITIONS));
    }
    let mut seen = BTreeSet::new();
    for (index, condition) in conditions.iter().enumerate() {
        let path = path.index(index);
        if condition.text("expression").trim().is_empty() {
            errors.push(Error::required(&path.child("expression"), ""));
        }
        let name = condition.text("name");
        if name.is_empty() {
            errors.push(Error::required(&path.child("name"), ""));
            continue;
        }
        check::named(errors, names::qualified_name, name, &path.child("name"));
        if !seen.insert(name) {
            errors.push(Error::duplicate(&path.child("name"), name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn check(change: impl FnOnce(&mut Value), expected: Expect) {
        let mut webhook = json!({
            "name": "a.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": "https://example.com/x"},
            "rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}],
        });
        change(&mut webhook);
        let mut object = Object::from_value(json!({"webhooks": [webhook]})).expect("an object");
        let strategy = WebhookConfiguration { mutating: true };
        strategy.default(&mut object);
        let errors: Vec<String> = strategy.validate(&object).iter().map(ToString::to_string).collect();
        expected.assert_eq(&errors.join("\n"));
    }

    #[test]
    fn webhooks_are_checked() {
        check(|_| {}, expect![""]);
        check(
            |hook| hook["name"] = "a.b".into(),
            expect![[
                r#"webhooks[0].name: Invalid value: "a.b": should be a domain with at least three segments separated by dots"#
            ]],
        );
        check(
            |hook| hook["sideEffects"] = "Some".into(),
            expect![[
                r#"webhooks[0].sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun""#
            ]],
        );
        check(
            |hook| hook["timeoutSeconds"] = 31.into(),
            expect![
                "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds"
            ],
        );
        check(
            |hook| hook["admissionReviewVersions"] = json!(["v2"]),
            expect![[
                r#"webhooks[0].admissionReviewVersions: Invalid value: ["v2"]: must include at least one of v1, v1beta1"#
            ]],
        );
        check(
            |hook| hook["clientConfig"]["service"] = json!({}),
            expect!["webhooks[0].clientConfig: Required value: exactly one of url or service is required"],
        );
        check(
            |hook| hook["clientConfig"] = json!({"url": "http://user@host?x"}),
            expect![[r#"
            webhooks[0].clientConfig.url: Invalid value: "http": 'https' is the only allowed URL scheme; desired format: https://host[/path]
            webhooks[0].clientConfig.url: Invalid value: "user": user information is not permitted in the URL
            webhooks[0].clientConfig.url: Invalid value: "x": query parameters are not permitted in the URL"#]],
        );
        check(
            |hook| hook["clientConfig"] = json!({"service": {"name": "s", "namespace": "n", "path": "x//y"}}),
            expect![[r#"
            webhooks[0].clientConfig.service.path: Invalid value: "x//y": must start with a '/'
            webhooks[0].clientConfig.service.path: Invalid value: "x//y": segment[1] may not be empty"#]],
        );
        check(
            |hook| hook["rules"][0]["resources"] = json!(["*", "pods"]),
            expect![[
                r#"webhooks[0].rules[0].resources: Invalid value: ["*","pods"]: if '*' is present, must not specify other resources without subresources"#
            ]],
        );
        check(
            |hook| hook["rules"][0]["operations"] = json!(["PATCH"]),
            expect![[
                r#"webhooks[0].rules[0].operations[0]: Unsupported value: "PATCH": supported values: "*", "CONNECT", "CREATE", "DELETE", "UPDATE""#
            ]],
        );
        check(
            |hook| hook["matchConditions"] = json!([{"name": "a", "expression": ""}]),
            expect!["webhooks[0].matchConditions[0].expression: Required value"],
        );
    }
}
