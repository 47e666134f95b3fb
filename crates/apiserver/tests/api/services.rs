//! Services: what they are given and give back.

use expect_test::expect;
use serde_json::{Value, json};

use crate::harness::Cluster;

const SERVICES: &str = "/api/v1/namespaces/default/services";

fn service(name: &str, spec: Value) -> Value {
    let mut body = json!({"metadata": {"name": name}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        body["spec"][field] = value.clone();
    }
    body
}

/// Upstream: `IsValidIPForLegacyField`. What older servers let pass can still be changed, and goes when it is deleted.
#[tokio::test]
async fn an_address_of_older_rules_stays_with_its_service() {
    let cluster = Cluster::new().await;
    let mut old = cluster.post(SERVICES, service("old", json!({}))).await.body;
    assert_eq!(cluster.delete(&format!("{SERVICES}/old")).await.code, 200);
    for (field, value) in [("clusterIP", json!("10.096.0.077")), ("clusterIPs", json!(["10.096.0.077"]))] {
        old["spec"][field] = value;
    }
    old["metadata"].as_object_mut().expect("metadata").remove("resourceVersion");
    let key = "/registry/core/services/default/old".to_owned();
    let write = store::Write { key, expect: store::Expect::Absent, value: Some(old.to_string().into()) };
    cluster.server.registry.store().write(write).await.expect("written");

    let path = format!("{SERVICES}/old");
    let labelled = cluster.patch("merge", &path, json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!((labelled.code, labelled.at("/spec/clusterIP")), (200, &json!("10.096.0.077")), "{}", labelled.line());
    let warning = labelled.headers.get("warning").and_then(|text| text.to_str().ok()).unwrap_or_default();
    assert!(warning.contains("non-standard IP address"), "{warning}");
    let moved =
        cluster.patch("merge", &path, json!({"spec": {"clusterIP": "10.96.0.77", "clusterIPs": ["10.96.0.77"]}}));
    let moved = moved.await.line();
    assert!(moved.ends_with("may not change once set"), "{moved}");
    let new = cluster.post(SERVICES, service("new", json!({"clusterIP": "10.096.0.078"}))).await.line();
    assert!(new.contains("must not have leading 0s"), "{new}");
}

#[tokio::test]
async fn addresses_and_ports_are_given_and_taken() {
    let cluster = Cluster::new().await;
    let own = cluster.get(&format!("{SERVICES}/kubernetes")).await;
    assert_eq!(own.at("/spec/clusterIP"), "10.96.0.1");
    assert_eq!(
        cluster.get("/api/v1/namespaces/default/endpoints/kubernetes").await.at("/subsets/0/addresses/0/ip"),
        "192.0.2.1"
    );

    let created = cluster.post(SERVICES, service("a", json!({}))).await;
    assert!(created.at("/spec/clusterIP").as_str().is_some_and(|ip| ip.starts_with("10.96.")), "{}", created.line());
    assert_eq!(
        (created.at("/spec/ipFamilies/0"), created.at("/spec/ipFamilyPolicy")),
        (&json!("IPv4"), &json!("SingleStack"))
    );
    let taken = cluster.post(SERVICES, service("b", json!({"clusterIP": "10.96.0.1"}))).await;
    expect![[r#"422 Invalid: Service "b" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.1"]: failed to allocate IP 10.96.0.1: provided IP is already allocated"#]]
        .assert_eq(&taken.line());

    let ports = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30599}]});
    let node_port = cluster.post(SERVICES, service("np", ports.clone())).await;
    assert_eq!(node_port.at("/spec/ports/0/nodePort"), 30599, "{}", node_port.line());
    expect![[r#"422 Invalid: Service "np2" is invalid: spec.ports[0].nodePort: Invalid value: 30599: provided port is already allocated"#]]
        .assert_eq(&cluster.post(SERVICES, service("np2", ports.clone())).await.line());
    cluster.delete(&format!("{SERVICES}/np")).await;
    assert_eq!(cluster.post(SERVICES, service("np2", ports)).await.code, 201);

    let widened = cluster.patch("merge", &format!("{SERVICES}/a"), json!({"spec": {"type": "NodePort"}})).await;
    assert!(widened.at("/spec/ports/0/nodePort").as_u64().is_some_and(|port| port >= 30000), "{}", widened.line());
    let narrowed = cluster.patch("merge", &format!("{SERVICES}/a"), json!({"spec": {"type": "ClusterIP"}})).await;
    assert_eq!(narrowed.at("/spec/ports/0/nodePort"), &Value::Null, "{}", narrowed.line());
    assert_eq!(narrowed.at("/spec/clusterIP"), created.at("/spec/clusterIP"), "{}", narrowed.line());
    let put = service("a", json!({}));
    let put = cluster.put(&format!("{SERVICES}/a"), put).await;
    assert_eq!(put.at("/spec/clusterIP"), created.at("/spec/clusterIP"), "{}", put.line());
    let headless = cluster.post(SERVICES, service("h", json!({"clusterIP": "None"}))).await;
    assert_eq!(headless.at("/spec/clusterIPs/0"), "None");
}

#[tokio::test]
async fn a_restart_knows_what_is_taken() {
    let cluster = Cluster::new().await;
    let spec = json!({"type": "NodePort", "clusterIP": "10.96.0.10", "ports": [{"port": 80, "nodePort": 30599}]});
    assert_eq!(cluster.post(SERVICES, service("a", spec.clone())).await.code, 201);
    let before = cluster.get("/api/v1/namespaces").await;
    let cluster = cluster.restarted().await;
    assert_eq!(cluster.get("/api/v1/namespaces").await.body, before.body, "nothing is written twice");
    let taken = cluster.post(SERVICES, service("b", spec)).await;
    assert_eq!(taken.at("/details/causes").as_array().map(Vec::len), Some(2), "{}", taken.line());
}
