//! Keeps the rows in line with the stored definitions, and their conditions in line with the rows
//! (upstream: apiextensions-apiserver/pkg/controller/{status,establish,nonstructuralschema,apiapproval}).

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use api::Resource;
use apiextensions::conditions::{self, Condition};
use apiextensions::definition::Names;
use apiextensions::expressions::Compiler;
use apiextensions::kind::Source;
use apiextensions::names::{self, Taken};
use apiextensions::{Definition, compare_versions, rules};
use apimachinery::{Object, StatusError};
use jiff::Timestamp;
use serde_json::{Value, json};
use store::{Entry, Event, RangeRequest};
use tokio::sync::{mpsc, oneshot};

use super::{CLEANUP_FINALIZER, cleanup, is_definitions};
use crate::registry::update::{Change, Part, change};
use crate::registry::{Cx, decode_entry, fields};
use crate::server::ApiServer;
use crate::status;

/// What is known of a definition.
struct Known {
    group: String,
    asked: Names,
    accepted: Names,
    generation: i64,
    is_terminating: Arc<AtomicBool>,
    in_form_since: Arc<AtomicU64>,
    /// Of all that gives objects their form.
    form: u64,
    rows: Vec<Arc<Resource>>,
}

/// Follows the definitions.
pub(crate) struct Follower {
    server: Arc<ApiServer>,
    row: Arc<Resource>,
    compiler: Option<Arc<dyn Compiler>>,
    known: BTreeMap<String, Known>,
    leaving: HashSet<String>,
}

/// Where a follower goes on from.
pub(crate) struct Start {
    watch: Box<dyn store::Watch>,
}

/// What the follower wakes up for.
enum Wake {
    Event(Option<Result<Event, store::Error>>),
    Waiter(Option<oneshot::Sender<()>>),
}

impl Follower {
    /// A follower, where definitions are served at all.
    pub(crate) fn new(server: &Arc<ApiServer>, compiler: Option<Arc<dyn Compiler>>) -> Option<Self> {
        let row = server.registry.rows().all().iter().find(|row| is_definitions(row)).cloned()?;
        Some(Self { server: server.clone(), row, compiler, known: BTreeMap::new(), leaving: HashSet::new() })
    }

    /// Puts the stored definitions into effect.
    pub(crate) async fn start(&mut self) -> Result<Start, StatusError> {
        let prefix = self.row.key_prefix();
        let store = self.server.registry.store().clone();
        let request = RangeRequest { prefix: prefix.clone(), ..RangeRequest::default() };
        let range = store.range(&request).await.map_err(|error| status::of_store(&error))?;
        let there: HashSet<String> = range.entries.iter().map(name_of).collect();
        self.known.retain(|name, _| there.contains(name));
        for entry in &range.entries {
            // An object may have been written long before this server began.
            self.put(entry, entry.modified).await;
        }
        self.publish();
        let watch = store.watch(&prefix, range.revision).await.map_err(|error| status::of_store(&error))?;
        Ok(Start { watch })
    }

    /// Follows until the store closes.
    pub(crate) async fn run(mut self, start: Start, mut waiting: mpsc::Receiver<oneshot::Sender<()>>) {
        let mut watch = start.watch;
        loop {
            // Events come first: who waits then has seen all that was written before.
            let wake = tokio::select! {
                biased;
                event = watch.next() => Wake::Event(event),
                waiter = waiting.recv() => Wake::Waiter(waiter),
            };
            match wake {
                Wake::Event(Some(Ok(Event::Put { entry, .. }))) => {
                    let since = self.server.registry.store().revision();
                    self.put(&entry, since).await;
                    self.publish();
                }
                Wake::Event(Some(Ok(Event::Delete { entry, .. }))) => self.forget(&name_of(&entry)).await,
                Wake::Event(Some(Ok(Event::Progress(_)))) => {}
                Wake::Event(Some(Err(error))) => {
                    tracing::debug!(%error, "definitions are read anew");
                    match self.start().await {
                        Ok(start) => watch = start.watch,
                        Err(error) => return tracing::warn!(%error, "definitions are no longer followed"),
                    }
                }
                // Nobody waits any more for an answer that is dropped.
                Wake::Waiter(Some(waiter)) => drop(waiter.send(())),
                Wake::Event(None) | Wake::Waiter(None) => return,
            }
        }
    }

