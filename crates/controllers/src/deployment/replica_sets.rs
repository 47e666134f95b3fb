//! A deployment's ReplicaSets as the planning sees them: changed copies, and sums over them.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::revision;
use super::rolling::{desired, max_surge};
use crate::owners::controller_ref;
use crate::template_hash::template_hash;

/// The label that keeps the pods of different revisions apart.
pub const POD_TEMPLATE_HASH: &str = "pod-template-hash";

/// One ReplicaSet: as it is, and as the plan wants it.
#[derive(Clone, Debug)]
pub struct Planned {
    /// As it is in the cache; `None` when it has yet to be created.
    pub before: Option<Arc<ReplicaSet>>,
    /// As it shall be.
    pub after: ReplicaSet,
}

impl Planned {
    /// One that exists.
    pub fn existing(rs: Arc<ReplicaSet>) -> Self {
        Self { after: (*rs).clone(), before: Some(rs) }
    }

    /// Replicas it asks for, by the plan.
    pub fn replicas(&self) -> i32 {
        self.after.spec.replicas.unwrap_or(1)
    }

    /// Replicas it asked for before.
    pub fn replicas_before(&self) -> i32 {
        self.before.as_ref().map_or(0, |rs| rs.spec.replicas.unwrap_or(1))
    }

    /// Its pods that are available.
    pub fn available(&self) -> i32 {
        self.after.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
    }

    /// Its pods that exist.
    pub fn actual(&self) -> i32 {
        self.after.status.as_ref().map_or(0, |status| status.replicas)
    }

    /// Its pods that are ready.
    pub fn ready(&self) -> i32 {
        self.after.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.after.metadata.name.as_deref().unwrap_or_default()
    }

    /// Asks for so many replicas, and notes what the deployment wants.
    pub fn scale(&mut self, deployment: &Deployment, replicas: i32) {
        self.after.spec.replicas = Some(replicas);
        revision::set_replicas(&mut self.after, desired(deployment), desired(deployment) + max_surge(deployment));
    }

    /// Whether anything of it is to be written.
    pub fn is_changed(&self) -> bool {
        self.before.as_ref().is_none_or(|before| {
            before.spec != self.after.spec || before.metadata.annotations != self.after.metadata.annotations
        })
    }

    /// Whether the plan asks for another number of replicas.
    pub fn is_scaled(&self) -> bool {
        self.replicas() != self.replicas_before()
    }
}

/// The ReplicaSet made from the deployment's template now, and the older ones.
#[derive(Clone, Debug, Default)]
pub struct ReplicaSets {
    /// The one of the current template.
    pub newest: Option<Planned>,
    /// The others, oldest first.
    pub old: Vec<Planned>,
}

impl ReplicaSets {
    /// Sorts a deployment's ReplicaSets; of several with the current template the oldest is the one.
    pub fn of(deployment: &Deployment, mut owned: Vec<Arc<ReplicaSet>>) -> Self {
        owned.sort_by(|a, b| by_age(a).cmp(&by_age(b)));
        let template = &deployment.spec.template;
        let is_newest =
            |rs: &ReplicaSet| rs.spec.template.as_ref().is_some_and(|its| equal_but_for_hash(its, template));
        let at = owned.iter().position(|rs| is_newest(rs));
        let newest = at.map(|at| Planned::existing(owned.remove(at)));
        Self { newest, old: owned.into_iter().map(Planned::existing).collect() }
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Planned> {
        self.old.iter().chain(&self.newest)
    }

    /// All of them, to change.
    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut Planned> {
        self.old.iter_mut().chain(&mut self.newest)
    }

    /// A sum over all.
    pub fn sum(&self, count: impl Fn(&Planned) -> i32) -> i32 {
        self.all().map(count).sum()
    }

    /// Replicas that the old ones ask for.
    pub fn old_replicas(&self) -> i32 {
        self.old.iter().map(Planned::replicas).sum()
    }
}

fn by_age(rs: &ReplicaSet) -> (Option<k8s_openapi::jiff::Timestamp>, Option<&str>) {
    (rs.metadata.creation_timestamp.as_ref().map(|time| time.0), rs.metadata.name.as_deref())
}

/// Whether two templates differ in nothing but the hash label.
pub fn equal_but_for_hash(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    without_hash(a) == without_hash(b)
}

fn without_hash(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut plain = template.clone();
    let meta = plain.metadata.get_or_insert_default();
    if let Some(labels) = &mut meta.labels {
        labels.remove(POD_TEMPLATE_HASH);
    }
    // Absent and empty mean the same.
    meta.labels = meta.labels.take().filter(|labels| !labels.is_empty());
    meta.annotations = meta.annotations.take().filter(|annotations| !annotations.is_empty());
    meta.creation_timestamp = None;
    plain
}

/// The ReplicaSet of the deployment's current template, not scaled up yet.
pub fn new_replica_set(deployment: &Deployment, revision: i64) -> Option<ReplicaSet> {
    let spec = &deployment.spec;
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count);
    let hash = template_hash(&spec.template, collisions);
    let mut template = spec.template.clone();
    let meta = template.metadata.get_or_insert_default();
    let labels = meta.labels.get_or_insert_default();
    labels.insert(POD_TEMPLATE_HASH.into(), hash.clone());
    let labels = labels.clone();
    let mut selector = spec.selector.clone();
    selector.match_labels.get_or_insert_default().insert(POD_TEMPLATE_HASH.into(), hash.clone());
    let mut rs = ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", deployment.metadata.name.as_deref()?)),
            namespace: deployment.metadata.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![controller_ref(deployment)]),
            ..ObjectMeta::default()
        },
        spec: ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        },
        status: None,
    };
    revision::set_on_newest(deployment, &mut rs, revision);
    Some(rs)
}
