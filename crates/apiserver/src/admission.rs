//! Admission: plugins that complete and judge every write before it is stored
//! (upstream: apiserver/pkg/admission, plugin/pkg/admission).
//!
//! Mutating plugins run first, each on what the one before left; validating ones then judge the result. A mutating
//! webhook or policy that changes the object may have the round run once more ([`reinvocation`]).
//! One plugin, one file; their order and which of them run is in [`plugins`].

use std::sync::Arc;

use api::Resource;
use apimachinery::{GroupVersionKind, Object, StatusError};
use async_trait::async_trait;
use component_base::metrics::Metrics;
use tokio::time::Instant;

use crate::registry::Cx;

pub mod config;
pub mod connect;
pub mod conversion;
pub mod plugins;
pub mod reinvocation;

mod cache;
mod metrics;

pub mod always;
pub mod always_pull_images;
pub mod certificates;
pub mod default_ingress_class;
pub mod default_storage_class;
pub mod default_toleration_seconds;
pub mod deny_service_external_ips;
pub mod dynamic_resources;
pub mod event_rate_limit;
pub mod extended_resource_toleration;
pub mod image_policy_webhook;
pub mod limit_pod_hard_anti_affinity_topology;
pub mod limit_ranger;
pub mod matching;
pub mod namespace_auto_provision;
pub mod namespace_exists;
pub mod namespace_lifecycle;
pub mod node_restriction;
pub mod owner_references_permission;
pub mod pod_node_selector;
pub mod pod_security;
pub mod pod_toleration_restriction;
pub mod pod_topology_labels;
pub mod policy;
pub mod priority;
pub mod pvc_resize;
pub mod resource_quota;
pub mod runtime_class;
pub mod service_account;
pub mod storage_protection;
pub mod taint_nodes_by_condition;
pub mod webhook;

pub use config::{Config, ConfigError};
use conversion::Conversions;
use metrics::{AdmissionMetrics, Latency, Step};
use reinvocation::Reinvocation;

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
    const ALL: [Self; 4] = [Self::Create, Self::Update, Self::Delete, Self::Connect];

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

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
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
    /// Whether mutating plugins are asked a second time.
    pub reinvocation: Reinvocation,
    /// The objects in other versions, once somebody asked for them.
    pub conversions: Conversions,
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

    /// Whether this creates or changes an object.
    pub fn writes(&self) -> bool {
        matches!(self.operation, Operation::Create | Operation::Update)
    }

    /// Whether this is about a resource of a group, or one of its subresources.
    pub fn is_resource(&self, group: &str, resource: &str) -> bool {
        self.row.gvk.group == group && self.row.plural == resource
    }

    /// The kind of the object that is admitted: of subresources it may differ from the resource's own.
    pub fn kind(&self) -> GroupVersionKind {
        if let Some(object) = self.object.as_ref().filter(|object| !object.kind().is_empty()) {
            return GroupVersionKind::from_api_version(object.api_version(), object.kind());
        }
        let special = self.row.subresources.special(self.subresource);
        special.map_or_else(|| self.row.gvk.clone(), |special| special.body.clone())
    }

    /// The plugin's refusal, as upstream's `admission.NewForbidden`.
    pub fn forbidden(&self, cause: impl std::fmt::Display) -> StatusError {
        StatusError::forbidden(&self.row.group_resource(), self.shown_name(), &cause.to_string())
    }

    /// Adds a note for the audit log.
    pub fn annotate(&self, key: &str, value: &str) {
        if let Some(trail) = &self.cx.trail {
            trail.annotate(key, value);
        }
    }

    /// Whether the audit log shows what the request carries.
    pub fn is_audited_in_full(&self) -> bool {
        self.cx.trail.as_ref().is_some_and(|trail| trail.wants_request())
    }

    /// The name, or what it will begin with (upstream: `extractResourceName`).
    fn shown_name(&self) -> &str {
        if !self.name.is_empty() {
            return &self.name;
        }
        let given = self.object.as_ref().map(|object| match object.name() {
            "" => object.meta_str("generateName"),
            name => name,
        });
        given.filter(|name| !name.is_empty()).unwrap_or("Unknown")
    }
}

/// The operations that concern a plugin, by step (upstream: `admission.Handler`, and which of the interfaces
/// `MutationInterface` and `ValidationInterface` it has). It is not asked about others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handles {
    admits: &'static [Operation],
    validates: &'static [Operation],
}

impl Handles {
    /// No operation at all.
    pub const NOTHING: Self = Self { admits: &[], validates: &[] };
    /// What is made.
    pub const CREATES: &'static [Operation] = &[Operation::Create];
    /// What is changed.
    pub const UPDATES: &'static [Operation] = &[Operation::Update];
    /// What is removed.
    pub const DELETES: &'static [Operation] = &[Operation::Delete];
    /// What is made or changed.
    pub const WRITES: &'static [Operation] = &[Operation::Create, Operation::Update];
    /// What is made, changed or removed.
    pub const CHANGES: &'static [Operation] = &[Operation::Create, Operation::Update, Operation::Delete];
    /// Whatever is done.
    pub const ALL: &'static [Operation] = &Operation::ALL;