    /// Takes in a definition: its names, its rows, its conditions.
    async fn put(&mut self, entry: &Entry, since: u64) {
        let name = name_of(entry);
        let read = decode_entry(entry).map_err(|error| error.to_string());
        let parsed =
            read.and_then(|object| Ok((Definition::parse(&object).map_err(|error| error.to_string())?, object)));
        let (definition, object) = match parsed {
            Ok(both) => both,
            Err(error) => return tracing::warn!(definition = name, error, "a definition cannot be read"),
        };
        let others = self.known.iter().filter(|(other, known)| **other != name && known.group == definition.spec.group);
        let taken = Taken::of(others.map(|(_, known)| &known.accepted));
        let (names, accepted) = names::settle(&definition.spec.names, &definition.status.accepted_names, &taken);
        let freed = self.known.get(&name).is_some_and(|known| known.accepted != names);
        let wanted = with_conditions(&object, &definition, &names, &accepted, component_base::now());
        let is_established = conditions::holds(&wanted, "Established");
        let is_terminating = object.is_deleting() || conditions::holds(&object, "Terminating");
        let same = |known: &&Known| known.generation == object.generation() && known.accepted == names;
        let before = self.known.get(&name).filter(same);
        let form = form_of(&object);
        let formed = self.known.get(&name).filter(|known| known.form == form);
        let is_formed = formed.is_some();
        let since = formed.map_or_else(|| Arc::new(AtomicU64::new(since)), |known| known.in_form_since.clone());
        // Watches go on while the objects go.
        let flag = before.map_or_else(Arc::default, |known| known.is_terminating.clone());
        flag.store(is_terminating, Ordering::Relaxed);
        let kept = before.filter(|known| known.rows.is_empty() != is_established);
        let rows = match kept {
            Some(known) => known.rows.clone(),
            None if is_established => {
                let source = Source {
                    bytes: entry.finished.value.clone(),
                    in_form_since: since.clone(),
                    is_terminating: flag.clone(),
                };
                apiextensions::rows(&definition, &names, source, self.compiler.clone())
            }
            None => Vec::new(),
        };
        let known = Known {
            group: definition.spec.group.clone(),
            asked: definition.spec.names.clone(),
            accepted: names,
            generation: object.generation(),
            is_terminating: flag,
            in_form_since: since.clone(),
            form,
            rows,
        };
        self.known.insert(name.clone(), known);
        // First it is served, then said to be.
        self.publish();
        if !is_formed {
            // What was written until now may have been written under the rows before; of later writes `landed` knows.
            since.fetch_max(self.server.registry.store().revision(), Ordering::AcqRel);
        }
        if wanted.0.get("status") != object.0.get("status") {
            self.write_status(&name, &wanted).await;
        }
        if freed {
            self.reconsider(&definition.spec.group, &name).await;
        }
        if object.is_deleting() && object.finalizers().any(|finalizer| finalizer == CLEANUP_FINALIZER) {
            self.let_go(&name, is_established, &definition);
        }
    }

    /// Begins to delete the objects of a definition, once.
    fn let_go(&mut self, name: &str, was_established: bool, definition: &Definition) {
        if !self.leaving.insert(name.to_owned()) {
            return;
        }
        let rows = self.known.get(name).map(|known| known.rows.clone()).unwrap_or_default();
        let prefix = format!("/registry/{}/{}/", definition.spec.group, definition.spec.names.plural);
        let built_in = self.server.registry.is_built_in(&definition.spec.group, &definition.spec.names.plural);
        let work = cleanup::Cleanup {
            server: self.server.clone(),
            definitions: self.row.clone(),
            name: name.to_owned(),
            row: rows.into_iter().next(),
            prefix,
            outcome: if built_in {
                cleanup::Outcome::Overlapping
            } else if was_established {
                cleanup::Outcome::Completed
            } else {
                cleanup::Outcome::NeverEstablished
            },
        };
        self.server.scope.spawn("apiserver/definition-cleanup", work.run());
    }

