//! What each kind does differently, one file a kind or a family of small ones.
//!
//! Defaults follow upstream's pkg/apis/*/v1/defaults.go, rules pkg/apis/*/validation, what is cleared and restored
//! pkg/registry/*/*/strategy.go. All of it walks the JSON in place: see [`crate::json`].

mod admission;
mod api_service;
mod autoscaling;
mod certificates;
mod config_map;
mod controller_revision;
mod coordination;
mod cron_job;
mod daemon_set;
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
mod resource;
mod scheduling;
mod secret;
mod service;
mod service_account;
mod stateful_set;
mod storage;
mod storage_migration;
mod volume;
mod webhooks;
mod workload;

pub(crate) use admission::{Policy, PolicyBinding};
pub(crate) use api_service::ApiService;
pub(crate) use autoscaling::HorizontalPodAutoscaler;
pub(crate) use certificates::{CertificateSigningRequest, PodCertificateRequest, TrustBundle};
pub(crate) use config_map::ConfigMap;
pub(crate) use controller_revision::ControllerRevision;
pub(crate) use coordination::Lease;
pub(crate) use cron_job::CronJob;
pub(crate) use daemon_set::DaemonSet;
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
pub(crate) use required::Structure;
pub(crate) use resource::{DeviceClass, DeviceTaintRule, ResourceClaim, ResourceClaimTemplate, ResourceSlice};
pub(crate) use scheduling::{PriorityClass, RuntimeClass};
pub(crate) use secret::Secret;
pub(crate) use service::Service;
pub(crate) use service_account::ServiceAccount;
pub(crate) use stateful_set::StatefulSet;
pub(crate) use storage::{
    CsiDriver, CsiNode, CsiStorageCapacity, StorageClass, VolumeAttachment, VolumeAttributesClass,
};
pub(crate) use storage_migration::StorageVersionMigration;
pub(crate) use volume::{PersistentVolume, PersistentVolumeClaim};
pub(crate) use webhooks::WebhookConfiguration;
pub(crate) use workload::PodTemplate;

#[cfg(test)]
mod tests;
