//! [`Resource`]: a kind as a row of data, and [`Strategy`]: what the kind does differently.

use std::sync::Arc;

use apimachinery::schema::{NodeId, SchemaSet};
use apimachinery::{GroupResource, GroupVersionKind, Object, StatusError, UserInfo, field, validation};

use crate::custom::Custom;
use crate::schemas::SCHEMAS;

mod build;

pub use build::GroupVersion;

/// Whether objects live in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One name, one object, in the whole cluster.
    Cluster,
    /// Names are unique within a namespace.
    Namespaced,
}

/// Which verbs a resource serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbs {
    /// create, delete, deletecollection, get, list, patch, update, watch.
    All,
    /// All but deletecollection: namespaces.
    AllButDeleteCollection,
    /// create only: reviews and requests that are answered and not stored.
    CreateOnly,
    /// get and list only: componentstatuses.
    ReadOnly,
}

impl Verbs {
    /// The verbs by name, in the order in which discovery lists them.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Self::All => &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
            Self::AllButDeleteCollection => &["create", "delete", "get", "list", "patch", "update", "watch"],
            Self::CreateOnly => &["create"],
            Self::ReadOnly => &["get", "list"],
        }
    }

    /// Whether `verb` is served.
    pub fn has(self, verb: &str) -> bool {
        self.names().contains(&verb)
    }
}

/// Subresources that the generic registry serves for the kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subresources {
    /// `/status`.
    pub status: bool,
    /// `/scale`, where the three values live in the object.
    pub scale: Option<Scale>,
    /// Special ones, served by a handler of their own: `log`, `exec`, `binding`, `eviction`, `token`...
    pub special: Vec<Special>,
}

impl Subresources {
    /// The special subresource of this name.
    pub fn special(&self, name: &str) -> Option<&Special> {
        self.special.iter().find(|special| special.name == name)
    }
}

/// A subresource with a handler of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Special {
    /// The last step of the path, as `eviction`.
    pub name: &'static str,
    /// What the subresource takes or answers, as `policy/v1 Eviction`.
    pub body: GroupVersionKind,
    /// The verbs served.
    pub verbs: &'static [&'static str],
}

/// Where `/scale` finds its values: field names from the object's root, joined by dots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    /// As `spec.replicas`.
    pub spec_replicas: String,
    /// As `status.replicas`.
    pub status_replicas: String,
    /// As `status.selector` of a custom resource (a string), or `spec.selector` of a built-in kind.
    pub selector: Option<String>,
}

/// Which changes of an object `metadata.generation` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// None: the kind has no generation.
    Never,
    /// Those of `spec`, for kinds that have one; others have no generation.
    Spec,
    /// Those of `spec` and of the annotations: deployments.
    SpecAndAnnotations,
    /// Those of anything but metadata and status: kinds without a spec that have a generation all the same.
    Content,
    /// Those of anything but metadata: custom resources whose status is no part of its own.
    All,
}

impl Generation {
    /// Whether a new object has a generation.
    pub fn begins(self, object: &Object) -> bool {
        match self {
            Self::Never => false,
            Self::Spec | Self::SpecAndAnnotations => object.0.contains_key("spec"),
            Self::Content | Self::All => true,
        }
    }

    /// Whether the update from `old` to `new` counts.
    pub fn moves(self, new: &Object, old: &Object) -> bool {
        let differs = |path: &[&str]| new.at(path) != old.at(path);
        let others = |apart: &[&str]| {
            let own = |object: &&Object| object.0.keys().filter(|key| !apart.contains(&key.as_str())).count();
            own(&new) != own(&old)
                || new.0.iter().any(|(key, value)| !apart.contains(&key.as_str()) && old.0.get(key) != Some(value))
        };
        match self {
            Self::Never => false,
            Self::Spec => differs(&["spec"]),
            Self::SpecAndAnnotations => differs(&["spec"]) || differs(&["metadata", "annotations"]),
            Self::Content => others(&["metadata", "status"]),
            Self::All => others(&["metadata"]),
        }
    }
}

/// What a strategy sees of a write.
#[derive(Clone, Debug)]
pub struct WriteContext<'a> {
    /// Who writes.
    pub user: &'a UserInfo,
    /// The time of the write.
    pub now: jiff::Timestamp,
    /// The subresource written, or "".
    pub subresource: &'a str,
}

/// What a kind does differently. Every default is the behaviour that most kinds share.
///
/// The generic registry has already checked structure (schema), metadata and generation rules; a strategy
/// writes only its own. All methods are pure.
pub trait Strategy: Send + Sync {
    /// Sets the defaults of this kind and version (upstream's `SetObjectDefaults_*`); idempotent.
    fn default(&self, _object: &mut Object) {}