    async fn forget(&mut self, name: &str) {
        self.leaving.remove(name);
        self.server.definitions.clients.forget(name);
        let Some(known) = self.known.remove(name) else { return };
        self.publish();
        self.reconsider(&known.group, name).await;
    }

    /// Names may have become free for other definitions of the group.
    async fn reconsider(&mut self, group: &str, but: &str) {
        let waits = |(name, known): &(&String, &Known)| {
            known.group == group && name.as_str() != but && known.asked != known.accepted
        };
        let names: Vec<String> = self.known.iter().filter(waits).map(|(name, _)| name.clone()).collect();
        for name in names {
            // A write makes it an event, which is taken in like any other.
            let known = |other: &String| *other == name;
            let taken = self.known.iter().filter(|(other, known)| known.group == group && **other != name);
            let taken = Taken::of(taken.map(|(_, known)| &known.accepted));
            let Some(waiting) = self.known.iter().find(|(other, _)| known(other)).map(|(_, known)| known) else {
                continue;
            };
            let (names, accepted) = names::settle(&waiting.asked, &waiting.accepted, &taken);
            if names != waiting.accepted {
                self.rewrite(&name, &names, &accepted).await;
            }
        }
    }

    async fn rewrite(&self, name: &str, names: &Names, accepted: &Condition) {
        let Ok(Some(object)) = self.server.registry.find(&self.row, "", name).await else { return };
        let Ok(definition) = Definition::parse(&object) else { return };
        let wanted = with_conditions(&object, &definition, names, accepted, component_base::now());
        self.write_status(name, &wanted).await;
    }

    /// Writes a status, unless the definition changed meanwhile: then its event is on the way.
    async fn write_status(&self, name: &str, wanted: &Object) {
        let cx = Cx::internal(&self.server, &self.row, "update", "", name).at_subresource("status");
        let manager = fields::Manager::Update("kube-apiserver".into());
        let transform = |_: &Object| Ok(wanted.clone());
        let status = Change { part: Part::Status, manager, retry: false, transform: &transform };
        match change(&cx, &status).await {
            Ok(_) => {}
            Err(error) if matches!(error.reason, "Conflict" | "NotFound") => {}
            Err(error) => tracing::warn!(definition = name, %error, "the status of a definition was not written"),
        }
    }

    /// Swaps in the rows of all definitions, if they changed.
    fn publish(&self) {
        let mut rows: Vec<Arc<Resource>> = self.known.values().flat_map(|known| known.rows.iter().cloned()).collect();
        rows.sort_by(|a, b| {
            let groups = a.gvk.group.cmp(&b.gvk.group);
            groups.then_with(|| compare_versions(&b.gvk.version, &a.gvk.version)).then_with(|| a.plural.cmp(&b.plural))
        });
        self.server.registry.set_custom(rows);
    }
}

/// A number that changes when stored objects may have to be brought into another form.
fn form_of(definition: &Object) -> u64 {
    let mut hasher = DefaultHasher::new();
    for version in definition.at(&["spec", "versions"]).and_then(Value::as_array).into_iter().flatten() {
        (version["name"].to_string(), version["schema"].to_string()).hash(&mut hasher);
    }
    for field in ["conversion", "preserveUnknownFields"] {
        definition.at(&["spec", field]).map(Value::to_string).hash(&mut hasher);
    }
    hasher.finish()
}

fn name_of(entry: &Entry) -> String {
    entry.key.rsplit('/').next().unwrap_or_default().to_owned()
}

