//! API Priority and Fairness, as clients meet it.

use apimachinery::UserInfo;
use apiserver::Config;
use component_base::Scope;
use http::Request;
use serde_json::{Value, json};

use crate::harness::Cluster;

const SCHEMAS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas";
const LEVELS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations";

fn schema(name: &str, level: &str, user: &str) -> Value {
    json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": { "name": name },
        "spec": {
            "matchingPrecedence": 5, "priorityLevelConfiguration": { "name": level },
            "rules": [{
                "subjects": [{ "kind": "User", "user": { "name": user } }],
                "resourceRules": [{
                    "verbs": ["list"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["*"],
                    "clusterScope": true,
                }],
            }],
        },
    })
}

fn level(name: &str) -> Value {
    json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "PriorityLevelConfiguration",
        "metadata": { "name": name },
        "spec": { "type": "Limited", "limited": {
            "nominalConcurrencyShares": 1, "borrowingLimitPercent": 0, "limitResponse": { "type": "Reject" },
        } },
    })
}

/// Waits until the schema's condition reads so.
async fn until_dangling(cluster: &Cluster, schema: &str, status: &str) -> Value {
    let mut events = cluster.watch(&format!("{SCHEMAS}?watch=1&fieldSelector=metadata.name%3D{schema}")).await;
    loop {
        let event = events.next().await.expect("the watch goes on");
        let conditions = event["object"]["status"]["conditions"].as_array().cloned().unwrap_or_default();
        if let Some(condition) = conditions.into_iter().find(|condition| condition["status"] == status) {
            assert_eq!(condition["type"], "Dangling");
            return condition;
        }
    }
}

#[tokio::test]
async fn the_default_objects_are_there_and_name_themselves_in_answers() {
    let cluster = Cluster::new().await;
    assert_eq!(cluster.get(LEVELS).await.at("/items").as_array().map(Vec::len), Some(8));
    let schemas = cluster.get(SCHEMAS).await;
    let items = schemas.at("/items").as_array().expect("items");
    assert_eq!(items.len(), 11);
    for item in items {
        assert_eq!(item["metadata"]["annotations"]["apf.kubernetes.io/autoupdate-spec"], "true");
        assert_eq!(item["status"]["conditions"][0]["status"], "False", "{item}");
    }
    let uid = |object: &Value| object["metadata"]["uid"].as_str().expect("a UID").to_owned();
    let exempt = uid(&cluster.get(&format!("{SCHEMAS}/exempt")).await.body);
    let answer = cluster.get("/api/v1/namespaces/nothing").await;
    assert_eq!(answer.code, 404);
    assert_eq!(answer.headers["x-kubernetes-pf-flowschema-uid"], exempt.as_str());
    let other = cluster.acting_as(UserInfo::new("jo", ["dev"])).get("/api/v1/pods").await;
    let level = uid(&cluster.get(&format!("{LEVELS}/global-default")).await.body);
    assert_eq!(other.code, 403);
    assert_eq!(other.headers["x-kubernetes-pf-prioritylevel-uid"], level.as_str());
}

#[tokio::test]
async fn a_default_that_was_deleted_or_changed_comes_back() {
    let cluster = Cluster::new().await;
    let mut events = cluster.watch(&format!("{SCHEMAS}?watch=1&fieldSelector=metadata.name%3Dprobes")).await;
    assert_eq!(events.line().await, "ADDED probes");
    cluster.delete(&format!("{SCHEMAS}/probes")).await;
    assert_eq!(events.line().await, "DELETED probes");
    assert_eq!(events.line().await, "ADDED probes");

    let mut events = cluster.watch(&format!("{LEVELS}?watch=1&fieldSelector=metadata.name%3Dsystem")).await;
    assert_eq!(events.line().await, "ADDED system");
    let shares = |shares: u32| json!({ "spec": { "limited": { "nominalConcurrencyShares": shares } } });
    cluster.patch("merge", &format!("{LEVELS}/system"), shares(31)).await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let event = events.next().await.expect("an event");
        seen.push(event["object"]["spec"]["limited"]["nominalConcurrencyShares"].clone());
    }
    assert_eq!(seen, [31, 30]);

    let mut kept = shares(32);
    kept["metadata"] = json!({ "annotations": { "apf.kubernetes.io/autoupdate-spec": "false" } });
    cluster.patch("merge", &format!("{LEVELS}/system"), kept).await;
    let event = events.next().await.expect("an event");
    assert_eq!(event["object"]["spec"]["limited"]["nominalConcurrencyShares"], 32);
    let restarted = cluster.restarted().await;
    let answer = restarted.get(&format!("{LEVELS}/system")).await;
    assert_eq!(answer.at("/spec/limited/nominalConcurrencyShares"), 32);
}

#[tokio::test]
async fn a_schema_dangles_until_its_level_is_there() {
    let cluster = Cluster::new().await;
    assert_eq!(cluster.post(SCHEMAS, schema("a", "narrow", "jo")).await.code, 201);
    let condition = until_dangling(&cluster, "a", "True").await;
    assert_eq!(condition["reason"], "NotFound");
    let message =
        "This FlowSchema references the PriorityLevelConfiguration object named \"narrow\" but there is no such object";
    assert_eq!(condition["message"], message);
    assert_eq!(cluster.post(LEVELS, level("narrow")).await.code, 201);
    assert_eq!(until_dangling(&cluster, "a", "False").await["reason"], "Found");
}

