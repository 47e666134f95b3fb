//! The roles and bindings that every cluster has, and their reconciliation at start
//! (upstream: plugin/pkg/auth/authorizer/rbac/bootstrappolicy, pkg/registry/rbac/reconciliation).
//!
//! The tables are in [`cluster_roles`], [`controller_roles`] and [`namespace_roles`]. A rule is a line of three or
//! four fields: verbs; groups; resources; names. `core` is the core group, `url` in place of the groups means paths,
//! `read`, `write` and `readwrite` stand for the verbs that upstream calls so.

use std::sync::Arc;

use apimachinery::Object;
use futures::future::try_join_all;
use serde_json::{Value, json};
use store::{Entry, Error, Expect, RangeRequest, Store, Write};

use super::policy::PREFIX;
use super::rule::PolicyRule;

pub mod cluster_roles;
pub mod controller_roles;
pub mod namespace_roles;

pub use cluster_roles::{ALL_RULES, NODE_RULES};

const GROUP: &str = "rbac.authorization.k8s.io";
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
const BOOTSTRAPPING: &str = "kubernetes.io/bootstrapping";

/// A default role.
#[derive(Clone, Copy, Debug)]
pub struct Role {
    /// Its name.
    pub name: &'static str,
    /// The namespace, or empty for a cluster role.
    pub namespace: &'static str,
    /// The role that takes this one's rules in, as `admin` in `aggregate-to-admin`.
    pub aggregates_to: Option<&'static str>,
    /// Whether it takes in the rules of roles that are labelled `aggregate-to-<its name>`.
    pub is_aggregated: bool,
    /// Its rules, a line each.
    pub rules: &'static str,
}

impl Role {
    const fn cluster(name: &'static str, rules: &'static str) -> Self {
        Self { name, namespace: "", aggregates_to: None, is_aggregated: false, rules }
    }

    const fn namespaced(namespace: &'static str, name: &'static str, rules: &'static str) -> Self {
        Self { namespace, ..Self::cluster(name, rules) }
    }

    const fn aggregates_to(self, role: &'static str) -> Self {
        Self { aggregates_to: Some(role), ..self }
    }

    const fn aggregated(self) -> Self {
        Self { is_aggregated: true, ..self }
    }

    fn object(&self) -> Value {
        let kind = if self.namespace.is_empty() { "ClusterRole" } else { "Role" };
        let mut role = object(kind, self.namespace, self.name);
        role["rules"] = json!(parse_rules(self.rules));
        if let Some(to) = self.aggregates_to {
            role["metadata"]["labels"][format!("{GROUP}/aggregate-to-{to}")] = "true".into();
        }
        if self.is_aggregated {
            let label = format!("{GROUP}/aggregate-to-{}", self.name);
            role["aggregationRule"] = json!({ "clusterRoleSelectors": [{ "matchLabels": { label: "true" } }] });
            role["rules"] = json!([]);
        }
        role
    }
}

/// A default binding.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// Its name.
    pub name: &'static str,
    /// The namespace, or empty for a cluster role binding.
    pub namespace: &'static str,
    /// The role it grants; of the same namespace, or of the cluster.
    pub role: &'static str,
    /// `User:name`, `Group:name` or `ServiceAccount:namespace/name`.
    pub subjects: &'static [&'static str],
}

impl Binding {
    fn object(&self) -> Value {
        let (kind, role_kind) =
            if self.namespace.is_empty() { ("ClusterRoleBinding", "ClusterRole") } else { ("RoleBinding", "Role") };
        let mut binding = object(kind, self.namespace, self.name);
        binding["roleRef"] = json!({ "apiGroup": GROUP, "kind": role_kind, "name": self.role });
        binding["subjects"] = self.subjects.iter().map(|subject| subject_object(subject)).collect();
        binding
    }
}

fn subject_object(subject: &str) -> Value {
    let (kind, name) = subject.split_once(':').unwrap_or(("User", subject));
    match name.split_once('/') {
        Some((namespace, name)) if kind == "ServiceAccount" => {
            json!({ "kind": kind, "name": name, "namespace": namespace })
        }
        _ => json!({ "apiGroup": GROUP, "kind": kind, "name": name }),
    }
}

fn object(kind: &str, namespace: &str, name: &str) -> Value {
    let mut object = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": kind,
        "metadata": { "name": name, "labels": { BOOTSTRAPPING: "rbac-defaults" }, "annotations": { AUTOUPDATE: "true" } },
    });
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = namespace.into();
    }
    object
}

/// The rules of a table's text.
pub fn parse_rules(lines: &str) -> Vec<PolicyRule> {
    lines.lines().map(str::trim).filter(|line| !line.is_empty()).map(parse_rule).collect()
}

