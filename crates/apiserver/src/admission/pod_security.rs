//! PodSecurity: pods keep to the level that their namespace's labels state
//! (upstream: plugin/pkg/admission/security/podsecurity, pod-security-admission/admission/admission.go).

use std::sync::Arc;

use apimachinery::json::Read;
use apimachinery::{Object, StatusError, field, validation};
use async_trait::async_trait;
use pod_security::checks::Pod;
use pod_security::{Level, LevelVersion, Policy, Version, evaluate, level, pods};
use serde::Deserialize;
use serde_json::Value;
use store::{RangeRequest, Store};

use super::cache::{Followed, follow};
use super::{ConfigError, Handles, Operation, Plugin, Request, config};
use crate::registry::decode_entry;
use crate::status;

const NAME: &str = "PodSecurity";

/// The plugin's configuration, `pod-security.admission.config.k8s.io/v1 PodSecurityConfiguration`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Configuration {
    defaults: Defaults,
    exemptions: Exemptions,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Defaults {
    enforce: String,
    enforce_version: String,
    audit: String,
    audit_version: String,
    warn: String,
    warn_version: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Exemptions {
    usernames: Vec<String>,
    namespaces: Vec<String>,
    runtime_classes: Vec<String>,
}

/// See the module.
#[derive(Debug)]
pub struct PodSecurity {
    namespaces: Followed,
    defaults: Policy,
    exemptions: Exemptions,
}

impl PodSecurity {
    /// Follows the namespaces of `store`.
    pub fn new(store: &Arc<dyn Store>, given: Option<&Value>) -> Result<Self, ConfigError> {
        let group = "pod-security.admission.config.k8s.io";
        let versions = ["v1", "v1beta1", "v1alpha1"].map(|version| format!("{group}/{version}"));
        let versions = versions.each_ref().map(String::as_str);
        let configuration: Configuration = config::own(NAME, given, "PodSecurityConfiguration", &versions)?;
        let defaults = defaults(&configuration.defaults)?;
        check_exemptions(&configuration.exemptions)?;
        Ok(Self {
            namespaces: follow(store, "/registry/core/namespaces/"),
            defaults,
            exemptions: configuration.exemptions,
        })
    }

    fn policy_of(&self, namespace: &Object) -> (Policy, Vec<field::Error>) {
        Policy::of_labels(namespace.labels(), &self.defaults)
    }

    fn is_exempt_class(&self, pod: &Pod<'_>) -> bool {
        let class = pod.spec.text("runtimeClassName");
        !class.is_empty() && self.exemptions.runtime_classes.iter().any(|exempt| exempt == class)
    }

    async fn judge_namespace(&self, request: &Request<'_>, namespace: &Object) -> Result<(), StatusError> {
        let (policy, errors) = self.policy_of(namespace);
        let invalid = || {
            let kind = apimachinery::GroupKind::new("", "Namespace");
            Err(StatusError::invalid(&kind, namespace.name(), &errors))
        };
        let is_exempt = self.exemptions.namespaces.iter().any(|exempt| exempt == namespace.name());
        let Some(old) = &request.old else {
            if !errors.is_empty() {
                return invalid();
            }
            if is_exempt {
                self.warn_exempt(request, namespace, &policy);
            }
            return Ok(());
        };
        let (old_policy, old_errors) = self.policy_of(old);
        if !errors.is_empty() && errors != old_errors {
            return invalid();
        }
        let relaxed =
            policy.enforce.version == old_policy.enforce.version && policy.enforce.level <= old_policy.enforce.level;
        if policy.enforce == old_policy.enforce || policy.enforce.level == Level::Privileged || relaxed {
            return Ok(());
        }
        if is_exempt {
            self.warn_exempt(request, namespace, &policy);
            return Ok(());
        }
        self.warn_of_pods(request, namespace.name(), policy.enforce).await
    }

    fn warn_exempt(&self, request: &Request<'_>, namespace: &Object, policy: &Policy) {
        if policy.is_fully_privileged() || policy.is_equivalent(&self.defaults) {
            return;
        }
        let labels: Vec<(&str, &str)> = namespace.labels().collect();
        let stated = policy.stated(labels.iter().copied());
        request.cx.warn(format!(
            "namespace {:?} is exempt from Pod Security, and the policy ({stated}) will be ignored",
            namespace.name()
        ));
    }

    async fn warn_of_pods(
        &self,
        request: &Request<'_>,
        namespace: &str,
        policy: LevelVersion,
    ) -> Result<(), StatusError> {
        let registry = request.cx.registry();
        let row = registry.row("", "v1", "pods")?;
        let range = RangeRequest { prefix: format!("{}{namespace}/", row.key_prefix()), ..RangeRequest::default() };
        let range = registry.store().range(&range).await.map_err(|error| status::of_store(&error))?;
        let pods: Result<Vec<Object>, _> = range.entries.iter().map(decode_entry).collect();
        for warning in pods::warnings(namespace, policy, pods?, |pod| self.is_exempt_class(pod)) {
            request.cx.warn(warning);
        }
        Ok(())
    }

    /// Judges a pod, or tells about the template of one.
    fn judge_pod(&self, request: &Request<'_>, object: &Object) -> Result<(), StatusError> {
        let is_pod = request.is_resource("", "pods");
        let annotate = |key: &str, value: &str| request.annotate(&format!("pod-security.kubernetes.io/{key}"), value);
        if self.exemptions.namespaces.iter().any(|exempt| exempt == request.namespace) {
            annotate("exempt", "namespace");
            return Ok(());
        }
        if self.exemptions.usernames.contains(&request.cx.user.username) {
            annotate("exempt", "user");
            return Ok(());
        }
        let Some(namespace) = self.namespaces.read(|all| all.named(request.namespace)) else {
            let cause = format!("failed to lookup namespace {:?}", request.namespace);
            return if is_pod { Err(StatusError::internal(cause)) } else { Ok(()) };
        };
        let (policy, errors) = self.policy_of(&namespace);
        let silent = policy.audit.level == Level::Privileged && policy.warn.level == Level::Privileged;
        if errors.is_empty() && silent && (!is_pod || policy.enforce.level == Level::Privileged) {
            return Ok(());
        }
        let same = |old: &Object| !pods::is_significant_update(object, old);
        if is_pod && request.old.as_ref().is_some_and(same) {
            return Ok(());
        }
        let Some(pod) = pods::pod_of(&request.row.gvk.group, &request.row.plural, object) else { return Ok(()) };
        if self.is_exempt_class(&pod) {
            annotate("exempt", "runtimeClass");
            return Ok(());
        }
        if !errors.is_empty() {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            annotate("error", &format!("Failed to parse policy: {}", errors.join(", ")));
        }
        let audited = evaluate(policy.audit, pod);
        if !audited.is_empty() {
            let text = format!("would violate PodSecurity \"{}\": {}", policy.audit, audited.details());
            annotate("audit-violations", &text);
        }
        if is_pod {
            annotate("enforce-policy", &policy.enforce.to_string());
            let enforced = evaluate(policy.enforce, pod);
            if !enforced.is_empty() {
                let text = format!("violates PodSecurity \"{}\": {}", policy.enforce, enforced.details());
                return Err(request.forbidden(text));
            }
        }
        let warned = evaluate(policy.warn, pod);
        if !warned.is_empty() {
            request.cx.warn(format!("would violate PodSecurity \"{}\": {}", policy.warn, warned.details()));
        }
        Ok(())
    }
}

#[async_trait]
impl Plugin for PodSecurity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.validates(Handles::WRITES)
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), StatusError> {
        let Some(object) = request.object.as_ref().filter(|_| request.writes()) else { return Ok(()) };
        let (group, resource) = (request.row.gvk.group.as_str(), request.row.plural.as_str());
        match (group, resource, request.subresource) {
            ("", "namespaces", "") => self.judge_namespace(request, object).await,
            ("", "pods", "" | "ephemeralcontainers" | "resize") => self.judge_pod(request, object),
            (_, _, "") if request.operation != Operation::Delete && pods::pod_of(group, resource, object).is_some() => {
                self.judge_pod(request, object)
            }
            _ => Ok(()),
        }
    }
}

