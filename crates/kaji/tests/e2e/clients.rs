//! The clients that people bring: an old kubectl, Python, JavaScript, Rust, Helm.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, future};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, AttachParams, ObjectMeta, Patch, PatchParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::wait::await_condition;
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Client, Resource, ResourceExt};
use testkit::{Cluster, Run};
use tokio::io::AsyncReadExt;

use crate::kit::{self, BUSYBOX};

/// What `make test` installed, by the variable that says where.
#[track_caller]
pub fn tool(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable).unwrap_or_else(|| panic!("${variable} is not set; 'make test' sets it"));
    path.into()
}

pub fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

fn python(cluster: &Cluster, script: &str) -> Run {
    let path = scripts().join(script).display().to_string();
    cluster.machine.run(tool("CLIENTS").join("bin/python"), &["-B", &path])
}

#[test]
fn the_python_client() {
    python(&kit::cluster_with_busybox("python"), "python_client.py").says("done");
}

#[test]
fn kr8s() {
    python(&kit::cluster_with_busybox("kr8s"), "kr8s_client.py").says("done");
}

#[test]
fn helm() {
    python(&kit::cluster_with_busybox("helm"), "helm_client.py").says("done");
}

#[test]
fn the_javascript_client() {
    let cluster = kit::cluster_with_busybox("node");
    // Modules are looked for beside the script.
    std::os::unix::fs::symlink(tool("CLIENTS").join("node/node_modules"), cluster.machine.dir().join("node_modules"))
        .expect("a link");
    let text = std::fs::read_to_string(scripts().join("node_client.mjs")).expect("the script");
    let script = cluster.machine.file("node_client.mjs", &text);
    cluster.machine.run("node", &[&script]).says("done");
}

/// kubectl 1.20 wants OpenAPI v2 in protobuf and speaks SPDY.
#[test]
fn an_old_kubectl() {
    let cluster = kit::cluster_with_busybox("old");
    let old = |args: &[&str]| cluster.machine.run(tool("KUBECTL_1_20"), args);
    old(&["version", "--short"]).says("v1.37");
    old(&["run", "old", &format!("--image={BUSYBOX}"), "--restart=Never", "--", "sh", "-c", "echo hi; sleep 1000"])
        .ok();
    old(&["wait", "--for=condition=Ready", "pod/old", "--timeout=60s"]).ok();
    old(&["get", "pods", "-o", "wide"]).says("Running");
    old(&["exec", "old", "--", "echo", "inside"]).says("inside");
    let piped = cluster.machine.run_with_input(tool("KUBECTL_1_20"), &["exec", "-i", "old", "--", "cat"], "piped\n");
    assert_eq!(piped.ok(), "piped\n");
    old(&["logs", "old"]).says("hi");
    old(&["explain", "pod.spec.containers"]).says("VERSION:  v1");
    let example = cluster.machine.file("hello.yaml", kit::HELLO);
    old(&["apply", "-f", &example]).says("deployment.apps/hello-server created");
    old(&["rollout", "status", "deployment/hello-server", "--timeout=60s"]).ok();
    old(&["apply", "-f", &example]).says("deployment.apps/hello-server unchanged");
    old(&["describe", "deployment", "hello-server"]).says("3 desired");
    old(&["delete", "-f", &example]).ok();
}

/// kube with its runtime: a controller writes what a reflector then shows.
#[test]
fn the_rust_client() {
    let cluster = kit::cluster_with_busybox("rust");
    cluster.apply(&kit::pod("target", "sleep 1000"));
    let kubeconfig = kube::config::Kubeconfig::read_from(cluster.machine.kubeconfig()).expect("a kubeconfig");
    cluster.machine.inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let config =
                kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.expect("a context");
            let client = Client::try_from(config).expect("a client");
            let work = async {
                exec_in_a_pod(client.clone()).await;
                a_controller_and_a_reflector(client).await;
            };
            tokio::time::timeout(Duration::from_secs(90), work).await.expect("in time");
        });
    });
}

async fn exec_in_a_pod(client: Client) {
    let pods: Api<Pod> = Api::default_namespaced(client);
    let running = await_condition(pods.clone(), "target", kube::runtime::conditions::is_pod_running());
    running.await.expect("the pod runs");
    let mut attached = pods.exec("target", ["echo", "inside"], &AttachParams::default()).await.expect("exec");
    let mut said = String::new();
    attached.stdout().expect("stdout").read_to_string(&mut said).await.expect("text");
    attached.join().await.expect("a clean end");
    assert_eq!(said, "inside\n");
}

/// Every ConfigMap labelled `copy=me` gets a copy that it owns.
async fn a_controller_and_a_reflector(client: Client) {
    let api: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let (reader, writer) = reflector::store();
    let copies = watcher::Config::default().labels("copy=made");
    let shown = reflector(writer, watcher(api.clone(), copies)).default_backoff().touched_objects();
    let sources = watcher::Config::default().labels("copy=me");
    let controller = Controller::new(api.clone(), sources)
        .owns(api.clone(), watcher::Config::default().labels("copy=made"))
        .run(copy, |_, err: &kube::Error, _| panic!("{err}"), client.into());
    let source = ConfigMap {
        metadata: ObjectMeta {
            name: Some("source".into()),
            labels: Some([("copy".to_owned(), "me".to_owned())].into()),
            ..ObjectMeta::default()
        },
        data: Some([("text".to_owned(), "to be copied".to_owned())].into()),
        ..ConfigMap::default()
    };
    api.create(&kube::api::PostParams::default(), &source).await.expect("created");
    let mut shown = std::pin::pin!(shown);
    tokio::select! {
        () = controller.for_each(|result| { result.expect("reconciled"); future::ready(()) }) => panic!("it ended"),
        copied = shown.try_next() => assert_eq!(copied.expect("a watch").expect("an object").name_any(), "source-copy"),
    }
    assert_eq!(reader.state()[0].data, source.data);
}

async fn copy(source: std::sync::Arc<ConfigMap>, client: std::sync::Arc<Client>) -> Result<Action, kube::Error> {
    let name = format!("{}-copy", source.name_any());
    let copy = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"copy": "made"}, "ownerReferences": [source.controller_owner_ref(&())]},
        "data": source.data,
    });
    let api: Api<ConfigMap> = Api::default_namespaced((*client).clone());
    api.patch(&name, &PatchParams::apply("copier").force(), &Patch::Apply(&copy)).await?;
    Ok(Action::await_change())
}
