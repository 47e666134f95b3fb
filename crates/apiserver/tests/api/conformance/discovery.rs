//! What the server says it serves.

use http::Request;
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};

use super::{create, names};
use crate::harness::{Answer, Cluster};

/// The group's entry in `/apis`, and its versions there.
async fn group(cluster: &Cluster, name: &str) -> (Value, Vec<String>) {
    let list = cluster.get("/apis").await;
    let groups = list.at("/groups").as_array().expect("groups");
    let group = groups.iter().find(|group| group["name"] == name).unwrap_or_else(|| panic!("no group {name}"));
    let versions = group["versions"].as_array().expect("versions");
    (group.clone(), versions.iter().map(|version| version["groupVersion"].as_str().expect("text").into()).collect())
}

/// `name: verb verb` of each resource of a version.
fn resources(list: &Answer) -> Vec<String> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let line = |resource: &Value| {
        let mut verbs: Vec<String> = resource["verbs"].as_array().expect("verbs").iter().map(text).collect();
        verbs.sort();
        format!("{}: {}", text(&resource["name"]), verbs.join(" "))
    };
    list.at("/resources").as_array().expect("resources").iter().map(line).collect()
}

/// Conformance: Discovery, confirm the PreferredVersion for each api group.
#[tokio::test]
async fn every_group_prefers_a_version_it_serves() {
    let cluster = Cluster::new().await;
    let list = cluster.get("/apis").await;
    let groups = list.at("/groups").as_array().expect("groups");
    assert!(groups.len() > 15, "{}", groups.len());
    for group in groups {
        let name = group["name"].as_str().expect("a name");
        let own = cluster.get(&format!("/apis/{name}")).await;
        let preferred = own.at("/preferredVersion");
        assert!(own.at("/versions").as_array().expect("versions").contains(preferred), "{name}: {preferred}");
        let spelled = format!("{name}/{}", preferred["version"].as_str().expect("a version"));
        assert_eq!(preferred["groupVersion"], json!(spelled));
        assert_eq!(&group["preferredVersion"], preferred, "both documents agree");
    }
}

/// Conformance: Confirm a server version.
#[tokio::test]
async fn the_version_is_two_numbers() {
    let version = Cluster::new().await.get("/version").await;
    for part in ["/major", "/minor"] {
        let text = version.at(part).as_str().expect("text");
        assert!(!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()), "{text}");
    }
}

/// Conformance: API metadata HTTP return.
#[tokio::test]
async fn what_has_no_metadata_has_no_table() {
    let scope = component_base::Scope::root();
    let cluster = Cluster::guarded(&scope).await;
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let review = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let send = |accept: &'static str| {
        cluster.ask(Request::builder().method("POST").uri(path).header("accept", accept), review.to_string())
    };
    let table = send("application/json;as=Table;v=v1;g=meta.k8s.io").await;
    assert_eq!((table.code, table.at("/reason")), (406, &json!("NotAcceptable")), "{}", table.line());
    assert_eq!(send("application/json;as=Table;v=v1;g=meta.k8s.io,application/json").await.code, 201);
    scope.cancel();
}

/// Conformance: Custom Resource Definition, discovery.
#[tokio::test]
async fn definitions_are_discovered() {
    let cluster = Cluster::new().await;
    let (group, versions) = group(&cluster, "apiextensions.k8s.io").await;
    assert_eq!(versions, ["apiextensions.k8s.io/v1"]);
    assert_eq!(cluster.get("/apis/apiextensions.k8s.io").await.at("/versions"), &group["versions"]);
    let list = cluster.get("/apis/apiextensions.k8s.io/v1").await;
    let all = resources(&list);
    assert!(all.iter().any(|line| line.starts_with("customresourcedefinitions: create delete ")), "{all:?}");
}

/// Conformance: Admission webhook, discovery document.
#[tokio::test]
async fn webhook_configurations_are_discovered() {
    let cluster = Cluster::new().await;
    let (_, versions) = group(&cluster, "admissionregistration.k8s.io").await;
    assert!(versions.iter().any(|version| version == "admissionregistration.k8s.io/v1"), "{versions:?}");
    let all = resources(&cluster.get("/apis/admissionregistration.k8s.io/v1").await);
    for name in ["mutatingwebhookconfigurations: ", "validatingwebhookconfigurations: "] {
        assert!(all.iter().any(|line| line.starts_with(name)), "{all:?}");
    }
}

fn certificate_signing_request(generate_name: &str) -> Value {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "e2e");
    let pem = params.serialize_request(&KeyPair::generate().expect("a key")).expect("a request").pem().expect("text");
    let request = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pem);
    let spec = json!({
        "request": request, "signerName": "example.com/e2e", "expirationSeconds": 3600,
        "usages": ["digital signature", "key encipherment", "server auth"],
    });
    json!({"metadata": {"generateName": generate_name, "labels": {"test": "csr"}}, "spec": spec})
}

