//! DenyServiceExternalIPs: no Service gets an external address that it did not have
//! (upstream: plugin/pkg/admission/network/denyserviceexternalips/admission.go). Off by default.

use apimachinery::json::Read;
use apimachinery::{Object, StatusError};
use async_trait::async_trait;

use super::{Handles, Plugin, Request};

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct DenyServiceExternalIPs;

#[async_trait]
impl Plugin for DenyServiceExternalIPs {
    fn name(&self) -> &'static str {
        "DenyServiceExternalIPs"
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.validates(Handles::WRITES)
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), StatusError> {
        let Some(service) = request.object.as_ref().filter(|_| request.is_main("", "Service")) else { return Ok(()) };
        let addresses = |service: &Object| -> Vec<String> {
            service.object("spec").texts("externalIPs").map(str::to_owned).collect()
        };
        let old = request.old.as_ref().map(addresses).unwrap_or_default();
        if addresses(service).iter().all(|address| old.contains(address)) {
            return Ok(());
        }
        Err(request.forbidden("Use of external IPs is denied by admission control"))
    }
}
