//! What users get wrong: each a clear error at the right place.

use crate::kit;

#[test]
fn bad_objects_are_refused_with_a_reason() {
    let cluster = kit::cluster("bad");
    let create = |text: &str| cluster.kubectl_with_input(&["create", "-f", "-"], text);
    create("{\"apiVersion\": \"v1\", \"kind\":").fails_with("error");
    create("apiVersion: v1\nkind: Pod\n  metadata: {\n").fails_with("error");
    create("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nfoo: 1\n").fails_with("unknown field \"foo\"");
    create("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {replicas: three}\n")
        .fails_with("replicas");
    create(&format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {}}}\n", "a".repeat(254)))
        .fails_with("no more than 253");
    create("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Upper}\n").fails_with("RFC 1123");
    create("apiVersion: v1\nkind: Nonsense\nmetadata: {name: a}\n").fails_with("no matches for kind");
    create("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: absent}\n")
        .fails_with("namespaces \"absent\" not found");
    create("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: []}\n")
        .fails_with("spec.containers: Required value");
    create("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: A_, image: x}]}\n")
        .fails_with("spec.containers[0].name");
    create("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {type: NodePort, ports: [{port: 80, nodePort: 80}]}\n")
        .fails_with("provided port is not in the valid range");
    cluster.kubectl(&["get", "pod", "absent"]).fails_with("pods \"absent\" not found");
    cluster.kubectl(&["get", "pods", "-l", "a in (b"]).fails();
    cluster.kubectl(&["get", "pods", "--field-selector", "spec.nonsense=1"]).fails_with("field label not supported");
    cluster.kubectl(&["get", "nonsense"]).fails_with("the server doesn't have a resource type");
    cluster.kubectl(&["get", "--raw", "/apis/none"]).fails();
}

#[test]
fn an_old_version_is_not_written_over_a_newer_one() {
    let cluster = kit::cluster("stale");
    cluster.kubectl(&["create", "configmap", "a", "--from-literal=k=1"]).ok();
    let old = cluster.kubectl(&["get", "configmap", "a", "-o", "yaml"]).ok();
    cluster.kubectl(&["patch", "configmap", "a", "-p", r#"{"data":{"k":"2"}}"#]).ok();
    cluster.kubectl_with_input(&["replace", "-f", "-"], &old).fails_with("the object has been modified");
    assert_eq!(cluster.value("configmap/a", "{.data.k}"), "2");
    cluster
        .kubectl(&["patch", "configmap", "a", "--type=json", "-p", r#"[{"op":"test","path":"/data/k","value":"1"}]"#])
        .fails();
}

#[test]
fn a_damaged_database_is_told_and_not_papered_over() {
    let cluster = kit::cluster("database");
    cluster.kaji_here("stop").ok();
    let node = cluster.machine.home().join("clusters").join(cluster.name()).join(cluster.node());
    let store = node.join("data/store");
    for entry in std::fs::read_dir(&store).expect("the database").flatten() {
        if entry.file_type().expect("its type").is_file() && entry.metadata().expect("its size").len() > 0 {
            let file = std::fs::OpenOptions::new().write(true).open(entry.path()).expect("opened");
            file.set_len(entry.metadata().expect("its size").len() / 2).expect("cut short");
        }
    }
    cluster.kaji_here("start").fails_with("is damaged");
}
