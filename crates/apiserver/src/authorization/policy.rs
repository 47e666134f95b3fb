//! [`Policy`]: every role and binding in memory, and the rules that hold for a user
//! (upstream: pkg/registry/rbac/validation/rule.go, plugin/pkg/auth/authorizer/rbac/rbac.go).

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use apimachinery::UserInfo;
use serde::Deserialize;
use store::Entry;

use super::follow::Projection;
use super::rule::PolicyRule;
use crate::authorizer::{Attributes, Decision};

/// Where roles and bindings lie.
pub const PREFIX: &str = "/registry/rbac.authorization.k8s.io/";

/// Roles and bindings.
#[derive(Debug, Default)]
pub struct Policy {
    /// By `<namespace>/<name>`; cluster roles have no namespace: `/<name>`.
    roles: HashMap<Box<str>, Arc<[PolicyRule]>>,
    bindings: HashMap<Arc<str>, Arc<Binding>>,
    /// By namespace (empty for bindings of the cluster), then by subject.
    by_subject: HashMap<Box<str>, HashMap<Box<str>, Vec<Arc<Binding>>>>,
}

/// A RoleBinding or ClusterRoleBinding.
#[derive(Debug)]
pub struct Binding {
    key: Arc<str>,
    namespace: Box<str>,
    name: Box<str>,
    role: RoleRef,
    subjects: Vec<Box<str>>,
}

/// The role that a binding grants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RoleRef {
    /// `Role` or `ClusterRole`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Stored {
    rules: Option<Vec<PolicyRule>>,
    role_ref: RoleRef,
    subjects: Option<Vec<Subject>>,
}

/// Whom a binding grants its role to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Subject {
    /// `User`, `Group` or `ServiceAccount`.
    pub kind: String,
    /// The name.
    pub name: String,
    /// The service account's namespace.
    pub namespace: String,
}

impl Subject {
    /// The user or group that is meant; an account without a namespace is one of the binding's own, `of`.
    fn word(&self, of: &str) -> Option<Box<str>> {
        match self.kind.as_str() {
            "User" => Some(user_word(&self.name)),
            "Group" => Some(group_word(&self.name)),
            "ServiceAccount" => {
                let namespace = if self.namespace.is_empty() { of } else { &self.namespace };
                Some(user_word(&format!("system:serviceaccount:{namespace}:{}", self.name)))
            }
            _ => None,
        }
    }
}

fn user_word(name: &str) -> Box<str> {
    format!("u:{name}").into()
}

fn group_word(name: &str) -> Box<str> {
    format!("g:{name}").into()
}

/// The resource, namespace and name in a key below [`PREFIX`].
fn parts(key: &str) -> Option<(&str, &str, &str)> {
    let (resource, rest) = key.strip_prefix(PREFIX)?.split_once('/')?;
    let (namespace, name) = rest.split_once('/').unwrap_or(("", rest));
    Some((resource, namespace, name))
}

impl Projection for Policy {
    fn put(&mut self, entry: &Entry) {
        let Some((resource, namespace, name)) = parts(&entry.key) else { return };
        // What the server stored can be read; should it not, it grants nothing.
        let stored: Stored = serde_json::from_slice(&entry.finished.value).unwrap_or_default();
        if resource.ends_with("roles") {
            let rules = stored.rules.unwrap_or_default();
            self.roles.insert(format!("{namespace}/{name}").into(), rules.into());
            return;
        }
        self.unbind(&entry.key);
        let subjects = stored.subjects.unwrap_or_default();
        let subjects = subjects.iter().filter_map(|subject| subject.word(namespace)).collect();
        let (key, role) = (entry.key.clone(), stored.role_ref);
        let binding = Arc::new(Binding { key, namespace: namespace.into(), name: name.into(), role, subjects });
        let by_subject = self.by_subject.entry(namespace.into()).or_default();
        for subject in &binding.subjects {
            let bindings = by_subject.entry(subject.clone()).or_default();
            if !bindings.iter().any(|known| known.key == binding.key) {
                bindings.push(binding.clone());
            }
        }
        self.bindings.insert(entry.key.clone(), binding);
    }

    fn delete(&mut self, key: &str) {
        let Some((resource, namespace, name)) = parts(key) else { return };
        if resource.ends_with("roles") {
            self.roles.remove(format!("{namespace}/{name}").as_str());
        } else {
            self.unbind(key);
        }
    }
}

