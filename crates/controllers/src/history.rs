//! ControllerRevisions: what a DaemonSet or StatefulSet looked like, by revision, to roll back to.
//!
//! upstream: pkg/controller/history/controller_history.go

use std::fmt::Debug;
use std::sync::Arc;

use client::Client;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, StatefulSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use client::ApiError;

use crate::owners::controller_ref;
use crate::template_hash::template_hash;
use crate::writes::replace_status;

/// The label of pods and revisions that names the revision.
pub const REVISION_HASH: &str = "controller-revision-hash";

/// A template as `kubectl rollout undo` applies it: whole, in place of what is there.
pub fn snapshot(template: &PodTemplateSpec) -> Value {
    let mut template = serde_json::to_value(template).unwrap_or_default();
    template["$patch"] = "replace".into();
    json!({"spec": {"template": template}})
}

/// The revision whose data is that of the template.
pub fn find<'a>(
    revisions: &'a [Arc<ControllerRevision>],
    template: &PodTemplateSpec,
) -> Option<&'a Arc<ControllerRevision>> {
    let wanted = snapshot(template);
    revisions.iter().filter(|one| one.data.0 == wanted).max_by_key(|one| one.revision)
}

/// The highest number of the revisions.
pub fn highest(revisions: &[Arc<ControllerRevision>]) -> i64 {
    revisions.iter().filter_map(|one| one.revision).max().unwrap_or(0)
}

/// The revision that a template would get.
pub fn new_revision<O>(
    owner: &O,
    template: &PodTemplateSpec,
    number: i64,
    collisions: Option<i32>,
) -> ControllerRevision
where
    O: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let hash = template_hash(template, collisions);
    let meta = template.metadata.clone().unwrap_or_default();
    let mut labels = meta.labels.unwrap_or_default();
    labels.insert(REVISION_HASH.into(), hash.clone());
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", owner.name_any())),
            namespace: owner.namespace(),
            labels: Some(labels),
            annotations: owner.meta().annotations.clone(),
            owner_references: Some(vec![controller_ref(owner)]),
            ..ObjectMeta::default()
        },
        data: RawExtension(snapshot(template)),
        revision: Some(number),
    }
}

/// The hash by which pods name a revision.
pub fn hash_of(revision: &ControllerRevision) -> String {
    revision.labels().get(REVISION_HASH).cloned().unwrap_or_default()
}

/// A set whose pods belong to revisions of its template.
pub trait Revisioned:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize
{
    /// What pods are made of.
    fn template(&self) -> &PodTemplateSpec;

    /// How often the name of a revision was another's (`status.collisionCount`).
    fn collision_count(&self) -> Option<i32>;

    /// Writes that number into the status.
    fn set_collision_count(&mut self, count: i32);
}

macro_rules! revisioned {
    ($($set:ty),+) => {$(
        impl Revisioned for $set {
            fn template(&self) -> &PodTemplateSpec {
                &self.spec.template
            }

            fn collision_count(&self) -> Option<i32> {
                self.status.as_ref()?.collision_count
            }

            fn set_collision_count(&mut self, count: i32) {
                self.status.get_or_insert_default().collision_count = Some(count);
            }
        }
    )+};
}

revisioned!(DaemonSet, StatefulSet);

/// Why the revision of a set's template is not settled.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The API refused.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// Another template has its name: counted, so that the next attempt takes another one.
    #[error("the name of the new revision is taken; another one is tried")]
    Collision,
}

/// Finds or makes the revision of a set's template, as the highest one.
pub async fn settle<S: Revisioned>(
    client: &Client,
    set: &S,
    known: &[Arc<ControllerRevision>],
) -> Result<Arc<ControllerRevision>, SettleError> {
    let api: Api<ControllerRevision> = Api::namespaced(client.clone(), &set.namespace().unwrap_or_default());
    let highest = highest(known);
    if let Some(found) = find(known, set.template()) {
        if found.revision == Some(highest) {
            return Ok(found.clone());
        }
        // Rolled back to: it becomes the newest.
        let mut newest = (**found).clone();
        newest.revision = Some(highest + 1);
        return Ok(Arc::new(api.replace(&newest.name_any(), &PostParams::default(), &newest).await?));
    }
    let new = new_revision(set, set.template(), highest + 1, set.collision_count());
    match api.create(&PostParams::default(), &new).await {
        Ok(made) => return Ok(Arc::new(made)),
        Err(err) if err.is_already_exists() => {}
        Err(err) => return Err(err.into()),
    }
    let there = api.get(&new.name_any()).await?;
    if there.data == new.data {
        return Ok(Arc::new(there));
    }
    let mut counted = set.clone();
    counted.set_collision_count(set.collision_count().unwrap_or(0) + 1);
    replace_status(client, &counted).await?;
    Err(SettleError::Collision)
}

/// Deletes the oldest revisions that nobody uses, beyond `limit`.
pub async fn truncate(
    client: &Client,
    known: &[Arc<ControllerRevision>],
    limit: i32,
    in_use: impl Fn(&ControllerRevision) -> bool,
) -> Result<(), kube::Error> {
    let mut unused: Vec<_> = known.iter().filter(|one| !in_use(one)).collect();
    let surplus = unused.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    unused.sort_by_key(|one| one.revision);
    for one in unused.into_iter().take(surplus) {
        let api: Api<ControllerRevision> = Api::namespaced(client.clone(), &one.namespace().unwrap_or_default());
        match api.delete(&one.name_any(), &DeleteParams::default()).await {
            Err(err) if !err.is_not_found() => return Err(err),
            _ => {}
        }
    }
    Ok(())
}
