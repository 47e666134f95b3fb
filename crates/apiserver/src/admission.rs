//! Admission: plugins that complete and judge every write before it is stored
//! (upstream: apiserver/pkg/admission, plugin/pkg/admission).
//!
//! Mutating plugins run first, each on what the one before left; validating ones then judge the result.
//! One plugin, one file. Deletes and the special subresources are only judged.

use std::sync::Arc;

use api::Resource;
use apimachinery::{Object, StatusError};
use async_trait::async_trait;

use crate::registry::Cx;

pub mod certificates;
pub mod default_toleration_seconds;
pub mod matching;
pub mod namespace_lifecycle;
pub mod node_restriction;
pub mod policy;
pub mod priority;
pub mod service_account;
pub mod taint_nodes_by_condition;

/// What is about to happen to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It is made.
    Create,
    /// It is changed.
    Update,
    /// It is removed.
    Delete,
    /// Something connects to it: exec, attach, port-forward, proxy.
    Connect,
}

impl Operation {
    /// The operation as rules and reviews name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// A write as plugins see it.
pub struct Request<'a> {
    /// The request it belongs to.
    pub cx: &'a Cx,
    /// The kind.
    pub row: &'a Resource,
    /// What happens.
    pub operation: Operation,
    /// The namespace, or empty.
    pub namespace: &'a str,
    /// The name, or empty where it is not made yet.
    pub name: String,
    /// The subresource, or empty.
    pub subresource: &'a str,
    /// The object as it will be; none at a delete.
    pub object: Option<Object>,
    /// The object as it stands; none at a create.
    pub old: Option<Object>,
    /// Nothing will be written.
    pub dry_run: bool,
}

impl Request<'_> {
    /// Whether this is about the main resource of a kind of a group.
    pub fn is_main(&self, group: &str, kind: &str) -> bool {
        self.subresource.is_empty() && self.row.gvk.group == group && self.row.gvk.kind == kind
    }

    /// Whether this creates an object of a kind of a group.
    pub fn creates(&self, group: &str, kind: &str) -> bool {
        self.operation == Operation::Create && self.is_main(group, kind)
    }

    /// The plugin's refusal, as upstream's `admission.NewForbidden`.
    pub fn forbidden(&self, cause: impl std::fmt::Display) -> StatusError {
        StatusError::forbidden(&self.row.group_resource(), &self.name, &cause.to_string())
    }
}

/// A plugin. Every default lets the request pass.
#[async_trait]
pub trait Plugin: Send + Sync {
    /// Upstream's name of the plugin.
    fn name(&self) -> &'static str;

    /// Completes the object.
    async fn admit(&self, _request: &mut Request<'_>) -> Result<(), StatusError> {
        Ok(())
    }

    /// Judges the object.
    async fn validate(&self, _request: &Request<'_>) -> Result<(), StatusError> {
        Ok(())
    }
}

/// The plugins, in order.
#[derive(Clone)]
pub struct Chain {
    plugins: Arc<[Box<dyn Plugin>]>,
}

impl Chain {
    /// A chain of these plugins.
    pub fn new(plugins: Vec<Box<dyn Plugin>>) -> Self {
        Self { plugins: plugins.into() }
    }

    /// The built-in plugins, followed by `further` ones; upstream's order (pkg/kubeapiserver/options/plugins.go).
    pub fn built_in(further: Vec<Box<dyn Plugin>>) -> Self {
        let mut plugins: Vec<Box<dyn Plugin>> = vec![
            Box::new(namespace_lifecycle::NamespaceLifecycle),
            Box::new(service_account::ServiceAccount),
            Box::new(node_restriction::NodeRestriction),
            Box::new(taint_nodes_by_condition::TaintNodesByCondition),
            Box::new(priority::Priority),
            Box::new(default_toleration_seconds::DefaultTolerationSeconds),
        ];
        plugins.extend(further);
        Self::new(plugins)
    }

    /// Lets every plugin complete the object, in order.
    pub async fn admit(&self, request: &mut Request<'_>) -> Result<(), StatusError> {
        for plugin in self.plugins.iter() {
            plugin.admit(request).await?;
        }
        Ok(())
    }

    /// Lets every plugin judge the object, in order.
    pub async fn validate(&self, request: &Request<'_>) -> Result<(), StatusError> {
        for plugin in self.plugins.iter() {
            plugin.validate(request).await?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.plugins.iter().map(|plugin| plugin.name())).finish()
    }
}
