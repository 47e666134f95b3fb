//! VolumeAttributesClasses stay while a claim or a volume names them (upstream: pkg/controller/volume/vacprotection).

use std::sync::Arc;

use client::controller::{Requeue, run_workers};
use client::{Event, Lister, ObjectKey, WorkQueue};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use kube::Api;

use super::{SyncError, Wanted, wanted, write};
use crate::context::Context;

const FINALIZER: &str = "kubernetes.io/vac-protection";

struct Controller {
    api: Api<VolumeAttributesClass>,
    classes: Lister<VolumeAttributesClass>,
    claims: Lister<PersistentVolumeClaim>,
    volumes: Lister<PersistentVolume>,
}

fn of_claim(claim: &PersistentVolumeClaim) -> Vec<String> {
    let asked = claim.spec.iter().filter_map(|spec| spec.volume_attributes_class_name.clone());
    let status = || claim.status.iter();
    let current = status().filter_map(|status| status.current_volume_attributes_class_name.clone());
    let target =
        status().filter_map(|status| status.modify_volume_status.as_ref()?.target_volume_attributes_class_name.clone());
    asked.chain(current).chain(target).collect()
}

fn of_volume(volume: &PersistentVolume) -> Option<String> {
    volume.spec.as_ref()?.volume_attributes_class_name.clone()
}

/// Starts the controller.
pub async fn run(cx: Context) {
    let classes = cx.informer::<VolumeAttributesClass>();
    let (claims, volumes) = (cx.informer::<PersistentVolumeClaim>(), cx.informer::<PersistentVolume>());
    let queue: WorkQueue<ObjectKey> = WorkQueue::new();
    let waiting = queue.clone();
    classes.on_event(move |event| {
        let class = event.object();
        if !matches!(event, Event::Deleted(_)) && wanted(&class.metadata, FINALIZER) != Wanted::Nothing {
            waiting.add(ObjectKey::of(&**class));
        }
    });
    // Whoever stops naming a class may have been the last.
    let waiting = queue.clone();
    claims.on_event(move |event| {
        let before = match event {
            Event::Added(_) => return,
            Event::Updated { old, .. } | Event::Deleted(old) => old,
        };
        of_claim(before).into_iter().for_each(|class| waiting.add(ObjectKey::new("", class)));
    });
    let waiting = queue.clone();
    volumes.on_event(move |event| {
        let before = match event {
            Event::Added(_) => return,
            Event::Updated { old, .. } | Event::Deleted(old) => old,
        };
        of_volume(before).into_iter().for_each(|class| waiting.add(ObjectKey::new("", class)));
    });
    tokio::join!(classes.synced(), claims.synced(), volumes.synced());
    let controller = Arc::new(Controller {
        api: Api::all(cx.client.clone()),
        classes: classes.lister(),
        claims: claims.lister(),
        volumes: volumes.lister(),
    });
    run_workers("vac-protection", &cx.scope, &queue, 1, move |key: ObjectKey| {
        let this = controller.clone();
        async move { this.sync(&key).await }
    });
}

impl Controller {
    async fn sync(&self, key: &ObjectKey) -> Result<Requeue, SyncError> {
        let Some(class) = self.classes.get(key) else { return Ok(Requeue::No) };
        match wanted(&class.metadata, FINALIZER) {
            Wanted::RemoveIfUnused if self.is_named(&key.name) => {}
            Wanted::Nothing => {}
            change => write(&self.api, &*class, FINALIZER, change).await?,
        }
        Ok(Requeue::No)
    }

    fn is_named(&self, class: &str) -> bool {
        self.claims.list().iter().any(|claim| of_claim(claim).iter().any(|name| name == class))
            || self.volumes.list().iter().any(|volume| of_volume(volume).as_deref() == Some(class))
    }
}