impl Policy {
    fn unbind(&mut self, key: &str) {
        let Some(binding) = self.bindings.remove(key) else { return };
        let Some(by_subject) = self.by_subject.get_mut(&binding.namespace) else { return };
        for subject in &binding.subjects {
            if let Some(bindings) = by_subject.get_mut(subject) {
                bindings.retain(|known| known.key != binding.key);
                if bindings.is_empty() {
                    by_subject.remove(subject);
                }
            }
        }
        if by_subject.is_empty() {
            self.by_subject.remove(&binding.namespace);
        }
    }

    /// The rules of a role as a binding in `namespace` names it, or upstream's text for one that is not there.
    pub fn rules_of(&self, role: &RoleRef, namespace: &str) -> Result<&Arc<[PolicyRule]>, String> {
        let scope = if role.kind == "ClusterRole" { "" } else { namespace };
        self.roles.get(format!("{scope}/{}", role.name).as_str()).ok_or_else(|| {
            let resource = if role.kind == "ClusterRole" { "clusterrole" } else { "role" };
            format!("{resource}.rbac.authorization.k8s.io {:?} not found", role.name)
        })
    }

    /// Shows every rule that holds for the user in the namespace (empty: in the cluster), with the binding it comes
    /// from, until told to stop. Answers what could not be found.
    fn visit<B>(
        &self,
        user: &UserInfo,
        namespace: &str,
        mut visit: impl FnMut(&PolicyRule, &Binding, &str) -> ControlFlow<B>,
    ) -> Result<B, Vec<String>> {
        let mut missing = Vec::new();
        let words: Vec<Box<str>> = std::iter::once(user_word(&user.username))
            .chain(user.groups.iter().map(|group| group_word(group)))
            .collect();
        let scopes = if namespace.is_empty() { &[""][..] } else { &["", namespace][..] };
        for scope in scopes {
            let Some(by_subject) = self.by_subject.get(*scope) else { continue };
            for word in &words {
                for binding in by_subject.get(word).into_iter().flatten() {
                    match self.rules_of(&binding.role, scope) {
                        Err(text) if missing.contains(&text) => {}
                        Err(text) => missing.push(text),
                        Ok(rules) => {
                            for rule in rules.iter() {
                                if let ControlFlow::Break(found) = visit(rule, binding, word) {
                                    return Ok(found);
                                }
                            }
                        }
                    }
                }
            }
        }
        Err(missing)
    }

    /// The judgement on a request and its reason.
    pub fn authorize(&self, request: &Attributes<'_>) -> (Decision, String) {
        let found = self.visit(request.user, request.namespace, |rule, binding, word| {
            if rule.allows(request) { ControlFlow::Break(allowed_by(binding, word)) } else { ControlFlow::Continue(()) }
        });
        match found {
            Ok(reason) => (Decision::Allow, reason),
            Err(missing) => {
                let reason = match missing.as_slice() {
                    [] => String::new(),
                    [one] => format!("RBAC: {one}"),
                    several => format!("RBAC: [{}]", several.join(", ")),
                };
                (Decision::NoOpinion(reason.clone()), reason)
            }
        }
    }

    /// Every rule that holds for the user in the namespace, and what could not be found.
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> (Vec<PolicyRule>, Vec<String>) {
        let mut rules = Vec::new();
        let ended = self.visit(user, namespace, |rule, _, _| {
            rules.push(rule.clone());
            ControlFlow::<()>::Continue(())
        });
        (rules, ended.err().unwrap_or_default())
    }
}

/// Upstream: `clusterRoleBindingDescriber`, `roleBindingDescriber`.
fn allowed_by(binding: &Binding, word: &str) -> String {
    let kind = if binding.namespace.is_empty() { "ClusterRoleBinding" } else { "RoleBinding" };
    let mut name = binding.name.to_string();
    if !binding.namespace.is_empty() {
        name = format!("{name}/{}", binding.namespace);
    }
    let subject = match word.split_once(':') {
        Some(("g", group)) => format!("Group {group:?}"),
        Some((_, user)) => match user.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':')) {
            Some((namespace, account)) => format!("ServiceAccount \"{account}/{namespace}\""),
            None => format!("User {user:?}"),
        },
        None => String::new(),
    };
    format!("RBAC: allowed by {kind} {name:?} of {} {:?} to {subject}", binding.role.kind, binding.role.name)
}

/// Labels and aggregation of cluster roles, for the aggregation controller.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AggregationRule {
    /// A role whose labels match one of these gives its rules.
    pub cluster_role_selectors: Vec<LabelSelector>,
}

/// A label selector.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LabelSelector {
    match_labels: BTreeMap<String, String>,
    match_expressions: Vec<Requirement>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Requirement {
    key: String,
    operator: String,
    values: Vec<String>,
}

