//! How a row of the catalogue is written: [`GroupVersion`] opens it, the methods of [`Resource`] fill it.

use std::sync::Arc;

use apimachinery::GroupVersionKind;

use super::{Column, Plain, Resource, Scale, Scope, Special, Strategy, Subresources, Verbs};
use crate::columns;

/// A group and version, from which rows start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupVersion {
    /// The group; the core group is "".
    pub group: &'static str,
    /// The version, as `v1`.
    pub version: &'static str,
}

impl GroupVersion {
    /// A group and version.
    pub const fn new(group: &'static str, version: &'static str) -> Self {
        Self { group, version }
    }

    /// A row whose objects live in namespaces.
    pub fn namespaced(self, kind: &str, plural: &str) -> Resource {
        Resource::new(self.kind(kind), plural, Scope::Namespaced)
    }

    /// A row whose objects belong to the cluster.
    pub fn cluster(self, kind: &str, plural: &str) -> Resource {
        Resource::new(self.kind(kind), plural, Scope::Cluster)
    }

    /// The full name of a kind of this group and version.
    pub fn kind(self, kind: &str) -> GroupVersionKind {
        GroupVersionKind::new(self.group, self.version, kind)
    }
}

/// The verbs of a subresource that reads and writes part of the object.
const READ_WRITE: &[&str] = &["get", "patch", "update"];

impl Resource {
    /// A row with all verbs, no subresource, the columns Name and Created At, and the plain strategy.
    pub fn new(gvk: GroupVersionKind, plural: &str, scope: Scope) -> Self {
        Self {
            singular: gvk.kind.to_lowercase(),
            plural: plural.to_owned(),
            short_names: Vec::new(),
            categories: Vec::new(),
            scope,
            verbs: Verbs::All,
            subresources: Subresources::default(),
            storage_version: gvk.version.clone(),
            storage_group: gvk.group.clone(),
            selectable_fields: Vec::new(),
            columns: columns::basic(),
            strategy: Arc::new(Plain),
            custom: None,
            gvk,
        }
    }

    /// Short names.
    pub fn short(mut self, names: &[&str]) -> Self {
        self.short_names = names.iter().map(ToString::to_string).collect();
        self
    }

    /// A category, as `all`.
    pub fn category(mut self, name: &str) -> Self {
        self.categories.push(name.to_owned());
        self
    }

    /// Verbs other than all.
    pub fn verbs(mut self, verbs: Verbs) -> Self {
        self.verbs = verbs;
        self
    }

    /// Has `/status`.
    pub fn status(mut self) -> Self {
        self.subresources.status = true;
        self
    }

    /// Has `/scale`, at the places where the built-in kinds keep their replicas.
    pub fn scale(mut self) -> Self {
        self.subresources.scale = Some(Scale {
            spec_replicas: "spec.replicas".into(),
            status_replicas: "status.replicas".into(),
            selector: Some("spec.selector".into()),
        });
        self
    }

    /// Has a special subresource that takes or answers `body`.
    pub fn special(mut self, name: &'static str, verbs: &'static [&'static str], body: GroupVersionKind) -> Self {
        self.subresources.special.push(Special { name, body, verbs });
        self
    }

    /// Has a special subresource that reads and writes part of the object itself.
    pub fn part(self, name: &'static str) -> Self {
        let body = self.gvk.clone();
        self.special(name, READ_WRITE, body)
    }

    /// Is stored among the objects of another group and version.
    pub fn stored_as(mut self, group: &str, version: &str) -> Self {
        self.storage_group = group.to_owned();
        self.storage_version = version.to_owned();
        self
    }

    /// Field-selector paths beyond name and namespace.
    pub fn selectable(mut self, paths: &[&str]) -> Self {
        self.selectable_fields = paths.iter().map(ToString::to_string).collect();
        self
    }

    /// The columns of `kubectl get`.
    pub fn columns(mut self, columns: Vec<Column>) -> Self {
        self.columns = columns;
        self
    }

    /// What the kind does differently.
    pub fn strategy(mut self, strategy: impl Strategy + 'static) -> Self {
        self.strategy = Arc::new(strategy);
        self
    }
}
