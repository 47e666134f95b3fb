//! Which requests a webhook or a policy is about: rules, selectors and the match policy
//! (upstream: apiserver/pkg/admission/plugin/policy/matching, plugin/webhook/predicates/{rules,namespace,object}).

use std::sync::Arc;

use api::Resource;
use apimachinery::labels::{Selector, SelectorError};
use apimachinery::{GroupVersionKind, Object, StatusError};
use serde_json::Value;

use super::{Operation, Request};

/// Criteria of a webhook or of `matchConstraints`, read once.
#[derive(Clone, Debug)]
pub struct Criteria {
    rules: Vec<Rule>,
    exclude: Vec<Rule>,
    namespaces: Selector,
    objects: Selector,
    /// Whether requests through other versions of a resource count as well (`matchPolicy: Equivalent`).
    equivalent: bool,
    /// Whether criteria without rules are about everything: bindings and policies, but no webhooks.
    rules_optional: bool,
}

/// Operations on resources.
#[derive(Clone, Debug)]
struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    scope: String,
    names: Vec<String>,
}

/// A request as the criteria wanted it: through which resource, and of which kind its objects are.
#[derive(Clone, Debug)]
pub struct Matched {
    /// The row of the version that the rules name.
    pub row: Arc<Resource>,
    /// The kind of the request's objects in that version.
    pub kind: GroupVersionKind,
}

