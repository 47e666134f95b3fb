//! Dynamic resources: selectors that compile, and who may write what of a claim's status.

use apimachinery::UserInfo;
use component_base::Scope;
use expect_test::expect;
use serde_json::{Value, json};

use crate::harness::Cluster;

const CLAIMS: &str = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims";
const CLASSES: &str = "/apis/resource.k8s.io/v1/deviceclasses";

fn selector(expression: &str) -> Value {
    json!({"cel": {"expression": expression}})
}

fn claim(name: &str, request: Value) -> Value {
    let mut exactly = json!({"deviceClassName": "gpu"});
    exactly.as_object_mut().expect("fields").extend(request.as_object().cloned().unwrap_or_default());
    json!({"metadata": {"name": name}, "spec": {"devices": {"requests": [{"name": "a", "exactly": exactly}]}}})
}

#[tokio::test]
async fn selectors_compile_and_are_not_too_dear() {
    let cluster = Cluster::new().await;
    let class = |expression: &str| json!({"metadata": {"name": "gpu"}, "spec": {"selectors": [selector(expression)]}});
    expect!["201 DeviceClass gpu"]
        .assert_eq(&cluster.post(CLASSES, class("device.driver == 'd.example'")).await.line());
    expect![[r#"422 Invalid: DeviceClass.resource.k8s.io "gpu" is invalid: spec.selectors[0].cel.expression: Invalid value: "device.driver": must evaluate to bool or the unknown type, not string"#]]
        .assert_eq(&cluster.put(&format!("{CLASSES}/gpu"), class("device.driver")).await.line());
    let asking = |expression: &str| claim("c", json!({"selectors": [selector(expression)]}));
    let wrong = cluster.post(CLAIMS, asking("device.nmae == 'x'")).await.line();
    assert!(
        wrong.starts_with(
            r#"422 Invalid: ResourceClaim.resource.k8s.io "c" is invalid: spec.devices.requests[0].exactly.selectors[0].cel.expression: Invalid value: "device.nmae == 'x'": compilation failed: "#
        ),
        "{wrong}"
    );
    let all = "device.attributes.all(a, device.attributes.all(b, device.attributes.all(c, device.attributes.all(d, a + b == c + d))))";
    expect![[r#"422 Invalid: ResourceClaim.resource.k8s.io "c" is invalid: spec.devices.requests[0].exactly.selectors[0].cel.expression: Forbidden: too complex, exceeds cost limit"#]]
        .assert_eq(&cluster.post(CLAIMS, asking(all)).await.line());
    let alternatives = json!([{"name": "x", "deviceClassName": "gpu", "selectors": [selector("1")]}]);
    let template = json!({"metadata": {"name": "t"}, "spec": {"spec": {"devices": {"requests": [
        {"name": "a", "firstAvailable": alternatives},
    ]}}}});
    let templates = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaimtemplates";
    expect![[r#"422 Invalid: ResourceClaimTemplate.resource.k8s.io "t" is invalid: spec.spec.devices.requests[0].firstAvailable[0].selectors[0].cel.expression: Invalid value: "1": must evaluate to bool or the unknown type, not int"#]]
        .assert_eq(&cluster.post(templates, template).await.line());
}

#[tokio::test]
async fn administrators_have_namespaces_of_their_own() {
    let cluster = Cluster::new().await;
    let asked = || claim("c", json!({"adminAccess": true}));
    expect![[r#"422 Invalid: ResourceClaim.resource.k8s.io "c" is invalid: spec.devices.requests[0].adminAccess: Forbidden: admin access to devices requires the `resource.kubernetes.io/admin-access: true` label on the containing namespace"#]]
        .assert_eq(&cluster.post(CLAIMS, asked()).await.line());
    let labels = json!({"metadata": {"labels": {"resource.kubernetes.io/admin-access": "true"}}});
    assert_eq!(cluster.patch("merge", "/api/v1/namespaces/default", labels).await.code, 200);
    expect!["201 ResourceClaim c"].assert_eq(&cluster.post(CLAIMS, asked()).await.line());
}

/// The claim's status as a scheduler and a driver leave it.
fn status(devices: Value) -> Value {
    let term = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]});
    let result = json!({"request": "a", "driver": "d.example", "pool": "p", "device": "d0"});
    let allocation = json!({"devices": {"results": [result]}, "nodeSelector": {"nodeSelectorTerms": [term]}});
    json!({"status": {"allocation": allocation, "devices": devices}})
}

fn said(data: &str) -> Value {
    json!([{"driver": "d.example", "pool": "p", "device": "d0", "data": {"said": data}}])
}

/// Lets somebody do this.
async fn allow(cluster: &Cluster, who: &Value, name: &str, rule: Value) {
    let kind = "/apis/rbac.authorization.k8s.io/v1";
    let role = json!({"metadata": {"name": name}, "rules": [rule]});
    assert_eq!(cluster.post(&format!("{kind}/clusterroles"), role).await.code, 201);
    let binding = json!({
        "metadata": {"name": name}, "subjects": [who],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
    });
    assert_eq!(cluster.post(&format!("{kind}/clusterrolebindings"), binding).await.code, 201);
}

fn rule(part: &str, verbs: &[&str], names: &[&str]) -> Value {
    let mut rule =
        json!({"apiGroups": ["resource.k8s.io"], "resources": [format!("resourceclaims/{part}")], "verbs": verbs});
    if !names.is_empty() {
        rule["resourceNames"] = json!(names);
    }
    rule
}

#[tokio::test]
async fn each_writes_its_part_of_a_claims_status() {
    let scope = Scope::root();
    let cluster = Cluster::guarded(&scope).await;
    assert_eq!(cluster.post(CLAIMS, claim("c", json!({}))).await.code, 201);
    let path = format!("{CLAIMS}/c/status");

    let ann = json!({"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "ann"});
    let scheduler = cluster.acting_as(UserInfo::new("ann", ["devs"]));
    allow(&cluster, &ann, "status", rule("status", &["patch", "update"], &[])).await;
    expect![[r#"422 Invalid: ResourceClaim.resource.k8s.io "c" is invalid: status: Forbidden: changing status.allocation or status.reservedFor requires resource="resourceclaims/binding", verb="patch" permission: resourceclaims.resource.k8s.io is forbidden: User "ann" cannot patch resource "resourceclaims/binding" in API group "resource.k8s.io" at the cluster scope"#]]
        .assert_eq(&scheduler.patch("merge", &path, status(json!(null))).await.line());
    allow(&cluster, &ann, "binding", rule("binding", &["patch"], &[])).await;
    expect!["200 ResourceClaim c"].assert_eq(&scheduler.patch("merge", &path, status(json!(null))).await.line());
    expect![[r#"422 Invalid: ResourceClaim.resource.k8s.io "c" is invalid: status.devices: Forbidden: changing status.devices requires resource="resourceclaims/driver", verb="[arbitrary-node:patch]" permission: resourceclaims.resource.k8s.io "d.example" is forbidden: User "ann" cannot arbitrary-node:patch resource "resourceclaims/driver" in API group "resource.k8s.io" in the namespace "default""#]]
        .assert_eq(&scheduler.patch("merge", &path, status(said("x"))).await.line());

    let account = json!({"kind": "ServiceAccount", "namespace": "default", "name": "driver"});
    allow(&cluster, &account, "driver", rule("driver", &["associated-node:patch"], &["d.example"])).await;
    allow(&cluster, &account, "driver-status", rule("status", &["patch"], &[])).await;
    let on = |node: &str| {
        let mut user = UserInfo::new("system:serviceaccount:default:driver", ["system:serviceaccounts"]);
        user.extra.insert("authentication.kubernetes.io/node-name".into(), vec![node.into()]);
        cluster.acting_as(user)
    };
    expect!["200 ResourceClaim c"].assert_eq(&on("n").patch("merge", &path, status(said("x"))).await.line());
    let elsewhere = on("m").patch("merge", &path, status(said("y"))).await.line();
    assert!(elsewhere.contains(r#"verb="[arbitrary-node:patch]" permission"#), "{elsewhere}");

    // Who gives the devices back need not know what was said of them.
    let given_back = scheduler.patch("merge", &path, json!({"status": {"allocation": null}})).await;
    assert!(given_back.line().contains("resourceclaims/driver"), "as upstream: {}", given_back.line());
    allow(&cluster, &ann, "drivers", rule("driver", &["arbitrary-node:patch"], &[])).await;
    let given_back = scheduler.patch("merge", &path, json!({"status": {"allocation": null}})).await;
    assert_eq!((given_back.code, given_back.at("/status/devices")), (200, &Value::Null), "{}", given_back.line());
}
