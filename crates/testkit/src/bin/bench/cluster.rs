//! A cluster from nothing to Ready, its pods, and what it takes when nobody asks anything.

use std::fs;
use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use testkit::Machine;

use crate::figures::row;
use crate::process::Processes;

const CREATES: usize = 7;
const PODS: usize = 30;
const REPLACEMENTS: usize = 10;
const IDLE: Duration = Duration::from_secs(60);
const HELLO: &str = include_str!("../../../../../examples/hello-server.yaml");

/// Prints the rows.
pub async fn measure(machine: &Machine, kaji: &Path) {
    let created: Vec<Duration> = (0..CREATES)
        .map(|_| {
            let begun = Instant::now();
            machine.kaji(&["cluster", "create"]).ok();
            let took = begun.elapsed();
            machine.kaji(&["cluster", "delete"]).ok();
            took
        })
        .collect();
    row("`kaji cluster create` to node Ready", &created);

    machine.kaji(&["cluster", "create"]).ok();
    let kubectl = std::env::var("KUBECTL").unwrap_or_else(|_| "kubectl".into());
    let manifest = machine.file("hello.yaml", HELLO);
    let applied: Vec<Duration> = (0..5)
        .map(|_| {
            let begun = Instant::now();
            machine.run(&kubectl, &["apply", "-f", &manifest]).ok();
            machine.run(&kubectl, &["rollout", "status", "deployment/hello-server", "--timeout=120s"]).ok();
            let took = begun.elapsed();
            machine.run(&kubectl, &["delete", "-f", &manifest]).ok();
            took
        })
        .collect();
    row("`kubectl apply` of the example to 3 replicas Ready (kubectl's own time included)", &applied);

    let client = client(machine).await;
    row("pod create to Ready, image present", &pods(client.clone()).await);
    machine.run(&kubectl, &["apply", "-f", &manifest]).ok();
    machine.run(&kubectl, &["rollout", "status", "deployment/hello-server", "--timeout=120s"]).ok();
    row("pod of a Deployment deleted to its successor Ready", &replacements(client).await);
    machine.run(&kubectl, &["delete", "-f", &manifest]).ok();
    machine.run(&kubectl, &["wait", "--for=delete", "pod", "--all", "--timeout=120s"]).ok();

    let processes = Processes::of_cluster(machine);
    let before = processes.cpu();
    tokio::time::sleep(IDLE).await;
    let share = (processes.cpu() - before).as_secs_f64() / IDLE.as_secs_f64() * 100.0;
    println!("| CPU of an idle cluster over {} s | {share:.2} % of a core | |", IDLE.as_secs());
    let (resident, proportional) = processes.memory();
    println!(
        "| memory of an idle cluster, {} processes | {resident:.1} MB resident, {proportional:.1} MB proportional | |",
        processes.count()
    );
    let size = fs::metadata(kaji).map(|file| file.len()).unwrap_or_default();
    println!("| size of the binary | {:.1} MB | |", size as f64 / 1e6);
    machine.kaji(&["cluster", "delete"]).ok();
}

async fn client(machine: &Machine) -> Client {
    let kubeconfig = kube::config::Kubeconfig::read_from(machine.kubeconfig()).expect("a kubeconfig");
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.expect("a configuration");
    Client::try_from(config).expect("a client")
}

async fn pods(client: Client) -> Vec<Duration> {
    let api: Api<Pod> = Api::default_namespaced(client);
    let mut times = Vec::new();
    for number in 0..PODS {
        let name = format!("bench-{number}");
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": name},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "main", "image": "kaji.local/hello-server:1.0"}],
            },
        }))
        .expect("a pod");
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut states = pin!(watcher(api.clone(), config).default_backoff().applied_objects());
        let begun = Instant::now();
        api.create(&PostParams::default(), &pod).await.expect("created");
        while let Some(pod) = states.next().await {
            if pod.is_ok_and(|pod| is_ready(&pod)) {
                break;
            }
        }
        times.push(begun.elapsed());
        api.delete(&name, &DeleteParams::default().grace_period(0)).await.expect("deleted");
    }
    times
}

async fn replacements(client: Client) -> Vec<Duration> {
    let api: Api<Pod> = Api::default_namespaced(client);
    let config = watcher::Config::default().labels("app=hello-server");
    let mut states = pin!(watcher(api.clone(), config.clone()).default_backoff().applied_objects());
    let mut ready = std::collections::BTreeSet::new();
    let mut times = Vec::new();
    while times.len() < REPLACEMENTS {
        while ready.len() < 3 {
            let Some(Ok(pod)) = states.next().await else { continue };
            if is_ready(&pod) {
                ready.insert(pod.name_any());
            }
        }
        let victim = ready.pop_first().expect("three are ready");
        let known = ready.clone();
        let begun = Instant::now();
        api.delete(&victim, &DeleteParams::default()).await.expect("deleted");
        loop {
            let Some(Ok(pod)) = states.next().await else { continue };
            if is_ready(&pod) && pod.name_any() != victim && !known.contains(&pod.name_any()) {
                ready.insert(pod.name_any());
                break;
            }
        }
        times.push(begun.elapsed());
    }
    times
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