    /// It completes objects of these operations, and no others.
    pub const fn admits(self, admits: &'static [Operation]) -> Self {
        Self { admits, ..self }
    }

    /// It judges objects of these operations, and no others.
    pub const fn validates(self, validates: &'static [Operation]) -> Self {
        Self { validates, ..self }
    }

    fn has(self, step: Step, operation: Operation) -> bool {
        match step {
            Step::Admit => self.admits.contains(&operation),
            Step::Validate => self.validates.contains(&operation),
        }
    }
}

/// A plugin. Every default lets the request pass.
#[async_trait]
pub trait Plugin: Send + Sync {
    /// Upstream's name of the plugin.
    fn name(&self) -> &'static str;

    /// What it is asked about.
    fn handles(&self) -> Handles;

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
    stages: Arc<[Stage]>,
    metrics: AdmissionMetrics,
}

/// One step of one operation: whom it concerns, and how long it takes.
struct Stage {
    handlers: Vec<Handler>,
    took: Latency,
}

/// A plugin's part of a stage.
struct Handler {
    /// Its place in the chain.
    plugin: usize,
    took: Latency,
}

impl Chain {
    /// A chain of these plugins.
    pub fn new(plugins: Vec<Box<dyn Plugin>>) -> Self {
        Self::with(plugins.into(), AdmissionMetrics::default())
    }

    /// The same chain, measured.
    pub fn measured(self, metrics: &Metrics) -> Self {
        Self::with(self.plugins, AdmissionMetrics::register(metrics))
    }

    fn with(plugins: Arc<[Box<dyn Plugin>]>, metrics: AdmissionMetrics) -> Self {
        let stage = |(step, operation)| {
            let concerned = plugins.iter().enumerate().filter(|(_, plugin)| plugin.handles().has(step, operation));
            let handlers = concerned.map(|(place, plugin)| Handler {
                plugin: place,
                took: metrics.controller(plugin.name(), step, operation),
            });
            Stage { handlers: handlers.collect(), took: metrics.step(step, operation) }
        };
        let stages = Step::ALL.iter().flat_map(|step| Operation::ALL.iter().map(|operation| (*step, *operation)));
        Self { stages: stages.map(stage).collect(), plugins, metrics }
    }

    fn stage(&self, step: Step, operation: Operation) -> &Stage {
        &self.stages[step as usize * Operation::ALL.len() + operation as usize]
    }

    /// Lets every plugin complete the object, in order; once more when one of them asks for it
    /// (upstream: admission/reinvocation.go).
    pub async fn admit(&self, request: &mut Request<'_>) -> Result<(), StatusError> {
        self.round(request).await?;
        if request.reinvocation.begin_again() {
            self.round(request).await?;
        }
        Ok(())
    }

    async fn round(&self, request: &mut Request<'_>) -> Result<(), StatusError> {
        let stage = self.stage(Step::Admit, request.operation);
        let mut watch = StopWatch::start();
        for handler in &stage.handlers {
            let admitted = self.plugins[handler.plugin].admit(request).await;
            watch.lap(&handler.took, admitted.is_err());
            if admitted.is_err() {
                watch.stop(&stage.took, true);
                return admitted;
            }
        }
        watch.stop(&stage.took, false);
        Ok(())
    }

    /// Lets every plugin judge the object, in order.
    pub async fn validate(&self, request: &Request<'_>) -> Result<(), StatusError> {
        let stage = self.stage(Step::Validate, request.operation);
        let mut watch = StopWatch::start();
        for handler in &stage.handlers {
            let judged = self.plugins[handler.plugin].validate(request).await;
            watch.lap(&handler.took, judged.is_err());
            if judged.is_err() {
                watch.stop(&stage.took, true);
                return judged;
            }
        }
        watch.stop(&stage.took, false);
        Ok(())
    }
}

/// Measures a stage. A plugin begins where the one before it ended, so that the clock is read once for each.
struct StopWatch {
    began: Instant,
    last: Instant,
}

impl StopWatch {
    fn start() -> Self {
        let now = Instant::now();
        Self { began: now, last: now }
    }

    /// A plugin is done.
    fn lap(&mut self, took: &Latency, rejected: bool) {
        let now = Instant::now();
        took.observe(rejected, now - self.last);
        self.last = now;
    }

    /// The last plugin is done.
    fn stop(&self, took: &Latency, rejected: bool) {
        took.observe(rejected, self.last - self.began);
    }
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.plugins.iter().map(|plugin| plugin.name())).finish()
    }
}
