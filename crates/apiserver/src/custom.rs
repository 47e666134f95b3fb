//! Kinds that CustomResourceDefinitions add while the server runs.
//!
//! ```text
//! a definition is written -> follow: names, rows, conditions -> the writer is answered -> its kind is served
//! ```
//!
//! What a definition means is decided in the crate `apiextensions`; here it is put into effect. [`follow`] keeps the
//! registry's rows in line with the stored definitions, [`cleanup`] deletes the objects of a definition that goes,
//! [`convert`] brings stored objects into the version and form that is served.

pub mod convert;

mod cleanup;
mod clients;
mod converted;
mod expressions;
mod follow;
mod metrics;
mod webhook;

use std::sync::Arc;

use api::Resource;
use apiextensions::DefinitionRules;
use apiextensions::expressions::Compiler;
use apimachinery::StatusError;
use component_base::metrics::Metrics;
use tokio::sync::{mpsc, oneshot};

use crate::server::ApiServer;

use follow::Follower;

/// The finalizer that holds a definition until its objects are gone.
const CLEANUP_FINALIZER: &str = apiextensions::rules::CLEANUP_FINALIZER;

/// How many writers may wait for the rows at a time before the next waits to be allowed to wait.
const WAITERS: usize = 256;

/// The definitions, as the rest of the server sees them.
#[derive(Debug)]
pub struct Definitions {
    waiters: mpsc::Sender<oneshot::Sender<()>>,
    clients: clients::Clients,
    converted: converted::Converted,
    metrics: metrics::ConversionMetrics,
}

impl Definitions {
    pub(crate) fn new(metrics: &Metrics) -> (Self, mpsc::Receiver<oneshot::Sender<()>>) {
        let (waiters, waiting) = mpsc::channel(WAITERS);
        let definitions = Self {
            waiters,
            clients: clients::Clients::default(),
            converted: converted::Converted::default(),
            metrics: metrics::ConversionMetrics::register(metrics),
        };
        (definitions, waiting)
    }

    /// Returns when every definition written so far is in effect, so that who wrote one finds its kind served.
    pub async fn settled(&self) {
        let (done, settled) = oneshot::channel();
        if self.waiters.send(done).await.is_ok() {
            // The follower ends with the server; then there is nothing to wait for.
            let _ = settled.await;
        }
    }
}

/// Who understands the expressions in schemas.
pub(crate) fn compiler() -> Option<Arc<dyn Compiler>> {
    Some(Arc::new(expressions::Cel))
}

/// Puts the stored definitions into effect and follows them from there.
pub(crate) async fn start(
    server: &Arc<ApiServer>,
    compiler: Option<Arc<dyn Compiler>>,
    waiting: mpsc::Receiver<oneshot::Sender<()>>,
) -> Result<(), StatusError> {
    let Some(mut follower) = Follower::new(server, compiler) else { return Ok(()) };
    let start = follower.start().await?;
    server.scope.spawn("apiserver/definitions", follower.run(start, waiting));
    Ok(())
}

/// Whether the row is that of the definitions themselves.
pub fn is_definitions(row: &Resource) -> bool {
    row.plural == "customresourcedefinitions" && row.gvk.group == "apiextensions.k8s.io"
}

/// The rows with the rules of definitions in place.
pub fn with_rules(rows: Vec<Arc<Resource>>, compiler: Option<&Arc<dyn Compiler>>) -> Vec<Arc<Resource>> {
    let ruled = |row: Arc<Resource>| {
        if is_definitions(&row) {
            Arc::new(Resource::clone(&row).strategy(DefinitionRules::new(compiler.cloned())))
        } else {
            row
        }
    };
    rows.into_iter().map(ruled).collect()
}
