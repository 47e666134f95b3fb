//! Keeps the APIServices: one for each group version that is answered here, and for those of others the condition
//! `Available` and the [`Table`] that requests are routed by
//! (upstream: kube-aggregator's autoregister, apiservice and availability controllers,
//! pkg/controlplane/controller/crdregistration).
//!
//! It follows APIServices and CustomResourceDefinitions, and Services with their EndpointSlices once another server is
//! known. A timer runs only for other servers: a server that fails says nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use api::Resource;
use api::catalogue::GROUP_VERSIONS;
use apimachinery::{Object, StatusError};
use component_base::Backoff;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all, select_all, try_join_all};
use serde_json::{Value, json};
use store::{Event, RangeRequest, Revision, Watch};
use tokio::time::Instant;

use super::availability::{Condition, obstacle};
use super::{GROUP, Remote, Table, proxy};
use crate::connections::{Connections, Place};
use crate::registry::delete::delete_object;
use crate::registry::options::DeleteOptions;
use crate::registry::update::{Change, Part, change};
use crate::registry::{Cx, create, decode_entry, fields};
use crate::server::ApiServer;
use crate::service_resolver::ServicePort;
use crate::status;

/// Says who made an APIService: `onstart` for built-in groups, `true` for those of CustomResourceDefinitions.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";

/// What CustomResourceDefinitions' groups get (upstream: crdregistration_controller.go).
const CUSTOM_PRIORITIES: (i32, i32) = (1000, 100);

/// How often other servers are asked whether they are still there (upstream: the resync of 30 s).
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// Time between tries while something fails.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), ASK_AGAIN);

const SERVICES: &str = "/registry/apiregistration.k8s.io/apiservices/";
const DEFINITIONS: &str = "/registry/apiextensions.k8s.io/customresourcedefinitions/";
const TARGETS: [&str; 2] = ["/registry/core/services/", "/registry/discovery.k8s.io/endpointslices/"];

/// Begins to keep them, where the server knows the kind.
pub(crate) fn start(server: &Arc<ApiServer>) {
    let Ok(row) = server.registry.row(GROUP, "v1", "apiservices") else { return };
    let controller = Controller { server: server.clone(), row };
    server.scope.spawn("apiserver/aggregation", controller.run());
}

struct Controller {
    server: Arc<ApiServer>,
    row: Arc<Resource>,
}

/// Whether all other servers answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    NoOthers,
    AllThere,
    SomeMissing,
}

/// What a controller wakes up for.
enum News {
    Events(Due),
    Time,
}

/// What is to be looked at.
#[derive(Debug, Default, PartialEq, Eq)]
struct Due {
    /// All there is.
    everything: bool,
    /// Whether each group version that is answered here has its APIService.
    registration: bool,
    /// These APIServices.
    names: BTreeSet<String>,
}

impl Due {
    fn everything() -> Self {
        Self { everything: true, ..Self::default() }
    }

    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    fn concerns(&self, name: &str) -> bool {
        self.everything || self.names.contains(name)
    }
}

/// Whether an event changes nothing of what an APIService asks for: conditions are written here.
fn says_the_same(event: &Event) -> Result<bool, StatusError> {
    let Event::Put { entry, previous: Some(previous) } = event else { return Ok(false) };
    let (now, before) = (decode_entry(entry)?, decode_entry(previous)?);
    Ok(now.0.get("spec") == before.0.get("spec") && now.0.contains_key("status"))
}

