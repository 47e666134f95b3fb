//! VolumeBinding: the claims a pod names must exist and be bound to volumes the node can reach.
//!
//! Claims are bound by the volume controller; binding on the first consumer is not decided here yet.
//! upstream: plugins/volumebinding

use std::sync::Arc;

use client::corev1::node_affinity::term_matches;
use client::{Lister, ObjectKey};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};

use crate::framework::{ClusterEvent, Cycle, Filter, Plugin, Rejection};
use crate::pod_info::PodInfo;

const NAME: &str = "VolumeBinding";

/// Claims and volumes as they are known.
pub trait Volumes: Send + Sync {
    /// The claim of a key.
    fn claim(&self, key: &ObjectKey) -> Option<Arc<PersistentVolumeClaim>>;
    /// The volume of a name.
    fn volume(&self, name: &str) -> Option<Arc<PersistentVolume>>;
}

impl Volumes for (Lister<PersistentVolumeClaim>, Lister<PersistentVolume>) {
    fn claim(&self, key: &ObjectKey) -> Option<Arc<PersistentVolumeClaim>> {
        self.0.get(key)
    }

    fn volume(&self, name: &str) -> Option<Arc<PersistentVolume>> {
        self.1.get(&ObjectKey::new("", name))
    }
}

/// Filters by the volumes of bound claims.
pub struct VolumeBinding {
    volumes: Box<dyn Volumes>,
}

impl VolumeBinding {
    /// A plugin that looks claims and volumes up in `volumes`.
    pub fn new(volumes: Box<dyn Volumes>) -> Self {
        Self { volumes }
    }

    fn bound_volumes(&self, pod: &PodInfo) -> Result<Vec<Arc<PersistentVolume>>, String> {
        let volumes = pod.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let pod_name = &pod.key.name;
        let claims = volumes.filter_map(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
            (Some(source), _) => Some(source.claim_name.clone()),
            (None, Some(_)) => Some(format!("{pod_name}-{}", volume.name)),
            (None, None) => None,
        });
        claims.map(|name| self.bound_volume(&pod.key.namespace, &name)).collect()
    }

    fn bound_volume(&self, namespace: &str, name: &str) -> Result<Arc<PersistentVolume>, String> {
        let claim = self.volumes.claim(&ObjectKey::new(namespace, name));
        let claim = claim.ok_or_else(|| format!("persistentvolumeclaim \"{name}\" not found"))?;
        if claim.metadata.deletion_timestamp.is_some() {
            return Err(format!("persistentvolumeclaim \"{name}\" is being deleted"));
        }
        let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref());
        let volume = volume.ok_or("pod has unbound immediate PersistentVolumeClaims")?;
        self.volumes.volume(volume).ok_or_else(|| format!("persistentvolume \"{volume}\" not found"))
    }
}

impl Plugin for VolumeBinding {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter<'a>(&'a self, cycle: &'a Cycle<'a>) -> Filter<'a> {
        let volumes = match self.bound_volumes(cycle.pod) {
            Ok(volumes) if volumes.is_empty() => return Filter::Skip,
            Ok(volumes) => volumes,
            Err(reason) => return Filter::RejectAll(Rejection::unresolvable(NAME, reason)),
        };
        Filter::each(move |node| {
            let reachable = |volume: &Arc<PersistentVolume>| {
                let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref());
                let required = affinity.and_then(|affinity| affinity.required.as_ref());
                let fits =
                    |node| required.is_none_or(|one| one.node_selector_terms.iter().any(|t| term_matches(t, node)));
                node.node.as_deref().is_some_and(fits)
            };
            let unfit = || Rejection::unresolvable(NAME, "node(s) didn't match PersistentVolume's node affinity");
            if volumes.iter().all(reachable) { Ok(()) } else { Err(unfit()) }
        })
    }

    fn helped_by(&self, event: &ClusterEvent, pod: &PodInfo) -> bool {
        match event {
            ClusterEvent::ClaimChanged(claim) => claim.metadata.namespace.as_deref() == Some(&pod.key.namespace),
            ClusterEvent::VolumeChanged(_) => true,
            _ => event.new_node().is_some(),
        }
    }
}