fn invalid(path: &str, value: &str, detail: &str) -> ConfigError {
    ConfigError::Plugin { plugin: NAME, cause: format!("{path}: Invalid value: {value:?}: {detail}") }
}

fn defaults(given: &Defaults) -> Result<Policy, ConfigError> {
    let mode = |name: &str, level_text: &str, version: &str| {
        let level = match level_text {
            "" => Level::Privileged,
            text => Level::parse(text).ok_or_else(|| invalid(&format!("defaults.{name}"), text, level::LEVEL_ERROR))?,
        };
        let version = match version {
            "" => Version::Latest,
            text => Version::parse(text)
                .ok_or_else(|| invalid(&format!("defaults.{name}-version"), text, level::VERSION_ERROR))?,
        };
        Ok(LevelVersion { level, version })
    };
    Ok(Policy {
        enforce: mode("enforce", &given.enforce, &given.enforce_version)?,
        audit: mode("audit", &given.audit, &given.audit_version)?,
        warn: mode("warn", &given.warn, &given.warn_version)?,
    })
}

fn check_exemptions(given: &Exemptions) -> Result<(), ConfigError> {
    let rules: [(&str, &[String], fn(&str) -> Vec<String>); 3] = [
        ("namespaces", &given.namespaces, validation::dns1123_label),
        ("runtimeClasses", &given.runtime_classes, validation::dns1123_subdomain),
        ("usernames", &given.usernames, |name| {
            if name.is_empty() { vec!["username must not be empty".into()] } else { Vec::new() }
        }),
    ];
    for (name, values, rule) in rules {
        for (index, value) in values.iter().enumerate() {
            let path = format!("exemptions.{name}[{index}]");
            let wrong = rule(value);
            if !wrong.is_empty() {
                return Err(invalid(&path, value, &wrong.join(", ")));
            }
            if values[..index].contains(value) {
                return Err(ConfigError::Plugin { plugin: NAME, cause: format!("{path}: Duplicate value: {value:?}") });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Canonical;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn check(defaults: Value, exemptions: Value, expected: Expect) {
        let store: Arc<dyn Store> = store::Embedded::in_memory(Arc::new(Canonical::default()));
        let given = json!({
            "apiVersion": "pod-security.admission.config.k8s.io/v1", "kind": "PodSecurityConfiguration",
            "defaults": defaults, "exemptions": exemptions,
        });
        let text = match PodSecurity::new(&store, Some(&given)) {
            Ok(plugin) => plugin.defaults.enforce.to_string(),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&text);
    }

    #[tokio::test]
    async fn the_configuration_is_checked() {
        check(json!({"enforce": "baseline", "enforce-version": "v1.30"}), json!({}), expect!["baseline:v1.30"]);
        check(
            json!({"enforce": "strict"}),
            json!({}),
            expect![[
                r#"the configuration of the admission plugin PodSecurity is not valid: defaults.enforce: Invalid value: "strict": must be one of privileged, baseline, restricted"#
            ]],
        );
        check(
            json!({}),
            json!({"usernames": ["a", "a"]}),
            expect![[
                r#"the configuration of the admission plugin PodSecurity is not valid: exemptions.usernames[1]: Duplicate value: "a""#
            ]],
        );
        check(
            json!({"x": 1}),
            json!({}),
            expect![[
                r#"the configuration of the admission plugin PodSecurity is not valid: unknown field `x`, expected one of `enforce`, `enforce-version`, `audit`, `audit-version`, `warn`, `warn-version`"#
            ]],
        );
    }
}