#[tokio::test]
async fn who_finds_no_seat_may_come_again() {
    let config = Config { max_requests_inflight: 1, max_mutating_requests_inflight: 0, ..Config::default() };
    let cluster =
        Cluster::with(config, std::sync::Arc::new(apiserver::authenticator::NobodyKnown), &Scope::root()).await;
    assert_eq!(cluster.post(LEVELS, level("narrow")).await.code, 201);
    assert_eq!(cluster.post(SCHEMAS, schema("a", "narrow", "jo")).await.code, 201);
    until_dangling(&cluster, "a", "False").await;
    let jo = cluster.acting_as(UserInfo::new("jo", ["allowed"]));
    // One waits for a revision that does not happen and keeps its seat for as long.
    let waits = jo.get("/api/v1/pods?resourceVersion=999999&resourceVersionMatch=NotOlderThan&timeout=100ms");
    let comes_second = jo.get("/api/v1/pods");
    let (first, second) = tokio::join!(biased; waits, comes_second);
    assert_eq!(first.code, 504, "{}", first.line());
    assert_eq!((second.code, &second.body), (429, &json!("Too many requests, please try again later.\n")));
    assert_eq!(second.headers["retry-after"], "1");
    assert!(second.headers.contains_key("x-kubernetes-pf-flowschema-uid"));
    assert_eq!(jo.get("/api/v1/pods").await.code, 200, "the seat was given back");
    let metrics = cluster.get("/metrics").await;
    let metrics = metrics.body.as_str().expect("text");
    assert!(metrics.contains("apiserver_dropped_requests_total{request_kind=\"readOnly\"} 1"), "{metrics}");
}

#[tokio::test]
async fn a_watch_keeps_its_seat_only_while_it_begins() {
    let config = Config { max_requests_inflight: 1, max_mutating_requests_inflight: 0, ..Config::default() };
    let cluster =
        Cluster::with(config, std::sync::Arc::new(apiserver::authenticator::NobodyKnown), &Scope::root()).await;
    assert_eq!(cluster.post(LEVELS, level("narrow")).await.code, 201);
    let mut watching = schema("a", "narrow", "jo");
    watching["spec"]["rules"][0]["resourceRules"][0]["verbs"] = json!(["watch", "list"]);
    assert_eq!(cluster.post(SCHEMAS, watching).await.code, 201);
    until_dangling(&cluster, "a", "False").await;
    let jo = cluster.acting_as(UserInfo::new("jo", ["allowed"]));
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(jo.watch("/api/v1/pods?watch=1").await);
    }
    assert_eq!(jo.get("/api/v1/pods").await.code, 200);
    let metrics = cluster.get("/metrics").await;
    let lasting = "apiserver_longrunning_requests{verb=\"WATCH\",group=\"\",version=\"v1\",resource=\"pods\",subresource=\"\",scope=\"cluster\",component=\"apiserver\"} 5";
    assert!(metrics.body.as_str().is_some_and(|text| text.contains(lasting)), "{}", metrics.body);
}

#[tokio::test]
async fn metrics_have_upstreams_names() {
    let cluster = Cluster::new().await;
    cluster.get("/api/v1/namespaces/default").await;
    let classic = cluster.get("/metrics").await;
    assert_eq!(classic.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8; escaping=underscores");
    let text = classic.body.as_str().expect("text");
    for name in [
        "# TYPE apiserver_request_total counter",
        "apiserver_request_total{verb=\"GET\",group=\"\",version=\"v1\",resource=\"namespaces\",subresource=\"\",scope=\"resource\",component=\"apiserver\",code=\"200\"} 1",
        "apiserver_request_duration_seconds_bucket{le=\"0.005\",verb=\"GET\"",
        "apiserver_response_sizes_count{",
        "apiserver_current_inflight_requests{request_kind=\"readOnly\"} 1",
        "apiserver_storage_objects{resource=\"namespaces\"} 4",
        "apiserver_storage_objects{resource=\"flowschemas.flowcontrol.apiserver.k8s.io\"} 11",
        "apiserver_flowcontrol_nominal_limit_seats{priority_level=\"system\"} 74",
        "apiserver_flowcontrol_demand_seats_bucket{le=\"0.2\",priority_level=\"workload-low\"}",
        "apiserver_flowcontrol_demand_seats_count{priority_level=\"exempt\"}",
        "apiserver_flowcontrol_priority_level_seat_utilization_bucket{le=\"+Inf\",priority_level=\"system\",phase=\"executing\"}",
        "apiserver_flowcontrol_priority_level_request_utilization_sum{priority_level=\"system\",phase=\"waiting\"}",
        "apiserver_flowcontrol_priority_level_request_utilization_count{priority_level=\"system\",phase=\"executing\"}",
        "apiserver_flowcontrol_request_dispatch_no_accommodation_total{priority_level=\"workload-low\",flow_schema=\"service-accounts\"} 0",
        "process_cpu_seconds_total ",
        "process_resident_memory_bytes ",
        "kubernetes_build_info{",
    ] {
        assert!(text.contains(name), "{name} in {text}");
    }
    assert!(!text.contains("# EOF"));
    let open = Request::builder().uri("/metrics").header("accept", "application/openmetrics-text;version=1.0.0");
    let open = cluster.ask(open, "").await;
    assert!(open.body.as_str().is_some_and(|text| text.ends_with("# EOF\n")));
}

#[tokio::test]
async fn a_request_has_no_more_time_than_it_asks_for() {
    let cluster = Cluster::new().await;
    let waits = "/api/v1/pods?resourceVersion=999999&resourceVersionMatch=NotOlderThan";
    let late = cluster.get(&format!("{waits}&timeout=10ms")).await;
    assert_eq!(late.line(), "504 Timeout: Timeout: request did not complete within the allotted timeout");
    let unclear = cluster.get(&format!("{waits}&timeout=soon")).await;
    let words = "400 BadRequest: invalid timeout specified in the request URL - time: invalid duration \"soon\"";
    assert_eq!(unclear.line(), words);
}
