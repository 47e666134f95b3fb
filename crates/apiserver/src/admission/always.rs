//! AlwaysAdmit and AlwaysDeny: for tests of a cluster's way of failing
//! (upstream: plugin/pkg/admission/{admit,deny}/admission.go). Off by default.

use apimachinery::StatusError;
use async_trait::async_trait;

use super::{Handles, Plugin, Request};

/// Has nothing against anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct AlwaysAdmit;

#[async_trait]
impl Plugin for AlwaysAdmit {
    fn name(&self) -> &'static str {
        "AlwaysAdmit"
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING
    }
}

/// Has something against everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct AlwaysDeny;

#[async_trait]
impl Plugin for AlwaysDeny {
    fn name(&self) -> &'static str {
        "AlwaysDeny"
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.admits(Handles::ALL).validates(Handles::ALL)
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), StatusError> {
        self.validate(request).await
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), StatusError> {
        Err(request.forbidden("admission control is denying all modifications"))
    }
}
