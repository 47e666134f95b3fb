//! The registry: objects of every kind, behind the verbs. One file a verb, written once for all kinds.
//!
//! ```text
//! bytes -> decode -> defaults -> mutate (admission) -> prepare -> validate -> validate (admission) -> store -> bytes
//! ```
//!
//! [`Registry`] knows the rows and the store; [`Cx`] is one request on its way. Read [`list`] and [`watch`] for how
//! canonical bytes are served without decoding, [`create`] and [`update`] for the write path.

use std::collections::HashMap;
use std::sync::Arc;

use api::Resource;
use apimachinery::{Object, StatusError, UserInfo};
use arc_swap::ArcSwap;
use audit::Trail;
use http::HeaderMap;
use jiff::Timestamp;
use parking_lot::Mutex;
use store::{Entry, Store};
use tokio::sync::watch as channel;

use crate::request::{Query, RequestInfo};
use crate::server::ApiServer;
use crate::status;

pub mod finish;
pub mod scan;

pub mod answer;
pub mod convert;
pub mod options;
pub mod selection;
pub mod table;

pub mod apply;
pub mod create;
pub mod delete;
pub mod delete_collection;
pub mod get;
pub mod list;
pub mod patch;
pub mod update;
pub mod watch;
pub mod write;

pub mod decode;
pub mod fields;
pub mod scale;

/// The served kinds and the store that holds their objects.
pub struct Registry {
    store: Arc<dyn Store>,
    rows: ArcSwap<Rows>,
    /// The rows that are always there.
    built_in: Vec<Arc<Resource>>,
    /// Tells that the rows are others now.
    changed: channel::Sender<()>,
}

/// The rows that are served at a time.
#[derive(Debug, Default)]
pub struct Rows {
    all: Vec<Arc<Resource>>,
    by_path: HashMap<String, Arc<Resource>>,
}

impl Rows {
    /// An index over `rows`, in their order.
    pub fn new(rows: impl IntoIterator<Item = Arc<Resource>>) -> Self {
        let all: Vec<Arc<Resource>> = rows.into_iter().collect();
        let by_path =
            all.iter().map(|row| (path_key(&row.gvk.group, &row.gvk.version, &row.plural), row.clone())).collect();
        Self { all, by_path }
    }

    /// Every row.
    pub fn all(&self) -> &[Arc<Resource>] {
        &self.all
    }

    /// The row that a path names.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.by_path.get(&path_key(group, version, plural))
    }

    /// Whether some kind of this group and version is served.
    pub fn has_version(&self, group: &str, version: &str) -> bool {
        self.all.iter().any(|row| row.gvk.group == group && row.gvk.version == version)
    }
}

fn path_key(group: &str, version: &str, plural: &str) -> String {
    [group, version, plural].join("/")
}

