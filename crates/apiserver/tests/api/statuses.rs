//! What a write of `/status` may change, and what it is told.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use crate::harness::Cluster;

/// Upstream: pkg/registry/certificates/certificates/strategy.go `populateConditionTimestamps`.
#[tokio::test]
async fn conditions_of_signing_requests_get_their_times() {
    let cluster = Cluster::new().await;
    let requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let key = KeyPair::generate().expect("a key");
    let pem =
        CertificateParams::default().serialize_request(&key).and_then(|request| request.pem()).expect("a request");
    let spec = json!({"request": STANDARD.encode(pem), "signerName": "example.com/signer", "usages": ["client auth"]});
    let made = cluster.post(requests, json!({"metadata": {"name": "a"}, "spec": spec})).await;
    assert_eq!((made.code, made.at("/status")), (201, &json!({})), "{}", made.line());
    let path = format!("{requests}/a");
    let mut approved = made.body;
    approved["status"]["conditions"] = json!([{"type": "Approved", "status": "True", "reason": "R"}]);
    let approved = cluster.put(&format!("{path}/approval"), approved).await;
    let time = approved.at("/status/conditions/0/lastUpdateTime").clone();
    assert!(time.is_string(), "{}", approved.line());
    let mut failed = approved.body;
    let failure = json!({"type": "Failed", "status": "True", "reason": "R"});
    failed["status"]["conditions"].as_array_mut().expect("a list").push(failure);
    let failed = cluster.put(&format!("{path}/status"), failed).await;
    assert_eq!(failed.at("/status/conditions/0/lastTransitionTime"), &time, "{}", failed.line());
    assert!(failed.at("/status/conditions/1/lastUpdateTime").is_string(), "{}", failed.body);
    assert!(failed.at("/status/conditions/1/lastTransitionTime").is_string(), "{}", failed.body);
}

/// Upstream: `deploymentStatusStrategy` keeps labels, `ResetObjectMetaForStatus` all of it, most kinds nothing.
#[tokio::test]
async fn some_kinds_keep_their_metadata() {
    let cluster = Cluster::new().await;
    let pod = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let deployment = json!({"selector": {"matchLabels": {"a": "b"}}, "template": pod});
    let claim = json!({"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu"}}]}});
    let budget = json!({"minAvailable": 1});
    for (path, spec, expected) in [
        ("/apis/apps/v1/namespaces/default/deployments", deployment, [false, true]),
        ("/apis/resource.k8s.io/v1/namespaces/default/resourceclaims", claim, [false, false]),
        ("/apis/policy/v1/namespaces/default/poddisruptionbudgets", budget, [true, true]),
    ] {
        let made = cluster.post(path, json!({"metadata": {"name": "a"}, "spec": spec})).await;
        assert_eq!(made.code, 201, "{}", made.line());
        let patch = json!({"metadata": {"labels": {"new": "1"}, "annotations": {"new": "1"}}});
        let patched = cluster.patch("merge", &format!("{path}/a/status"), patch).await;
        let taken = ["labels", "annotations"].map(|field| patched.at(&format!("/metadata/{field}/new")) == "1");
        assert_eq!((patched.code, taken), (200, expected), "{path}: {}", patched.line());
    }
}

/// What was wrong before a rule came is let pass with a warning, in a status as elsewhere (KEP-4008).
#[tokio::test]
async fn what_a_status_is_let_pass_earns_a_warning() {
    let cluster = Cluster::new().await;
    let definition = |rules: Value| {
        let size = json!({"type": "integer", "x-kubernetes-validations": rules});
        let status = json!({"type": "object", "properties": {"size": size, "other": {"type": "string"}}});
        let schema = json!({"type": "object", "properties": {"status": status}});
        json!({
            "metadata": {"name": "things.example.com"},
            "spec": {
                "group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
                "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": schema}}],
            },
        })
    };
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(cluster.post(definitions, definition(json!([]))).await.code, 201);
    let things = "/apis/example.com/v1/namespaces/default/things";
    let thing = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a"}});
    assert_eq!(cluster.post(things, thing).await.code, 201);
    let status = format!("{things}/a/status");
    assert_eq!(cluster.patch("merge", &status, json!({"status": {"size": 9}})).await.code, 200);
    let rules = definition(json!([{"rule": "self < 5", "message": "too large"}]));
    let path = format!("{definitions}/things.example.com");
    assert_eq!(cluster.patch("merge", &path, rules).await.code, 200);
    let passed = cluster.patch("merge", &status, json!({"status": {"other": "x"}})).await;
    let warning = passed.headers.get("warning").and_then(|value| value.to_str().ok()).unwrap_or_default();
    assert_eq!(passed.code, 200, "{}", passed.line());
    assert!(warning.contains("too large"), "{warning}");
    let refused = cluster.patch("merge", &status, json!({"status": {"size": 10}})).await;
    assert_eq!(refused.code, 422, "{}", refused.line());
}
