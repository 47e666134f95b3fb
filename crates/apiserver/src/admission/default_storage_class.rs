//! DefaultStorageClass: a claim that names no class gets the default one
//! (upstream: plugin/pkg/admission/storage/storageclass/setdefault/admission.go).

use std::sync::Arc;

use apimachinery::StatusError;
use apimachinery::json::{Read, Write};
use async_trait::async_trait;
use store::Store;

use super::cache::{Followed, Objects, default_of, follow};
use super::{Handles, Plugin, Request};

const IS_DEFAULT: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// See the module.
#[derive(Debug)]
pub struct DefaultStorageClass {
    classes: Followed,
}

impl DefaultStorageClass {
    /// Takes the classes of `store`.
    pub fn new(store: &Arc<dyn Store>) -> Self {
        Self { classes: follow(store, "/registry/storage.k8s.io/storageclasses/") }
    }
}

#[async_trait]
impl Plugin for DefaultStorageClass {
    fn name(&self) -> &'static str {
        "DefaultStorageClass"
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.admits(Handles::CREATES)
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), StatusError> {
        if !request.creates("", "PersistentVolumeClaim") {
            return Ok(());
        }
        let Some(claim) = request.object.as_mut() else { return Ok(()) };
        // An empty class is one too: it asks for a volume without a class.
        let names_class =
            claim.object("spec").has("storageClassName") || claim.annotations().any(|(key, _)| key == BETA_CLASS);
        if names_class {
            return Ok(());
        }
        let class = default_of(self.classes.read(Objects::all), &IS_DEFAULT);
        if let (Some(class), Some(spec)) = (class, claim.object_made("spec")) {
            spec.insert("storageClassName".into(), class.name().into());
        }
        Ok(())
    }
}
