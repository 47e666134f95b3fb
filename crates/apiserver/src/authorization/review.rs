//! Access reviews: somebody asks whether they, or others, may do something
//! (upstream: pkg/registry/authorization/*, pkg/registry/authentication/selfsubjectreview).
//!
//! Pure: the object of the request in, the answered object out. The routes are in [`crate::access`].

use apimachinery::{GroupResource, Object, StatusError, UserInfo};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Authorization;
use super::rule::PolicyRule;
use crate::authorizer::{Attributes, Decision};

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    resource_attributes: Option<ResourceAttributes>,
    non_resource_attributes: Option<NonResourceAttributes>,
    user: String,
    groups: Option<Vec<String>>,
    uid: String,
    extra: Option<std::collections::BTreeMap<String, Vec<String>>>,
    namespace: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ResourceAttributes {
    namespace: String,
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NonResourceAttributes {
    path: String,
    verb: String,
}

fn spec_of(object: &Object) -> Result<Spec, StatusError> {
    let spec = object.0.get("spec").cloned().unwrap_or_else(|| json!({}));
    serde_json::from_value(spec)
        .map_err(|err| StatusError::bad_request(format!("the review's spec cannot be read: {err}")))
}

impl Spec {
    /// Exactly one of the two kinds of attributes (upstream: pkg/apis/authorization/validation).
    fn check_attributes(&self) -> Result<(), StatusError> {
        match (&self.resource_attributes, &self.non_resource_attributes) {
            (Some(_), Some(_)) => Err(invalid(
                "spec.nonResourceAttributes: Invalid value: cannot be specified in combination with resourceAttributes",
            )),
            (None, None) => Err(invalid(
                "spec.resourceAttributes: Invalid value: \"null\": exactly one of nonResourceAttributes or resourceAttributes must be specified",
            )),
            _ => Ok(()),
        }
    }

    fn judge(&self, authorization: &Authorization, user: &UserInfo) -> Value {
        let any = |text: &str| if text.is_empty() { "*".to_owned() } else { text.to_owned() };
        let (decision, reason) = match (&self.resource_attributes, &self.non_resource_attributes) {
            (Some(asked), _) => {
                let version = any(&asked.version);
                authorization.judge(&Attributes {
                    user,
                    verb: &asked.verb,
                    group: &asked.group,
                    version: &version,
                    resource: &asked.resource,
                    subresource: &asked.subresource,
                    namespace: &asked.namespace,
                    name: &asked.name,
                    is_resource: true,
                    path: "",
                })
            }
            (None, asked) => authorization.judge(&Attributes {
                user,
                verb: asked.as_ref().map_or("", |asked| &asked.verb),
                group: "",
                version: "",
                resource: "",
                subresource: "",
                namespace: "",
                name: "",
                is_resource: false,
                path: asked.as_ref().map_or("", |asked| &asked.path),
            }),
        };
        let mut status = json!({ "allowed": decision == Decision::Allow });
        if matches!(decision, Decision::Deny(_)) {
            status["denied"] = true.into();
        }
        if !reason.is_empty() {
            status["reason"] = reason.into();
        }
        status
    }
}

fn invalid(message: &str) -> StatusError {
    StatusError::bad_request(message)
}

/// SubjectAccessReview: may this user do that?
pub fn subject_access_review(authorization: &Authorization, mut object: Object) -> Result<Object, StatusError> {
    let spec = spec_of(&object)?;
    spec.check_attributes()?;
    let groups = spec.groups.clone().unwrap_or_default();
    if spec.user.is_empty() && groups.is_empty() {
        return Err(invalid("spec.user: Invalid value: \"\": at least one of user or group must be specified"));
    }
    let extra = spec.extra.clone().unwrap_or_default();
    let user = UserInfo { username: spec.user.clone(), uid: spec.uid.clone(), groups, extra };
    object.0.insert("status".into(), spec.judge(authorization, &user));
    Ok(object)
}

/// SelfSubjectAccessReview: may I do that?
pub fn self_subject_access_review(
    authorization: &Authorization,
    user: &UserInfo,
    mut object: Object,
) -> Result<Object, StatusError> {
    let spec = spec_of(&object)?;
    spec.check_attributes()?;
    object.0.insert("status".into(), spec.judge(authorization, user));
    Ok(object)
}

/// LocalSubjectAccessReview: may this user do that in this namespace?
pub fn local_subject_access_review(
    authorization: &Authorization,
    namespace: &str,
    object: Object,
) -> Result<Object, StatusError> {
    let spec = spec_of(&object)?;
    let Some(asked) = &spec.resource_attributes else {
        return Err(invalid(
            "spec.resourceAttributes: Invalid value: \"null\": must be specified in a LocalSubjectAccessReview",
        ));
    };
    if asked.namespace != namespace {
        return Err(StatusError::bad_request(format!(
            "spec.resourceAttributes.namespace must match namespace: {namespace}"
        )));
    }
    subject_access_review(authorization, object)
}

/// SelfSubjectRulesReview: what may I do in this namespace?
pub fn self_subject_rules_review(
    authorization: &Authorization,
    user: &UserInfo,
    mut object: Object,
) -> Result<Object, StatusError> {
    let spec = spec_of(&object)?;
    if spec.namespace.is_empty() {
        return Err(StatusError::bad_request("no namespace on request"));
    }
    let (rules, missing) = authorization.rules_for(user, &spec.namespace);
    let resources: Vec<&PolicyRule> = rules.iter().filter(|rule| !rule.resources.is_empty()).collect();
    let others: Vec<Value> = rules
        .iter()
        .filter(|rule| !rule.non_resource_urls.is_empty())
        .map(|rule| json!({ "verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls }))
        .collect();
    // The Node authorizer cannot list its rules: upstream says so the same way.
    let is_node = super::node::node_of(user).is_some();
    let mut status = json!({
        "resourceRules": resources, "nonResourceRules": others, "incomplete": is_node || !missing.is_empty(),
    });
    if is_node {
        status["evaluationError"] = "node authorizer does not support user rule resolution".into();
    } else if !missing.is_empty() {
        status["evaluationError"] = missing.join(", ").into();
    }
    object.0.insert("status".into(), status);
    Ok(object)
}

/// SelfSubjectReview: who am I?
pub fn self_subject_review(user: &UserInfo, mut object: Object) -> Result<Object, StatusError> {
    let user = serde_json::to_value(user).map_err(StatusError::internal)?;
    object.0.insert("status".into(), json!({ "userInfo": user }));
    Ok(object)
}

/// The resource as error texts name it.
pub fn group_resource(resource: &str) -> GroupResource {
    GroupResource::new("authorization.k8s.io", resource)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use store::suite::put;
    use store::{Embedded, Expect};

    struct Plain;

    impl store::Finish for Plain {
        fn finish(&self, _key: &str, written: &bytes::Bytes, _revision: store::Revision) -> store::Finished {
            store::Finished { value: written.clone(), attributes: Box::default() }
        }
    }

    async fn authorization() -> Authorization {
        let store = Embedded::in_memory(Arc::new(Plain));
        for (key, value) in [
            ("roles/shop/reader", json!({"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]})),
            (
                "rolebindings/shop/reader",
                json!({"roleRef": {"kind": "Role", "name": "reader"}, "subjects": [{"kind": "User", "name": "ann"}]}),
            ),
        ] {
            put(&*store, &format!("{}{key}", super::super::policy::PREFIX), Expect::Absent, &value.to_string()).await;
        }
        Authorization::new(store)
    }

    fn review(spec: Value) -> Object {
        Object::from_value(json!({"kind": "Review", "spec": spec})).expect("an object")
    }

    #[tokio::test]
    async fn reviews_answer_as_requests_would_be() {
        let authorization = authorization().await;
        let ann = UserInfo::new("ann", Vec::<String>::new());
        let ask = |namespace: &str| {
            let spec = json!({"resourceAttributes": {"namespace": namespace, "verb": "get", "resource": "pods"}});
            self_subject_access_review(&authorization, &ann, review(spec)).expect("a good review").0["status"].clone()
        };
        assert_eq!(
            ask("shop"),
            json!({"allowed": true, "reason": r#"RBAC: allowed by RoleBinding "reader/shop" of Role "reader" to User "ann""#})
        );
        assert_eq!(ask("other"), json!({"allowed": false}));

        let spec = json!({"user": "root", "groups": ["system:masters"], "nonResourceAttributes": {"path": "/metrics", "verb": "get"}});
        let answer = subject_access_review(&authorization, review(spec)).expect("a good review");
        assert_eq!(answer.0["status"], json!({"allowed": true}));
        assert!(subject_access_review(&authorization, review(json!({"user": "x"}))).is_err());
        let spec =
            json!({"user": "ann", "resourceAttributes": {"namespace": "shop", "verb": "get", "resource": "pods"}});
        assert!(local_subject_access_review(&authorization, "other", review(spec)).is_err());
    }

    #[tokio::test]
    async fn rules_are_listed() {
        let authorization = authorization().await;
        let ann = UserInfo::new("ann", Vec::<String>::new());
        let answer = self_subject_rules_review(&authorization, &ann, review(json!({"namespace": "shop"})));
        assert_eq!(
            answer.expect("a good review").0["status"],
            json!({
                "resourceRules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}],
                "nonResourceRules": [], "incomplete": false,
            })
        );
    }
}