fn parse_rule(line: &str) -> PolicyRule {
    let mut fields = line.split(';').map(str::trim);
    let mut words = || -> Vec<String> {
        let field = fields.next().unwrap_or_default();
        field.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let verbs = words().iter().flat_map(|verb| verbs_of(verb)).map(str::to_owned).collect();
    let groups = words();
    if groups == ["url"] {
        return PolicyRule { verbs, non_resource_urls: words(), ..PolicyRule::default() };
    }
    let api_groups = groups.into_iter().map(|group| if group == "core" { String::new() } else { group }).collect();
    PolicyRule { verbs, api_groups, resources: words(), resource_names: words(), non_resource_urls: Vec::new() }
}

fn verbs_of(word: &str) -> Vec<&str> {
    match word {
        "read" => vec!["get", "list", "watch"],
        "write" => vec!["create", "delete", "deletecollection", "patch", "update"],
        "readwrite" => vec!["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        verb => vec![verb],
    }
}

/// Every default object.
fn defaults() -> impl Iterator<Item = Value> {
    let roles = cluster_roles::ROLES.iter().chain(controller_roles::ROLES).chain(namespace_roles::ROLES);
    let bindings = cluster_roles::BINDINGS.iter().chain(namespace_roles::BINDINGS);
    let controllers = controller_roles::ROLES.iter().map(|role| controller_binding(role.name));
    roles.map(Role::object).chain(bindings.map(Binding::object)).chain(controllers)
}

/// A controller's role is bound to the service account of its name.
fn controller_binding(role: &str) -> Value {
    let mut binding = object("ClusterRoleBinding", "", role);
    let account = role.strip_prefix("system:controller:").unwrap_or(role);
    binding["roleRef"] = json!({ "apiGroup": GROUP, "kind": "ClusterRole", "name": role });
    binding["subjects"] = json!([{ "kind": "ServiceAccount", "name": account, "namespace": "kube-system" }]);
    binding
}

/// Makes the default roles and bindings that are missing, and gives back to the others what they lack, unless their
/// annotation says `autoupdate: "false"`. All writes share a commit.
pub async fn reconcile(store: &Arc<dyn Store>) -> Result<(), Error> {
    let request = RangeRequest { prefix: PREFIX.into(), ..RangeRequest::default() };
    let present = store.range(&request).await?.entries;
    let writes = defaults().filter_map(|wanted| plan(&wanted, &present)).map(|write| store.write(write));
    try_join_all(writes).await?;
    super::aggregation::sync(store).await
}

/// The write that brings one object to what it should be, if one is needed.
fn plan(wanted: &Value, present: &[Entry]) -> Option<Write> {
    let key = key_of(wanted);
    let Ok(found) = present.binary_search_by(|entry| (*entry.key).cmp(key.as_str())) else {
        return Some(Write { key, expect: Expect::Absent, value: Some(new_object(wanted)) });
    };
    let entry = &present[found];
    let mut object: Value = serde_json::from_slice(&entry.finished.value).ok()?;
    if object["metadata"]["annotations"][AUTOUPDATE] == "false" || !complete(&mut object, wanted) {
        return None;
    }
    let value = encode(object);
    Some(Write { key, expect: Expect::At(entry.modified), value: Some(value) })
}

/// Adds what `object` lacks of `wanted`; tells whether anything changed. What it has beyond stays.
fn complete(object: &mut Value, wanted: &Value) -> bool {
    let before = object.clone();
    for map in ["labels", "annotations"] {
        for (name, value) in wanted["metadata"][map].as_object().into_iter().flatten() {
            if object["metadata"][map][name].is_null() {
                object["metadata"][map][name] = value.clone();
            }
        }
    }
    if wanted["roleRef"].is_object() && object["roleRef"] != wanted["roleRef"] {
        object["roleRef"] = wanted["roleRef"].clone();
    }
    if wanted["aggregationRule"].is_object() {
        object["aggregationRule"] = wanted["aggregationRule"].clone();
    } else if wanted["rules"].is_array() {
        let read = |value: &Value| serde_json::from_value::<Vec<PolicyRule>>(value.clone()).unwrap_or_default();
        let lacking = super::rule::uncovered(&read(&object["rules"]), &read(&wanted["rules"]));
        append(&mut object["rules"], lacking.into_iter().map(|rule| json!(rule)));
    }
    if let Some(subjects) = wanted["subjects"].as_array() {
        let present = object["subjects"].as_array().cloned().unwrap_or_default();
        append(&mut object["subjects"], subjects.iter().filter(|subject| !present.contains(subject)).cloned());
    }
    *object != before
}

fn append(list: &mut Value, items: impl Iterator<Item = Value>) {
    let items: Vec<Value> = items.collect();
    match list {
        Value::Array(present) => present.extend(items),
        _ if items.is_empty() => {}
        list => *list = items.into(),
    }
}

fn key_of(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let resource = format!("{}s", text(&object["kind"]).to_lowercase());
    let (namespace, name) = (text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]));
    let place = if namespace.is_empty() { name } else { format!("{namespace}/{name}") };
    format!("{PREFIX}{resource}/{place}")
}

