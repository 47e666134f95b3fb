//! ResourceQuota: nothing is made that a quota of its namespace has no room for
//! (upstream: apiserver/pkg/admission/plugin/resourcequota).
//!
//! It runs last: what it charges is made. A namespace's writes are charged one after another, and each charge is
//! written against the state it was reckoned from, so that two servers cannot charge past each other either. What is
//! charged and then not made after all is found by the quota controller.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use apimachinery::json::Write;
use apimachinery::{Object, StatusError};
use async_trait::async_trait;
use quota::{Change, Item, LimitedResource, charge};
use serde::Deserialize;
use serde_json::Value;
use store::Store;
use tokio::sync::Mutex;

use super::cache::{Followed, follow};
use super::{ConfigError, Handles, Plugin, Request, config};
use crate::registry::Cx;
use crate::registry::fields::Manager;
use crate::registry::update::{Change as ObjectChange, Part, change};

const NAME: &str = "ResourceQuota";

/// How often a charge is reckoned anew when somebody else wrote a quota in between.
const ATTEMPTS: usize = 20;

/// Namespaces share so many locks.
const LOCKS: usize = 64;

/// The plugin's configuration, `apiserver.config.k8s.io/v1 ResourceQuotaConfiguration`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Configuration {
    #[serde(default)]
    limited_resources: Vec<LimitedResource>,
}

/// See the module.
#[derive(Debug)]
pub struct ResourceQuota {
    quotas: Followed,
    limited: Vec<LimitedResource>,
    locks: Vec<Mutex<()>>,
    hasher: RandomState,
}

impl ResourceQuota {
    /// Follows the quotas of `store`.
    pub fn new(store: &Arc<dyn Store>, given: Option<&Value>) -> Result<Self, ConfigError> {
        let versions = ["apiserver.config.k8s.io/v1", "resourcequota.admission.k8s.io/v1beta1"];
        let kind = if given.is_some_and(|given| given["kind"] == "Configuration") {
            "Configuration"
        } else {
            "ResourceQuotaConfiguration"
        };
        let configuration: Configuration = config::own(NAME, given, kind, &versions)?;
        Ok(Self {
            quotas: follow(store, "/registry/core/resourcequotas/"),
            limited: configuration.limited_resources,
            locks: (0..LOCKS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        })
    }

    fn lock_of(&self, namespace: &str) -> &Mutex<()> {
        let hash = self.hasher.hash_one(namespace) % LOCKS as u64;
        &self.locks[usize::try_from(hash).unwrap_or_default()]
    }

    /// Charges the quotas that have not been charged yet; the names of those where somebody else was faster.
    async fn charge_once(
        &self,
        request: &Request<'_>,
        object: &Object,
        only: Option<&[String]>,
    ) -> Result<Vec<String>, StatusError> {
        let mut quotas = self.quotas.read(|quotas| quotas.of_namespace(request.namespace));
        if let Some(only) = only {
            quotas.retain(|quota| only.iter().any(|name| name == quota.name()));
        }
        let item = Item {
            group: &request.row.gvk.group,
            resource: &request.row.plural,
            subresource: request.subresource,
            object,
            old: request.old.as_ref(),
            now: request.cx.now,
        };
        // A second round is about quotas that are known to cover what they must.
        let limited: &[LimitedResource] = if only.is_none() { &self.limited } else { &[] };
        let changes = charge(&quotas, &item, limited).map_err(|cause| request.forbidden(cause))?;
        if request.dry_run {
            return Ok(Vec::new());
        }
        let mut behind = Vec::new();
        for change in changes {
            let quota = &quotas[change.index];
            if !write_used(request.cx, quota, &change).await? {
                behind.push(quota.name().to_owned());
            }
        }
        Ok(behind)
    }
}

/// Writes a quota's usage; false when the quota is no longer what it was reckoned from.
async fn write_used(cx: &Cx, quota: &Object, charged: &Change) -> Result<bool, StatusError> {
    let row = cx.registry().row("", "v1", "resourcequotas")?;
    let quota_cx = Cx::internal(&cx.server, &row, "update", quota.namespace(), quota.name()).at_subresource("status");
    let used = charged.used.to_value();
    let transform = |old: &Object| {
        if old.resource_version() != quota.resource_version() {
            return Err(StatusError::stale(&row.group_resource(), quota.name()));
        }
        let mut object = old.clone();
        if let Some(status) = object.object_made("status") {
            status.insert("used".into(), used.clone());
        }
        Ok(object)
    };
    let manager = Manager::Update("kube-apiserver".into());
    let charged = ObjectChange { part: Part::Status, manager, retry: false, transform: &transform };
    match Box::pin(change(&quota_cx, &charged)).await {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.reason, "Conflict" | "NotFound") => Ok(false),
        Err(error) => Err(error),
    }
}

#[async_trait]
impl Plugin for ResourceQuota {
    fn name(&self) -> &'static str {
        NAME
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.validates(Handles::WRITES)
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), StatusError> {
        let Some(object) = request.object.as_ref().filter(|_| request.writes()) else { return Ok(()) };
        let is_namespaced = request.row.is_namespaced() && !request.namespace.is_empty();
        // Events are many and short-lived; upstream does not count them (`DefaultIgnoredResources`).
        if !is_namespaced || request.row.gvk.kind == "Event" {
            return Ok(());
        }
        let unlimited = self.limited.is_empty();
        if unlimited && self.quotas.read(|quotas| quotas.of_namespace(request.namespace)).is_empty() {
            return Ok(());
        }
        let status_of_quota = request.is_resource("", "resourcequotas") && request.subresource == "status";
        if status_of_quota {
            // Our own charge comes this way, with the namespace's lock held.
            return Ok(());
        }
        let _turn = self.lock_of(request.namespace).lock().await;
        let mut only: Option<Vec<String>> = None;
        for _ in 0..ATTEMPTS {
            let behind = self.charge_once(request, object, only.as_deref()).await?;
            if behind.is_empty() {
                return Ok(());
            }
            only = Some(behind);
        }
        let name = only.and_then(|names| names.into_iter().next()).unwrap_or_default();
        Err(StatusError::stale(&request.cx.registry().row("", "v1", "resourcequotas")?.group_resource(), &name))
    }
}