impl Controller {
    async fn run(self) {
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        loop {
            match self.follow(&mut backoff).await {
                Ok(()) => return,
                Err(error) => tracing::debug!(%error, "keep the APIServices"),
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    /// Follows the store until it closes.
    async fn follow(&self, backoff: &mut Backoff) -> Result<(), StatusError> {
        let mut watches = vec![self.watch(SERVICES).await?, self.watch(DEFINITIONS).await?];
        let mut due = Due::everything();
        let mut all_again = Instant::now() + ASK_AGAIN;
        loop {
            let outcome = self.sync(&due).await?;
            if due.everything {
                all_again = Instant::now() + ASK_AGAIN;
            }
            if outcome == Outcome::NoOthers {
                watches.truncate(2);
            } else if watches.len() == 2 {
                let [services, slices] = TARGETS.map(|prefix| self.watch(prefix).boxed());
                watches.extend([services.await?, slices.await?]);
                // What happened before the watches began is seen by looking once more.
                due = Due::everything();
                continue;
            }
            let at = match outcome {
                Outcome::NoOthers => None,
                Outcome::AllThere => {
                    backoff.reset();
                    Some(all_again)
                }
                Outcome::SomeMissing => Some(all_again.min(Instant::now() + backoff.next_delay())),
            };
            let Some(news) = self.next(&mut watches, at).await? else { return Ok(()) };
            due = match news {
                News::Events(due) => due,
                News::Time if Instant::now() >= all_again => Due::everything(),
                News::Time => Due { names: self.missing(), ..Due::default() },
            };
        }
    }

    /// The APIServices of servers that did not answer.
    fn missing(&self) -> BTreeSet<String> {
        let table = self.server.aggregator.table();
        table.remotes.iter().filter(|remote| !remote.available).map(|remote| remote.name.clone()).collect()
    }

    async fn watch(&self, prefix: &str) -> Result<Box<dyn Watch>, StatusError> {
        let store = self.server.registry.store();
        store.watch(prefix, store.revision()).await.map_err(|error| status::of_store(&error))
    }

    /// Waits for news, or until a time. Nothing when the store has closed.
    async fn next(&self, watches: &mut [Box<dyn Watch>], until: Option<Instant>) -> Result<Option<News>, StatusError> {
        let timer = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(timer);
        loop {
            let first = tokio::select! {
                (event, ..) = select_all(watches.iter_mut().map(|watch| watch.next()).collect::<Vec<_>>()) => event,
                () = &mut timer => return Ok(Some(News::Time)),
            };
            let mut due = Due::default();
            let mut open = self.hear(first, &mut due)?;
            for watch in watches.iter_mut() {
                // One look serves for all that has happened.
                while open && let Some(event) = tokio::task::unconstrained(watch.next()).now_or_never() {
                    open = self.hear(event, &mut due)?;
                }
            }
            if !open {
                return Ok(None);
            }
            if !due.is_nothing() {
                return Ok(Some(News::Events(due)));
            }
        }
    }

    /// Notes what an event makes due. False when the store has closed.
    fn hear(&self, event: Option<Result<Event, store::Error>>, due: &mut Due) -> Result<bool, StatusError> {
        let Some(event) = event else { return Ok(false) };
        let event = event.map_err(|error| status::of_store(&error))?;
        let (Event::Put { entry, .. } | Event::Delete { entry, .. }) = &event else { return Ok(true) };
        if let Some(name) = entry.key.strip_prefix(SERVICES) {
            if !self.has_seen(name, entry.modified) && !says_the_same(&event)? {
                due.names.insert(name.to_owned());
            }
            // One of ours that somebody deletes comes back.
            due.registration |= matches!(event, Event::Delete { .. });
        } else if let Some(path) = TARGETS.iter().find_map(|prefix| entry.key.strip_prefix(prefix)) {
            // A Service, or an EndpointSlice, whose name begins with the Service's.
            let table = self.server.aggregator.table();
            let is_of = |service: &ServicePort| {
                path.split_once('/').is_some_and(|(namespace, name)| {
                    namespace == service.namespace && name.starts_with(service.name.as_str())
                })
            };
            let meant = table.remotes.iter().filter(|remote| is_of(&remote.service));
            due.names.extend(meant.map(|remote| remote.name.clone()));
        } else {
            due.registration = true;
        }
        Ok(true)
    }

    /// Whether another server was looked at as this revision of its APIService says, or a later one.
    fn has_seen(&self, name: &str, revision: Revision) -> bool {
        let table = self.server.aggregator.table();
        table.remotes.iter().any(|remote| remote.name == name && remote.revision >= revision)
    }

    /// Does what is due. Servers that nothing was heard of stay as they were found last.
    async fn sync(&self, due: &Due) -> Result<Outcome, StatusError> {
        if due.registration || due.everything {
            self.register().await?;
        }
        let services = self.objects(SERVICES).await?;
        let before = self.server.aggregator.table();
        let (mut local, mut others, mut remotes) = (Vec::new(), Vec::new(), Vec::new());
        for service in &services {
            let name = service["metadata"]["name"].as_str().unwrap_or_default();
            let known = before.remotes.iter().find(|remote| remote.name == name).filter(|_| !due.concerns(name));
            if !service["spec"]["service"].is_object() {
                if due.concerns(name) {
                    local.push(self.set_condition(service, Condition::local()).boxed());
                }
            } else if let Some(known) = known {
                remotes.push(known.clone());
            } else {
                others.push(self.check(service));
            }
        }
        try_join_all(local).await?;
        let mut conditions = Vec::new();
        for checked in join_all(others).await {
            let (remote, service, condition) = checked?;
            remotes.push(remote);
            conditions.push(self.set_condition(service, condition).boxed());
        }
        remotes.sort_by(|a, b| a.name.cmp(&b.name));
        let outcome = match &*remotes {
            [] => Outcome::NoOthers,
            remotes if remotes.iter().all(|remote| remote.available) => Outcome::AllThere,
            _ => Outcome::SomeMissing,
        };
        // Whoever reads the condition finds the requests routed.
        self.server.aggregator.set(Table { remotes });
        try_join_all(conditions).await?;
        Ok(outcome)
    }

    async fn objects(&self, prefix: &str) -> Result<Vec<Value>, StatusError> {
        let request = RangeRequest { prefix: prefix.to_owned(), ..RangeRequest::default() };
        let range = self.server.registry.store().range(&request).await.map_err(|error| status::of_store(&error))?;
        range.entries.iter().map(|entry| Ok(decode_entry(entry)?.into_value())).collect()
    }

    /// Makes the APIServices of what is answered here, and removes those of what no longer is.
    async fn register(&self) -> Result<(), StatusError> {
        let wanted = local(&self.server.registry.rows(), &self.objects(DEFINITIONS).await?);
        let present = self.objects(SERVICES).await?;
        let mut writes: Vec<BoxFuture<'_, Result<(), StatusError>>> = Vec::new();
        for (name, object) in &wanted {
            if !present.iter().any(|service| service["metadata"]["name"] == name.as_str()) {
                writes.push(self.make(name, object).boxed());
            }
        }
        for service in &present {
            let name = service["metadata"]["name"].as_str().unwrap_or_default();
            if service["metadata"]["labels"][MANAGED] == "true" && !wanted.contains_key(name) {
                writes.push(self.remove(name).boxed());
            }
        }
        // One that is refused keeps no other from being made.
        for error in join_all(writes).await.into_iter().filter_map(Result::err) {
            tracing::warn!(%error, "make or remove an APIService");
        }
        Ok(())
    }

    async fn make(&self, name: &str, object: &Value) -> Result<(), StatusError> {
        let Some(object) = Object::from_value(object.clone()) else { return Ok(()) };
        unless(create::create_object(&self.cx("create", name), object).await.map(drop), "AlreadyExists")
    }

    async fn remove(&self, name: &str) -> Result<(), StatusError> {
        let deleted = delete_object(&self.cx("delete", name), "", name, &DeleteOptions::default()).await;
        unless(deleted.map(drop), "NotFound")
    }

    /// Looks at another server.
    fn check<'s>(&'s self, service: &'s Value) -> BoxFuture<'s, Result<(Remote, &'s Value, Condition), StatusError>> {
        Box::pin(async move {
            let mut remote = self.read(service);
            let registry = &self.server.registry;
            let wanted = &remote.service;
            let row = registry.row("", "v1", "services")?;
            let target = registry.find(&row, &wanted.namespace, &wanted.name).await?;
            let slices = self.slices(wanted).await?;
            let condition = match obstacle(wanted, target.as_ref(), &slices) {
                Some(condition) => condition,
                None => match proxy::check(&self.server, &remote).await {
                    Ok(found) => {
                        remote.resources = Some(Arc::new(found.resources));
                        remote.openapi_hash = found.openapi_hash;
                        remote.spec = found.spec;
                        Condition::passed()
                    }
                    Err(cause) => Condition::failed("FailedDiscoveryCheck", cause),
                },
            };
            remote.available = condition.is_true();
            if remote.resources.is_none() {
                // What it answered last is still better than nothing, and marked as stale.
                let table = self.server.aggregator.table();
                let before = table.remotes.iter().find(|before| before.name == remote.name);
                remote.resources = before.and_then(|before| before.resources.clone());
            }
            Ok((remote, service, condition))
        })
    }

    /// What an APIService says; with the connections that are kept, if they still lead there.
    fn read(&self, service: &Value) -> Remote {
        let spec = &service["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (name, target) = (text(&service["metadata"]["name"]), &spec["service"]);
        let port = ServicePort {
            namespace: text(&target["namespace"]),
            name: text(&target["name"]),
            port: target["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(443),
        };
        let (place, trust) = (Place::Service(port.clone()), self.server.aggregator.client.trust(spec));
        let table = self.server.aggregator.table();
        let before = table.remotes.iter().find(|remote| remote.name == name);
        let before = before.filter(|remote| remote.connections.lead_to(&place, &trust));
        let kept = before.map(|remote| remote.connections.clone());
        Remote {
            name,
            revision: text(&service["metadata"]["resourceVersion"]).parse().unwrap_or_default(),
            group: text(&spec["group"]),
            version: text(&spec["version"]),
            group_priority: spec["groupPriorityMinimum"].as_i64().unwrap_or_default(),
            version_priority: spec["versionPriority"].as_i64().unwrap_or_default(),
            service: port,
            connections: kept.unwrap_or_else(|| Arc::new(Connections::new(place, trust))),
            available: false,
            resources: None,
            openapi_hash: None,
            spec: before.and_then(|remote| remote.spec.clone()),
        }
    }

    async fn slices(&self, service: &ServicePort) -> Result<Vec<Object>, StatusError> {
        let objects = self.objects(&format!("{}{}/", TARGETS[1], service.namespace)).await?;
        let slices = objects.into_iter().filter_map(Object::from_value);
        let own = ("kubernetes.io/service-name", service.name.as_str());
        Ok(slices.filter(|slice| slice.labels().any(|label| label == own)).collect())
    }

    async fn set_condition(&self, service: &Value, condition: Condition) -> Result<(), StatusError> {
        let name = service["metadata"]["name"].as_str().unwrap_or_default();
        let cx = self.cx("update", name).at_subresource("status");
        let now = cx.timestamp();
        if condition.set(service, &now).is_none() {
            return Ok(());
        }
        let transform = |old: &Object| {
            let mut object = old.clone().into_value();
            if let Some(conditions) = condition.set(&object, &now) {
                object["status"] = json!({ "conditions": conditions });
            }
            Ok(Object::from_value(object).unwrap_or_default())
        };
        let manager = fields::Manager::Update("kube-apiserver".to_owned());
        let set = Change { part: Part::Status, manager, retry: true, transform: &transform };
        unless(change(&cx, &set).await.map(drop), "NotFound")
    }

    fn cx(&self, verb: &str, name: &str) -> Cx {
        Cx::internal(&self.server, &self.row, verb, "", name)
    }
}

/// What somebody else has done meanwhile need not be done.
fn unless(result: Result<(), StatusError>, reason: &str) -> Result<(), StatusError> {
    result.or_else(|error| if error.reason == reason { Ok(()) } else { Err(error) })
}

/// The APIServices of what is answered here, by name.
fn local(rows: &crate::registry::Rows, definitions: &[Value]) -> BTreeMap<String, Value> {
    let built_in = GROUP_VERSIONS.iter().filter(|gv| rows.has_version(gv.group, gv.version)).map(|gv| {
        let priorities = (gv.group_priority, gv.version_priority);
        (format!("{}.{}", gv.version, gv.group), api_service(gv.group, gv.version, priorities, "onstart"))
    });
    let mut wanted: BTreeMap<String, Value> = BTreeMap::new();
    for definition in definitions.iter().filter(|definition| is_established(definition)) {
        let group = definition["spec"]["group"].as_str().unwrap_or_default();
        let versions = definition["spec"]["versions"].as_array().into_iter().flatten();
        for version in versions.filter(|version| version["served"] == true) {
            let version = version["name"].as_str().unwrap_or_default();
            wanted.insert(format!("{version}.{group}"), api_service(group, version, CUSTOM_PRIORITIES, "true"));
        }
    }
    wanted.extend(built_in);
    wanted
}

fn is_established(definition: &Value) -> bool {
    let conditions = definition["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == "Established" && condition["status"] == "True")
}

fn api_service(group: &str, version: &str, (group_priority, version_priority): (i32, i32), managed: &str) -> Value {
    let mut spec = json!({
        "version": version, "groupPriorityMinimum": group_priority, "versionPriority": version_priority,
    });
    if !group.is_empty() {
        spec["group"] = group.into();
    }
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "APIService",
        "metadata": { "name": format!("{version}.{group}"), "labels": { MANAGED: managed } },
        "spec": spec,
    })
}