fn texts(value: &Value, field: &str) -> Vec<String> {
    let list = value.get(field).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn rules(value: &Value, field: &str) -> Vec<Rule> {
    value.get(field).and_then(Value::as_array).into_iter().flatten().map(Rule::read).collect()
}

/// A selector that is missing selects everything.
fn selector(value: &Value, field: &str) -> Result<Selector, SelectorError> {
    match value.get(field) {
        None | Some(Value::Null) => Ok(Selector::everything()),
        Some(selector) => Selector::from_label_selector(Some(selector)),
    }
}

impl Rule {
    fn read(value: &Value) -> Self {
        Self {
            operations: texts(value, "operations"),
            groups: texts(value, "apiGroups"),
            versions: texts(value, "apiVersions"),
            resources: texts(value, "resources"),
            scope: value.get("scope").and_then(Value::as_str).unwrap_or("*").to_owned(),
            names: texts(value, "resourceNames"),
        }
    }

    /// Whether the rule is about the request, were it made through `row`.
    fn matches(&self, request: &Request<'_>, row: &Resource) -> bool {
        let any = |items: &[String], wanted: &str| items.iter().any(|item| item == "*" || item == wanted);
        let is_namespace = row.gvk.group.is_empty() && row.plural == "namespaces";
        let is_namespaced = !is_namespace && !request.namespace.is_empty();
        let in_scope = match self.scope.as_str() {
            "Namespaced" => is_namespaced,
            "Cluster" => !is_namespaced,
            _ => true,
        };
        in_scope
            && any(&self.operations, request.operation.name())
            && any(&self.groups, &row.gvk.group)
            && any(&self.versions, &row.gvk.version)
            && self.resources.iter().any(|pattern| {
                let (resource, subresource) = pattern.split_once('/').unwrap_or((pattern, ""));
                (resource == "*" || resource == row.plural)
                    && (subresource == "*" || subresource == request.subresource)
            })
            && (self.names.is_empty() || self.names.contains(&request.name))
    }
}

impl Criteria {
    /// `matchConstraints` of a policy or `matchResources` of a binding; without any, everything.
    pub fn of_policy(value: Option<&Value>) -> Result<Self, SelectorError> {
        let value = value.unwrap_or(&Value::Null);
        Self::read(value, "resourceRules", true)
    }

    /// The `rules` and selectors of a webhook.
    pub fn of_webhook(webhook: &Value) -> Result<Self, SelectorError> {
        Self::read(webhook, "rules", false)
    }

    fn read(value: &Value, field: &str, rules_optional: bool) -> Result<Self, SelectorError> {
        Ok(Self {
            rules: rules(value, field),
            exclude: rules(value, "excludeResourceRules"),
            namespaces: selector(value, "namespaceSelector")?,
            objects: selector(value, "objectSelector")?,
            equivalent: value.get("matchPolicy").and_then(Value::as_str) != Some("Exact"),
            rules_optional,
        })
    }

    /// Whether the request is among those meant, and in which version.
    ///
    /// What cannot be told (a namespace that cannot be read) is an error only where the rules are about the request.
    pub async fn matches(&self, request: &Request<'_>) -> Result<Option<Matched>, StatusError> {
        if !self.objects.is_empty() && !self.selects_object(request) {
            return Ok(None);
        }
        if self.find(&self.exclude, request).is_some() {
            return Ok(None);
        }
        let matched = if self.rules.is_empty() && self.rules_optional {
            Some(matched(request, find_row(request)))
        } else {
            self.find(&self.rules, request)
        };
        let Some(matched) = matched else { return Ok(None) };
        if !self.selects_namespace(request).await? {
            return Ok(None);
        }
        request.prepare(&matched.row).await?;
        Ok(Some(matched))
    }

    fn find(&self, rules: &[Rule], request: &Request<'_>) -> Option<Matched> {
        if rules.is_empty() {
            return None;
        }
        if rules.iter().any(|rule| rule.matches(request, request.row)) {
            return Some(matched(request, find_row(request)));
        }
        if !self.equivalent {
            return None;
        }
        let rows = request.cx.registry().rows();
        let prefix = request.row.key_prefix();
        let others = rows.all().iter().filter(|row| row.gvk != request.row.gvk && row.key_prefix() == prefix);
        let mut others = others.filter(|row| rules.iter().any(|rule| rule.matches(request, row)));
        others.next().map(|row| matched(request, row.clone()))
    }

    fn selects_object(&self, request: &Request<'_>) -> bool {
        let selects =
            |object: &Option<Object>| object.as_ref().is_some_and(|object| self.objects.matches_object(object));
        selects(&request.object) || selects(&request.old)
    }

    async fn selects_namespace(&self, request: &Request<'_>) -> Result<bool, StatusError> {
        if self.namespaces.is_empty() {
            return Ok(true);
        }
        let is_namespace = request.row.gvk.group.is_empty() && request.row.plural == "namespaces";
        if !is_namespace && request.namespace.is_empty() {
            return Ok(true);
        }
        let writes = matches!(request.operation, Operation::Create | Operation::Update);
        if is_namespace && writes && request.subresource.is_empty() {
            let object = request.object.as_ref();
            return Ok(object.is_some_and(|object| self.namespaces.matches_object(object)));
        }
        let name = if is_namespace { &request.name } else { request.namespace };
        let namespace = namespace(request, name).await?;
        Ok(self.namespaces.matches_object(&namespace))
    }
}

/// A namespace by name, or its 404.
pub async fn namespace(request: &Request<'_>, name: &str) -> Result<Object, StatusError> {
    let registry = request.cx.registry();
    let row = registry.row("", "v1", "namespaces")?;
    registry.find(&row, "", name).await?.ok_or_else(|| row.not_found(name))
}

/// The request's own row, shared.
fn find_row(request: &Request<'_>) -> Arc<Resource> {
    let gvk = &request.row.gvk;
    let rows = request.cx.registry().rows();
    let found = rows.find(&gvk.group, &gvk.version, &request.row.plural).cloned();
    let own: &Resource = request.row;
    found.unwrap_or_else(|| Arc::new(own.clone()))
}

fn matched(request: &Request<'_>, row: Arc<Resource>) -> Matched {
    let kind = kind_of(&row, request.subresource);
    Matched { row, kind }
}

/// The kind of the objects that requests to a subresource carry.
pub fn kind_of(row: &Resource, subresource: &str) -> GroupVersionKind {
    if subresource == "scale" && row.subresources.scale.is_some() {
        return GroupVersionKind::new("autoscaling", "v1", "Scale");
    }
    row.subresources.special(subresource).map_or_else(|| row.gvk.clone(), |special| special.body.clone())
}

impl Matched {
    /// An object of the request in the version that the criteria want.
    pub fn convert(&self, request: &Request<'_>, object: &Object) -> Object {
        request.shown(&self.row, object)
    }
}

/// Whether the request is about what configures admission itself, which no webhook and no policy may judge
/// (upstream: `IsExemptAdmissionConfigurationResource`).
pub fn is_exempt(row: &Resource) -> bool {
    row.gvk.group == "admissionregistration.k8s.io"
        && matches!(
            row.gvk.kind.as_str(),
            "ValidatingWebhookConfiguration"
                | "MutatingWebhookConfiguration"
                | "ValidatingAdmissionPolicy"
                | "ValidatingAdmissionPolicyBinding"
                | "MutatingAdmissionPolicy"
                | "MutatingAdmissionPolicyBinding"
        )
}
