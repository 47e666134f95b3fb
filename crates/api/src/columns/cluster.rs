//! Namespaces, configuration, accounts, leases and what belongs to the cluster itself.

use super::text::{holds, or_none};
use super::{age, col, created_at, integer, name, string};
use crate::json::Read;
use crate::resource::Column;

/// Columns of namespaces.
pub(crate) fn namespaces() -> Vec<Column> {
    vec![name(), string("Status", |namespace| namespace.object("status").text("phase").to_owned()), age()]
}

/// Columns of ConfigMaps.
pub(crate) fn config_maps() -> Vec<Column> {
    vec![name(), integer("Data", |map| map.object("data").len() + map.object("binaryData").len()), age()]
}

/// Columns of secrets.
pub(crate) fn secrets() -> Vec<Column> {
    vec![
        name(),
        string("Type", |secret| secret.text("type").to_owned()),
        integer("Data", |secret| secret.object("data").len()),
        age(),
    ]
}

/// Columns of service accounts.
pub(crate) fn service_accounts() -> Vec<Column> {
    vec![name(), integer("Secrets", |account| account.list("secrets").len()), age()]
}

/// Columns of leases.
pub(crate) fn leases() -> Vec<Column> {
    vec![name(), string("Holder", |lease| lease.object("spec").text("holderIdentity").to_owned()), age()]
}

/// Columns of component statuses.
pub(crate) fn component_statuses() -> Vec<Column> {
    let healthy = |object: &apimachinery::Object| {
        object
            .list("conditions")
            .iter()
            .find(|condition| condition.text("type") == "Healthy")
            .cloned()
            .unwrap_or_default()
    };
    vec![
        name(),
        string("Status", move |object| match healthy(object).text("status") {
            "True" => "Healthy",
            "False" => "Unhealthy",
            _ => "Unknown",
        }),
        string("Message", move |object| healthy(object).text("message").to_owned()),
        string("Error", move |object| healthy(object).text("error").to_owned()),
    ]
}

/// Columns of custom resource definitions.
pub(crate) fn custom_resource_definitions() -> Vec<Column> {
    vec![name(), created_at()]
}

/// Columns of aggregated APIs.
pub(crate) fn api_services() -> Vec<Column> {
    vec![
        name(),
        string("Service", |object| {
            let service = object.object("spec").object("service");
            if service.is_empty() {
                "Local".into()
            } else {
                format!("{}/{}", service.text("namespace"), service.text("name"))
            }
        }),
        string("Available", |object| {
            let available = super::text::condition(object.object("status"), "Available");
            match available {
                Some(condition) if condition.text("status") != "True" => {
                    format!("{} ({})", condition.text("status"), condition.text("reason"))
                }
                Some(_) => "True".into(),
                None => "Unknown".into(),
            }
        }),
        age(),
    ]
}

/// Columns of resource claims.
pub(crate) fn resource_claims() -> Vec<Column> {
    vec![
        name(),
        string("State", |claim| {
            let status = claim.object("status");
            let mut words = Vec::new();
            if claim.is_deleting() {
                words.push("deleted");
            }
            words.push(if status.has("allocation") { "allocated" } else { "pending" });
            if !status.list("reservedFor").is_empty() {
                words.push("reserved");
            }
            words.join(",")
        }),
        age(),
    ]
}

/// Columns of resource slices.
pub(crate) fn resource_slices() -> Vec<Column> {
    vec![
        name(),
        string("Node", |slice| match slice.object("spec").text("nodeName") {
            "" if slice.object("spec").flag("allNodes") => "<all>".into(),
            node => or_none(node),
        }),
        string("Driver", |slice| slice.object("spec").text("driver").to_owned()),
        string("Pool", |slice| slice.object("spec").object("pool").text("name").to_owned()),
        age(),
    ]
}

/// Columns of trust bundles.
pub(crate) fn trust_bundles() -> Vec<Column> {
    vec![name(), string("SignerName", |bundle| bundle.object("spec").text("signerName").to_owned())]
}

/// Columns of pods' certificate requests.
pub(crate) fn pod_certificate_requests() -> Vec<Column> {
    vec![
        name(),
        string("PodName", |request| request.object("spec").text("podName").to_owned()),
        string("ServiceAccountName", |request| request.object("spec").text("serviceAccountName").to_owned()),
        string("NodeName", |request| request.object("spec").text("nodeName").to_owned()),
        string("SignerName", |request| request.object("spec").text("signerName").to_owned()),
        string("State", |request| {
            let status = request.object("status");
            ["Issued", "Denied", "Failed"].into_iter().find(|kind| holds(status, kind)).unwrap_or("Pending")
        }),
        age(),
    ]
}

/// Columns of storage version migrations.
pub(crate) fn storage_version_migrations() -> Vec<Column> {
    vec![
        name(),
        string("Resource", |migration| {
            let resource = migration.object("spec").object("resource");
            match resource.text("group") {
                "" => resource.text("resource").to_owned(),
                group => format!("{}.{group}", resource.text("resource")),
            }
        }),
        col("Succeeded", "boolean", |migration, _| holds(migration.object("status"), "Succeeded").into()),
        age(),
    ]
}
