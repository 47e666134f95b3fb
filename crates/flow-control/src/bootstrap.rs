//! The flow schemas and levels of every cluster, and how they are kept
//! (upstream: apiserver/pkg/apis/flowcontrol/bootstrap/default.go, pkg/registry/flowcontrol/ensurer).
//!
//! Mandatory ones are always put right. Suggested ones are kept as long as their annotation says so: an operator takes
//! one over by setting it to `false`, or by changing the spec of one that lacks it.

use serde_json::{Value, json};

/// Says whether the server may put the object's spec right.
pub const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

/// The field manager of what the server writes here.
pub const PRODUCER: &str = "api-priority-and-fairness-config-producer-v1";

const API_VERSION: &str = "flowcontrol.apiserver.k8s.io/v1";

/// An object that a cluster should have.
#[derive(Clone, Debug)]
pub struct Default {
    /// The object.
    pub object: Value,
    /// Whether it is put right whatever its annotation says.
    pub mandatory: bool,
}

impl Default {
    /// Its name.
    pub fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }
}

/// The default levels.
pub fn priority_levels() -> Vec<Default> {
    let exempt = json!({
        "type": "Exempt", "exempt": { "nominalConcurrencyShares": 0, "lendablePercent": 0 },
    });
    let catch_all = json!({
        "type": "Limited",
        "limited": { "nominalConcurrencyShares": 5, "lendablePercent": 0, "limitResponse": { "type": "Reject" } },
    });
    let mut levels = vec![
        Default { object: object("PriorityLevelConfiguration", "exempt", exempt), mandatory: true },
        Default { object: object("PriorityLevelConfiguration", "catch-all", catch_all), mandatory: true },
    ];
    // Name, shares, lendable percent, queues, hand size.
    for (name, shares, lendable, queues, hand) in [
        ("system", 30, 33, 64, 6),
        ("node-high", 40, 25, 64, 6),
        ("leader-election", 10, 0, 16, 4),
        ("workload-high", 40, 50, 128, 6),
        ("workload-low", 100, 90, 128, 6),
        ("global-default", 20, 50, 128, 6),
    ] {
        let spec = json!({
            "type": "Limited",
            "limited": {
                "nominalConcurrencyShares": shares, "lendablePercent": lendable,
                "limitResponse": {
                    "type": "Queue", "queuing": { "queues": queues, "handSize": hand, "queueLengthLimit": 50 },
                },
            },
        });
        levels.push(Default { object: object("PriorityLevelConfiguration", name, spec), mandatory: false });
    }
    levels
}

/// The default flow schemas.
pub fn flow_schemas() -> Vec<Default> {
    let everybody = || groups(&["system:unauthenticated", "system:authenticated"]);
    let nodes = || groups(&["system:nodes"]);
    let own_accounts =
        || json!([{ "kind": "ServiceAccount", "serviceAccount": { "name": "*", "namespace": "kube-system" } }]);
    let leases = |verbs: Value| resource(verbs, "coordination.k8s.io", json!(["leases"]), false);
    let mut electors = users(&["system:kube-controller-manager", "system:kube-scheduler"]);
    if let (Some(electors), Some(more)) = (electors.as_array_mut(), own_accounts().as_array()) {
        electors.extend(more.iter().cloned());
    }
    let probes = json!([{ "verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"] }]);
    let node_rules = json!([resource(json!(["*"]), "", json!(["nodes", "nodes/status"]), true), leases(json!(["*"])),]);
    let by_user = Some("ByUser");
    let by_namespace = Some("ByNamespace");
    vec![
        schema("exempt", true, "exempt", 1, None, everything(groups(&["system:masters"]))),
        schema("probes", false, "exempt", 2, None, json!({ "subjects": everybody(), "nonResourceRules": probes })),
        schema(
            "system-leader-election",
            false,
            "leader-election",
            100,
            by_user,
            json!({ "subjects": electors, "resourceRules": [leases(json!(["get", "create", "update"]))] }),
        ),
        schema(
            "system-node-high",
            false,
            "node-high",
            400,
            by_user,
            json!({ "subjects": nodes(), "resourceRules": node_rules }),
        ),
        schema("system-nodes", false, "system", 500, by_user, everything(nodes())),
        schema(
            "kube-controller-manager",
            false,
            "workload-high",
            800,
            by_namespace,
            everything(users(&["system:kube-controller-manager"])),
        ),
        schema(
            "kube-scheduler",
            false,
            "workload-high",
            800,
            by_namespace,
            everything(users(&["system:kube-scheduler"])),
        ),
        schema("kube-system-service-accounts", false, "workload-high", 900, by_namespace, everything(own_accounts())),
        schema(
            "service-accounts",
            false,
            "workload-low",
            9000,
            by_user,
            everything(groups(&["system:serviceaccounts"])),
        ),
        schema("global-default", false, "global-default", 9900, by_user, everything(everybody())),
        schema("catch-all", true, "catch-all", 10000, by_user, everything(everybody())),
    ]
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": API_VERSION, "kind": kind,
        "metadata": { "name": name, "annotations": { AUTO_UPDATE: "true" } },
        "spec": spec,
    })
}

fn schema(name: &str, mandatory: bool, level: &str, precedence: i32, method: Option<&str>, rules: Value) -> Default {
    let mut spec = json!({
        "priorityLevelConfiguration": { "name": level }, "matchingPrecedence": precedence, "rules": [rules],
    });
    if let Some(method) = method {
        spec["distinguisherMethod"] = json!({ "type": method });
    }
    Default { object: object("FlowSchema", name, spec), mandatory }
}