impl LabelSelector {
    /// Whether the labels match; an empty selector matches all.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| {
                let value = labels.get(&requirement.key);
                match requirement.operator.as_str() {
                    "In" => value.is_some_and(|value| requirement.values.contains(value)),
                    "NotIn" => value.is_none_or(|value| !requirement.values.contains(value)),
                    "Exists" => value.is_some(),
                    "DoesNotExist" => value.is_none(),
                    _ => false,
                }
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::Finished;

    fn entry(key: &str, value: &serde_json::Value) -> Entry {
        let finished = Finished { value: value.to_string().into(), attributes: store::Pairs::default() };
        Entry { key: format!("{PREFIX}{key}").into(), finished: finished.into(), created: 1, modified: 1 }
    }

    fn policy() -> Policy {
        let mut policy = Policy::default();
        for (key, value) in [
            (
                "clusterroles/reader",
                serde_json::json!({"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}),
            ),
            (
                "roles/shop/writer",
                serde_json::json!({"rules": [{"verbs": ["create"], "apiGroups": [""], "resources": ["pods"]}]}),
            ),
            (
                "clusterrolebindings/readers",
                serde_json::json!({"roleRef": {"kind": "ClusterRole", "name": "reader"}, "subjects": [{"kind": "Group", "name": "readers"}]}),
            ),
            (
                "rolebindings/shop/writers",
                serde_json::json!({"roleRef": {"kind": "Role", "name": "writer"}, "subjects": [
                    {"kind": "User", "name": "ann"}, {"kind": "ServiceAccount", "name": "robot", "namespace": "shop"}]}),
            ),
            (
                "rolebindings/shop/broken",
                serde_json::json!({"roleRef": {"kind": "Role", "name": "gone"}, "subjects": [{"kind": "User", "name": "eve"}]}),
            ),
        ] {
            policy.put(&entry(key, &value));
        }
        policy
    }

    fn ask(policy: &Policy, user: &str, verb: &str, namespace: &str) -> String {
        let user = UserInfo::new(user, if user == "bob" { vec!["readers"] } else { Vec::new() });
        let request = Attributes {
            verb,
            version: "v1",
            resource: "pods",
            namespace,
            name: "x",
            ..Attributes::on_resource(&user)
        };
        policy.authorize(&request).1
    }

    #[test]
    fn bindings_grant_in_their_scope() {
        let policy = policy();
        for (user, verb, namespace, expected) in [
            (
                "bob",
                "get",
                "shop",
                r#"RBAC: allowed by ClusterRoleBinding "readers" of ClusterRole "reader" to Group "readers""#,
            ),
            (
                "bob",
                "get",
                "",
                r#"RBAC: allowed by ClusterRoleBinding "readers" of ClusterRole "reader" to Group "readers""#,
            ),
            ("bob", "create", "shop", ""),
            ("ann", "create", "shop", r#"RBAC: allowed by RoleBinding "writers/shop" of Role "writer" to User "ann""#),
            ("ann", "create", "other", ""),
            ("ann", "create", "", ""),
            (
                "system:serviceaccount:shop:robot",
                "create",
                "shop",
                r#"RBAC: allowed by RoleBinding "writers/shop" of Role "writer" to ServiceAccount "robot/shop""#,
            ),
            ("eve", "get", "shop", r#"RBAC: role.rbac.authorization.k8s.io "gone" not found"#),
        ] {
            assert_eq!(ask(&policy, user, verb, namespace), expected, "{user} {verb} {namespace}");
        }
    }

    #[test]
    fn changes_replace_what_was_there() {
        let mut policy = policy();
        let value = serde_json::json!({"roleRef": {"kind": "Role", "name": "writer"}, "subjects": [{"kind": "User", "name": "zoe"}]});
        policy.put(&entry("rolebindings/shop/writers", &value));
        assert_eq!(ask(&policy, "ann", "create", "shop"), "");
        assert_ne!(ask(&policy, "zoe", "create", "shop"), "");
        policy.delete(&format!("{PREFIX}roles/shop/writer"));
        assert_eq!(ask(&policy, "zoe", "create", "shop"), r#"RBAC: role.rbac.authorization.k8s.io "writer" not found"#);
        for key in ["rolebindings/shop/writers", "rolebindings/shop/broken", "clusterrolebindings/readers"] {
            policy.delete(&format!("{PREFIX}{key}"));
        }
        assert!(policy.by_subject.is_empty() && policy.bindings.is_empty());
    }
}