    /// Clears or sets what a client may not choose at create. The registry has set the system's metadata (uid,
    /// creationTimestamp) and dropped `status` where the kind has `/status`, unless `keeps_status_at_create`.
    fn prepare_for_create(&self, _cx: &WriteContext<'_>, _object: &mut Object) {}

    /// Restores what a client may not change by a main-resource update, beyond `status` (which the registry
    /// restores itself when the kind has the status subresource).
    fn prepare_for_update(&self, _cx: &WriteContext<'_>, _object: &mut Object, _old: &Object) {}

    /// Sets or restores what a write of `/status` may not choose, beyond everything but `status` (which the registry
    /// restores itself).
    fn prepare_for_status_update(&self, _cx: &WriteContext<'_>, _object: &mut Object, _old: &Object) {}

    /// Whether a write of `/status` leaves metadata as it is (upstream: `ResetObjectMetaForStatus`).
    fn status_keeps_metadata(&self) -> bool {
        false
    }

    /// Semantic rules at create.
    fn validate(&self, _object: &Object) -> Vec<field::Error> {
        Vec::new()
    }

    /// Rules between the old and the new object at update; `validate` has run on the new one as well.
    fn validate_update(&self, _object: &Object, _old: &Object) -> Vec<field::Error> {
        Vec::new()
    }

    /// [`Self::validate_update`], and words about what is wrong, was wrong before, and is let pass for that.
    fn judge_update(&self, object: &Object, old: &Object) -> (Vec<field::Error>, Vec<String>) {
        (self.validate_update(object, old), Vec::new())
    }

    /// Whether `validate_update` stands for itself, so that `validate` does not run as well: kinds that judge an
    /// unchanged part of an object by what was there before.
    fn judges_updates_alone(&self) -> bool {
        false
    }

    /// Rules for a write of `/status`.
    fn validate_status_update(&self, _object: &Object, _old: &Object) -> Vec<field::Error> {
        Vec::new()
    }

    /// [`Self::validate_status_update`], for kinds whose status must fit the time of the write as well, and words about
    /// what is let pass, as those of [`Self::judge_update`].
    fn judge_status_update(
        &self,
        _cx: &WriteContext<'_>,
        object: &Object,
        old: &Object,
    ) -> (Vec<field::Error>, Vec<String>) {
        (self.validate_status_update(object, old), Vec::new())
    }

    /// Rules for an update through a special subresource that writes part of the object (`ephemeralcontainers`,
    /// `resize`, `finalize`, `approval`); stands in for `validate_update`.
    fn validate_subresource_update(&self, _subresource: &str, object: &Object, old: &Object) -> Vec<field::Error> {
        self.validate_update(object, old)
    }

    /// What is wrong with `metadata.name`, or with a `generateName` (`prefix`); an RFC 1123 subdomain is right for
    /// most kinds.
    fn name_errors(&self, name: &str, prefix: bool) -> Vec<String> {
        validation::name_is_dns_subdomain(name, prefix)
    }

    /// Whether a PUT to a name that does not exist creates it (upstream's `AllowCreateOnUpdate`).
    fn allow_create_on_update(&self) -> bool {
        false
    }

    /// Whether an update without a resourceVersion is taken (upstream's `AllowUnconditionalUpdate`).
    fn allow_unconditional_update(&self) -> bool {
        true
    }

    /// Which changes `metadata.generation` counts.
    fn generation(&self) -> Generation {
        Generation::Spec
    }

    /// Whether `status` may be given at create although the kind has `/status`: the kubelet registers its node
    /// with one.
    fn keeps_status_at_create(&self) -> bool {
        false
    }

    /// The seconds between a delete request and the removal, for kinds that end gracefully (pods); `None` is
    /// removal at once (upstream: `CheckGracefulDelete`).
    fn grace_period_seconds(&self, _object: &Object, _requested: Option<i64>) -> Option<i64> {
        None
    }

    /// What a delete request does to an object before its finalizers decide whether it stays.
    fn prepare_for_delete(&self, _object: &mut Object, _now: jiff::Timestamp) {}

    /// What a table says of the row as a whole, as `Completed` of a pod that has ended; null for nothing.
    fn row_conditions(&self, _object: &Object) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Where in a table the row belongs; rows of the same rank stay in the order of their names.
    fn row_rank(&self, _object: &Object) -> i64 {
        0
    }

    /// Warnings for the client, sent as `Warning` headers, at create.
    fn warnings(&self, _object: &Object) -> Vec<String> {
        Vec::new()
    }

    /// Warnings at an update; for most kinds those of the object as it is now.
    fn update_warnings(&self, object: &Object, _old: &Object) -> Vec<String> {
        self.warnings(object)
    }
}

/// The strategy of a kind that differs in nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl Strategy for Plain {}

/// A printer column of `kubectl get`, computed on the server.
#[derive(Clone)]
pub struct Column {
    /// The header, as `Ready`.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: &'static str,
    /// `name` for the name column, else "".
    pub format: &'static str,
    /// 0 is always shown, 1 with `-o wide`.
    pub priority: i32,
    /// What it shows, where that is more than its name.
    pub description: Option<String>,
    /// The cell for an object at a time.
    pub cell: Arc<dyn Fn(&Object, jiff::Timestamp) -> serde_json::Value + Send + Sync>,
}

impl std::fmt::Debug for Column {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Column").field("name", &self.name).finish_non_exhaustive()
    }
}

/// One kind at one version, as data. A custom resource is a row added at run time.
#[derive(Clone)]
pub struct Resource {
    /// Group, version and kind.
    pub gvk: GroupVersionKind,
    /// The name in paths: lower case, plural.
    pub plural: String,
    /// The singular name, as kubectl takes it.
    pub singular: String,
    /// Short names, as `po`.
    pub short_names: Vec<String>,
    /// Categories, as `all`.
    pub categories: Vec<String>,
    /// Cluster or namespace.
    pub scope: Scope,
    /// The verbs served.
    pub verbs: Verbs,
    /// The subresources served.
    pub subresources: Subresources,
    /// The version that is stored; other served versions are converted to it. Equal to `gvk.version` for most.
    pub storage_version: String,
    /// The group whose keys hold the objects, where two groups share one store (events); else `gvk.group`.
    pub storage_group: String,
    /// Field-selector paths beyond `metadata.name` and `metadata.namespace`, as `spec.nodeName`.
    pub selectable_fields: Vec<String>,
    /// Columns of `kubectl get`; the last is usually Age.
    pub columns: Vec<Column>,
    /// What the kind does differently.
    pub strategy: Arc<dyn Strategy>,
    /// Of a kind that was defined at run time: its structure.
    pub custom: Option<Arc<dyn Custom>>,
}

impl Resource {
    /// Group and resource, as Status messages and RBAC name them.
    pub fn group_resource(&self) -> GroupResource {
        GroupResource::new(self.gvk.group.clone(), self.plural.clone())
    }

    /// `/registry/<group>/<resource>/`, where the core group is `core`.
    pub fn key_prefix(&self) -> String {
        let group = if self.storage_group.is_empty() { "core" } else { &self.storage_group };
        format!("/registry/{group}/{}/", self.plural)
    }

    /// The storage key of one object; `namespace` is empty for cluster-scoped kinds.
    pub fn key(&self, namespace: &str, name: &str) -> String {
        let prefix = self.key_prefix();
        if namespace.is_empty() { format!("{prefix}{name}") } else { format!("{prefix}{namespace}/{name}") }
    }

    /// Whether objects live in a namespace.
    pub fn is_namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    /// The value of a selectable field, or `None` when the kind does not know the field.
    pub fn field(&self, object: &Object, path: &str) -> Option<String> {
        let known = matches!(path, "metadata.name" | "metadata.namespace")
            || self.selectable_fields.iter().any(|field| field == path);
        known.then(|| {
            let steps: Vec<&str> = path.split('.').collect();
            match object.at(&steps) {
                Some(serde_json::Value::String(text)) => text.clone(),
                Some(serde_json::Value::Null) | None => String::new(),
                Some(other) => other.to_string(),
            }
        })
    }

    /// The kind of a list of these objects.
    pub fn list_kind(&self) -> String {
        self.custom.as_ref().map_or_else(|| format!("{}List", self.gvk.kind), |custom| custom.list_kind().to_owned())
    }

    /// The schema of the row's own kind, of its list or of a body that one of its subresources takes: the one place
    /// where structure is looked up, for built-in kinds and others.
    pub fn schema_of(&self, kind: &GroupVersionKind) -> Option<(&SchemaSet, NodeId)> {
        let own = self.custom.as_ref().map(|custom| custom.schemas()).and_then(|own| Some((&own.set, own.of(kind)?)));
        own.or_else(|| Some((&SCHEMAS.set, SCHEMAS.of(kind)?)))
    }

    /// The status of an object that has none yet, where the kind always has one: `{}` of a Deployment,
    /// `{"loadBalancer":{}}` of a Service.
    pub fn empty_status(&self) -> Option<serde_json::Value> {
        let (schemas, root) = self.schema_of(&self.gvk)?;
        schemas.zero_of_field(root, "status")
    }

    /// The 404 of this kind.
    pub fn not_found(&self, name: &str) -> StatusError {
        StatusError::not_found(&self.group_resource(), name)
    }
}

impl std::fmt::Debug for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resource").field("gvk", &self.gvk).field("plural", &self.plural).finish_non_exhaustive()
    }
}
