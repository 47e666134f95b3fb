//! The beginners' book, command by command.

use crate::kit::{self, BUSYBOX};

#[test]
fn looking_at_things() {
    let cluster = kit::cluster_with_hello("look");
    cluster.kubectl(&["get", "pods"]).says("1/1     Running");
    cluster.kubectl(&["get", "pods", "-o", "wide"]).says("10.244.0.");
    cluster.kubectl(&["get", "deployment", "hello-server", "-o", "yaml"]).says("replicas: 3");
    cluster.kubectl(&["get", "deployment", "hello-server", "-o", "json"]).says("\"kind\": \"Deployment\"");
    let names = cluster.kubectl(&["get", "pods", "-o", "custom-columns=NAME:.metadata.name,NODE:.spec.nodeName"]).ok();
    assert_eq!(names.lines().filter(|line| line.contains(&cluster.node())).count(), 3, "{names}");
    cluster.kubectl(&["get", "all", "-A"]).says("deployment.apps/hello-server");
    cluster.kubectl(&["get", "pods", "-l", "app=hello-server", "--show-labels"]).says("pod-template-hash=");
    cluster.kubectl(&["get", "pods", "-l", "app=other"]).ok();
    cluster.kubectl(&["get", "nodes", "-o", "wide"]).says("v1.37");
    let mut watched = cluster.start_kubectl(&["get", "configmaps", "--watch"]);
    watched.line_with("hello-server-config");
    cluster.kubectl(&["create", "configmap", "seen", "--from-literal=a=b"]).ok();
    watched.line_with("seen");
    cluster.kubectl(&["get", "service,endpointslice,pdb,configmap,replicaset,events"]).says("30599");
    for kind in [
        "node",
        "namespace",
        "deployment",
        "replicaset",
        "pod",
        "service",
        "configmap",
        "poddisruptionbudget",
        "serviceaccount",
        "endpointslice",
    ] {
        cluster.kubectl(&["describe", kind]).says("Name:");
    }
    cluster.kubectl(&["describe", "deployment", "hello-server"]).says("NewReplicaSet:");
    let pods = cluster.kubectl(&["get", "pods", "-o", "name"]).ok();
    let pod = pods.lines().next().expect("a pod");
    cluster.kubectl(&["describe", pod]).says("Successfully assigned default/hello-server");
    cluster.kubectl(&["describe", "node"]).says("Allocated resources");
    cluster.kubectl(&["explain", "deployment.spec.strategy"]).says("FIELDS:");
    let told = cluster.kubectl(&["explain", "pod.spec.containers.image"]).says("DESCRIPTION:");
    assert!(!told.contains("<empty>"), "{told}");
    cluster.kubectl(&["explain", "pod.spec.containers.livenessProbe", "--recursive"]).says("httpGet");
    cluster.kubectl(&["api-resources"]).says("deployments");
    cluster.kubectl(&["api-versions"]).says("apps/v1");
    cluster.kubectl(&["version"]).says("Server Version: v1.37");
    cluster.kubectl(&["cluster-info"]).says("Kubernetes control plane");
    cluster.kubectl(&["cluster-info", "dump"]).says("hello-server");
    cluster.kubectl(&["config", "view"]).says("kaji-look");
    cluster.kubectl(&["auth", "can-i", "create", "deployments"]).says("yes");
    cluster.kubectl(&["auth", "can-i", "get", "pods", "--as=system:serviceaccount:default:default"]).fails();
    cluster.kubectl(&["auth", "whoami"]).says("kubernetes-admin");
    cluster.kubectl(&["create", "token", "default"]).says("eyJ");
    cluster.kubectl(&["top", "pods"]).fails_with("Metrics API not available");
    cluster.kubectl(&["get", "--raw", "/readyz?verbose"]).says("check passed");
    cluster.kubectl(&["events"]).says("ScalingReplicaSet");
}

