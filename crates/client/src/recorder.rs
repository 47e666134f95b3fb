//! Events: what happened to an object and why, for people (`kubectl describe`, `kubectl events`).
//!
//! As upstream's recorder (client-go `tools/record`): the same event again raises the count of the one written before;
//! recording never blocks and never fails the caller; when the queue is full, events are dropped.

use std::collections::HashMap;

use component_base::{Scope, now};
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;
use tokio::sync::mpsc;

const QUEUE: usize = 1000;
/// How many distinct events are remembered for counting.
const REMEMBERED: usize = 4096;

/// Whether all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// As expected.
    Normal,
    /// Something needs attention.
    Warning,
}

impl EventType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Occurrence {
    namespace: String,
    kind: String,
    name: String,
    uid: String,
    field_path: String,
    event_type: &'static str,
    reason: String,
    message: String,
}

struct Record {
    occurrence: Occurrence,
    regarding: ObjectReference,
}

/// Records events as one component. Clones share the queue.
#[derive(Clone)]
pub struct Recorder {
    sender: mpsc::Sender<Record>,
}

impl Recorder {
    /// A recorder that writes as `component` (on `host`, where a node reports).
    pub fn new(client: Client, component: &str, host: Option<&str>, scope: &Scope) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let writer = Writer {
            client,
            source: EventSource { component: Some(component.to_owned()), host: host.map(str::to_owned) },
            written: HashMap::new(),
        };
        scope.spawn("event-recorder", writer.run(receiver));
        Self { sender }
    }

    /// Records that something happened to `object`.
    pub fn event<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        event_type: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        self.event_on(object.object_ref(&()), event_type, reason, message);
    }

    /// Records that something happened to what `regarding` refers to (as a container of a pod, by `fieldPath`).
    pub fn event_on(
        &self,
        regarding: ObjectReference,
        event_type: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        let occurrence = Occurrence {
            namespace: regarding.namespace.clone().filter(|ns| !ns.is_empty()).unwrap_or_else(|| "default".into()),
            kind: regarding.kind.clone().unwrap_or_default(),
            name: regarding.name.clone().unwrap_or_default(),
            uid: regarding.uid.clone().unwrap_or_default(),
            field_path: regarding.field_path.clone().unwrap_or_default(),
            event_type: event_type.as_str(),
            reason: reason.to_owned(),
            message: message.into(),
        };
        if self.sender.try_send(Record { occurrence, regarding }).is_err() {
            tracing::debug!(reason, "the event queue is full; an event was dropped");
        }
    }
}

struct Writer {
    client: Client,
    source: EventSource,
    written: HashMap<Occurrence, (String, i32)>,
}

impl Writer {
    async fn run(mut self, mut records: mpsc::Receiver<Record>) {
        while let Some(record) = records.recv().await {
            if let Err(err) = self.write(record).await {
                tracing::debug!(error = %err, "an event could not be written");
            }
        }
    }

    async fn write(&mut self, record: Record) -> Result<(), kube::Error> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &record.occurrence.namespace);
        if let Some((name, count)) = self.written.get_mut(&record.occurrence) {
            let patch = json!({"count": *count + 1, "lastTimestamp": Time(now())});
            match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
                Ok(_) => {
                    *count += 1;
                    return Ok(());
                }
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(err) => return Err(err),
            }
        }
        let event = self.event(&record);
        let name = event.name_any();
        api.create(&PostParams::default(), &event).await?;
        if self.written.len() >= REMEMBERED {
            self.written.clear();
        }
        self.written.insert(record.occurrence, (name, 1));
        Ok(())
    }

    fn event(&self, record: &Record) -> Event {
        let at = now();
        let occurrence = &record.occurrence;
        // Upstream's names: the object's name and the time in hexadecimal nanoseconds.
        let name = format!("{}.{:x}", occurrence.name, at.as_nanosecond());
        Event {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(occurrence.namespace.clone()),
                ..ObjectMeta::default()
            },
            involved_object: record.regarding.clone(),
            reason: Some(occurrence.reason.clone()),
            message: Some(occurrence.message.clone()),
            type_: Some(occurrence.event_type.to_owned()),
            count: Some(1),
            first_timestamp: Some(Time(at)),
            last_timestamp: Some(Time(at)),
            reporting_component: self.source.component.clone(),
            reporting_instance: self.source.host.clone(),
            source: Some(self.source.clone()),
            ..Event::default()
        }
    }
}