impl Registry {
    /// A registry of `rows` over `store`.
    pub fn new(store: Arc<dyn Store>, rows: impl IntoIterator<Item = Arc<Resource>>) -> Self {
        let built_in: Vec<Arc<Resource>> = rows.into_iter().collect();
        let rows = ArcSwap::from_pointee(Rows::new(built_in.iter().cloned()));
        Self { store, rows, built_in, changed: channel::Sender::new(()) }
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The rows served now.
    pub fn rows(&self) -> Arc<Rows> {
        self.rows.load_full()
    }

    /// Whether a kind of this name is always there.
    pub fn is_built_in(&self, group: &str, plural: &str) -> bool {
        self.built_in.iter().any(|row| row.gvk.group == group && row.plural == plural)
    }

    /// Serves these rows beside the built-in ones, in place of those that were added before.
    pub fn set_custom(&self, custom: Vec<Arc<Resource>>) {
        let own = |row: &&Arc<Resource>| !self.is_built_in(&row.gvk.group, &row.plural);
        let present = self.rows.load();
        let added = present.all().iter().filter(|row| row.custom.is_some());
        if added.map(Arc::as_ptr).eq(custom.iter().filter(own).map(Arc::as_ptr)) {
            return;
        }
        let rows = self.built_in.iter().chain(custom.iter().filter(own)).cloned();
        self.rows.store(Arc::new(Rows::new(rows)));
        self.changed.send_replace(());
    }

    /// Returns when `row` is not served any more in this form: its kind was defined anew, or is gone.
    pub async fn retired(&self, row: &Arc<Resource>) {
        if row.custom.is_none() {
            return std::future::pending().await;
        }
        let mut changed = self.changed.subscribe();
        let is_there = || {
            let rows = self.rows.load();
            rows.find(&row.gvk.group, &row.gvk.version, &row.plural).is_some_and(|there| Arc::ptr_eq(there, row))
        };
        while is_there() && changed.changed().await.is_ok() {}
    }

    /// The row of a built-in kind, by its place in the catalogue.
    pub fn row(&self, group: &str, version: &str, plural: &str) -> Result<Arc<Resource>, StatusError> {
        self.rows.load().find(group, version, plural).cloned().ok_or_else(StatusError::unknown_path)
    }

    /// The stored entry of an object, or the kind's 404.
    pub async fn entry(&self, row: &Resource, namespace: &str, name: &str) -> Result<Entry, StatusError> {
        self.find_entry(row, namespace, name).await?.ok_or_else(|| row.not_found(name))
    }

    /// The stored entry of an object, if it exists.
    pub async fn find_entry(&self, row: &Resource, namespace: &str, name: &str) -> Result<Option<Entry>, StatusError> {
        self.store.get(&row.key(namespace, name)).await.map_err(|error| status::of_store(&error))
    }

    /// The decoded object, if it exists; in its stored version.
    pub async fn find(&self, row: &Resource, namespace: &str, name: &str) -> Result<Option<Object>, StatusError> {
        self.find_entry(row, namespace, name).await?.map(|entry| decode_entry(&entry)).transpose()
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

/// The object in an entry, in its stored version.
pub fn decode_entry(entry: &Entry) -> Result<Object, StatusError> {
    serde_json::from_slice(&entry.finished.value)
        .map_err(|error| StatusError::internal(format!("the stored object {} cannot be read: {error}", entry.key)))
}

/// One request on its way through the verbs.
pub struct Cx {
    /// The server.
    pub server: Arc<ApiServer>,
    /// What is asked for.
    pub info: Arc<RequestInfo>,
    /// The row that the path names.
    pub row: Arc<Resource>,
    /// The query.
    pub query: Query,
    /// The headers.
    pub headers: HeaderMap,
    /// Who asks.
    pub user: Arc<UserInfo>,
    /// When the request arrived.
    pub now: Timestamp,
    /// Warnings for the client, sent as headers with the answer.
    pub warnings: Mutex<Vec<String>>,
    /// What is written down about the request, if anything is.
    pub trail: Option<Arc<Trail>>,
}

impl Cx {
    /// A request of the server itself, about one object.
    pub fn internal(server: &Arc<ApiServer>, row: &Arc<Resource>, verb: &str, namespace: &str, name: &str) -> Self {
        let info = RequestInfo {
            is_resource: true,
            verb: verb.to_owned(),
            group: row.gvk.group.clone(),
            version: row.gvk.version.clone(),
            resource: row.plural.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..RequestInfo::default()
        };
        Self {
            server: server.clone(),
            info: Arc::new(info),
            row: row.clone(),
            query: Query::default(),
            headers: HeaderMap::new(),
            user: Arc::new(crate::server::own_identity()),
            now: component_base::now(),
            warnings: Mutex::default(),
            trail: None,
        }
    }

    /// The same request, about a subresource.
    pub fn at_subresource(mut self, name: &str) -> Self {
        Arc::make_mut(&mut self.info).subresource = name.to_owned();
        self
    }

    /// The same request, about an object of another row.
    pub fn about(&self, row: &Arc<Resource>, verb: &str, namespace: &str, name: &str) -> Self {
        Self {
            user: self.user.clone(),
            query: self.query.clone(),
            trail: self.trail.clone(),
            ..Self::internal(&self.server, row, verb, namespace, name)
        }
    }

    /// The registry.
    pub fn registry(&self) -> &Registry {
        &self.server.registry
    }

    /// Adds a warning for the client, once.
    pub fn warn(&self, text: impl Into<String>) {
        let text = text.into();
        let mut warnings = self.warnings.lock();
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    /// Notes something about the request for its audit events (upstream: `audit.AddAuditAnnotation`).
    pub fn annotate(&self, key: &str, value: &str) {
        if let Some(trail) = &self.trail {
            trail.annotate(key, value);
        }
    }

    /// The strategy's view of a write.
    pub fn write_context(&self) -> api::WriteContext<'_> {
        api::WriteContext { user: &self.user, now: self.now, subresource: &self.info.subresource }
    }

    /// Whether nothing may be written (`dryRun=All`).
    pub fn dry_run(&self) -> Result<bool, StatusError> {
        options::dry_run(self.query.all("dryRun"))
    }

    /// The time of the request as metadata carries it.
    pub fn timestamp(&self) -> String {
        component_base::clock::rfc3339_seconds(self.now)
    }
}
