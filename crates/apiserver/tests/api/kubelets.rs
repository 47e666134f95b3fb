//! What NodeRestriction lets a kubelet write, request by request (upstream: plugin/pkg/admission/noderestriction).

use apimachinery::UserInfo;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use component_base::Scope;
use expect_test::expect;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};

use crate::harness::Cluster;

const PODS: &str = "/api/v1/namespaces/default/pods";

async fn cluster() -> (Cluster, Cluster) {
    filled(Cluster::new().await).await
}

/// A cluster with nodes n and m, a pod on each, and the kubelet of n.
async fn filled(cluster: Cluster) -> (Cluster, Cluster) {
    for account in ["default", "robot"] {
        let account = json!({"metadata": {"name": account}});
        assert_eq!(cluster.post("/api/v1/namespaces/default/serviceaccounts", account).await.code, 201);
    }
    for node in ["n", "m"] {
        assert_eq!(cluster.post("/api/v1/nodes", json!({"metadata": {"name": node}})).await.code, 201);
    }
    for (pod, node) in [("mine", "n"), ("theirs", "m")] {
        let made = cluster.post(PODS, pod_on(pod, node)).await;
        assert_eq!(made.code, 201, "{}", made.line());
    }
    let kubelet = cluster.acting_as(UserInfo::new("system:node:n", ["system:nodes", "allowed"]));
    (cluster, kubelet)
}

fn pod_on(name: &str, node: &str) -> Value {
    let sources = json!([
        {"serviceAccountToken": {"path": "token", "audience": "vault"}},
        {"podCertificate": {"signerName": "example.com/pods", "keyType": "ED25519", "credentialBundlePath": "bundle"}},
    ]);
    json!({"metadata": {"name": name}, "spec": {
        "nodeName": node, "serviceAccountName": "robot", "containers": [{"name": "c", "image": "i"}],
        "volumes": [{"name": "own", "projected": {"sources": sources}}],
    }})
}

