//! What ReplicaSet and ReplicationController have in common.

use client::informer::Cacheable;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{
    PodTemplateSpec, ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use kube::Resource;

/// A condition of either kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// As `ReplicaFailure`.
    pub type_: String,
    /// True, False or Unknown.
    pub status: String,
    /// In one word.
    pub reason: Option<String>,
    /// In a sentence.
    pub message: Option<String>,
    /// When the status changed.
    pub last_transition_time: Option<Time>,
}

/// The status of either kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// Pods there are.
    pub replicas: i32,
    /// Those with all labels of the template.
    pub fully_labeled: i32,
    /// Those ready.
    pub ready: i32,
    /// Those ready for long enough.
    pub available: i32,
    /// Pods being deleted.
    pub terminating: Option<i32>,
    /// The generation this describes.
    pub observed_generation: i64,
    /// The conditions.
    pub conditions: Vec<Condition>,
}

/// A kind that wants so many pods of a template.
pub trait Workload: Cacheable + Resource<Scope = NamespaceResourceScope> + serde::Serialize {
    /// Names the controller in logs.
    const CONTROLLER: &'static str;
    /// How many pods are wanted.
    fn desired(&self) -> i32;
    /// Which pods are meant; empty means none.
    fn selector(&self) -> LabelSelector;
    /// What the pods are made from.
    fn template(&self) -> Option<&PodTemplateSpec>;
    /// How long a pod must be ready to be available.
    fn min_ready_seconds(&self) -> i32;
    /// The status as written.
    fn status(&self) -> Status;
    /// The same object with another status.
    fn with_status(&self, status: Status) -> Self;
}

impl Workload for ReplicaSet {
    const CONTROLLER: &'static str = "replicaset";

    fn desired(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }

    fn selector(&self) -> LabelSelector {
        self.spec.selector.clone()
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.template.as_ref()
    }

    fn min_ready_seconds(&self) -> i32 {
        self.spec.min_ready_seconds.unwrap_or(0)
    }

    fn status(&self) -> Status {
        let status = self.status.clone().unwrap_or_default();
        let condition = |one: ReplicaSetCondition| Condition {
            type_: one.type_.unwrap_or_default(),
            status: one.status.unwrap_or_default(),
            reason: one.reason,
            message: one.message,
            last_transition_time: one.last_transition_time,
        };
        Status {
            replicas: status.replicas,
            fully_labeled: status.fully_labeled_replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            terminating: status.terminating_replicas,
            observed_generation: status.observed_generation.unwrap_or(0),
            conditions: status.conditions.into_iter().flatten().map(condition).collect(),
        }
    }

    fn with_status(&self, status: Status) -> Self {
        let condition = |one: Condition| ReplicaSetCondition {
            type_: Some(one.type_),
            status: Some(one.status),
            reason: one.reason,
            message: one.message,
            last_transition_time: one.last_transition_time,
        };
        let mut changed = self.clone();
        changed.status = Some(ReplicaSetStatus {
            replicas: status.replicas,
            fully_labeled_replicas: unless_zero(status.fully_labeled),
            ready_replicas: unless_zero(status.ready),
            available_replicas: unless_zero(status.available),
            terminating_replicas: status.terminating,
            observed_generation: Some(status.observed_generation),
            conditions: unless_empty(status.conditions.into_iter().map(condition).collect()),
        });
        changed
    }
}

impl Workload for ReplicationController {
    const CONTROLLER: &'static str = "replication-controller";

    fn desired(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
    }

    fn selector(&self) -> LabelSelector {
        let labels = self.spec.as_ref().and_then(|spec| spec.selector.clone());
        LabelSelector { match_labels: labels, match_expressions: None }
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }

    fn min_ready_seconds(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0)
    }

    fn status(&self) -> Status {
        let status = self.status.clone().unwrap_or_default();
        let condition = |one: ReplicationControllerCondition| Condition {
            type_: one.type_,
            status: one.status,
            reason: one.reason,
            message: one.message,
            last_transition_time: one.last_transition_time,
        };
        Status {
            replicas: status.replicas,
            fully_labeled: status.fully_labeled_replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            terminating: None,
            observed_generation: status.observed_generation.unwrap_or(0),
            conditions: status.conditions.into_iter().flatten().map(condition).collect(),
        }
    }

    fn with_status(&self, status: Status) -> Self {
        let condition = |one: Condition| ReplicationControllerCondition {
            type_: one.type_,
            status: one.status,
            reason: one.reason,
            message: one.message,
            last_transition_time: one.last_transition_time,
        };
        let mut changed = self.clone();
        changed.status = Some(ReplicationControllerStatus {
            replicas: status.replicas,
            fully_labeled_replicas: unless_zero(status.fully_labeled),
            ready_replicas: unless_zero(status.ready),
            available_replicas: unless_zero(status.available),
            observed_generation: Some(status.observed_generation),
            conditions: unless_empty(status.conditions.into_iter().map(condition).collect()),
        });
        changed
    }
}

fn unless_zero(number: i32) -> Option<i32> {
    (number != 0).then_some(number)
}

fn unless_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}
