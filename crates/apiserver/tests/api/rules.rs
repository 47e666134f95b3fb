//! Rules of single kinds that are easily forgotten.

use http::Request;
use serde_json::{Value, json};

use crate::harness::{Answer, Cluster};

const SERVICES: &str = "/api/v1/namespaces/default/services";

fn warnings(answer: &Answer) -> Vec<&str> {
    answer.headers.get_all("warning").iter().filter_map(|value| value.to_str().ok()).collect()
}

/// What is immutable is refused as a forbidden field: 422, not 403. It can still be labelled, and deleted.
#[tokio::test]
async fn what_is_immutable_stays() {
    let cluster = Cluster::new().await;
    for (plural, kind, value) in [("configmaps", "ConfigMap", "v"), ("secrets", "Secret", "dg==")] {
        let collection = format!("/api/v1/namespaces/default/{plural}");
        let path = format!("{collection}/a");
        let object = json!({"metadata": {"name": "a"}, "immutable": true, "data": {"k": value}});
        assert_eq!(cluster.post(&collection, object).await.code, 201);
        for patch in [json!({"data": {"k": "YQ=="}}), json!({"data": {"more": "YQ=="}})] {
            let refused = cluster.patch("merge", &path, patch).await;
            assert_eq!(
                refused.line(),
                format!(
                    "422 Invalid: {kind} \"a\" is invalid: data: Forbidden: field is immutable when `immutable` is set"
                )
            );
        }
        let refused = cluster.patch("merge", &path, json!({"immutable": false})).await;
        assert_eq!((refused.code, refused.at("/details/causes/0/field")), (422, &json!("immutable")));
        let labelled = cluster.patch("merge", &path, json!({"metadata": {"labels": {"a": "b"}}})).await;
        assert_eq!(labelled.code, 200, "{}", labelled.line());
        assert_eq!(cluster.delete(&path).await.code, 200);
    }
}

/// A write of a ServiceCIDR leaves its status alone, and a write of its status leaves the rest alone.
#[tokio::test]
async fn the_status_of_a_range_is_written_by_itself() {
    let cluster = Cluster::new().await;
    let collection = "/apis/networking.k8s.io/v1/servicecidrs";
    let condition =
        json!({"type": "Ready", "status": "True", "reason": "r", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let range = json!({
        "metadata": {"name": "more"}, "spec": {"cidrs": ["10.100.0.0/24"]}, "status": {"conditions": [condition]},
    });
    let made = cluster.post(collection, range).await;
    assert_eq!((made.code, made.at("/status/conditions")), (201, &Value::Null), "{}", made.line());
    let path = format!("{collection}/more");
    let patch = json!({"status": {"conditions": [condition]}, "spec": {"cidrs": ["10.101.0.0/24"]}});
    let main = cluster.patch("merge", &path, json!({"status": {"conditions": [condition]}})).await;
    assert_eq!((main.code, main.at("/status/conditions")), (200, &Value::Null), "{}", main.line());
    let status = cluster.patch("merge", &format!("{path}/status"), patch).await;
    assert_eq!((status.code, status.at("/status/conditions/0/type")), (200, &json!("Ready")), "{}", status.line());
    assert_eq!(status.at("/spec/cidrs"), &json!(["10.100.0.0/24"]));
    let mut put = status.body;
    put["status"] = json!({});
    assert_eq!(cluster.put(&path, put).await.at("/status/conditions/0/type"), "Ready");
}

/// Addresses come and go with the type, and what was given up can be had by others.
#[tokio::test]
async fn a_service_that_changes_its_type_changes_its_addresses() {
    let cluster = Cluster::new().await;
    let path = format!("{SERVICES}/a");
    let retype = async |spec: Value| {
        let patched = cluster.patch("merge", &path, json!({"spec": spec})).await;
        assert_eq!(patched.code, 200, "{}", patched.line());
        patched
    };
    let spec = json!({"type": "ExternalName", "externalName": "example.com", "ports": [{"port": 80}]});
    let made = cluster.post(SERVICES, json!({"metadata": {"name": "a"}, "spec": spec})).await;
    assert_eq!((made.code, made.at("/spec/clusterIP")), (201, &Value::Null), "{}", made.line());

    let inside = retype(json!({"type": "ClusterIP", "externalName": null})).await;
    let address = inside.at("/spec/clusterIP").as_str().expect("an address").to_owned();
    let outside = retype(json!({"type": "ExternalName", "externalName": "example.com"})).await;
    assert_eq!((outside.at("/spec/clusterIP"), outside.at("/spec/clusterIPs")), (&Value::Null, &Value::Null));
    let taken = json!({"metadata": {"name": "b"}, "spec": {"clusterIP": address, "ports": [{"port": 80}]}});
    let other = cluster.post(SERVICES, taken).await;
    assert_eq!(other.code, 201, "the address is free: {}", other.line());

    let ports = json!({"type": "NodePort", "externalName": null, "ports": [{"port": 80, "nodePort": 31234}]});
    let wide = retype(ports).await;
    assert_eq!(wide.at("/spec/ports/0/nodePort"), 31234);
    assert_ne!(wide.at("/spec/clusterIP"), address.as_str());
    retype(json!({"type": "ExternalName", "externalName": "example.com", "ports": [{"port": 80}]})).await;
    let again = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 31234}]});
    let again = cluster.post(SERVICES, json!({"metadata": {"name": "c"}, "spec": again})).await;
    assert_eq!(again.code, 201, "the port is free: {}", again.line());
}

