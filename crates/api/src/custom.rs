//! [`Custom`]: what a row knows about itself when its kind was defined while the server runs
//! (upstream: apiextensions-apiserver/pkg/apiserver/customresource_handler.go, `crdInfo`).

use apimachinery::schema::Problem;
use apimachinery::{Object, field};
use serde_json::Value;

use crate::schemas::Schemas;

/// The structure of a kind that is in no table of ours.
///
/// Everything else about the kind lies in its [`Resource`](crate::Resource) like that of any other.
pub trait Custom: Send + Sync {
    /// The kind of a list, as `CronTabList` unless its definition says otherwise.
    fn list_kind(&self) -> &str;

    /// Its schema, and that of its list.
    fn schemas(&self) -> &Schemas;

    /// Brings what a client sent into form: metadata is checked, unknown fields go. Answers what was dropped.
    fn admit(&self, object: &mut Object) -> Result<Vec<Problem>, field::Error>;

    /// Brings an object as it is stored into the form that the schema of its version asks for now: fields that became
    /// unknown go, defaults that came later are set.
    fn restore(&self, object: &mut Object);

    /// Brings an object that was converted into the form of the version it has now, which may be the stored one.
    fn converted(&self, object: &mut Object) -> Result<(), field::Error>;

    /// How its versions become one another.
    fn conversion(&self) -> &Conversion;

    /// Objects written after this revision have the form of the schema already.
    fn in_form_since(&self) -> u64;

    /// Takes note of an object that was written at this revision under a schema that is no longer the present one.
    fn out_of_form(&self, revision: u64);

    /// Its definitions in OpenAPI, by full name.
    fn definitions(&self, version: OpenApi) -> Vec<(String, Value)>;

    /// What every client of this version is told.
    fn warnings(&self) -> &[String];

    /// Whether the definition is being deleted, so that nothing new may be created.
    fn is_terminating(&self) -> bool;
}

/// A version of OpenAPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenApi {
    /// `#/definitions/`, no alternatives.
    V2,
    /// `#/components/schemas/`, alternatives.
    V3,
}

/// How the versions of a kind become one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conversion {
    /// Only the apiVersion differs.
    None,
    /// A webhook does it.
    Webhook(ConversionWebhook),
}

/// Who converts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConversionWebhook {
    /// The address, where it is not a Service.
    pub url: Option<String>,
    /// The Service, where it is no plain address.
    pub service: Option<ServiceReference>,
    /// The CA that signed its certificate, in PEM; empty means the machine's own.
    pub ca_bundle: Vec<u8>,
    /// The versions of ConversionReview that it understands, the preferred one first.
    pub review_versions: Vec<String>,
}

/// A Service that is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceReference {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The path to call.
    pub path: String,
    /// The Service's port.
    pub port: u16,
}
