//! [`Authorizer`]: whether they may. The contract between the handler chain and RBAC, Node and the like.

use apimachinery::UserInfo;

use crate::request::RequestInfo;

/// What a request wants to do, as authorization sees it (upstream: `authorizer.Attributes`).
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    /// Who asks.
    pub user: &'a UserInfo,
    /// `get`, `list`, `create`...; for non-resource paths the HTTP method in lower case.
    pub verb: &'a str,
    /// The API group.
    pub group: &'a str,
    /// The version.
    pub version: &'a str,
    /// The resource, or empty.
    pub resource: &'a str,
    /// The subresource, or empty.
    pub subresource: &'a str,
    /// The namespace, or empty.
    pub namespace: &'a str,
    /// The name, or empty.
    pub name: &'a str,
    /// Whether this is about a resource; else `path` says what it is about.
    pub is_resource: bool,
    /// The path, for what is no resource.
    pub path: &'a str,
}

impl<'a> Attributes<'a> {
    /// The attributes of a request.
    pub fn of(user: &'a UserInfo, info: &'a RequestInfo) -> Self {
        Self {
            user,
            verb: &info.verb,
            group: &info.group,
            version: &info.version,
            resource: &info.resource,
            subresource: &info.subresource,
            namespace: &info.namespace,
            name: &info.name,
            is_resource: info.is_resource,
            path: &info.path,
        }
    }
}

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

/// Judges requests. Pure and in memory: called on every request.
pub trait Authorizer: Send + Sync + 'static {
    /// The judgement on a request.
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision;
}

/// Allows members of `system:masters` everything and others nothing: what holds before any role exists
/// (upstream: `NewPrivilegedGroups`).
#[derive(Clone, Copy, Debug, Default)]
pub struct PrivilegedGroup;

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