/// These subjects, whatever they ask for.
fn everything(subjects: Value) -> Value {
    json!({
        "subjects": subjects,
        "resourceRules": [resource(json!(["*"]), "*", json!(["*"]), true)],
        "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }],
    })
}

fn resource(verbs: Value, group: &str, resources: Value, cluster_scope: bool) -> Value {
    let mut rule = json!({ "verbs": verbs, "apiGroups": [group], "resources": resources, "namespaces": ["*"] });
    if cluster_scope {
        rule["clusterScope"] = true.into();
    }
    rule
}

fn groups(names: &[&str]) -> Value {
    names.iter().map(|name| json!({ "kind": "Group", "group": { "name": name } })).collect()
}

fn users(names: &[&str]) -> Value {
    names.iter().map(|name| json!({ "kind": "User", "user": { "name": name } })).collect()
}

/// The default as it should stand where `current` stands; nothing when it is right already
/// (upstream: ensurer/strategy.go `ShouldUpdate`).
pub fn correction(default: &Default, current: &Value) -> Option<Value> {
    let annotation = parse_bool(current["metadata"]["annotations"][AUTO_UPDATE].as_str());
    let untouched = current["metadata"]["generation"].as_i64() == Some(1);
    let update_spec = default.mandatory || annotation.unwrap_or(untouched);
    let mut spec = default.object["spec"].clone();
    if spec["type"] == "Exempt" && current["spec"]["exempt"].is_object() {
        // What is set aside for the exempt is the operator's to say.
        spec["exempt"] = current["spec"]["exempt"].clone();
    }
    let wrong_spec = update_spec && current["spec"] != spec;
    if !wrong_spec && annotation == Some(update_spec) {
        return None;
    }
    let mut wanted = current.clone();
    if !wanted["metadata"]["annotations"].is_object() {
        wanted["metadata"]["annotations"] = json!({});
    }
    wanted["metadata"]["annotations"][AUTO_UPDATE] = update_spec.to_string().into();
    if wrong_spec {
        wanted["spec"] = spec;
    }
    Some(wanted)
}

/// Whether the object is one that an earlier version made and nobody took over (upstream: `removeConfiguration`).
pub fn is_left_over(defaults: &[Default], current: &Value) -> bool {
    let name = current["metadata"]["name"].as_str().unwrap_or_default();
    let kept = parse_bool(current["metadata"]["annotations"][AUTO_UPDATE].as_str()) == Some(true);
    kept && !defaults.iter().any(|default| default.name() == name)
}

/// Go's `strconv.ParseBool`.
fn parse_bool(text: Option<&str>) -> Option<bool> {
    match text? {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(name: &str) -> Default {
        priority_levels().into_iter().find(|default| default.name() == name).expect("a default")
    }

    /// What becomes of a level whose annotation, generation and shares are these: annotation and shares, or `-`.
    fn kept(name: &str, annotation: Option<&str>, generation: i64, shares: i64) -> String {
        let default = level(name);
        let mut current = default.object.clone();
        current["metadata"]["generation"] = generation.into();
        current["metadata"]["annotations"] = annotation.map_or(Value::Null, |text| json!({ AUTO_UPDATE: text }));
        current["spec"]["limited"]["nominalConcurrencyShares"] = shares.into();
        match correction(&default, &current) {
            None => "-".into(),
            Some(wanted) => format!(
                "{} {}",
                wanted["metadata"]["annotations"][AUTO_UPDATE].as_str().unwrap_or_default(),
                wanted["spec"]["limited"]["nominalConcurrencyShares"]
            ),
        }
    }

    #[test]
    fn objects_are_kept_as_upstream_keeps_them() {
        for (name, annotation, generation, shares, expected) in [
            ("system", Some("true"), 1, 30, "-"),
            ("system", Some("true"), 3, 31, "true 30"),
            ("system", Some("false"), 3, 31, "-"),
            ("system", None, 1, 31, "true 30"),
            ("system", None, 2, 31, "false 31"),
            ("system", Some("maybe"), 2, 31, "false 31"),
            ("catch-all", Some("false"), 2, 31, "true 5"),
            ("catch-all", Some("true"), 2, 5, "-"),
        ] {
            assert_eq!(kept(name, annotation, generation, shares), expected, "{name} {annotation:?} {generation}");
        }
    }

    #[test]
    fn what_is_set_aside_for_the_exempt_may_be_changed() {
        let default = level("exempt");
        let mut current = default.object.clone();
        current["spec"]["exempt"]["nominalConcurrencyShares"] = 10.into();
        assert_eq!(correction(&default, &current), None);
        current["spec"]["type"] = "Limited".into();
        let wanted = correction(&default, &current).expect("put right");
        assert_eq!(
            wanted["spec"],
            json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 10, "lendablePercent": 0}})
        );
    }

    #[test]
    fn only_what_was_made_and_never_taken_over_is_left_over() {
        let left = |name: &str, annotation: &str| {
            let current = json!({ "metadata": { "name": name, "annotations": { AUTO_UPDATE: annotation } } });
            is_left_over(&flow_schemas(), &current)
        };
        assert!(left("of-an-older-version", "true"));
        assert!(!left("of-an-older-version", "false") && !left("mine", "") && !left("probes", "true"));
    }
}
