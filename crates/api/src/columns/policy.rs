//! Access, limits, admission and autoscaling.

use apimachinery::Object;
use serde_json::{Map, Value};

use super::duration::human_duration;
use super::text::{condition, or, or_none, scalar};
use super::{age, as_text, col, created_at, integer, name, string, wide};
use crate::json::Read;
use crate::resource::Column;

/// Columns of disruption budgets.
pub(crate) fn disruption_budgets() -> Vec<Column> {
    vec![
        name(),
        string("Min Available", |budget| scalar(budget.object("spec").value("minAvailable"), "N/A")),
        string("Max Unavailable", |budget| scalar(budget.object("spec").value("maxUnavailable"), "N/A")),
        integer("Allowed Disruptions", |budget| budget.object("status").int("disruptionsAllowed").unwrap_or_default()),
        age(),
    ]
}

/// Columns of quotas.
pub(crate) fn resource_quotas() -> Vec<Column> {
    vec![
        name(),
        string("Request", |quota| quota_list(quota, false)),
        string("Limit", |quota| quota_list(quota, true)),
        age(),
    ]
}

fn quota_list(quota: &Object, limits: bool) -> String {
    let status = quota.object("status");
    let entries = status.object("hard").iter().filter(|(name, _)| name.starts_with("limits.") == limits);
    let texts = entries.map(|(name, hard)| {
        format!("{name}: {}/{}", scalar(status.object("used").value(name), "0"), scalar(Some(hard), "0"))
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// Columns of roles.
pub(crate) fn roles() -> Vec<Column> {
    vec![name(), created_at()]
}

/// Columns of bindings.
pub(crate) fn bindings() -> Vec<Column> {
    vec![
        name(),
        string("Role", |binding| {
            let role = binding.object("roleRef");
            format!("{}/{}", role.text("kind"), role.text("name"))
        }),
        age(),
        wide(string("Users", |binding| subjects(binding, "User"))),
        wide(string("Groups", |binding| subjects(binding, "Group"))),
        wide(string("ServiceAccounts", |binding| subjects(binding, "ServiceAccount"))),
    ]
}

fn subjects(binding: &Object, kind: &str) -> String {
    let of_kind = binding.list("subjects").iter().filter(|subject| subject.text("kind") == kind);
    let names = of_kind.map(|subject| match (kind, subject.text("namespace")) {
        ("ServiceAccount", namespace) if !namespace.is_empty() => format!("{namespace}/{}", subject.text("name")),
        _ => subject.text("name").to_owned(),
    });
    names.collect::<Vec<_>>().join(", ")
}

/// Columns of priority classes.
pub(crate) fn priority_classes() -> Vec<Column> {
    vec![
        name(),
        integer("Value", |class| class.int("value").unwrap_or_default()),
        col("Global-Default", "boolean", |class, _| class.flag("globalDefault").into()),
        age(),
        string("PreemptionPolicy", |class| class.text("preemptionPolicy").to_owned()),
    ]
}

/// Columns of runtime classes.
pub(crate) fn runtime_classes() -> Vec<Column> {
    vec![name(), string("Handler", |class| class.text("handler").to_owned()), age()]
}

/// Columns of autoscalers of both versions.
pub(crate) fn autoscalers() -> Vec<Column> {
    vec![
        name(),
        string("Reference", |object| {
            let target = object.object("spec").object("scaleTargetRef");
            format!("{}/{}", target.text("kind"), target.text("name"))
        }),
        string("Targets", targets),
        string("MinPods", |object| scalar(object.object("spec").value("minReplicas"), "<unset>")),
        as_text(integer("MaxPods", |object| object.object("spec").int("maxReplicas").unwrap_or_default())),
        as_text(integer("Replicas", |object| object.object("status").int("currentReplicas").unwrap_or_default())),
        age(),
    ]
}

fn targets(object: &Object) -> String {
    let (spec, status) = (object.object("spec"), object.object("status"));
    if object.api_version() == "autoscaling/v1" {
        let Some(target) = spec.int("targetCPUUtilizationPercentage") else { return "<none>".into() };
        let current = status.int("currentCPUUtilizationPercentage").map_or("<unknown>".into(), |now| format!("{now}%"));
        return format!("cpu: {current}/{target}%");
    }
    let currents = status.list("currentMetrics");
    let texts: Vec<String> = spec
        .list("metrics")
        .iter()
        .take(2)
        .enumerate()
        .map(|(index, metric)| target(metric, currents.get(index)))
        .collect();
    match spec.list("metrics").len() {
        0 => "<none>".into(),
        count @ 3.. => format!("{} + {} more...", texts.join(", "), count - 2),
        _ => texts.join(", "),
    }
}

/// One metric, `cpu: 12%/80%` (upstream: `formatHPAMetrics`).
fn target(metric: &Value, current: Option<&Value>) -> String {
    let source = match metric.text("type") {
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        "Pods" => "pods",
        "Object" => "object",
        "External" => "external",
        _ => return "<unknown type>".into(),
    };
    let wanted = metric.object(source).object("target");
    let now = current.and_then(|current| current.value(source)).map(|source| source.object("current"));
    let average = wanted.has("averageValue");
    let percent = |of: &Map<String, Value>, other: &str| {
        of.int("averageUtilization").map_or_else(|| other.to_owned(), |percent| format!("{percent}%"))
    };
    // What is measured is zero when it does not say; an average of objects may be missing.
    let quantity = |field: &str| {
        let missing = if average && matches!(source, "object" | "external") { "<unknown>" } else { "0" };
        let now = now.map_or_else(|| "<unknown>".into(), |now| scalar(now.value(field), missing));
        format!("{now}/{}", scalar(wanted.value(field), "0"))
    };
    match source {
        "pods" => quantity("averageValue"),
        "object" | "external" if average => format!("{} (avg)", quantity("averageValue")),
        "object" | "external" => quantity("value"),
        _ => {
            let ratio = if average {
                quantity("averageValue")
            } else {
                let now = now.map_or_else(|| "<unknown>".into(), |now| percent(now, "<unknown>"));
                format!("{now}/{}", percent(wanted, "<auto>"))
            };
            format!("{}: {ratio}", metric.object(source).text("name"))
        }
    }
}

/// Columns of webhook configurations.
pub(crate) fn webhooks() -> Vec<Column> {
    vec![name(), integer("Webhooks", |object| object.list("webhooks").len()), age()]
}

/// Columns of admission policies; `rules` are validations or mutations.
pub(crate) fn admission_policies(title: &str, rules: &'static str) -> Vec<Column> {
    vec![
        name(),
        integer(title, move |object| object.object("spec").list(rules).len()),
        string("ParamKind", |object| {
            let kind = object.object("spec").object("paramKind");
            if kind.is_empty() {
                "<unset>".into()
            } else {
                format!("{}/{}", kind.text("apiVersion"), kind.text("kind"))
            }
        }),
        age(),
    ]
}

/// Columns of bindings of admission policies.
pub(crate) fn admission_policy_bindings() -> Vec<Column> {
    vec![
        name(),
        string("PolicyName", |object| object.object("spec").text("policyName").to_owned()),
        string("ParamRef", |object| {
            let reference = object.object("spec").object("paramRef");
            match (reference.text("name"), reference.text("namespace")) {
                ("", _) => reference.value("selector").map_or_else(|| "<unset>".into(), selector_text),
                (name, namespace) => format!("{}/{name}", or(namespace, "*")),
            }
        }),
        age(),
    ]
}

/// A selector as its Go value prints itself: that is what upstream shows.
fn selector_text(selector: &Value) -> String {
    let labels: String = selector
        .object("matchLabels")
        .iter()
        .map(|(key, value)| format!("{key}: {},", value.as_str().unwrap_or_default()))
        .collect();
    let requirement = |of: &Value| {
        let values = of.texts("values").collect::<Vec<_>>().join(" ");
        let (key, operator) = (of.text("key"), of.text("operator"));
        format!("LabelSelectorRequirement{{Key:{key},Operator:{operator},Values:[{values}],}},")
    };
    let expressions: String = selector.list("matchExpressions").iter().map(requirement).collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},\
         MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}

/// Columns of certificate signing requests.
pub(crate) fn signing_requests() -> Vec<Column> {
    vec![
        name(),
        age(),
        string("SignerName", |object| or_none(object.object("spec").text("signerName"))),
        string("Requestor", |object| object.object("spec").text("username").to_owned()),
        string("RequestedDuration", |object| {
            object.object("spec").int("expirationSeconds").map_or_else(|| "<none>".into(), human_duration)
        }),
        string("Condition", |object| {
            let status = object.object("status");
            let has = |kind: &str| condition(status, kind).is_some();
            let decision = ["Denied", "Approved"].into_iter().find(|kind| has(kind));
            let mut words = vec![decision.unwrap_or("Pending")];
            if has("Failed") {
                words.push("Failed");
            }
            if !status.text("certificate").is_empty() {
                words.push("Issued");
            }
            words.join(",")
        }),
    ]
}

/// Columns of flow schemas.
pub(crate) fn flow_schemas() -> Vec<Column> {
    vec![
        name(),
        string("PriorityLevel", |object| {
            object.object("spec").object("priorityLevelConfiguration").text("name").to_owned()
        }),
        as_text(integer("MatchingPrecedence", |object| {
            object.object("spec").int("matchingPrecedence").unwrap_or_default()
        })),
        string("DistinguisherMethod", |object| {
            or_none(object.object("spec").object("distinguisherMethod").text("type"))
        }),
        age(),
        string("MissingPL", |object| {
            let dangling = condition(object.object("status"), "Dangling");
            or(dangling.map_or("", |condition| condition.text("status")), "?")
        }),
    ]
}

/// Columns of priority levels.
pub(crate) fn priority_levels() -> Vec<Column> {
    let queuing = |title: &str, field: &'static str| {
        string(title, move |object| {
            let response = object.object("spec").object("limited").object("limitResponse");
            response.object("queuing").value(field).cloned().unwrap_or_else(|| "<none>".into())
        })
    };
    vec![
        name(),
        string("Type", |object| object.object("spec").text("type").to_owned()),
        string("NominalConcurrencyShares", |object| {
            let limited = object.object("spec").object("limited");
            limited.value("nominalConcurrencyShares").cloned().unwrap_or_else(|| "<none>".into())
        }),
        queuing("Queues", "queues"),
        queuing("HandSize", "handSize"),
        queuing("QueueLengthLimit", "queueLengthLimit"),
        age(),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::tests::row;
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_of_policies() {
        let budget = json!({"metadata": {"name": "web"}, "spec": {"maxUnavailable": "10%"}, "status": {"disruptionsAllowed": 1}});
        assert_eq!(row(&disruption_budgets(), budget), "web  N/A  10%  1  <unknown> | ");
        let binding = json!({
            "metadata": {"name": "b"}, "roleRef": {"kind": "Role", "name": "r"},
            "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "namespace": "n", "name": "s"}],
        });
        assert_eq!(row(&bindings(), binding), "b  Role/r  <unknown> | u    n/s");
    }

    #[test]
    fn rows_of_signing_requests() {
        for (status, expected) in [
            (json!({}), "Pending"),
            (json!({"conditions": [{"type": "Approved", "status": "True"}]}), "Approved"),
            (json!({"conditions": [{"type": "Approved", "status": "True"}], "certificate": "LS0t"}), "Approved,Issued"),
            (json!({"conditions": [{"type": "Denied", "status": "True"}]}), "Denied"),
            (json!({"conditions": [{"type": "Failed", "status": "True"}]}), "Pending,Failed"),
            (json!({"conditions": [{"type": "Approved"}, {"type": "Failed"}]}), "Approved,Failed"),
        ] {
            let spec = json!({"signerName": "a/b", "username": "u", "expirationSeconds": 600});
            let request = json!({"metadata": {"name": "csr"}, "spec": spec, "status": status});
            assert_eq!(row(&signing_requests(), request), format!("csr  <unknown>  a/b  u  10m  {expected} | "));
        }
    }

    #[test]
    fn rows_of_admission_bindings() {
        let selector = json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "In", "values": ["d", "e"]}]});
        for (reference, expected) in [
            (json!(null), "<unset>"),
            (json!({"name": "p"}), "*/p"),
            (json!({"name": "p", "namespace": "n"}), "n/p"),
            (
                json!({"selector": selector}),
                "&LabelSelector{MatchLabels:map[string]string{a: b,},MatchExpressions:[]LabelSelectorRequirement{LabelSelectorRequirement{Key:c,Operator:In,Values:[d e],},},}",
            ),
        ] {
            let binding = json!({"metadata": {"name": "b"}, "spec": {"policyName": "p", "paramRef": reference}});
            assert_eq!(row(&admission_policy_bindings(), binding), format!("b  p  {expected}  <unknown> | "));
        }
    }

    #[test]
    fn metrics_of_every_source() {
        let source = |kind: &str, field: &str, body: Value| json!({"type": kind, field: body});
        let target = |target: Value| json!({"target": target});
        let current = |current: Value| json!({"current": current});
        for (metric, status, expected) in [
            (source("Pods", "pods", target(json!({"averageValue": "100"}))), json!({}), "<unknown>/100"),
            (
                source("Pods", "pods", target(json!({"averageValue": "100"}))),
                json!({"pods": current(json!({"averageValue": "50"}))}),
                "50/100",
            ),
            (
                source("Object", "object", target(json!({"value": "100"}))),
                json!({"object": current(json!({"value": "50"}))}),
                "50/100",
            ),
            (
                source("Object", "object", target(json!({"averageValue": "100"}))),
                json!({"object": current(json!({"value": "50"}))}),
                "<unknown>/100 (avg)",
            ),
            (
                source("External", "external", target(json!({"averageValue": "100"}))),
                json!({"external": current(json!({"averageValue": "5"}))}),
                "5/100 (avg)",
            ),
            (
                source("Resource", "resource", json!({"name": "cpu", "target": {"averageValue": "1"}})),
                json!({}),
                "cpu: <unknown>/1",
            ),
            (source("Resource", "resource", json!({"name": "cpu", "target": {}})), json!({}), "cpu: <unknown>/<auto>"),
            (source("New", "new", json!({})), json!({}), "<unknown type>"),
        ] {
            let spec = json!({"metrics": [metric]});
            let object = json!({"apiVersion": "autoscaling/v2", "spec": spec, "status": {"currentMetrics": [status]}});
            assert_eq!(targets(&Object::from_value(object).expect("an object")), expected);
        }
    }

    #[test]
    fn rows_of_autoscalers() {
        let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}});
        let current = json!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 12}}});
        let object = |status: Value| {
            json!({
                "apiVersion": "autoscaling/v2", "metadata": {"name": "h"},
                "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "minReplicas": 1, "maxReplicas": 5, "metrics": [metric]},
                "status": status,
            })
        };
        assert_eq!(
            row(&autoscalers(), object(json!({}))),
            "h  Deployment/web  cpu: <unknown>/80%  1  5  0  <unknown> | "
        );
        assert_eq!(
            row(&autoscalers(), object(json!({"currentReplicas": 2, "currentMetrics": [current]}))),
            "h  Deployment/web  cpu: 12%/80%  1  5  2  <unknown> | "
        );
    }
}
