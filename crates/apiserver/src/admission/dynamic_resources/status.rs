//! The status of a claim: who allocates may write the allocation, a driver what it says of its devices
//! (KEP-4817; upstream: `AuthorizedForBinding`, `AuthorizedForDeviceStatus`).

use std::collections::BTreeSet;

use apimachinery::field::{self, Path};
use apimachinery::json::Read;
use apimachinery::{Object, StatusError, UserInfo};
use serde_json::{Map, Value};

use super::super::Request;
use super::not_for_administrators;
use crate::authentication::service_account::split_username;
use crate::authorizer::{Attributes, require};

/// Where a token says on which node its holder runs.
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";

/// What a device is told apart by.
fn identity(device: &Value) -> [&str; 4] {
    ["driver", "pool", "device", "shareID"].map(|field| device.text(field))
}

/// Drivers' words about devices that are given back go with them (upstream: `dropDeallocatedStatusDevices`).
pub(super) fn forget_given_back(claim: &mut Object, old: &Object) {
    let allocated = |claim: &Object| -> BTreeSet<[String; 4]> {
        let results = claim.object("status").object("allocation").object("devices").list("results");
        results.iter().map(|device| identity(device).map(str::to_owned)).collect()
    };
    if old.object("status").list("devices").is_empty() && claim.object("status").list("devices").is_empty() {
        return;
    }
    let (before, now) = (allocated(old), allocated(claim));
    let Some(status) = claim.0.get_mut("status").and_then(Value::as_object_mut) else { return };
    let Some(devices) = status.get_mut("devices").and_then(Value::as_array_mut) else { return };
    devices.retain(|device| {
        let identity = identity(device).map(str::to_owned);
        !before.contains(&identity) || now.contains(&identity)
    });
    if devices.is_empty() {
        status.remove("devices");
    }
}

/// Judges a write of the status.
pub(super) async fn judge(request: &Request<'_>, claim: &Object) -> Result<Vec<field::Error>, StatusError> {
    let Some(old) = &request.old else { return Ok(Vec::new()) };
    let (new, old) = (claim.object("status"), old.object("status"));
    let mut errors = Vec::new();
    let path = Path::new("status");
    if let Some(index) = privileged(new)
        && privileged(old).is_none()
    {
        let path = path.child("allocation").child("devices").child("results").index(index).child("adminAccess");
        errors.extend(not_for_administrators(request, &path).await?);
    }
    if ["allocation", "reservedFor"].iter().any(|field| new.value(field) != old.value(field)) {
        let verb = request.cx.info.verb.as_str();
        // Whoever allocates does so everywhere.
        if let Err(refusal) = may(request, verb, "binding", "", "").await {
            let cause = "changing status.allocation or status.reservedFor requires resource=\"resourceclaims/binding\"";
            errors.push(field::Error::forbidden(&path, format!("{cause}, verb=\"{verb}\" permission: {refusal}")));
        }
    }
    for driver in changed_drivers(new, old) {
        errors.extend(not_of_driver(request, driver, new, &path.child("devices")).await);
    }
    Ok(errors)
}

/// The first result that gives an administrator's access.
fn privileged(status: &Map<String, Value>) -> Option<usize> {
    let results = status.object("allocation").object("devices").list("results");
    results.iter().position(|result| result.flag("adminAccess"))
}

/// The drivers about whose devices something else is said now (upstream: `getModifiedDrivers`).
fn changed_drivers<'a>(new: &'a Map<String, Value>, old: &'a Map<String, Value>) -> BTreeSet<&'a str> {
    let (new, old) = (new.list("devices"), old.list("devices"));
    let differs = |device: &&Value, others: &[Value]| {
        others.iter().find(|other| identity(other) == identity(device)) != Some(*device)
    };
    let written = new.iter().filter(|device| differs(device, old));
    let gone = old.iter().filter(|device| differs(device, new));
    written.chain(gone).map(|device| device.text("driver")).collect()
}

/// A driver speaks of its own devices: on its node, or where it may everywhere.
async fn not_of_driver(
    request: &Request<'_>,
    driver: &str,
    status: &Map<String, Value>,
    path: &Path,
) -> Option<field::Error> {
    let verb = &request.cx.info.verb;
    let is_near = node_of(status.object("allocation")).is_some_and(|node| runs_on(&request.cx.user, node));
    let prefixes: &[&str] = if is_near { &["associated-node:", "arbitrary-node:"] } else { &["arbitrary-node:"] };
    let verbs: Vec<String> = prefixes.iter().map(|prefix| format!("{prefix}{verb}")).collect();
    let mut first = None;
    for verb in &verbs {
        match may(request, verb, "driver", request.namespace, driver).await {
            Ok(()) => return None,
            Err(refusal) => _ = first.get_or_insert(refusal),
        }
    }
    let cause = "changing status.devices requires resource=\"resourceclaims/driver\"";
    let detail = format!("{cause}, verb=\"[{}]\" permission: {}", verbs.join(" "), first.unwrap_or_default());
    Some(field::Error::forbidden(path, detail))
}

/// Whether the user may do this to a part of claims; what a refusal says.
async fn may(request: &Request<'_>, verb: &str, subresource: &str, namespace: &str, name: &str) -> Result<(), String> {
    let attributes = Attributes {
        verb,
        group: "resource.k8s.io",
        version: &request.row.gvk.version,
        resource: "resourceclaims",
        subresource,
        namespace,
        name,
        ..Attributes::on_resource(&request.cx.user)
    };
    let allowed = require(request.cx.server.authorizer.as_ref(), &attributes).await;
    allowed.map(drop).map_err(|refusal| refusal.message)
}

/// The one node that the allocation is for (upstream: `nodeNameFromAllocation`).
fn node_of(allocation: &Map<String, Value>) -> Option<&str> {
    let [term] = allocation.object("nodeSelector").list("nodeSelectorTerms") else { return None };
    let [wanted] = term.list("matchFields") else { return None };
    let [Value::String(node)] = wanted.list("values") else { return None };
    let is_name = wanted.text("key") == "metadata.name" && wanted.text("operator") == "In";
    (is_name && term.list("matchExpressions").is_empty() && !node.is_empty()).then_some(node)
}

/// Whether a service account's token was given out for this node (upstream: `saAssociatedWithAllocatedNode`).
fn runs_on(user: &UserInfo, node: &str) -> bool {
    split_username(&user.username).is_some() && matches!(user.extra.get(NODE_NAME), Some(nodes) if *nodes == [node])
}
