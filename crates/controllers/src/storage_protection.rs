//! Claims, volumes and classes that are in use stay until they are not
//! (upstream: pkg/controller/volume/{pvcprotection,pvprotection,vacprotection}).
//!
//! Admission gives them a finalizer; these controllers take it away from what is being deleted and nobody uses.

pub mod claims;
pub mod classes;
pub mod volumes;

use std::fmt::Debug;

use client::ApiError;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why a pass did not complete.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SyncError {
    /// The finalizer could not be changed.
    #[error("change the finalizers of {name}: {err}")]
    Finalizer {
        /// Of which object.
        name: String,
        /// Why not.
        err: kube::Error,
    },
    /// The users could not be asked for.
    #[error("list who uses {name}: {err}")]
    Users {
        /// Which object.
        name: String,
        /// Why not.
        err: kube::Error,
    },
}

/// What is to be done about an object's finalizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// It is missing.
    Add,
    /// It may go, if nobody uses the object.
    RemoveIfUnused,
    /// It is right.
    Nothing,
}

fn wanted(meta: &ObjectMeta, finalizer: &str) -> Wanted {
    let has = meta.finalizers.iter().flatten().any(|one| one == finalizer);
    match (has, meta.deletion_timestamp.is_some()) {
        (true, true) => Wanted::RemoveIfUnused,
        (false, false) => Wanted::Add,
        _ => Wanted::Nothing,
    }
}

/// What is protected.
trait Protected: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned {}
impl<K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned> Protected for K {}

/// Writes the finalizers with or without this one, unless the object has changed meanwhile.
async fn write<K: Protected>(api: &Api<K>, object: &K, finalizer: &str, change: Wanted) -> Result<(), SyncError> {
    let mut object = object.clone();
    let finalizers = object.meta_mut().finalizers.get_or_insert_default();
    finalizers.retain(|one| one != finalizer);
    if change == Wanted::Add {
        finalizers.push(finalizer.to_owned());
    }
    let name = object.meta().name.clone().unwrap_or_default();
    match api.replace(&name, &PostParams::default(), &object).await {
        Err(err) if !err.is_not_found() => Err(SyncError::Finalizer { name, err }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_finalizer_follows_the_objects_life() {
        let meta = |finalizer: bool, deleting: bool| ObjectMeta {
            finalizers: finalizer.then(|| vec!["f".to_owned()]),
            deletion_timestamp: deleting
                .then(|| k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(component_base::now())),
            ..ObjectMeta::default()
        };
        assert_eq!(wanted(&meta(true, true), "f"), Wanted::RemoveIfUnused);
        assert_eq!(wanted(&meta(false, false), "f"), Wanted::Add);
        assert_eq!(wanted(&meta(true, false), "f"), Wanted::Nothing);
        assert_eq!(wanted(&meta(false, true), "f"), Wanted::Nothing);
    }
}