/// The definition with the status that its names and schemas give it.
fn with_conditions(
    object: &Object,
    definition: &Definition,
    names: &Names,
    accepted: &Condition,
    now: Timestamp,
) -> Object {
    let mut wanted = object.clone();
    let mut spelled = json!({ "plural": names.plural, "kind": names.kind });
    for (field, text) in [("singular", &names.singular), ("listKind", &names.list_kind)] {
        if !text.is_empty() {
            spelled[field] = text.as_str().into();
        }
    }
    for (field, list) in [("shortNames", &names.short_names), ("categories", &names.categories)] {
        if !list.is_empty() {
            spelled[field] = list.clone().into();
        }
    }
    if let Some(status) = wanted.0.entry("status").or_insert_with(|| json!({})).as_object_mut() {
        status.insert("acceptedNames".into(), spelled);
    }
    conditions::set(&mut wanted, accepted, now);
    if !conditions::holds(object, "Established") {
        let condition = if accepted.holds {
            let words = "the initial names have been accepted";
            Condition::new("Established", true, "InitialNamesAccepted", words)
        } else {
            Condition::new("Established", false, "NotAccepted", "not all names are accepted")
        };
        conditions::set(&mut wanted, &condition, now);
    }
    match non_structural(definition) {
        Some(condition) => conditions::set(&mut wanted, &condition, now),
        None => conditions::remove(&mut wanted, "NonStructuralSchema"),
    }
    match rules::approval_condition(object) {
        Some(condition) => conditions::set(&mut wanted, &condition, now),
        None => conditions::remove(&mut wanted, "KubernetesAPIApprovalPolicyConformant"),
    }
    wanted
}

/// Schemas of older servers may not be structural (upstream: nonstructuralschema_controller.go).
fn non_structural(definition: &Definition) -> Option<Condition> {
    let mut wrong: Vec<String> = Vec::new();
    for (index, version) in definition.spec.versions.iter().enumerate() {
        let Some(schema) = version.root() else { continue };
        let at = format!("spec.versions[{index}].schema.openAPIV3Schema");
        wrong.extend(rules::violations(schema).into_iter().map(|error| format!("{at}.{error}")));
    }
    let message = match wrong.as_slice() {
        [] => return None,
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    };
    Some(Condition::new("NonStructuralSchema", true, "Violations", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_follow_the_names() {
        let object = |status: Value| {
            let value = json!({"metadata": {"name": "things.example.com"}, "status": status, "spec": {
                "group": "example.com", "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
                "versions": [{"name": "v1", "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
            Object::from_value(value).expect("an object")
        };
        let fresh = object(json!({}));
        let definition = Definition::parse(&fresh).expect("a definition");
        let settle = |taken: &[&Names]| {
            names::settle(&definition.spec.names, &definition.status.accepted_names, &Taken::of(taken.iter().copied()))
        };
        let spelled = |object: &Object| -> Vec<String> {
            let list = object.at(&["status", "conditions"]).and_then(Value::as_array).cloned().unwrap_or_default();
            list.iter()
                .map(|one| format!("{}={} {}", one["type"], one["status"], one["reason"]).replace('"', ""))
                .collect()
        };
        let now = Timestamp::UNIX_EPOCH;
        let (names, accepted) = settle(&[]);
        let good = with_conditions(&fresh, &definition, &names, &accepted, now);
        assert_eq!(spelled(&good), ["NamesAccepted=True NoConflicts", "Established=True InitialNamesAccepted"]);
        let again = with_conditions(&good, &definition, &names, &accepted, now);
        assert_eq!(again, good, "what is right is not written again");
        let other = definition.spec.names.clone();
        let (names, accepted) = settle(&[&other]);
        let bad = with_conditions(&fresh, &definition, &names, &accepted, now);
        assert_eq!(spelled(&bad), ["NamesAccepted=False ListKindConflict", "Established=False NotAccepted"]);
    }
}
