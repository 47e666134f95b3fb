//! Nobody grants what they do not hold: whoever writes a role or binding must have its permissions, or the verb
//! `escalate` on the role, or `bind` on the role that a binding names
//! (upstream: pkg/registry/rbac/{role,clusterrole,rolebinding,clusterrolebinding}/policybased, escalation_check.go).

use std::sync::Arc;

use apimachinery::{Object, StatusError, UserInfo};
use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Authorization;
use super::policy::RoleRef;
use super::rule::{PolicyRule, uncovered};
use crate::admission::{Handles, Operation, Plugin, Request};
use crate::authorizer::{Attributes, Authorizer, Decision};

const GROUP: &str = "rbac.authorization.k8s.io";

/// See the module. Runs as a validating plugin, so that it judges what is about to be stored.
#[derive(Debug)]
pub struct EscalationCheck {
    authorization: Arc<Authorization>,
}

impl EscalationCheck {
    /// Judges by this authorization.
    pub fn new(authorization: Arc<Authorization>) -> Self {
        Self { authorization }
    }

    async fn check(
        &self,
        user: &UserInfo,
        resource: &str,
        namespace: &str,
        object: &Object,
        old: Option<&Object>,
    ) -> Result<(), String> {
        match resource {
            "roles" | "clusterroles" => {
                let rules: Vec<PolicyRule> = field(object, "rules");
                let unchanged = old.is_some_and(|old| {
                    field::<PolicyRule>(old, "rules") == rules
                        && old.0.get("aggregationRule") == object.0.get("aggregationRule")
                });
                if unchanged || self.may(user, "escalate", resource, namespace, object.name()).await {
                    return Ok(());
                }
                if resource == "clusterroles" && object.0.get("aggregationRule").is_some_and(Value::is_object) {
                    // Whoever aggregates takes in rules that do not exist yet (upstream: fullAuthority).
                    self.confirm(user, namespace, &super::bootstrap::parse_rules(super::bootstrap::ALL_RULES))
                        .map_err(|text| {
                            format!("must have cluster-admin privileges to use an aggregationRule: {text}")
                        })?;
                }
                self.confirm(user, namespace, &rules)
            }
            "rolebindings" | "clusterrolebindings" => {
                let unchanged = old.is_some_and(|old| {
                    ["subjects", "roleRef"].iter().all(|name| old.0.get(*name) == object.0.get(*name))
                });
                if unchanged {
                    return Ok(());
                }
                let role = object.0.get("roleRef").cloned().unwrap_or_default();
                let role: RoleRef = serde_json::from_value(role).unwrap_or_default();
                let roles = if role.kind == "ClusterRole" { "clusterroles" } else { "roles" };
                if self.may(user, "bind", roles, namespace, &role.name).await {
                    return Ok(());
                }
                let rules = self.authorization.rules_of(&role, namespace)?;
                self.confirm(user, namespace, &rules)
            }
            _ => Ok(()),
        }
    }

    async fn may(&self, user: &UserInfo, verb: &str, resource: &str, namespace: &str, name: &str) -> bool {
        let asked = Attributes {
            verb,
            group: GROUP,
            version: "v1",
            resource,
            namespace,
            name,
            ..Attributes::on_resource(user)
        };
        self.authorization.judge(&asked).await.decision == Decision::Allow
    }

    /// Upstream: `ConfirmNoEscalation`.
    fn confirm(&self, user: &UserInfo, namespace: &str, rules: &[PolicyRule]) -> Result<(), String> {
        let (held, missing) = self.authorization.rules_for(user, namespace);
        let uncovered = uncovered(&held, rules);
        if uncovered.is_empty() {
            return Ok(());
        }
        let groups: Vec<String> = user.groups.iter().map(|group| format!("{group:?}")).collect();
        let mut lines: Vec<String> = uncovered.iter().map(ToString::to_string).collect();
        lines.sort();
        let mut text = format!(
            "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
            user.username,
            groups.join(" "),
            lines.join("\n")
        );
        if !missing.is_empty() {
            text.push_str(&format!("; resolution errors: [{}]", missing.join(", ")));
        }
        Err(text)
    }
}

