//! The kubelet's HTTPS endpoint (upstream: pkg/kubelet/server).

use std::sync::Arc;

use component_base::Scope;

use crate::context::Context;
use crate::kubelet::{KubeletError, Workers};

/// Opens the endpoint and serves it in tasks of `scope`.
pub async fn serve(cx: &Arc<Context>, workers: &Arc<Workers>, scope: &Scope) -> Result<(), KubeletError> {
    let _ = (cx, workers, scope);
    Ok(())
}