async fn uid(cluster: &Cluster, path: &str) -> String {
    cluster.get(path).await.at("/metadata/uid").as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn certificates_for_nodes_carry_their_name() {
    let (_, kubelet) = cluster().await;
    let ask = async |signer: &str, name: &str| {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.serialize_request(&key).and_then(|request| request.pem()).expect("a request");
        let request = json!({"metadata": {"generateName": "csr-"}, "spec": {
            "signerName": signer, "usages": ["client auth"], "request": STANDARD.encode(pem),
        }});
        kubelet.post("/apis/certificates.k8s.io/v1/certificatesigningrequests", request).await
    };
    for signer in ["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"] {
        assert_eq!(ask(signer, "system:node:n").await.code, 201);
        let refused = ask(signer, "system:node:m").await.line();
        assert!(refused.ends_with("is forbidden: can only create a node CSR with CN=system:node:n"), "{refused}");
    }
    assert_eq!(ask("example.com/other", "whoever").await.code, 201, "other signers have rules of their own");
}

#[tokio::test]
async fn certificates_for_pods_are_of_those_that_run_here() {
    let (cluster, kubelet) = cluster().await;
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
    let request = CertificateParams::default().serialize_request(&key).expect("a request");
    let right = json!({
        "signerName": "example.com/pods", "maxExpirationSeconds": 3600, "stubPKCS10Request": STANDARD.encode(request.der()),
        "podName": "mine", "podUID": uid(&cluster, &format!("{PODS}/mine")).await,
        "serviceAccountName": "robot",
        "serviceAccountUID": uid(&cluster, "/api/v1/namespaces/default/serviceaccounts/robot").await,
        "nodeName": "n", "nodeUID": uid(&cluster, "/api/v1/nodes/n").await,
    });
    let path = "/apis/certificates.k8s.io/v1/namespaces/default/podcertificaterequests";
    let ask = async |change: Value| {
        let mut spec = right.clone();
        spec.as_object_mut().expect("fields").extend(change.as_object().cloned().unwrap_or_default());
        let answer = kubelet.post(path, json!({"metadata": {"name": "r"}, "spec": spec})).await;
        let line = answer.line();
        line.split_once("\"r\" is forbidden: ").map_or(line.clone(), |(_, cause)| cause.to_owned())
    };
    expect![[r#"PodCertificateRequest.Spec.NodeName="m", which is not the requesting node "n""#]]
        .assert_eq(&ask(json!({"nodeName": "m"})).await);
    expect![[r#"500 InternalError: Internal error occurred: PodCertificateRequest for pod "default/mine" contains pod UID ("x") which differs from running pod "UID""#]]
        .assert_eq(&ask(json!({"podUID": "x"})).await.replace(right["podUID"].as_str().expect("a uid"), "UID"));
    expect![[r#"500 InternalError: Internal error occurred: PodCertificateRequest for pod "default/mine" names node UID "x", inconsistent with the running node ("UID")"#]]
        .assert_eq(&ask(json!({"nodeUID": "x"})).await.replace(right["nodeUID"].as_str().expect("a uid"), "UID"));
    expect![[r#"500 InternalError: Internal error occurred: PodCertificateRequest for pod "default/mine" names service account UID "x", which differs from the running service account ("UID")"#]]
        .assert_eq(&ask(json!({"serviceAccountUID": "x"})).await.replace(right["serviceAccountUID"].as_str().expect("a uid"), "UID"));
    expect![[r#"PodCertificateRequest for pod "default/mine" contains serviceAccountName ("default") that differs from running pod ("robot")"#]]
        .assert_eq(&ask(json!({"serviceAccountName": "default"})).await);
    expect![[r#"404 NotFound: pods "nobody" not found"#]].assert_eq(&ask(json!({"podName": "nobody"})).await);
    let theirs = uid(&cluster, &format!("{PODS}/theirs")).await;
    expect![[r#"pod "default/theirs" is not running on node "n" named in the PodCertificateRequest"#]]
        .assert_eq(&ask(json!({"podName": "theirs", "podUID": theirs})).await);
    // Asked of the authorizer, which lets this kubelet do everything.
    expect!["201 PodCertificateRequest r"].assert_eq(&ask(json!({"signerName": "example.com/others"})).await);
    expect![[r#"unexpected operation DELETE"#]]
        .assert_eq(kubelet.delete(&format!("{path}/r")).await.line().rsplit("forbidden: ").next().unwrap_or_default());
}

#[tokio::test]
async fn tokens_are_for_pods_that_run_here() {
    let scope = Scope::root();
    let (cluster, kubelet) = filled(Cluster::guarded(&scope).await).await;
    let (mine, theirs) = (uid(&cluster, &format!("{PODS}/mine")).await, uid(&cluster, &format!("{PODS}/theirs")).await);
    let ask = async |spec: Value| {
        let path = "/api/v1/namespaces/default/serviceaccounts/robot/token";
        let line = kubelet.post(path, json!({"spec": spec})).await.line();
        line.split_once("is forbidden: ").map_or(line.clone(), |(_, cause)| cause.to_owned())
    };
    let bound = |pod: &str, uid: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid});
    expect!["node requested token not bound to a pod"].assert_eq(&ask(json!({"audiences": ["vault"]})).await);
    expect!["node requested token with a pod binding without a uid"]
        .assert_eq(&ask(json!({"audiences": ["vault"], "boundObjectRef": bound("mine", "")})).await);
    expect![[r#"the UID in the bound object reference (x) does not match the UID in record. The object might have been deleted and then recreated"#]]
        .assert_eq(&ask(json!({"audiences": ["vault"], "boundObjectRef": bound("mine", "x")})).await);
    expect!["node requested token bound to a pod scheduled on a different node"]
        .assert_eq(&ask(json!({"audiences": ["vault"], "boundObjectRef": bound("theirs", &theirs)})).await);
    expect!["node may only request 0 or 1 audiences"]
        .assert_eq(&ask(json!({"audiences": ["vault", "other"], "boundObjectRef": bound("mine", &mine)})).await);
    expect!["201 TokenRequest robot"]
        .assert_eq(&ask(json!({"audiences": ["vault"], "boundObjectRef": bound("mine", &mine)})).await);
}

#[tokio::test]
async fn what_belongs_to_a_node_has_its_name() {
    let (_, kubelet) = cluster().await;
    let cause = |line: String| line.split_once("is forbidden: ").map_or(line.clone(), |(_, cause)| cause.to_owned());
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    expect![[r#"can only access leases in the "kube-node-lease" system namespace"#]]
        .assert_eq(&cause(kubelet.post(leases, json!({"metadata": {"name": "n"}})).await.line()));
    let nodes = "/apis/storage.k8s.io/v1/csinodes";
    let node = |name: &str| json!({"metadata": {"name": name}, "spec": {"drivers": []}});
    expect!["can only access CSINode with the same name as the requesting node"]
        .assert_eq(&cause(kubelet.post(nodes, node("m")).await.line()));
    expect!["201 CSINode n"].assert_eq(&cause(kubelet.post(nodes, node("n")).await.line()));
    let slices = "/apis/resource.k8s.io/v1/resourceslices";
    let slice = |name: &str, node: &str| {
        json!({"metadata": {"name": name}, "spec": {
            "driver": "d.example.com", "nodeName": node, "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
        }})
    };
    expect!["can only create ResourceSlice with the same NodeName as the requesting node"]
        .assert_eq(&cause(kubelet.post(slices, slice("a", "m")).await.line()));
    expect!["201 ResourceSlice a"].assert_eq(&cause(kubelet.post(slices, slice("a", "n")).await.line()));
}

#[tokio::test]
async fn pods_and_claims_are_hardly_theirs_to_change() {
    let (cluster, kubelet) = cluster().await;
    let cause = |line: String| line.split_once("is forbidden: ").map_or(line.clone(), |(_, cause)| cause.to_owned());
    let labels = || json!({"metadata": {"labels": {"a": "b"}}});
    expect![[r#"unexpected operation "UPDATE", node "n" can only create and delete mirror pods"#]]
        .assert_eq(&cause(kubelet.patch("merge", &format!("{PODS}/mine"), labels()).await.line()));
    expect![[r#"node "n" can only delete pods with spec.nodeName set to itself"#]]
        .assert_eq(&cause(kubelet.delete(&format!("{PODS}/theirs")).await.line()));
    let status = json!({"status": {"phase": "Running"}});
    expect![[r#"node "n" can only update pod status for pods with spec.nodeName set to itself"#]]
        .assert_eq(&cause(kubelet.patch("merge", &format!("{PODS}/theirs/status"), status.clone()).await.line()));
    expect!["200 Pod mine"].assert_eq(&kubelet.patch("merge", &format!("{PODS}/mine/status"), status).await.line());
    let eviction = json!({"metadata": {"name": "theirs"}});
    expect!["node n can only evict pods with spec.nodeName set to itself"]
        .assert_eq(&cause(kubelet.post(&format!("{PODS}/theirs/eviction"), eviction).await.line()));
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let claim = json!({"metadata": {"name": "c"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
    }});
    assert_eq!(cluster.post(claims, claim).await.code, 201);
    expect!["may only update PVC status"]
        .assert_eq(&cause(kubelet.patch("merge", &format!("{claims}/c"), labels()).await.line()));
    let phase = json!({"status": {"phase": "Lost"}});
    expect![[r#"node "n" is not allowed to update fields other than status.capacity and status.conditions"#]]
        .assert_eq(&cause(kubelet.patch("merge", &format!("{claims}/c/status"), phase).await.line()));
    let capacity = json!({"status": {"capacity": {"storage": "1Gi"}}});
    expect!["200 PersistentVolumeClaim c"]
        .assert_eq(&kubelet.patch("merge", &format!("{claims}/c/status"), capacity).await.line());
}
