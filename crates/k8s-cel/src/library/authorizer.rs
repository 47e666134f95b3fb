//! The variable `authorizer`: expressions ask whether somebody may do something
//! (upstream: apiserver/pkg/cel/library/authz.go).

use std::fmt;
use std::rc::Rc;

use apimachinery::validation;

use super::Called;
use crate::error::EvalError;
use crate::types::Opaque;
use crate::value::Value;

/// What an expression asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// Namespace and name of a service account that would act in place of the request's user.
    pub service_account: Option<(String, String)>,
    /// The path, where the question is about no resource.
    pub path: Option<String>,
    /// The API group.
    pub group: String,
    /// The resource.
    pub resource: String,
    /// The subresource, or empty.
    pub subresource: String,
    /// The namespace, or empty.
    pub namespace: String,
    /// The name, or empty.
    pub name: String,
    /// The field selector, or empty.
    pub field_selector: String,
    /// The label selector, or empty.
    pub label_selector: String,
    /// `get`, `list`, ...
    pub verb: String,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why.
    pub reason: String,
    /// What kept the authorizer from judging.
    pub error: Option<String>,
}

/// Answers questions.
pub trait Authorizer: fmt::Debug {
    /// Whether it may happen.
    fn judge(&self, question: &Question) -> Verdict;
}

/// A question on its way, or its answer.
#[derive(Clone, Debug)]
pub enum Check<'a> {
    /// A part of a question.
    Asking {
        /// How far it is.
        stage: Stage,
        /// What is known of it.
        question: Question,
        /// Who answers it.
        authorizer: &'a dyn Authorizer,
    },
    /// The answer.
    Decided(Verdict),
}

/// How far a question is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing is said.
    Authorizer,
    /// It is about a path.
    Path,
    /// The group is named.
    Group,
    /// The resource is named.
    Resource,
}

impl<'a> Check<'a> {
    /// The variable's value.
    pub fn by(authorizer: &'a dyn Authorizer) -> Value<'a> {
        let check = Self::Asking { stage: Stage::Authorizer, question: Question::default(), authorizer };
        Value::Check(Rc::new(check))
    }

    /// The question about the resource of the request itself, as `authorizer.requestResource`.
    pub fn of_resource(authorizer: &'a dyn Authorizer, question: Question) -> Value<'a> {
        Value::Check(Rc::new(Self::Asking { stage: Stage::Resource, question, authorizer }))
    }

    pub(crate) fn kind(&self) -> Opaque {
        match self {
            Self::Asking { stage: Stage::Authorizer, .. } => Opaque::Authorizer,
            Self::Asking { stage: Stage::Path, .. } => Opaque::PathCheck,
            Self::Asking { stage: Stage::Group, .. } => Opaque::GroupCheck,
            Self::Asking { stage: Stage::Resource, .. } => Opaque::ResourceCheck,
            Self::Decided(_) => Opaque::Decision,
        }
    }

    /// Calls a function of a question or an answer.
    pub(super) fn member(&self, function: &str, args: &[Value<'a>]) -> Called<'a> {
        match self {
            Self::Decided(verdict) => decided(verdict, function, args),
            Self::Asking { stage, question, authorizer } => {
                let texts: Vec<&str> = args.iter().map(Value::as_str).collect::<Option<_>>()?;
                let (stage, question) = match ask(*stage, question.clone(), function, &texts)? {
                    Ok(next) => next,
                    Err(error) => return Some(Err(error)),
                };
                let next = if function == "check" {
                    Self::Decided(authorizer.judge(&question))
                } else {
                    Self::Asking { stage, question, authorizer: *authorizer }
                };
                Some(Ok(Value::Check(Rc::new(next))))
            }
        }
    }
}

/// What the question becomes; `None` where it cannot go on like this.
fn ask(
    stage: Stage,
    mut question: Question,
    function: &str,
    args: &[&str],
) -> Option<Result<(Stage, Question), EvalError>> {
    let next = match (stage, function, args) {
        (Stage::Authorizer, "path", [path]) => {
            if path.trim().is_empty() {
                return Some(Err(EvalError::function("path must not be empty")));
            }
            question.path = Some((*path).to_owned());
            Stage::Path
        }
        (Stage::Authorizer, "group", [group]) => {
            question.group = (*group).to_owned();
            Stage::Group
        }
        (Stage::Authorizer, "serviceAccount", [namespace, name]) => {
            let name_errors = validation::name_is_dns_subdomain(name, false);
            if !name_errors.is_empty() {
                return Some(Err(EvalError::function("Invalid service account name")));
            }
            if !validation::name_is_dns_label(namespace, false).is_empty() {
                return Some(Err(EvalError::function("Invalid service account namespace")));
            }
            question.service_account = Some(((*namespace).to_owned(), (*name).to_owned()));
            Stage::Authorizer
        }
        (Stage::Group, "resource", [resource]) => {
            if resource.trim().is_empty() {
                return Some(Err(EvalError::function("resource must not be empty")));
            }
            question.resource = (*resource).to_owned();
            Stage::Resource
        }
        (Stage::Resource, "subresource", [value]) => put(&mut question.subresource, value),
        (Stage::Resource, "namespace", [value]) => put(&mut question.namespace, value),
        (Stage::Resource, "name", [value]) => put(&mut question.name, value),
        (Stage::Resource, "fieldSelector", [value]) => put(&mut question.field_selector, value),
        (Stage::Resource, "labelSelector", [value]) => put(&mut question.label_selector, value),
        (Stage::Resource | Stage::Path, "check", [verb]) => {
            question.verb = (*verb).to_owned();
            stage
        }
        _ => return None,
    };
    Some(Ok((next, question)))
}

fn put(field: &mut String, value: &str) -> Stage {
    *field = value.to_owned();
    Stage::Resource
}

fn decided<'a>(verdict: &Verdict, function: &str, args: &[Value<'a>]) -> Called<'a> {
    Some(Ok(match (function, args) {
        ("allowed", []) => Value::Bool(verdict.allowed),
        ("reason", []) => Value::from(verdict.reason.clone()),
        ("errored", []) => Value::Bool(verdict.error.is_some()),
        ("error", []) => Value::from(verdict.error.clone().unwrap_or_default()),
        _ => return None,
    }))
}
