//! Access reviews: somebody asks whether they, or others, may do something
//! (upstream: pkg/registry/authorization/*, pkg/registry/authentication/selfsubjectreview).
//!
//! Pure: the object of the request in, the answered object out. The routes are in [`crate::access`].

use apimachinery::field::{self, Path};
use apimachinery::{GroupKind, Object, StatusError, UserInfo, fields, labels};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Authorization;
use super::rule::PolicyRule;
use crate::authorizer::{Attributes, Authorizer, Decision, Selectors};

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
#[serde(default, rename_all = "camelCase")]
struct ResourceAttributes {
    namespace: String,
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    name: String,
    field_selector: Option<SelectorAttributes>,
    label_selector: Option<SelectorAttributes>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SelectorAttributes {
    raw_selector: String,
    requirements: Option<Vec<Requirement>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Requirement {
    key: String,
    operator: String,
    values: Option<Vec<String>>,
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
    fn wrong_attributes(&self) -> Vec<field::Error> {
        let path = Path::new("spec");
        match (&self.resource_attributes, &self.non_resource_attributes) {
            (Some(_), Some(_)) => vec![field::Error::invalid(
                &path.child("nonResourceAttributes"),
                Value::Null,
                "cannot be specified in combination with resourceAttributes",
            )],
            (None, None) => vec![field::Error::invalid(
                &path.child("resourceAttributes"),
                Value::Null,
                "exactly one of nonResourceAttributes or resourceAttributes must be specified",
            )],
            (Some(asked), None) => asked.wrong_selectors(&path.child("resourceAttributes")),
            (None, Some(_)) => Vec::new(),
        }
    }

    fn wrong_user(&self) -> Option<field::Error> {
        let nobody = self.user.is_empty() && self.groups.as_ref().is_none_or(Vec::is_empty);
        nobody.then(|| {
            field::Error::invalid(
                &Path::new("spec").child("user"),
                "",
                "at least one of user or group must be specified",
            )
        })
    }

    async fn judge(&self, authorization: &Authorization, user: &UserInfo) -> Value {
        let any = |text: &str| if text.is_empty() { "*".to_owned() } else { text.to_owned() };
        let (mut selectors, mut failure) = (None, None);
        let (version, none) = (self.resource_attributes.as_ref().map(|asked| any(&asked.version)), String::new());
        let mut attributes = Attributes {
            user,
            verb: "",
            group: "",
            version: version.as_ref().unwrap_or(&none),
            resource: "",
            subresource: "",
            namespace: "",
            name: "",
            is_resource: self.resource_attributes.is_some(),
            path: "",
            selectors: None,
        };
        if let Some(asked) = &self.resource_attributes {
            (selectors, failure) = asked.selectors();
            attributes.verb = &asked.verb;
            attributes.group = &asked.group;
            attributes.resource = &asked.resource;
            attributes.subresource = &asked.subresource;
            attributes.namespace = &asked.namespace;
            attributes.name = &asked.name;
        } else if let Some(asked) = &self.non_resource_attributes {
            attributes.verb = &asked.verb;
            attributes.path = &asked.path;
        }
        attributes.selectors = selectors.as_ref();
        let verdict = authorization.judge(&attributes).await;
        let mut status = json!({ "allowed": verdict.decision == Decision::Allow });
        if matches!(verdict.decision, Decision::Deny(_)) {
            status["denied"] = true.into();
        }
        if !verdict.reason.is_empty() {
            status["reason"] = verdict.reason.into();
        }
        if let Some(failure) = failure {
            status["evaluationError"] = failure.into();
        }
        status
    }
}

impl ResourceAttributes {
    fn wrong_selectors(&self, path: &Path) -> Vec<field::Error> {
        let mut errors = Vec::new();
        for (name, selector) in [("fieldSelector", &self.field_selector), ("labelSelector", &self.label_selector)] {
            let (Some(selector), path) = (selector, path.child(name)) else { continue };
            let requirements = selector.requirements.as_deref().unwrap_or_default();
            match (selector.raw_selector.is_empty(), requirements.is_empty()) {
                (false, false) => {
                    let detail = "may not specified at the same time as requirements";
                    errors.push(field::Error::invalid(
                        &path.child("rawSelector"),
                        selector.raw_selector.clone(),
                        detail,
                    ));
                }
                (true, true) => {
                    let detail = format!("when {path} is specified, requirements or rawSelector is required");
                    errors.push(field::Error::required(&path.child("requirements"), detail));
                }
                _ => {}
            }
            for (index, requirement) in requirements.iter().enumerate() {
                let path = path.child("requirements").index(index);
                if requirement.key.is_empty() {
                    errors.push(field::Error::required(&path.child("key"), "must be specified"));
                }
                if requirement.operator.is_empty() {
                    errors.push(field::Error::required(&path.child("operator"), "must be specified"));
                }
            }
        }
        errors
    }

    /// The selectors, and what of them cannot be understood: authorizers then judge as if it were not limited.
    fn selectors(&self) -> (Option<Selectors>, Option<String>) {
        if self.field_selector.is_none() && self.label_selector.is_none() {
            return (None, None);
        }
        let (mut selectors, mut failure) = (Selectors::default(), None);
        if let Some(selector) = &self.field_selector {
            match fields::Selector::parse(&selector.text(true)) {
                Ok(parsed) => selectors.fields = parsed,
                Err(error) => failure = Some(format!("spec.resourceAttributes.fieldSelector ignored: {error}")),
            }
        }
        if let Some(selector) = &self.label_selector {
            match labels::Selector::parse(&selector.text(false)) {
                Ok(parsed) => selectors.labels = parsed,
                Err(error) => failure = Some(format!("spec.resourceAttributes.labelSelector ignored: {error}")),
            }
        }
        (Some(selectors), failure)
    }
}

impl SelectorAttributes {
    /// The selector as text; of fields only what equals one value, or does not, can be told.
    fn text(&self, of_fields: bool) -> String {
        if !self.raw_selector.is_empty() {
            return self.raw_selector.clone();
        }
        let term = |one: &Requirement| {
            let values = one.values.as_deref().unwrap_or_default();
            match (one.operator.as_str(), values) {
                ("In", [value]) if of_fields => Some(format!("{}={}", one.key, fields::escape(value))),
                ("NotIn", [value]) if of_fields => Some(format!("{}!={}", one.key, fields::escape(value))),
                _ if of_fields => None,
                ("In", values) => Some(format!("{} in ({})", one.key, values.join(","))),
                ("NotIn", values) => Some(format!("{} notin ({})", one.key, values.join(","))),
                ("Exists", _) => Some(one.key.clone()),
                ("DoesNotExist", _) => Some(format!("!{}", one.key)),
                _ => None,
            }
        };
        let terms: Vec<String> = self.requirements.iter().flatten().filter_map(term).collect();
        terms.join(",")
    }
}

fn refuse_if_invalid(kind: &str, errors: &[field::Error]) -> Result<(), StatusError> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(StatusError::invalid(&GroupKind::new("authorization.k8s.io", kind), "", errors))
}

/// SubjectAccessReview: may this user do that?
pub async fn subject_access_review(authorization: &Authorization, object: Object) -> Result<Object, StatusError> {
    review("SubjectAccessReview", authorization, object).await
}

async fn review(kind: &str, authorization: &Authorization, mut object: Object) -> Result<Object, StatusError> {
    let spec = spec_of(&object)?;
    let mut errors = spec.wrong_attributes();
    errors.extend(spec.wrong_user());
    refuse_if_invalid(kind, &errors)?;
    let groups = spec.groups.clone().unwrap_or_default();
    let extra = spec.extra.clone().unwrap_or_default();
    let user = UserInfo { username: spec.user.clone(), uid: spec.uid.clone(), groups, extra };
    object.0.insert("status".into(), spec.judge(authorization, &user).await);
    Ok(object)
}

/// SelfSubjectAccessReview: may I do that?
pub async fn self_subject_access_review(
    authorization: &Authorization,
    user: &UserInfo,
    mut object: Object,
) -> Result<Object, StatusError> {
    let spec = spec_of(&object)?;
    refuse_if_invalid("SelfSubjectAccessReview", &spec.wrong_attributes())?;
    object.0.insert("status".into(), spec.judge(authorization, user).await);
    Ok(object)
}

/// LocalSubjectAccessReview: may this user do that in this namespace?
pub async fn local_subject_access_review(
    authorization: &Authorization,
    namespace: &str,
    object: Object,
) -> Result<Object, StatusError> {
    const KIND: &str = "LocalSubjectAccessReview";
    let spec = spec_of(&object)?;
    let path = Path::new("spec");
    if spec.non_resource_attributes.is_some() {
        let path = path.child("nonResourceAttributes");
        refuse_if_invalid(KIND, &[field::Error::invalid(&path, Value::Null, "disallowed on this kind of request")])?;
    }
    if let Some(asked) = spec.resource_attributes.as_ref().filter(|asked| asked.namespace != namespace) {
        let path = path.child("resourceAttributes").child("namespace");
        let error = field::Error::invalid(&path, asked.namespace.clone(), "must match metadata.namespace");
        refuse_if_invalid(KIND, &[error])?;
    }
    review(KIND, authorization, object).await
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
    let (rules, gaps) = authorization.resolvable_rules(user, &spec.namespace);
    let resources: Vec<&PolicyRule> = rules.iter().filter(|rule| !rule.resources.is_empty()).collect();
    let others: Vec<Value> = rules
        .iter()
        .filter(|rule| !rule.non_resource_urls.is_empty())
        .map(|rule| json!({ "verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls }))
        .collect();
    let mut status = json!({
        "resourceRules": resources, "nonResourceRules": others, "incomplete": !gaps.is_empty(),
    });
    if !gaps.is_empty() {
        status["evaluationError"] = gaps.join(", ").into();
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use store::suite::put;
    use store::{Embedded, Expect};

    struct Plain;

    impl store::Finish for Plain {
        fn finish(&self, _key: &str, written: &bytes::Bytes, _revision: store::Revision) -> store::Finished {
            store::Finished { value: written.clone(), attributes: store::Pairs::default() }
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

    fn asking(spec: Value) -> Object {
        Object::from_value(json!({"kind": "Review", "spec": spec})).expect("an object")
    }

    #[tokio::test]
    async fn reviews_answer_as_requests_would_be() {
        let authorization = authorization().await;
        let ann = UserInfo::new("ann", Vec::<String>::new());
        let ask = async |namespace: &str| {
            let spec = json!({"resourceAttributes": {"namespace": namespace, "verb": "get", "resource": "pods"}});
            let answer = self_subject_access_review(&authorization, &ann, asking(spec)).await;
            answer.expect("a good review").0["status"].clone()
        };
        assert_eq!(
            ask("shop").await,
            json!({"allowed": true, "reason": r#"RBAC: allowed by RoleBinding "reader/shop" of Role "reader" to User "ann""#})
        );
        assert_eq!(ask("other").await, json!({"allowed": false}));

        let spec = json!({"user": "root", "groups": ["system:masters"], "nonResourceAttributes": {"path": "/metrics", "verb": "get"}});
        let answer = subject_access_review(&authorization, asking(spec)).await.expect("a good review");
        assert_eq!(answer.0["status"], json!({"allowed": true}));
        assert_eq!(
            subject_access_review(&authorization, asking(json!({"user": "x"}))).await.expect_err("no").code,
            422
        );
        let spec =
            json!({"user": "ann", "resourceAttributes": {"namespace": "shop", "verb": "get", "resource": "pods"}});
        let error = local_subject_access_review(&authorization, "other", asking(spec)).await.expect_err("elsewhere");
        assert!(error.message.contains("must match metadata.namespace"), "{}", error.message);
        let both = json!({"rawSelector": "a=b", "requirements": [{"key": "a", "operator": "In", "values": ["b"]}]});
        let spec = json!({"resourceAttributes": {"verb": "list", "resource": "pods", "fieldSelector": both}});
        let error = self_subject_access_review(&authorization, &ann, asking(spec)).await.expect_err("contradictory");
        assert!(error.message.contains("may not specified at the same time as requirements"), "{}", error.message);
    }

    #[tokio::test]
    async fn rules_are_listed() {
        let authorization = authorization().await;
        let ann = UserInfo::new("ann", Vec::<String>::new());
        let answer = self_subject_rules_review(&authorization, &ann, asking(json!({"namespace": "shop"})));
        assert_eq!(
            answer.expect("a good review").0["status"],
            json!({
                "resourceRules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}],
                "nonResourceRules": [], "incomplete": false,
            })
        );
    }
}
