//! Service accounts as objects, and which pods get a token of theirs.

use serde_json::{Value, json};

use super::{create, names};
use crate::harness::Cluster;

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Conformance: ServiceAccount lifecycle test.
#[tokio::test]
async fn an_account_lives() {
    let cluster = Cluster::new().await;
    let selected = "labelSelector=test-serviceaccount-static%3Dtrue";
    let mut watch = cluster.watch(&format!("{ACCOUNTS}?watch=true&{selected}")).await;
    let account = json!({
        "metadata": {"name": "testserviceaccount", "labels": {"test-serviceaccount-static": "true"}},
    });
    create(&cluster, ACCOUNTS, account).await;
    assert_eq!(watch.line().await, "ADDED testserviceaccount");
    let patch = json!({"automountServiceAccountToken": false});
    let patched = cluster.patch("strategic-merge", &format!("{ACCOUNTS}/testserviceaccount"), patch).await;
    assert_eq!(patched.at("/automountServiceAccountToken"), false, "{}", patched.line());
    assert_eq!(watch.line().await, "MODIFIED testserviceaccount");
    let list = cluster.get(&format!("/api/v1/serviceaccounts?{selected}")).await;
    assert_eq!(names(&list), ["testserviceaccount"]);
    assert_eq!(list.at("/items/0/automountServiceAccountToken"), false);
    assert_eq!(cluster.delete(&format!("{ACCOUNTS}?{selected}")).await.code, 200);
    assert_eq!(watch.line().await, "DELETED testserviceaccount");
}

/// Conformance: Service account tokens auto mount optionally.
#[tokio::test]
async fn the_pod_decides_over_its_token_and_then_the_account() {
    let cluster = Cluster::new().await;
    let choices = [Value::Null, json!(true), json!(false)];
    for (index, account) in choices.iter().enumerate() {
        let object = json!({"metadata": {"name": format!("a{index}")}, "automountServiceAccountToken": account});
        create(&cluster, ACCOUNTS, object).await;
    }
    let expected = [[true, true, false], [true, true, true], [false, false, false]];
    for (pod, row) in choices.iter().zip(expected) {
        for (index, mounted) in row.into_iter().enumerate() {
            let body = json!({"metadata": {"generateName": "p-"}, "spec": {
                "serviceAccountName": format!("a{index}"), "automountServiceAccountToken": pod,
                "containers": [{"name": "c", "image": "i"}],
            }});
            let created = create(&cluster, "/api/v1/namespaces/default/pods", body).await;
            let mounts = created.at("/spec/containers/0/volumeMounts").as_array().cloned().unwrap_or_default();
            let found = mounts.iter().any(|mount| mount["mountPath"] == MOUNT_PATH);
            assert_eq!(found, mounted, "the pod says {pod}, its account {}", choices[index]);
        }
    }
}