/// A list of the object; what is missing or does not read is empty (the schema has judged it before).
fn field<T: DeserializeOwned>(object: &Object, name: &str) -> Vec<T> {
    object.0.get(name).cloned().and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default()
}

#[async_trait]
impl Plugin for EscalationCheck {
    fn name(&self) -> &'static str {
        "RBACEscalation"
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.validates(Handles::WRITES)
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), StatusError> {
        let written = matches!(request.operation, Operation::Create | Operation::Update);
        if request.row.gvk.group != GROUP || !written || request.cx.user.is_in(super::PRIVILEGED_GROUP) {
            return Ok(());
        }
        let Some(object) = &request.object else { return Ok(()) };
        self.check(&request.cx.user, &request.row.plural, request.namespace, object, request.old.as_ref())
            .await
            .map_err(|cause| request.forbidden(cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use store::suite::put;
    use store::{Embedded, Expect};

    struct Plain;

    impl store::Finish for Plain {
        fn finish(&self, _key: &str, written: &bytes::Bytes, _revision: store::Revision) -> store::Finished {
            store::Finished { value: written.clone(), attributes: store::Pairs::default() }
        }
    }

    async fn check(user: &str, resource: &str, object: Value) -> String {
        let store = Embedded::in_memory(Arc::new(Plain));
        for (key, value) in [
            ("clusterroles/reader", json!({"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]})),
            ("clusterroles/admin", json!({"rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]})),
            (
                "clusterroles/binder",
                json!({"rules": [{"verbs": ["bind"], "apiGroups": [GROUP], "resources": ["clusterroles"], "resourceNames": ["admin"]}]}),
            ),
            (
                "clusterroles/escalator",
                json!({"rules": [{"verbs": ["escalate"], "apiGroups": [GROUP], "resources": ["clusterroles"]}]}),
            ),
        ] {
            put(&*store, &format!("{}{key}", super::super::policy::PREFIX), Expect::Absent, &value.to_string()).await;
        }
        for name in ["reader", "binder", "escalator"] {
            let value =
                json!({"roleRef": {"kind": "ClusterRole", "name": name}, "subjects": [{"kind": "User", "name": name}]});
            let key = format!("{}clusterrolebindings/{name}", super::super::policy::PREFIX);
            put(&*store, &key, Expect::Absent, &value.to_string()).await;
        }
        let check = EscalationCheck::new(Arc::new(Authorization::new(store)));
        let object = Object::from_value(object).expect("an object");
        let user = UserInfo { username: user.into(), ..UserInfo::default() };
        check.check(&user, resource, "", &object, None).await.err().unwrap_or_default()
    }

    #[tokio::test]
    async fn only_what_is_held_can_be_granted() {
        let role = |verb: &str| json!({"metadata": {"name": "new"}, "rules": [{"verbs": [verb], "apiGroups": [""], "resources": ["pods"]}]});
        let binding = |role: &str| json!({"roleRef": {"kind": "ClusterRole", "name": role}});
        assert_eq!(check("reader", "clusterroles", role("get")).await, "");
        assert_eq!(
            check("reader", "clusterroles", role("delete")).await,
            "user \"reader\" (groups=[]) is attempting to grant RBAC permissions not currently held:\n\
             {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\"]}"
        );
        assert_eq!(check("escalator", "clusterroles", role("delete")).await, "");
        assert_eq!(check("reader", "clusterrolebindings", binding("reader")).await, "");
        assert_ne!(check("reader", "clusterrolebindings", binding("admin")).await, "");
        assert_eq!(check("binder", "clusterrolebindings", binding("admin")).await, "");
        assert_eq!(
            check("reader", "clusterrolebindings", binding("gone")).await,
            "clusterrole.rbac.authorization.k8s.io \"gone\" not found"
        );
        let aggregated = json!({"metadata": {"name": "new"}, "aggregationRule": {"clusterRoleSelectors": []}});
        assert!(check("reader", "clusterroles", aggregated).await.starts_with("must have cluster-admin privileges"));
    }
}
