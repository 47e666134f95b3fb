//! [`Authorizer`]: whether they may. The contract between the handler chain and RBAC, Node and the like.

use apimachinery::StatusError;
use async_trait::async_trait;

pub use apimachinery::{Attributes, Selectors};

/// An authorizer's judgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may happen.
    Allow,
    /// It must not happen, whatever others say.
    Deny(String),
    /// Not known here; with nobody to allow it, it does not happen.
    NoOpinion(String),
}

/// A judgement, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The judgement.
    pub decision: Decision,
    /// Why, for logs and reviews.
    pub reason: String,
}

/// Judges requests: called on every one.
#[async_trait]
pub trait Authorizer: Send + Sync + 'static {
    /// The judgement of what is in memory; who must ask another server has no opinion here.
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision;

    /// The judgement on a request, and why; asks other servers where it must.
    async fn judge(&self, attributes: &Attributes<'_>) -> Verdict {
        let decision = self.authorize(attributes);
        let reason = match &decision {
            Decision::Allow => String::new(),
            Decision::Deny(reason) | Decision::NoOpinion(reason) => reason.clone(),
        };
        Verdict { decision, reason }
    }
}

/// Lets a request pass, with the reason, or refuses it with upstream's words.
pub async fn require(authorizer: &dyn Authorizer, attributes: &Attributes<'_>) -> Result<String, StatusError> {
    let Verdict { decision, reason } = authorizer.judge(attributes).await;
    if decision == Decision::Allow { Ok(reason) } else { Err(forbidden(attributes, &reason)) }
}

/// The refusal of a request (upstream: `responsewriters.ForbiddenStatusError`).
pub fn forbidden(attributes: &Attributes<'_>, reason: &str) -> StatusError {
    let mut cause = forbidden_message(attributes);
    if !reason.is_empty() {
        cause = format!("{cause}: {reason}");
    }
    if !attributes.is_resource {
        return StatusError::new(403, "Forbidden", format!("forbidden: {cause}"));
    }
    let resource = apimachinery::GroupResource::new(attributes.group, attributes.resource);
    StatusError::forbidden(&resource, attributes.name, &cause)
}

/// Allows members of `system:masters` everything and others nothing: what holds before any role exists
/// (upstream: `NewPrivilegedGroups`).
#[derive(Clone, Copy, Debug, Default)]
pub struct PrivilegedGroup;

#[async_trait]
impl Authorizer for PrivilegedGroup {
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        if attributes.user.is_in("system:masters") { Decision::Allow } else { Decision::NoOpinion(String::new()) }
    }
}

/// The message of a refusal (upstream: endpoints/handlers/responsewriters/errors.go `forbiddenMessage`).
pub fn forbidden_message(attributes: &Attributes<'_>) -> String {
    let user = &attributes.user.username;
    if !attributes.is_resource {
        return format!("User {user:?} cannot {} path {:?}", attributes.verb, attributes.path);
    }
    let mut resource = attributes.resource.to_owned();
    if !attributes.subresource.is_empty() {
        resource = format!("{resource}/{}", attributes.subresource);
    }
    let scope = if attributes.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {:?}", attributes.namespace)
    };
    format!(
        "User {user:?} cannot {} resource {resource:?} in API group {:?} {scope}",
        attributes.verb, attributes.group
    )
}
