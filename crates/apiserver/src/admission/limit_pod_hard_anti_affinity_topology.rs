//! LimitPodHardAntiAffinityTopology: pods keep others away from their node and from nothing larger
//! (upstream: plugin/pkg/admission/antiaffinity/admission.go). Off by default.

use apimachinery::StatusError;
use apimachinery::json::Read;
use async_trait::async_trait;

use super::{Handles, Plugin, Request};

const HOSTNAME: &str = "kubernetes.io/hostname";

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct LimitPodHardAntiAffinityTopology;

#[async_trait]
impl Plugin for LimitPodHardAntiAffinityTopology {
    fn name(&self) -> &'static str {
        "LimitPodHardAntiAffinityTopology"
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.validates(Handles::WRITES)
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), StatusError> {
        if !request.is_main("", "Pod") || !request.writes() {
            return Ok(());
        }
        let Some(pod) = &request.object else { return Ok(()) };
        let terms = pod.object("spec").object("affinity").object("podAntiAffinity");
        for term in terms.list("requiredDuringSchedulingIgnoredDuringExecution") {
            let key = term.text("topologyKey");
            if key != HOSTNAME {
                return Err(request.forbidden(format!(
                    "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey {key} but only key {HOSTNAME} is allowed"
                )));
            }
        }
        Ok(())
    }
}
