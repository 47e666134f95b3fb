//! [`Event`]: `audit.k8s.io/v1` (upstream: apiserver/pkg/apis/audit/v1/types.go).

use std::collections::BTreeMap;

use apimachinery::UserInfo;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::policy::Level;

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stage {
    /// It arrived.
    RequestReceived,
    /// Its answer begins; only for what lasts, as watches.
    ResponseStarted,
    /// Its answer is complete.
    ResponseComplete,
    /// Something broke.
    Panic,
}

/// What happened to a request at a stage.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// `Event`.
    pub kind: &'static str,
    /// `audit.k8s.io/v1`.
    pub api_version: &'static str,
    /// How much is told.
    pub level: Level,
    /// The request's id, the same in all of its events.
    #[serde(rename = "auditID")]
    pub audit_id: String,
    /// How far it has come.
    pub stage: Stage,
    /// Path and query.
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    /// What it wants to do.
    pub verb: String,
    /// Who asks.
    pub user: UserInfo,
    /// As whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impersonated_user: Option<UserInfo>,
    /// What else is known about who asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication_metadata: Option<AuthenticationMetadata>,
    /// From where, the first hop first.
    #[serde(rename = "sourceIPs", skip_serializing_if = "Vec::is_empty")]
    pub source_ips: Vec<String>,
    /// With what.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_agent: String,
    /// About what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_ref: Option<ObjectReference>,
    /// What came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_status: Option<Value>,
    /// What it carried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_object: Option<Value>,
    /// What it was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_object: Option<Value>,
    /// When it arrived.
    pub request_received_timestamp: String,
    /// When it came to this stage.
    pub stage_timestamp: String,
    /// What others noted: why it was allowed, what admission did.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What else is known about who asks.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthenticationMetadata {
    /// The verb that allowed the impersonation.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub impersonation_constraint: String,
}

/// The object a request is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReference {
    /// The resource.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource: String,
    /// The namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The uid.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The API group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_group: String,
    /// The version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    /// The state.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// The subresource.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subresource: String,
}
