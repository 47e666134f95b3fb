//! [`Attributes`]: a request as those see it who judge it, whatever they judge.
//!
//! Made once, when it is known who asks and what for; audit, flow control, authorization and admission all look at
//! this one view.

use crate::{UserInfo, fields, labels};

/// What a request wants to do (upstream: `authorizer.Attributes`, `RequestDigest`).
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
    /// What a list, watch or deletecollection is limited to, where it says so.
    pub selectors: Option<&'a Selectors>,
}

/// What a list, watch or deletecollection is limited to (KEP-4601; upstream: `GetFieldSelector`, `GetLabelSelector`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selectors {
    /// By fields.
    pub fields: fields::Selector,
    /// By labels.
    pub labels: labels::Selector,
}

impl<'a> Attributes<'a> {
    /// A request of `user` that wants nothing yet.
    pub fn by(user: &'a UserInfo) -> Self {
        Self {
            user,
            verb: "",
            group: "",
            version: "",
            resource: "",
            subresource: "",
            namespace: "",
            name: "",
            is_resource: false,
            path: "",
            selectors: None,
        }
    }

    /// A request of `user` about a resource that is still to be named.
    pub fn on_resource(user: &'a UserInfo) -> Self {
        Self { is_resource: true, ..Self::by(user) }
    }
}
