//! The configuration objects, as far as flow control reads them (upstream: k8s.io/api/flowcontrol/v1/types.go).

use serde::Deserialize;

/// Name of the level whose requests never wait, and of its flow schema.
pub const EXEMPT: &str = "exempt";

/// Name of the level of whatever matches nothing else, and of its flow schema.
pub const CATCH_ALL: &str = "catch-all";

/// What of metadata matters here.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// The name.
    pub name: String,
    /// The UID; empty for what exists only in this server's imagination.
    pub uid: String,
}

/// Which requests belong together, and to which level they go.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct FlowSchema {
    /// Name and UID.
    pub metadata: Metadata,
    /// What matches, and where it goes.
    pub spec: FlowSchemaSpec,
}

/// See [`FlowSchema`].
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct FlowSchemaSpec {
    /// The level of these requests.
    pub priority_level_configuration: Reference,
    /// Lower numbers are asked first.
    pub matching_precedence: i32,
    /// What tells one flow from another.
    pub distinguisher_method: Option<DistinguisherMethod>,
    /// A request matches when one of these does.
    pub rules: Vec<PolicyRules>,
}

/// A level, by name.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Reference {
    /// The name.
    pub name: String,
}

/// See [`Distinguisher`].
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct DistinguisherMethod {
    /// What is looked at.
    #[serde(rename = "type")]
    pub kind: Distinguisher,
}

/// What tells one flow of a schema from another.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub enum Distinguisher {
    /// The user name.
    #[default]
    ByUser,
    /// The namespace of the request.
    ByNamespace,
}

/// Who and what: both must match.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyRules {
    /// One of these asks.
    pub subjects: Vec<Subject>,
    /// For one of these.
    pub resource_rules: Vec<ResourceRule>,
    /// Or for one of these.
    pub non_resource_rules: Vec<NonResourceRule>,
}

/// Who asks.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Subject {
    /// `User`, `Group` or `ServiceAccount`.
    pub kind: String,
    /// For `User`.
    pub user: Option<Reference>,
    /// For `Group`.
    pub group: Option<Reference>,
    /// For `ServiceAccount`.
    pub service_account: Option<ServiceAccount>,
}

/// A service account; the name `*` means all of the namespace.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Requests for resources; `*` matches everything.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceRule {
    /// Verbs.
    pub verbs: Vec<String>,
    /// API groups.
    pub api_groups: Vec<String>,
    /// `resource` or `resource/subresource`.
    pub resources: Vec<String>,
    /// Whether requests without a namespace match.
    pub cluster_scope: bool,
    /// Namespaces.
    pub namespaces: Vec<String>,
}

/// Requests for other paths.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct NonResourceRule {
    /// HTTP methods in lower case.
    pub verbs: Vec<String>,
    /// Paths; one that ends in `/*` stands for everything below.
    #[serde(rename = "nonResourceURLs")]
    pub non_resource_urls: Vec<String>,
}

/// How many requests of a sort are served at a time.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct PriorityLevelConfiguration {
    /// Name and UID.
    pub metadata: Metadata,
    /// Its limits.
    pub spec: PriorityLevelSpec,
}

/// See [`PriorityLevelConfiguration`].
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct PriorityLevelSpec {
    /// `Exempt` or `Limited`.
    #[serde(rename = "type")]
    pub kind: String,
    /// For `Limited`.
    pub limited: Option<Limited>,
    /// For `Exempt`.
    pub exempt: Option<Exempt>,
}

/// A level with a limit.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Limited {
    /// Its part of the server's concurrency, in proportion to those of the others.
    pub nominal_concurrency_shares: Option<i32>,
    /// What happens beyond the limit.
    pub limit_response: LimitResponse,
    /// How much of its seats others may use.
    pub lendable_percent: Option<i32>,
    /// How many of the others' seats it may use, in proportion to its own; all when not said.
    pub borrowing_limit_percent: Option<i32>,
}

/// A level without a limit.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Exempt {
    /// What is set aside for it when the others' parts are reckoned.
    pub nominal_concurrency_shares: Option<i32>,
    /// How much of that others may use.
    pub lendable_percent: Option<i32>,
}

/// What happens to requests beyond the limit.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct LimitResponse {
    /// `Queue` or `Reject`.
    #[serde(rename = "type")]
    pub kind: String,
    /// For `Queue`.
    pub queuing: Option<Queuing>,
}

/// The queues of a level.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Queuing {
    /// How many there are.
    pub queues: i32,
    /// To how many of them a flow is dealt.
    pub hand_size: i32,
    /// How many requests wait in one.
    pub queue_length_limit: i32,
}
