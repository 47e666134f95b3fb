//! Namespaces, configuration, accounts, leases and what belongs to the cluster itself.

use super::text::{condition, or_none};
use super::{age, as_text, col, created_at, duration, integer, name, named, string};
use crate::json::Read;
use crate::resource::Column;

/// Columns of namespaces.
pub(crate) fn namespaces() -> Vec<Column> {
    vec![name(), string("Status", |namespace| namespace.object("status").text("phase").to_owned()), age()]
}

/// Columns of ConfigMaps.
pub(crate) fn config_maps() -> Vec<Column> {
    let data = integer("Data", |map| map.object("data").len() + map.object("binaryData").len());
    vec![name(), as_text(data), age()]
}

/// Columns of secrets.
pub(crate) fn secrets() -> Vec<Column> {
    vec![
        name(),
        string("Type", |secret| secret.text("type").to_owned()),
        as_text(integer("Data", |secret| secret.object("data").len())),
        age(),
    ]
}

/// Columns of service accounts.
pub(crate) fn service_accounts() -> Vec<Column> {
    named()
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
            "" => "Unknown",
            _ => "Unhealthy",
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
            let available = condition(object.object("status"), "Available");
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
            match (status.has("allocation"), status.list("reservedFor").is_empty()) {
                (true, reserved_for_nobody) => {
                    words.push("allocated");
                    words.extend((!reserved_for_nobody).then_some("reserved"));
                }
                (false, _) if !claim.is_deleting() => words.push("pending"),
                (false, _) => {}
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
        string("Node", |slice| slice.object("spec").text("nodeName").to_owned()),
        string("Driver", |slice| slice.object("spec").text("driver").to_owned()),
        string("Pool", |slice| slice.object("spec").object("pool").text("name").to_owned()),
        age(),
    ]
}

/// Columns of taints of devices.
pub(crate) fn device_taint_rules() -> Vec<Column> {
    let taint = |title: &str, field: &'static str| {
        string(title, move |rule| rule.object("spec").object("taint").text(field).to_owned())
    };
    vec![
        name(),
        taint("Key", "key"),
        taint("Value", "value"),
        taint("Effect", "effect"),
        col("TimeAdded", "string", |rule, now| match rule.object("spec").object("taint").text("timeAdded") {
            "" => "".into(),
            time => duration::since(time, now).into(),
        }),
        age(),
    ]
}

/// Columns of trust bundles.
pub(crate) fn trust_bundles() -> Vec<Column> {
    vec![name(), string("SignerName", |bundle| or_none(bundle.object("spec").text("signerName")))]
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
            let states = ["Issued", "Denied", "Failed"];
            states.into_iter().find(|state| condition(status, state).is_some()).unwrap_or("Pending")
        }),
    ]
}

/// Columns of storage version migrations.
pub(crate) fn storage_version_migrations() -> Vec<Column> {
    vec![
        string("Name", |migration| migration.name().to_owned()),
        string("Resource", |migration| {
            let resource = migration.object("spec").object("resource");
            match resource.text("group") {
                "" => resource.text("resource").to_owned(),
                group => format!("{}.{group}", resource.text("resource")),
            }
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::tests::row;
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_of_devices_and_claims() {
        let claim = |deleted: bool, status: serde_json::Value| {
            let metadata = if deleted { json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}) } else { json!({}) };
            json!({"metadata": metadata, "status": status})
        };
        for (claim, state) in [
            (claim(false, json!({})), "pending"),
            (claim(true, json!({})), "deleted"),
            (claim(false, json!({"allocation": {}})), "allocated"),
            (claim(false, json!({"allocation": {}, "reservedFor": [{}]})), "allocated,reserved"),
            (claim(true, json!({"allocation": {}, "reservedFor": [{}]})), "deleted,allocated,reserved"),
        ] {
            assert_eq!(row(&resource_claims(), claim), format!("  {state}  <unknown> | "));
        }
        let rule = json!({
            "metadata": {"name": "broken"},
            "spec": {"taint": {"key": "health", "value": "bad", "effect": "NoExecute", "timeAdded": "2026-01-01T23:00:00Z"}},
        });
        assert_eq!(row(&device_taint_rules(), rule), "broken  health  bad  NoExecute  60m  <unknown> | ");
    }

    #[test]
    fn rows_of_certificates() {
        let request = |conditions: serde_json::Value| {
            let spec = json!({"podName": "web", "serviceAccountName": "robot", "nodeName": "n1", "signerName": "a/b"});
            json!({"metadata": {"name": "r"}, "spec": spec, "status": {"conditions": conditions}})
        };
        for (conditions, state) in [(json!([]), "Pending"), (json!([{"type": "Denied", "status": "True"}]), "Denied")] {
            assert_eq!(
                row(&pod_certificate_requests(), request(conditions)),
                format!("r  web  robot  n1  a/b  {state} | ")
            );
        }
        assert_eq!(row(&trust_bundles(), json!({"metadata": {"name": "roots"}})), "roots  <none> | ");
    }
}