fn new_object(wanted: &Value) -> bytes::Bytes {
    let mut object = wanted.clone();
    object["metadata"]["uid"] = uuid::Uuid::new_v4().to_string().into();
    object["metadata"]["creationTimestamp"] = component_base::clock::rfc3339_seconds(component_base::now()).into();
    encode(object)
}

/// The bytes for the store: without the revision, which is the write's own.
pub(super) fn encode(object: Value) -> bytes::Bytes {
    let mut object = Object::from_value(object).unwrap_or_default();
    object.metadata_mut().remove("resourceVersion");
    object.into_value().to_string().into()
}

#[cfg(test)]
mod inventory;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::finish::Canonical;
    use store::Embedded;

    #[test]
    fn every_line_of_the_tables_is_a_rule() {
        for wanted in defaults() {
            let name = &wanted["metadata"]["name"];
            for rule in wanted["rules"].as_array().into_iter().flatten() {
                let is_resource = rule["resources"].is_array() && rule["apiGroups"].is_array();
                assert!(is_resource != rule["nonResourceURLs"].is_array(), "{name}: {rule}");
                assert!(rule["verbs"].as_array().is_some_and(|verbs| !verbs.is_empty()), "{name}: {rule}");
            }
        }
    }

    #[test]
    fn names_are_unique_and_bindings_name_roles_that_exist() {
        let all: Vec<Value> = defaults().collect();
        let mut keys: Vec<String> = all.iter().map(key_of).collect();
        for binding in all.iter().filter(|object| object["roleRef"].is_object()) {
            let mut role =
                json!({ "kind": binding["roleRef"]["kind"], "metadata": { "name": binding["roleRef"]["name"] } });
            if role["kind"] == "Role" {
                role["metadata"]["namespace"] = binding["metadata"]["namespace"].clone();
            }
            assert!(keys.contains(&key_of(&role)), "{} names a role that is not there", key_of(binding));
        }
        let count = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }

    #[tokio::test]
    async fn reconciling_makes_completes_and_then_rests() {
        let store: Arc<dyn Store> = Embedded::in_memory(Arc::new(Canonical::default()));
        reconcile(&store).await.expect("memory");
        let made = store.revision();
        reconcile(&store).await.expect("memory");
        assert_eq!(store.revision(), made, "nothing is left to do");

        let key = format!("{PREFIX}clusterroles/system:discovery");
        let entry = store.get(&key).await.expect("memory").expect("made above");
        let mut role: Value = serde_json::from_slice(&entry.finished.value).expect("JSON");
        let extra = json!({"verbs": ["get"], "nonResourceURLs": ["/own"]});
        role["rules"] = json!([extra]);
        let write = Write { key: key.clone(), expect: Expect::At(entry.modified), value: Some(encode(role)) };
        store.write(write).await.expect("memory");
        reconcile(&store).await.expect("memory");
        let entry = store.get(&key).await.expect("memory").expect("still there");
        let role: Value = serde_json::from_slice(&entry.finished.value).expect("JSON");
        let rules = role["rules"].as_array().expect("rules");
        assert!(rules.contains(&extra) && rules.len() > 1, "{rules:?}");
    }

    #[tokio::test]
    async fn admin_edit_and_view_take_in_their_parts() {
        let store: Arc<dyn Store> = Embedded::in_memory(Arc::new(Canonical::default()));
        reconcile(&store).await.expect("memory");
        let mut rules = Vec::new();
        for name in ["view", "edit", "admin"] {
            let entry = store.get(&format!("{PREFIX}clusterroles/{name}")).await.expect("memory").expect("made above");
            let role: Value = serde_json::from_slice(&entry.finished.value).expect("JSON");
            rules.push(serde_json::from_value::<Vec<PolicyRule>>(role["rules"].clone()).expect("rules"));
        }
        assert!(super::super::rule::uncovered(&rules[1], &rules[0]).is_empty(), "edit can what view can");
        assert!(super::super::rule::uncovered(&rules[2], &rules[1]).is_empty(), "admin can what edit can");
        assert!(!super::super::rule::uncovered(&rules[0], &rules[1]).is_empty());
    }
}
