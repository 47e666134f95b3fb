//! DefaultIngressClass: an Ingress that names no class gets the default one
//! (upstream: plugin/pkg/admission/network/defaultingressclass/admission.go).

use std::sync::Arc;

use apimachinery::StatusError;
use apimachinery::json::{Read, Write};
use async_trait::async_trait;
use store::Store;

use super::cache::{Followed, default_of, follow};
use super::{Handles, Plugin, Request};

const IS_DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";
const LEGACY_CLASS: &str = "kubernetes.io/ingress.class";

/// See the module.
#[derive(Debug)]
pub struct DefaultIngressClass {
    classes: Followed,
}

impl DefaultIngressClass {
    /// Takes the classes of `store`.
    pub fn new(store: &Arc<dyn Store>) -> Self {
        Self { classes: follow(store, "/registry/networking.k8s.io/ingressclasses/") }
    }
}

#[async_trait]
impl Plugin for DefaultIngressClass {
    fn name(&self) -> &'static str {
        "DefaultIngressClass"
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.admits(Handles::CREATES)
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), StatusError> {
        if !request.creates("networking.k8s.io", "Ingress") {
            return Ok(());
        }
        let Some(ingress) = request.object.as_mut() else { return Ok(()) };
        let names_class =
            ingress.object("spec").has("ingressClassName") || ingress.annotations().any(|(key, _)| key == LEGACY_CLASS);
        if names_class {
            return Ok(());
        }
        let class = default_of(self.classes.read(super::cache::Objects::all), &[IS_DEFAULT]);
        if let (Some(class), Some(spec)) = (class, ingress.object_made("spec")) {
            spec.insert("ingressClassName".into(), class.name().into());
        }
        Ok(())
    }
}
