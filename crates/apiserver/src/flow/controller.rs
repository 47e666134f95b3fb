//! Keeps the configuration of flow control: makes and mends the default objects, hands every change to the queues, and
//! says in each flow schema's status whether its level exists
//! (upstream: pkg/registry/flowcontrol/rest/storage_flowcontrol.go, flowcontrol/apf_controller.go).
//!
//! It follows the store; what it writes itself comes by again and is then found to be right.

use std::sync::Arc;
use std::time::Duration;

use api::Resource;
use apimachinery::{Object, StatusError};
use component_base::Backoff;
use flow_control::bootstrap::{self, Default, PRODUCER};
use flow_control::{Condition, FlowControl};
use futures::FutureExt;
use futures::future::try_join_all;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use store::{RangeRequest, Watch};

use crate::registry::delete::delete_object;
use crate::registry::options::DeleteOptions;
use crate::registry::update::{Change, Part, change};
use crate::registry::{Cx, create, decode_entry, fields};
use crate::server::ApiServer;
use crate::status;

/// Where both kinds lie.
const PREFIX: &str = "/registry/flowcontrol.apiserver.k8s.io/";

const GROUP: &str = "flowcontrol.apiserver.k8s.io";

/// The field manager of the conditions.
const CONSUMER: &str = "api-priority-and-fairness-config-consumer-v1";

/// Time between tries while the store takes no writes.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(60));

/// One of the two kinds, with its default objects.
struct Kind {
    row: Arc<Resource>,
    defaults: Vec<Default>,
}

struct Controller {
    server: Arc<ApiServer>,
    control: Arc<FlowControl>,
    levels: Kind,
    schemas: Kind,
}

/// Writes the default objects and begins to follow them. A server that does not serve the kinds goes by its own.
pub(crate) async fn start(server: &Arc<ApiServer>, control: &Arc<FlowControl>) -> Result<(), StatusError> {
    let row = |plural| server.registry.row(GROUP, "v1", plural);
    let (Ok(levels), Ok(schemas)) = (row("prioritylevelconfigurations"), row("flowschemas")) else { return Ok(()) };
    let controller = Controller {
        server: server.clone(),
        control: control.clone(),
        levels: Kind { row: levels, defaults: bootstrap::priority_levels() },
        schemas: Kind { row: schemas, defaults: bootstrap::flow_schemas() },
    };
    controller.sync().await?;
    server.scope.spawn("apiserver/flow-control", controller.run());
    Ok(())
}