/// Names of services may begin with a digit; addresses have one spelling; what is on its way out is warned of.
#[tokio::test]
async fn services_are_as_strict_and_as_free_as_upstreams() {
    let cluster = Cluster::new().await;
    let send = async |name: &str, spec: Value| {
        let mut body = json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
        for (field, value) in spec.as_object().into_iter().flatten() {
            body["spec"][field] = value.clone();
        }
        cluster.post(SERVICES, body).await
    };
    assert_eq!(send("1st", json!({})).await.code, 201);
    assert_eq!(send("a.b", json!({})).await.code, 422);
    for (address, words) in [
        ("010.1.2.3", "must not have leading 0s"),
        ("::ffff:1.2.3.4", "must not be an IPv4-mapped IPv6 address"),
        ("1.2.3", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
    ] {
        let refused = send("b", json!({"externalIPs": [address]})).await;
        assert_eq!(
            refused.line(),
            format!(
                "422 Invalid: Service \"b\" is invalid: spec.externalIPs[0]: Invalid value: \"{address}\": {words}"
            )
        );
    }
    let ranges = json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.1/8"]});
    let refused = send("b", ranges).await;
    assert!(refused.line().ends_with("must not have bits set beyond the prefix length"), "{}", refused.line());
    let warned = send("b", json!({"externalIPs": ["1.2.3.4"]})).await;
    assert_eq!(warned.code, 201, "{}", warned.line());
    assert_eq!(
        warnings(&warned),
        ["299 - \"spec.externalIPs is deprecated and may no longer be implemented in some clusters\""]
    );
    let headless = send("c", json!({"clusterIP": "None", "externalIPs": ["1.2.3.4"]})).await;
    assert_eq!(warnings(&headless), ["299 - \"spec.externalIPs is ignored for headless services\""]);
}

/// An empty map or list is a value: it is written, owned, and taken away when its owner no longer applies it.
#[tokio::test]
async fn what_is_empty_is_applied_as_well() {
    let cluster = Cluster::new().await;
    let path = "/apis/apps/v1/namespaces/default/deployments/web?fieldManager=me";
    let deployment = |volume: Value| {
        let spec = json!({"containers": [{"name": "c", "image": "i"}], "volumes": [volume]});
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": spec},
            },
        })
    };
    let applied = cluster.patch("apply", path, deployment(json!({"name": "v", "emptyDir": {}}))).await;
    assert_eq!(
        applied.at("/spec/template/spec/volumes/0"),
        &json!({"name": "v", "emptyDir": {}}),
        "{}",
        applied.line()
    );
    let owned = applied.at("/metadata/managedFields/0/fieldsV1/f:spec/f:template/f:spec/f:volumes");
    assert_eq!(owned["k:{\"name\":\"v\"}"]["f:emptyDir"], json!({}), "{owned}");
    let source = json!({"name": "v", "configMap": {"name": "x"}});
    let changed = cluster.patch("apply", path, deployment(source)).await;
    let volume = changed.at("/spec/template/spec/volumes/0");
    assert_eq!((&volume["emptyDir"], &volume["configMap"]["name"]), (&Value::Null, &json!("x")), "{}", changed.line());

    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let definition = json!({
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    });
    cluster.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition).await;
    let path = "/apis/example.com/v1/namespaces/default/things/a?fieldManager=me";
    let thing = |spec: Value| {
        let object = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": spec});
        let request =
            Request::builder().method("PATCH").uri(path).header("content-type", "application/apply-patch+yaml");
        cluster.ask(request, object.to_string())
    };
    let made = thing(json!({"map": {}, "list": [], "kept": 1})).await;
    assert_eq!(made.at("/spec"), &json!({"map": {}, "list": [], "kept": 1}), "{}", made.line());
    let less = thing(json!({"kept": 1})).await;
    assert_eq!(less.at("/spec"), &json!({"kept": 1}), "{}", less.line());
}

