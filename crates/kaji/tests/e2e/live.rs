//! Pods while they live: volumes that change, probes that fail, names that resolve.

use crate::kit::{self, BUSYBOX};

#[test]
fn a_changed_config_map_is_seen_in_a_mounted_file() {
    let cluster = kit::cluster_with_busybox("mount");
    cluster.kubectl(&["create", "configmap", "settings", "--from-literal=colour=red"]).ok();
    let script =
        "until grep -q blue /etc/settings/colour; do cat /etc/settings/colour; sleep 0.2; done; echo; echo seen";
    cluster.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: reader}}\nspec:\n  restartPolicy: Never\n  containers:\n  - name: main\n    image: {BUSYBOX}\n    command: [/bin/busybox, sh, -c, \"{}\"]\n    volumeMounts: [{{name: settings, mountPath: /etc/settings}}]\n  volumes:\n  - name: settings\n    configMap: {{name: settings}}\n",
        script.replace("grep", "busybox grep")
    ));
    cluster.wait("condition=Ready", &["pod/reader"]);
    cluster.kubectl(&["patch", "configmap", "settings", "-p", r#"{"data":{"colour":"blue"}}"#]).ok();
    cluster.wait("jsonpath={.status.phase}=Succeeded", &["pod/reader"]);
    cluster.kubectl(&["logs", "reader"]).says("seen");
}

#[test]
fn a_pod_waits_for_the_config_map_it_mounts() {
    let cluster = kit::cluster_with_busybox("hold");
    cluster.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: waits}}\nspec:\n  containers:\n  - name: main\n    image: {BUSYBOX}\n    command: [sleep, '1000']\n    envFrom: [{{configMapRef: {{name: late}}}}]\n"
    ));
    cluster.wait(
        "jsonpath={.status.containerStatuses[0].state.waiting.reason}=CreateContainerConfigError",
        &["pod/waits"],
    );
    cluster.kubectl(&["create", "configmap", "late", "--from-literal=A=1"]).ok();
    cluster.wait("condition=Ready", &["pod/waits"]);
    cluster.kubectl(&["exec", "waits", "--", "env"]).says("A=1");
}

#[test]
fn a_failing_liveness_probe_restarts_the_container() {
    let cluster = kit::cluster_with_busybox("liveness");
    cluster.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: sick}}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers:\n  - name: main\n    image: {BUSYBOX}\n    command: [sh, -c, 'touch /tmp/healthy; sleep 3; rm /tmp/healthy; sleep 1000']\n    livenessProbe: {{exec: {{command: [cat, /tmp/healthy]}}, periodSeconds: 1, failureThreshold: 1}}\n"
    ));
    cluster.wait("jsonpath={.status.containerStatuses[0].restartCount}=1", &["pod/sick"]);
    cluster.kubectl(&["describe", "pod", "sick"]).says("Liveness probe failed");
    cluster.kubectl(&["logs", "sick", "--previous"]).ok();
}

#[test]
fn a_pod_that_is_not_ready_gets_no_traffic() {
    let cluster = kit::cluster_with_busybox("ready");
    cluster.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: web, labels: {{app: web}}}}\nspec:\n  containers:\n  - name: main\n    image: {BUSYBOX}\n    command: [sh, -c, 'touch /tmp/ready; sleep 1000']\n    readinessProbe: {{exec: {{command: [cat, /tmp/ready]}}, periodSeconds: 1, failureThreshold: 1}}\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{selector: {{app: web}}, ports: [{{port: 80}}]}}\n"
    ));
    cluster.wait("condition=Ready", &["pod/web"]);
    let slice = cluster.kubectl(&["get", "endpointslice", "-l", "kubernetes.io/service-name=web", "-o", "name"]).ok();
    let slice = slice.trim();
    cluster.wait("jsonpath={.endpoints[0].conditions.ready}=true", &[slice]);
    cluster.kubectl(&["exec", "web", "--", "rm", "/tmp/ready"]).ok();
    cluster.wait("jsonpath={.endpoints[0].conditions.ready}=false", &[slice]);
    cluster.wait("condition=Ready=false", &["pod/web"]);
    cluster.kubectl(&["exec", "web", "--", "touch", "/tmp/ready"]).ok();
    cluster.wait("jsonpath={.endpoints[0].conditions.ready}=true", &[slice]);
}

#[test]
fn names_resolve_and_services_answer_inside_pods() {
    let cluster = kit::cluster_with_hello("names");
    let archive = kit::save(&cluster, "busybox.tar", vec![kit::busybox(&[BUSYBOX])]);
    kit::load(&cluster, &archive).ok();
    cluster.apply(&kit::pod("client", "sleep 1000"));
    cluster.wait("condition=Ready", &["pod/client"]);
    let exec = |script: &str| cluster.kubectl(&["exec", "client", "--", "sh", "-c", script]);
    exec("wget -qO- http://hello-server-external:8081/").says("Hello, world!");
    exec("wget -qO- http://hello-server-external.default.svc.cluster.local:8081/").says("Hello, world!");
    exec("wget -qO- http://$HELLO_SERVER_EXTERNAL_SERVICE_HOST:$HELLO_SERVER_EXTERNAL_SERVICE_PORT/")
        .says("Hello, world!");
    exec("nslookup kubernetes.default.svc.cluster.local").says("10.96.0.1");
    exec("cat /etc/resolv.conf").says("search default.svc.cluster.local svc.cluster.local cluster.local");
    exec("hostname").says("client");
    exec("cat /var/run/secrets/kubernetes.io/serviceaccount/namespace").says("default");
    exec("wget -qO- http://no-such-service/").fails();
}

#[test]
fn init_containers_run_in_their_order_and_failures_back_off() {
    let cluster = kit::cluster_with_busybox("init");
    cluster.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: ordered}}\nspec:\n  restartPolicy: Never\n  initContainers:\n  - {{name: first, image: {BUSYBOX}, command: [sh, -c, 'echo one > /work/log'], volumeMounts: [{{name: work, mountPath: /work}}]}}\n  - {{name: second, image: {BUSYBOX}, command: [sh, -c, 'echo two >> /work/log'], volumeMounts: [{{name: work, mountPath: /work}}]}}\n  containers:\n  - {{name: main, image: {BUSYBOX}, command: [cat, /work/log], volumeMounts: [{{name: work, mountPath: /work}}]}}\n  volumes: [{{name: work, emptyDir: {{}}}}]\n"
    ));
    cluster.wait("jsonpath={.status.phase}=Succeeded", &["pod/ordered"]);
    assert_eq!(cluster.kubectl(&["logs", "ordered"]).ok(), "one\ntwo\n");
    cluster.apply(&kit::pod("crashes", "echo broken; exit 3"));
    cluster.wait("jsonpath={.status.containerStatuses[0].state.waiting.reason}=CrashLoopBackOff", &["pod/crashes"]);
    assert_eq!(cluster.value("pod/crashes", "{.status.containerStatuses[0].lastState.terminated.exitCode}"), "3");
    cluster.kubectl(&["logs", "crashes", "--previous"]).says("broken");
}
