//! Secrets in the environment of containers.

use crate::kit::{self, BUSYBOX};

/// Conformance: Secrets, pod environment field.
/// Conformance: Secrets, pod environment from source.
#[test]
fn containers_read_secrets_from_their_environment() {
    let cluster = kit::cluster_with_busybox("secrets");
    cluster.apply("{apiVersion: v1, kind: Secret, metadata: {name: secret-test}, data: {data-1: dmFsdWUtMQ==, data-2: dmFsdWUtMg==}}");
    cluster.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: one-key}}\nspec:\n  restartPolicy: Never\n  containers:\n  - name: secret-env-test\n    image: {BUSYBOX}\n    command: [env]\n    env: [{{name: SECRET_DATA, valueFrom: {{secretKeyRef: {{name: secret-test, key: data-1}}}}}}]\n"
    ));
    cluster.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: all-keys}}\nspec:\n  restartPolicy: Never\n  containers:\n  - name: env-test\n    image: {BUSYBOX}\n    command: [env]\n    envFrom: [{{secretRef: {{name: secret-test}}}}, {{prefix: p-, secretRef: {{name: secret-test}}}}]\n"
    ));
    cluster.wait("jsonpath={.status.phase}=Succeeded", &["pod/one-key", "pod/all-keys"]);
    let said = cluster.kubectl(&["logs", "one-key"]).ok();
    assert!(said.lines().any(|line| line == "SECRET_DATA=value-1"), "{said}");
    let said = cluster.kubectl(&["logs", "all-keys"]).ok();
    for expected in ["data-1=value-1", "data-2=value-2", "p-data-1=value-1", "p-data-2=value-2"] {
        assert!(said.lines().any(|line| line == expected), "{expected} is not in\n{said}");
    }
}