/// Addresses and networks have one spelling in every field (upstream: `StrictIPCIDRValidation`, on since 1.36).
#[tokio::test]
async fn addresses_have_one_spelling_everywhere() {
    let cluster = Cluster::new().await;
    cluster.post("/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "default"}})).await;
    let zeros = "must not have leading 0s";
    let mapped = "must not be an IPv4-mapped IPv6 address";
    let bits = "must not have bits set beyond the prefix length";
    let pod = |field: &str, value: Value| {
        ("/api/v1/namespaces/default/pods", json!({"containers": [{"name": "c", "image": "i"}], field: value}))
    };
    let peer = |block: Value| {
        let spec = json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [{"ipBlock": block}]}]});
        ("/apis/networking.k8s.io/v1/namespaces/default/networkpolicies", spec)
    };
    for ((path, spec), field, words) in [
        (pod("dnsConfig", json!({"nameservers": ["010.0.0.1"]})), "spec.dnsConfig.nameservers[0]", zeros),
        (pod("hostAliases", json!([{"ip": "::ffff:1.2.3.4", "hostnames": ["a"]}])), "spec.hostAliases[0].ip", mapped),
        (peer(json!({"cidr": "10.0.0.1/8"})), "spec.ingress[0].from[0].ipBlock.cidr", bits),
        (
            peer(json!({"cidr": "10.0.0.0/8", "except": ["10.1.0.1/16"]})),
            "spec.ingress[0].from[0].ipBlock.except[0]",
            bits,
        ),
        (peer(json!({"cidr": "010.0.0.0/8"})), "spec.ingress[0].from[0].ipBlock.cidr", zeros),
        (
            ("/api/v1/nodes", json!({"podCIDR": "10.244.0.1/24", "podCIDRs": ["10.244.0.1/24"]})),
            "spec.podCIDRs[0]",
            bits,
        ),
        (("/apis/networking.k8s.io/v1/servicecidrs", json!({"cidrs": ["10.1.0.1/24"]})), "spec.cidrs[0]", bits),
    ] {
        let refused = cluster.post(path, json!({"metadata": {"name": "a"}, "spec": spec})).await;
        told(&refused, field, words);
    }
    let slice = json!({"metadata": {"name": "a"}, "addressType": "IPv4", "endpoints": [{"addresses": ["010.0.0.1"]}]});
    let refused = cluster.post("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", slice).await;
    told(&refused, "endpoints[0].addresses[0]", zeros);
    let subset = json!({"addresses": [{"ip": "010.0.0.1"}], "ports": [{"port": 80}]});
    let endpoints = json!({"metadata": {"name": "a"}, "subsets": [subset]});
    let refused = cluster.post("/api/v1/namespaces/default/endpoints", endpoints).await;
    told(&refused, "subsets[0].addresses[0].ip", zeros);
    let own = json!({"metadata": {"name": "a"}, "spec": {"clusterIP": "010.96.0.77", "ports": [{"port": 80}]}});
    told(&cluster.post(SERVICES, own).await, "spec.clusterIPs[0]", zeros);

    let balanced = json!({"metadata": {"name": "lb"}, "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}});
    assert_eq!(cluster.post(SERVICES, balanced).await.code, 201);
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "010.0.0.1"}]}}});
    let refused = cluster.patch("merge", &format!("{SERVICES}/lb/status"), status.clone()).await;
    told(&refused, "status.loadBalancer.ingress[0].ip", zeros);
    let ingresses = "/apis/networking.k8s.io/v1/namespaces/default/ingresses";
    // The name of a Service may begin with a digit wherever it stands.
    let backend = json!({"service": {"name": "1st", "port": {"number": 80}}});
    let ingress = json!({"metadata": {"name": "i"}, "spec": {"defaultBackend": backend}});
    let made = cluster.post(ingresses, ingress).await;
    assert_eq!(made.code, 201, "{}", made.line());
    let refused = cluster.patch("merge", &format!("{ingresses}/i/status"), status).await;
    told(&refused, "status.loadBalancer.ingress[0].ip", zeros);
}

fn told(refused: &Answer, field: &str, words: &str) {
    assert_eq!(refused.code, 422, "{field}: {}", refused.line());
    let causes = refused.at("/details/causes").as_array().expect("causes");
    let cause = causes.iter().find(|cause| cause["field"] == field);
    let message = cause.and_then(|cause| cause["message"].as_str()).unwrap_or_default();
    assert!(message.contains(words), "{field}: {}", refused.line());
}
