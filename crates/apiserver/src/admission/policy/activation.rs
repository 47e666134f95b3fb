//! [`Input`]: what expressions see of a request (upstream: admission/plugin/cel/{activation,composition,condition}.go).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use apimachinery::{Object, UserInfo};
use k8s_cel::{Check, EvalError, Fields, Map, Meter, Question, Value, Variables};
use serde_json::{Value as Json, json};

use super::expression::Expression;
use super::questions::Questions;
use crate::admission::matching::{Matched, kind_of};
use crate::admission::{Operation, Request};

/// See the module.
pub(super) struct Input<'r> {
    object: Option<Object>,
    old: Option<Object>,
    request: Json,
    namespace: Option<Json>,
    params: Option<&'r Object>,
    questions: &'r Questions<'r>,
    resource: Question,
}

impl<'r> Input<'r> {
    /// A request, in the version that the criteria matched.
    pub(super) fn of(
        request: &'r Request<'_>,
        matched: &Matched,
        namespace: Option<&Object>,
        params: Option<&'r Object>,
        questions: &'r Questions<'r>,
    ) -> Self {
        let convert = |object: &Option<Object>| object.as_ref().map(|object| matched.convert(request, object));
        Self {
            object: convert(&request.object),
            old: convert(&request.old),
            request: describe(request, matched),
            namespace: namespace.map(exposed),
            params,
            questions,
            resource: Question {
                group: request.row.gvk.group.clone(),
                resource: request.row.plural.clone(),
                subresource: request.subresource.to_owned(),
                namespace: request.namespace.to_owned(),
                name: request.name.clone(),
                ..Question::default()
            },
        }
    }

    /// The object, in the version that the criteria matched.
    pub(super) fn object(&self) -> Option<&Object> {
        self.object.as_ref()
    }

    /// The variables that every expression may name.
    pub(super) fn variables(&self) -> Variables<'_> {
        Variables::default()
            .with("object", object_value(self.object.as_ref()))
            .with("oldObject", object_value(self.old.as_ref()))
            .with("request", Value::json(&self.request))
            .with("namespaceObject", self.namespace.as_ref().map_or(Value::Null, Value::json))
            .with("params", object_value(self.params))
            .with("authorizer", Check::by(self.questions))
            .with("authorizer.requestResource", Check::of_resource(self.questions, self.resource.clone()))
    }

    /// The same, with the policy's own variables.
    pub(super) fn with_composed<'a>(&'a self, composed: &'a [(String, Expression)]) -> Variables<'a> {
        let base = self.variables();
        if composed.is_empty() {
            return base;
        }
        let composition =
            Composition { composed, base: base.clone(), values: RefCell::default(), height: Cell::new(0) };
        base.with("variables", Value::Lazy(Rc::new(composition)))
    }
}

fn object_value(object: Option<&Object>) -> Value<'_> {
    object.map_or(Value::Null, |object| Value::Map(Map::Json { entries: &object.0, decl: None }))
}

/// The variable `request` (upstream: `CreateAdmissionRequest`).
fn describe(request: &Request<'_>, matched: &Matched) -> Json {
    let kind = |kind: &apimachinery::GroupVersionKind| json!({ "group": kind.group, "version": kind.version, "kind": kind.kind });
    let resource =
        |row: &api::Resource| json!({ "group": row.gvk.group, "version": row.gvk.version, "resource": row.plural });
    let user: &UserInfo = &request.cx.user;
    let options = match request.operation {
        Operation::Create => Some("CreateOptions"),
        Operation::Update => Some("UpdateOptions"),
        Operation::Delete => Some("DeleteOptions"),
        Operation::Connect => None,
    };
    let mut described = json!({
        "kind": kind(&matched.kind),
        "resource": resource(&matched.row),
        "requestKind": kind(&kind_of(request.row, request.subresource)),
        "requestResource": resource(request.row),
        "operation": request.operation.name(),
        "userInfo": { "username": user.username, "uid": user.uid, "groups": user.groups, "extra": user.extra },
        "dryRun": request.dry_run,
        "options": options.map(|kind| json!({ "apiVersion": "meta.k8s.io/v1", "kind": kind })),
    });
    for (field, value) in [
        ("subResource", request.subresource),
        ("requestSubResource", request.subresource),
        ("name", &request.name),
        ("namespace", request.namespace),
    ] {
        if !value.is_empty() {
            described[field] = value.into();
        }
    }
    described
}

/// The fields of a namespace that policies may see (upstream: `CreateNamespaceObject`).
fn exposed(namespace: &Object) -> Json {
    let mut metadata = namespace.metadata().cloned().unwrap_or_default();
    metadata.remove("managedFields");
    metadata.remove("ownerReferences");
    if let Some(uid) = metadata.remove("uid") {
        metadata.insert("UID".into(), uid);
    }
    json!({ "metadata": metadata, "spec": namespace.0.get("spec"), "status": namespace.0.get("status") })
}

/// Variables of a policy that are evaluated within one another, all together, may nest so deep: each gets the stack it
/// needs, and all of it is there at once.
const MAX_HEIGHT: u16 = 2_000;

/// The policy's own variables: each is evaluated when it is first named.
struct Composition<'a> {
    composed: &'a [(String, Expression)],
    base: Variables<'a>,
    values: RefCell<HashMap<&'a str, Result<Value<'a>, EvalError>>>,
    height: Cell<u16>,
}

impl std::fmt::Debug for Composition<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Composition").field("variables", &self.composed.len()).finish_non_exhaustive()
    }
}

impl<'a> Fields<'a> for Composition<'a> {
    fn field(self: Rc<Self>, name: &str, meter: &mut Meter) -> Option<Result<Value<'a>, EvalError>> {
        let (name, expression) = self.composed.iter().find(|(known, _)| known == name)?;
        if let Some(known) = self.values.borrow().get(name.as_str()) {
            return Some(known.clone());
        }
        let failed = |words: &str| Err(EvalError::Function(format!("composited variable {name:?} fails to {words}")));
        let program = match expression.problem() {
            Some(problem) => return Some(failed(&format!("compile: {problem}"))),
            None => expression.program()?,
        };
        // Until it has a value the variable may not be asked for its own.
        self.values.borrow_mut().insert(name, failed("evaluate: it names itself"));
        let above = self.height.get();
        let height = above.saturating_add(program.height());
        let result = if height > MAX_HEIGHT {
            failed("evaluate: variables nest too deeply")
        } else {
            self.height.set(height);
            let variables = self.base.clone().with("variables", Value::Lazy(self.clone()));
            program.evaluate_part(&variables, meter)
        };
        self.height.set(above);
        let result = result.map_err(|error| match error {
            EvalError::Function(words) if words.starts_with("composited variable") => EvalError::Function(words),
            other if other.is_cancellation() => other,
            other => EvalError::Function(format!("composited variable {name:?} fails to evaluate: {other}")),
        });
        self.values.borrow_mut().insert(name, result.clone());
        Some(result)
    }
}
