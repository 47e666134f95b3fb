//! The files that containers find of their service account.

use crate::kit::{self, BUSYBOX};

const DIRECTORY: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Conformance: Service Account Tokens Must AutoMount.
#[test]
fn each_container_finds_token_ca_and_namespace() {
    let cluster = kit::cluster_with_busybox("account");
    let container = |file: &str| {
        format!(
            "  - {{name: read-{0}, image: {BUSYBOX}, command: [cat, {DIRECTORY}/{file}]}}\n",
            file.replace('.', "-")
        )
    };
    let containers: String = ["token", "ca.crt", "namespace"].map(container).concat();
    cluster.kubectl(&["create", "serviceaccount", "mounts"]).ok();
    cluster.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: reader}}\nspec:\n  serviceAccountName: mounts\n  restartPolicy: Never\n  containers:\n{containers}"
    ));
    cluster.wait("jsonpath={.status.phase}=Succeeded", &["pod/reader"]);
    let log = |container: &str| cluster.kubectl(&["logs", "reader", "-c", container]).ok();
    assert_eq!(log("read-namespace"), "default");
    let ca = cluster.kubectl(&["get", "configmap", "kube-root-ca.crt", "-o", "jsonpath={.data.ca\\.crt}"]).ok();
    assert_eq!(log("read-ca-crt"), ca);
    let token = log("read-token");
    let review = format!(
        "{{apiVersion: authentication.k8s.io/v1, kind: TokenReview, metadata: {{name: t}}, spec: {{token: {}}}}}",
        token.trim()
    );
    cluster
        .kubectl_with_input(
            &["create", "-f", "-", "-o", "jsonpath={.status.authenticated} {.status.user.username}"],
            &review,
        )
        .says("true system:serviceaccount:default:mounts");
}

/// Conformance: TokenRequestProjection should mount a projected volume with token using TokenRequest API.
#[test]
fn a_projected_token_is_as_the_volume_asks() {
    let cluster = kit::cluster_with_busybox("projected");
    let file = "/var/run/secrets/tokens/sa-token";
    let script = format!("ls -lnL {file}; cat {file}");
    cluster.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: reader}}\nspec:\n  restartPolicy: Never\n  automountServiceAccountToken: false\n  containers:\n  - name: main\n    image: {BUSYBOX}\n    command: [sh, -c, '{script}']\n    volumeMounts: [{{name: sa-token, mountPath: /var/run/secrets/tokens}}]\n  volumes:\n  - name: sa-token\n    projected:\n      defaultMode: 0400\n      sources: [{{serviceAccountToken: {{path: sa-token, expirationSeconds: 7200, audience: vault}}}}]\n"
    ));
    cluster.wait("jsonpath={.status.phase}=Succeeded", &["pod/reader"]);
    let said = cluster.kubectl(&["logs", "reader"]).ok();
    let (listed, token) = said.split_once('\n').expect("two lines");
    assert!(listed.starts_with("-r--------"), "{listed}");
    let token = token.trim();
    let review = |audiences: &str| {
        let review = format!(
            "{{apiVersion: authentication.k8s.io/v1, kind: TokenReview, metadata: {{name: t}}, spec: {{token: {token}, audiences: [{audiences}]}}}}"
        );
        cluster.kubectl_with_input(
            &[
                "create",
                "-f",
                "-",
                "-o",
                "jsonpath={.status.authenticated} {.status.user.username} {.status.user.extra}",
            ],
            &review,
        )
    };
    let said = review("vault").says("true system:serviceaccount:default:default");
    assert!(said.contains("authentication.kubernetes.io/pod-name"), "the token is bound to its pod: {said}");
    assert!(!review("elsewhere").ok().contains("true"), "it is for nobody else");
}