#[test]
fn changing_things() {
    let cluster = kit::cluster_with_hello("change");
    let manifest = cluster.machine.file("hello.yaml", kit::HELLO);
    cluster.kubectl(&["diff", "-f", &manifest]).ok();
    let scaled = kit::HELLO.replace("replicas: 3", "replicas: 2");
    let changed = cluster.machine.file("scaled.yaml", &scaled);
    let diff = cluster.kubectl(&["diff", "-f", &changed]);
    assert_eq!(diff.code, 1, "{diff}");
    assert!(diff.stdout.contains("-  replicas: 3"), "{diff}");
    cluster.kubectl(&["apply", "-f", &changed, "--dry-run=server"]).says("configured (server dry run)");
    cluster.kubectl(&["apply", "-f", &changed, "--dry-run=client"]).says("configured (dry run)");
    assert_eq!(cluster.value("deployment/hello-server", "{.spec.replicas}"), "3");
    cluster.kubectl(&["apply", "-f", &changed]).says("deployment.apps/hello-server configured");
    cluster.kubectl(&["apply", "-f", &changed]).says("deployment.apps/hello-server unchanged");
    cluster.kubectl(&["scale", "deployment/hello-server", "--replicas=1"]).says("scaled");
    cluster.rolled_out("deployment/hello-server");
    cluster.kubectl(&["label", "deployment/hello-server", "tier=web"]).says("labeled");
    cluster.kubectl(&["annotate", "deployment/hello-server", "note=a b"]).says("annotated");
    assert_eq!(
        cluster.value("deployment/hello-server", "{.metadata.labels.tier}{.metadata.annotations.note}"),
        "weba b"
    );
    for (kind, patch) in [
        (
            "strategic",
            r#"{"spec":{"template":{"spec":{"containers":[{"name":"hello-server","env":[{"name":"A","value":"1"}]}]}}}}"#,
        ),
        ("merge", r#"{"metadata":{"labels":{"tier":null}}}"#),
        ("json", r#"[{"op":"replace","path":"/spec/replicas","value":2}]"#),
    ] {
        cluster.kubectl(&["patch", "deployment/hello-server", "--type", kind, "-p", patch]).says("patched");
    }
    assert_eq!(cluster.value("deployment/hello-server", "{.spec.template.spec.containers[0].env[*].name}"), "A PORT");
    cluster.kubectl(&["set", "env", "deployment/hello-server", "B=2"]).says("env updated");
    cluster.shell("EDITOR='sed -i s/replicas:.2/replicas:\\ 3/' kubectl edit deployment/hello-server").says("edited");
    cluster.rolled_out("deployment/hello-server");
    assert_eq!(cluster.value("deployment/hello-server", "{.status.readyReplicas}"), "3");
}

#[test]
fn applying_on_the_server() {
    let cluster = kit::cluster("ssa");
    let manifest = cluster.machine.file("hello.yaml", kit::HELLO);
    cluster.kubectl(&["apply", "--server-side", "-f", &manifest]).says("serverside-applied");
    cluster.kubectl(&["apply", "--server-side", "-f", &manifest]).says("serverside-applied");
    cluster.kubectl(&["scale", "deployment/hello-server", "--replicas=1"]).ok();
    cluster.kubectl(&["apply", "--server-side", "-f", &manifest]).fails_with("conflict with \"kubectl\"");
    cluster.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &manifest]).ok();
    assert_eq!(cluster.value("deployment/hello-server", "{.spec.replicas}"), "3");
    cluster.kubectl(&["get", "deployment/hello-server", "--show-managed-fields", "-o", "yaml"]).says("f:replicas");
}

#[test]
fn making_and_removing_things() {
    let cluster = kit::cluster_with_busybox("make");
    cluster.kubectl(&["create", "namespace", "shop"]).says("created");
    cluster.kubectl(&["create", "configmap", "settings", "--from-literal=a=1", "-n", "shop"]).ok();
    cluster.kubectl(&["create", "secret", "generic", "keys", "--from-literal=k=v", "-n", "shop"]).ok();
    cluster
        .kubectl(&["create", "deployment", "web", &format!("--image={BUSYBOX}"), "-n", "shop", "--", "sleep", "1000"])
        .ok();
    cluster.kubectl(&["rollout", "status", "deployment/web", "-n", "shop", "--timeout=60s"]).ok();
    cluster.kubectl(&["expose", "deployment", "web", "--port=80", "-n", "shop"]).ok();
    cluster.kubectl(&["run", "one", &format!("--image={BUSYBOX}"), "--", "sleep", "1000"]).says("created");
    cluster.kubectl(&["run", "two", &format!("--image={BUSYBOX}"), "-l", "app=two", "--", "sleep", "1000"]).ok();
    cluster.wait("condition=Ready", &["pod/one", "pod/two"]);
    cluster.kubectl(&["delete", "pod", "one", "--force", "--grace-period=0"]).ok();
    cluster.kubectl(&["delete", "pods", "-l", "app=two", "--grace-period=1"]).says("deleted");
    cluster.kubectl(&["get", "pods"]).ok();
    let manifest = cluster.machine.file("three.yaml", &kit::pod("three", "sleep 1000"));
    cluster.kubectl(&["create", "-f", &manifest]).ok();
    cluster.kubectl(&["create", "-f", &manifest]).fails_with("AlreadyExists");
    cluster.kubectl(&["replace", "--force", "-f", &manifest]).ok();
    cluster.kubectl(&["delete", "-f", &manifest]).ok();
    cluster.kubectl(&["delete", "configmap", "--all", "-n", "shop"]).ok();
    cluster.kubectl(&["delete", "namespace", "shop", "--timeout=60s"]).says("deleted");
    cluster.kubectl(&["get", "namespace", "shop"]).fails_with("NotFound");
    cluster.kubectl(&["get", "all", "-A"]).ok();
}

#[test]
fn a_node_is_drained_within_the_budget() {
    let cluster = kit::cluster_with_hello("drain");
    let node = cluster.node();
    cluster.kubectl(&["cordon", &node]).says("cordoned");
    cluster.kubectl(&["get", "node"]).says("SchedulingDisabled");
    cluster.kubectl(&["uncordon", &node]).says("uncordoned");
    // One of three may be away at a time, so the drain evicts one, and on one node its successor cannot come.
    cluster.kubectl(&["drain", &node, "--ignore-daemonsets", "--timeout=3s"]).fails();
    assert_eq!(cluster.value("pdb/hello-server", "{.status.disruptionsAllowed}"), "0");
    cluster.kubectl(&["uncordon", &node]).ok();
    cluster.rolled_out("deployment/hello-server");
    cluster.wait("jsonpath={.status.disruptionsAllowed}=1", &["pdb/hello-server"]);
    cluster.kubectl(&["delete", "pdb/hello-server"]).ok();
    cluster.kubectl(&["drain", &node, "--ignore-daemonsets", "--timeout=60s"]).says("drained");
}