fn appended(mut object: Value, condition: Value) -> Value {
    object["status"]["conditions"].as_array_mut().expect("conditions").push(condition);
    object
}

/// Conformance: CertificateSigningRequest API.
#[tokio::test]
async fn certificate_signing_requests_have_all_their_operations() {
    let cluster = Cluster::new().await;
    let (_, versions) = group(&cluster, "certificates.k8s.io").await;
    assert!(versions.iter().any(|version| version == "certificates.k8s.io/v1"), "{versions:?}");
    let own = cluster.get("/apis/certificates.k8s.io").await;
    assert_eq!(own.at("/preferredVersion/groupVersion"), "certificates.k8s.io/v1", "{}", own.body);
    let all = resources(&cluster.get("/apis/certificates.k8s.io/v1").await);
    for line in [
        "certificatesigningrequests: create delete deletecollection get list patch update watch",
        "certificatesigningrequests/approval: get patch update",
        "certificatesigningrequests/status: get patch update",
    ] {
        assert!(all.iter().any(|one| one == line), "{line} is not among {all:#?}");
    }

    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let mut made = Vec::new();
    for prefix in ["e2e-example-csr-", "e2e-example-csr-", "e2e-example-csr-"] {
        let created = create(&cluster, path, certificate_signing_request(prefix)).await;
        made.push(created.at("/metadata/name").as_str().expect("a name").to_owned());
    }
    let one = format!("{path}/{}", made[0]);
    let got = cluster.get(&one).await;
    assert_eq!(got.at("/spec/expirationSeconds"), 3600);
    let list = cluster.get(&format!("{path}?labelSelector=test%3Dcsr")).await;
    assert_eq!(names(&list).len(), 3);
    let from = list.at("/metadata/resourceVersion").as_str().expect("a revision");
    let mut watch = cluster.watch(&format!("{path}?watch=true&labelSelector=test%3Dcsr&resourceVersion={from}")).await;

    let patch = json!({"metadata": {"annotations": {"patched": "true"}}});
    let patched = cluster.patch("merge", &one, patch).await;
    assert_eq!(patched.at("/metadata/annotations/patched"), "true", "{}", patched.line());
    let mut updated = patched.body;
    updated["metadata"]["annotations"]["updated"] = "true".into();
    let updated = cluster.put(&one, updated).await;
    assert_eq!(updated.at("/metadata/annotations/updated"), "true", "{}", updated.line());
    for annotation in ["patched", "updated"] {
        let event = watch.next().await.expect("an event");
        assert_eq!(
            (&event["type"], &event["object"]["metadata"]["name"]),
            (&json!("MODIFIED"), got.at("/metadata/name"))
        );
        assert_eq!(event["object"]["metadata"]["annotations"][annotation], "true", "{event}");
    }

    let condition = |kind: &str| json!({"type": kind, "status": "True", "reason": "E2E", "message": "by a test"});
    let approval = format!("{one}/approval");
    assert_eq!(cluster.get(&approval).await.at("/metadata/name"), got.at("/metadata/name"));
    let patch = json!({
        "metadata": {"annotations": {"patchedapproval": "true"}}, "status": {"conditions": [condition("ApprovalPatch")]},
    });
    let patched = cluster.patch("merge", &approval, patch).await;
    assert_eq!(patched.at("/status/conditions/0/type"), "ApprovalPatch", "{}", patched.line());
    assert_eq!(patched.at("/metadata/annotations/patchedapproval"), "true");
    let approved = cluster.put(&approval, appended(patched.body, condition("Approved"))).await;
    assert_eq!(approved.at("/status/conditions/1/type"), "Approved", "{}", approved.line());

    let status = format!("{one}/status");
    assert_eq!(cluster.get(&status).await.at("/metadata/name"), got.at("/metadata/name"));
    let pem = rcgen::generate_simple_self_signed(["ann".to_owned()]).expect("a certificate").cert.pem();
    let certificate = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pem);
    let patch = json!({
        "metadata": {"annotations": {"patchedstatus": "true"}}, "status": {"certificate": certificate},
    });
    let patched = cluster.patch("merge", &status, patch).await;
    assert_eq!(patched.at("/status/certificate"), certificate.as_str(), "{}", patched.line());
    assert_eq!(patched.at("/metadata/annotations/patchedstatus"), "true");
    let updated = cluster.put(&status, appended(patched.body, condition("StatusUpdate"))).await;
    assert_eq!(updated.at("/status/conditions/2/type"), "StatusUpdate", "{}", updated.line());

    assert_eq!(cluster.delete(&one).await.code, 200);
    assert_eq!(cluster.get(&one).await.code, 404);
    assert_eq!(names(&cluster.delete(&format!("{path}?labelSelector=test%3Dcsr")).await).len(), 2);
    assert_eq!(names(&cluster.get(&format!("{path}?labelSelector=test%3Dcsr")).await), [""; 0]);
}
