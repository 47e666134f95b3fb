//! What each kind does differently, one file a kind or a family of small ones.
//!
//! Defaults follow upstream's pkg/apis/*/v1/defaults.go, rules pkg/apis/*/validation, what is cleared and restored
//! pkg/registry/*/*/strategy.go. All of it walks the JSON in place: see [`crate::json`].

mod admission;
mod autoscaling;
mod certificates;
mod config_map;
mod coordination;
mod cron_job;
mod daemon_set;
mod data;
mod deployment;
mod discovery;
mod event;
mod flowcontrol;
mod job;
mod namespace;
mod networking;
mod node;
mod pod;
mod policy;
mod quota;
mod rbac;
mod replica_set;
mod replication_controller;
mod required;
mod scheduling;
mod secret;
mod service;
mod stateful_set;
mod storage;
mod volume;
mod workload;

pub(crate) use admission::{Policy, PolicyBinding, WebhookConfiguration};
pub(crate) use autoscaling::HorizontalPodAutoscaler;
pub(crate) use certificates::{CertificateSigningRequest, TrustBundle};
pub(crate) use config_map::ConfigMap;
pub(crate) use coordination::Lease;
pub(crate) use cron_job::CronJob;
pub(crate) use daemon_set::DaemonSet;
pub(crate) use data::Data;
pub(crate) use deployment::Deployment;
pub(crate) use discovery::{EndpointSlice, Endpoints};
pub(crate) use event::Event;
pub(crate) use flowcontrol::{FlowSchema, PriorityLevel};
pub(crate) use job::Job;
pub(crate) use namespace::Namespace;
pub(crate) use networking::{Ingress, IngressClass, IpAddress, NetworkPolicy, ServiceCidr};
pub(crate) use node::Node;
pub(crate) use pod::Pod;
pub(crate) use policy::PodDisruptionBudget;
pub(crate) use quota::{LimitRange, ResourceQuota};
pub(crate) use rbac::{Binding, Role};
pub(crate) use replica_set::ReplicaSet;
pub(crate) use replication_controller::ReplicationController;
pub(crate) use required::{PathNamed, Structure, Unversioned};
pub(crate) use scheduling::{PriorityClass, RuntimeClass};
pub(crate) use secret::Secret;
pub(crate) use service::Service;
pub(crate) use stateful_set::StatefulSet;
pub(crate) use storage::{CsiDriver, StorageClass};
pub(crate) use volume::{PersistentVolume, PersistentVolumeClaim};
pub(crate) use workload::PodTemplate;

#[cfg(test)]
mod tests;
