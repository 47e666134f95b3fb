//! Groups of the community need an approval (upstream: apiextensions-apiserver/pkg/apihelpers/helpers.go).

use apimachinery::Object;
use apimachinery::field::{Error, Path};

use crate::conditions::Condition;

const ANNOTATION: &str = "api-approved.kubernetes.io";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Missing,
    Bypassed,
    Approved,
    Invalid,
}

fn is_protected(object: &Object) -> bool {
    let group = object.str_at(&["spec", "group"]).unwrap_or_default();
    ["k8s.io", "kubernetes.io"].iter().any(|own| group == *own || group.ends_with(&format!(".{own}")))
}

fn annotation(object: &Object) -> &str {
    object.annotations().find(|(key, _)| *key == ANNOTATION).map(|(_, value)| value).unwrap_or_default()
}

fn state(object: &Object) -> (State, String) {
    let text = annotation(object);
    let has_host = text.split_once("://").is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty());
    const SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";
    match text {
        "" => (State::Missing, format!("protected groups must have approval annotation {ANNOTATION:?}, {SEE}")),
        text if text.starts_with("unapproved") => (State::Bypassed, format!("not approved: {text:?}")),
        text if has_host && !text.contains(' ') => (State::Approved, format!("approved in {text}")),
        _ => (
            State::Invalid,
            format!(
                "protected groups must have approval annotation {ANNOTATION:?} with either a URL or a reason starting \
                 with \"unapproved\", {SEE}"
            ),
        ),
    }
}

/// What is wrong with the approval; one that an update leaves as it was is not judged.
pub(super) fn validate(object: &Object, old: Option<&Object>) -> Option<Error> {
    let (now, reason) = state(object);
    if !is_protected(object) || old.is_some_and(|old| state(old).0 == now) {
        return None;
    }
    let path = Path::new("metadata").child("annotations").key(ANNOTATION);
    match now {
        State::Approved | State::Bypassed => None,
        State::Missing => Some(Error::required(&path, reason)),
        State::Invalid => Some(Error::invalid(&path, annotation(object), reason)),
    }
}

/// `KubernetesAPIApprovalPolicyConformant` of a definition in such a group
/// (upstream: pkg/controller/apiapproval/apiapproval_controller.go).
pub fn condition(object: &Object) -> Option<Condition> {
    let (state, message) = is_protected(object).then(|| state(object))?;
    let (holds, reason) = match state {
        State::Approved => (true, "ApprovedAnnotation"),
        State::Bypassed => (false, "UnapprovedAnnotation"),
        State::Missing => (false, "MissingAnnotation"),
        State::Invalid => (false, "InvalidAnnotation"),
    };
    Some(Condition::new("KubernetesAPIApprovalPolicyConformant", holds, reason, message))
}