impl Controller {
    async fn run(self) {
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        loop {
            let error = match self.follow(&mut backoff).await {
                Ok(()) => return,
                Err(error) => error,
            };
            tracing::debug!(%error, "keep the configuration of flow control");
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    /// Follows the store until it closes.
    async fn follow(&self, backoff: &mut Backoff) -> Result<(), StatusError> {
        let store = self.server.registry.store();
        let failed = |error: store::Error| status::of_store(&error);
        let mut watch = store.watch(PREFIX, store.revision()).await.map_err(failed)?;
        loop {
            self.sync().await?;
            backoff.reset();
            match watch.next().await {
                None => return Ok(()),
                Some(event) => drop(event.map_err(failed)?),
            }
            skip_what_is_there(&mut *watch).map_err(failed)?;
        }
    }

    /// Brings objects, queues and conditions in line.
    async fn sync(&self) -> Result<(), StatusError> {
        futures::future::try_join(self.ensure(&self.levels), self.ensure(&self.schemas)).await?;
        let levels = self.objects(&self.levels.row).await?;
        let schemas = self.objects(&self.schemas.row).await?;
        let conditions = self.control.configure(read(&levels), read(&schemas));
        let wrong = conditions.into_iter().filter(|condition| !holds(condition, &schemas));
        try_join_all(wrong.map(|condition| self.set_condition(condition))).await?;
        Ok(())
    }

    async fn objects(&self, row: &Resource) -> Result<Vec<Value>, StatusError> {
        let request = RangeRequest { prefix: row.key_prefix(), ..RangeRequest::default() };
        let range = self.server.registry.store().range(&request).await.map_err(|error| status::of_store(&error))?;
        range.entries.iter().map(|entry| Ok(decode_entry(entry)?.into_value())).collect()
    }

    /// Makes what is missing, mends what is wrong, removes what an older version left.
    async fn ensure(&self, kind: &Kind) -> Result<(), StatusError> {
        let present = self.objects(&kind.row).await?;
        let find = |name: &str| present.iter().find(|object| object["metadata"]["name"] == name);
        let mended = kind.defaults.iter().filter_map(|default| match find(default.name()) {
            None => Some((default, None)),
            Some(current) => bootstrap::correction(default, current).map(|wanted| (default, Some(wanted))),
        });
        let written = try_join_all(mended.map(|(default, wanted)| self.put(&kind.row, default, wanted)));
        let left_over = present.iter().filter(|object| bootstrap::is_left_over(&kind.defaults, object));
        let removed = try_join_all(left_over.map(|object| self.remove(&kind.row, object)));
        futures::future::try_join(written, removed).await?;
        Ok(())
    }

    async fn put(&self, row: &Arc<Resource>, default: &Default, wanted: Option<Value>) -> Result<(), StatusError> {
        let manager = || fields::Manager::Update(PRODUCER.to_owned());
        let Some(wanted) = wanted else {
            let cx = self.cx(row, "create", default.name());
            let Some(object) = Object::from_value(default.object.clone()) else { return Ok(()) };
            return unless(create::create_object(&cx, object).await.map(drop), "AlreadyExists");
        };
        let cx = self.cx(row, "update", default.name());
        let transform = |old: &Object| {
            let current = old.clone().into_value();
            let wanted = bootstrap::correction(default, &current).unwrap_or_else(|| wanted.clone());
            let mut object = old.clone();
            for part in ["metadata", "spec"] {
                object.0.insert(part.to_owned(), wanted[part].clone());
            }
            Ok(object)
        };
        let mend = Change { part: Part::Main, manager: manager(), retry: true, transform: &transform };
        unless(change(&cx, &mend).await.map(drop), "NotFound")
    }

    async fn remove(&self, row: &Arc<Resource>, object: &Value) -> Result<(), StatusError> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let cx = self.cx(row, "delete", name);
        unless(delete_object(&cx, "", name, &DeleteOptions::default()).await.map(drop), "NotFound")
    }

    async fn set_condition(&self, condition: Condition) -> Result<(), StatusError> {
        let cx = self.cx(&self.schemas.row, "update", &condition.schema).at_subresource("status");
        let new = json!({
            "type": "Dangling", "status": condition.status, "lastTransitionTime": cx.timestamp(),
            "reason": condition.reason, "message": condition.message,
        });
        let transform = |old: &Object| {
            let mut object = old.clone().into_value();
            let mut conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
            conditions.retain(|condition| condition["type"] != "Dangling");
            conditions.push(new.clone());
            object["status"] = json!({ "conditions": conditions });
            Ok(Object::from_value(object).unwrap_or_default())
        };
        let manager = fields::Manager::Update(CONSUMER.to_owned());
        let set = Change { part: Part::Status, manager, retry: true, transform: &transform };
        unless(change(&cx, &set).await.map(drop), "NotFound")
    }

    fn cx(&self, row: &Arc<Resource>, verb: &str, name: &str) -> Cx {
        Cx::internal(&self.server, row, verb, "", name)
    }
}

/// What somebody else has done meanwhile need not be done.
fn unless(result: Result<(), StatusError>, reason: &str) -> Result<(), StatusError> {
    result.or_else(|error| if error.reason == reason { Ok(()) } else { Err(error) })
}

/// Objects of which one cannot be read are ignored, as broken ones are.
fn read<T: DeserializeOwned>(objects: &[Value]) -> Vec<T> {
    objects.iter().filter_map(|object| T::deserialize(object).ok()).collect()
}

/// Whether the schema's status says so already.
fn holds(condition: &Condition, schemas: &[Value]) -> bool {
    let schema = schemas.iter().find(|schema| schema["metadata"]["name"] == condition.schema.as_str());
    let conditions = schema.and_then(|schema| schema["status"]["conditions"].as_array());
    conditions.into_iter().flatten().any(|present| {
        present["type"] == "Dangling"
            && present["status"] == condition.status
            && present["reason"] == condition.reason
            && present["message"] == condition.message.as_str()
    })
}

/// One look at everything serves for all events that are there. The end shows at the next wait.
fn skip_what_is_there(watch: &mut dyn Watch) -> Result<(), store::Error> {
    while let Some(Some(event)) = tokio::task::unconstrained(watch.next()).now_or_never() {
        event?;
    }
    Ok(())
}
