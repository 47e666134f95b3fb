//! `make bench`: the figures of BENCHMARKS.md, measured on this machine and printed as a table.
//!
//! It runs on a machine of its own (a network namespace without a way out). Every figure is a median with its spread;
//! CPU and memory are those of all Kaji processes of the cluster together.

use std::fs;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use testkit::Machine;

const CREATES: usize = 7;
const PODS: usize = 30;
const REPLACEMENTS: usize = 10;
const IDLE: Duration = Duration::from_secs(60);
const HELLO: &str = include_str!("../../../../examples/hello-server.yaml");

fn main() {
    let kaji = std::env::args().nth(1).unwrap_or_else(|| "target/release/kaji".into());
    let kaji = fs::canonicalize(&kaji).unwrap_or_else(|err| panic!("{kaji}: {err}; run 'make build' first"));
    let machine = Machine::new(&kaji);
    machine.inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(measure(&machine, &kaji));
    });
}

async fn measure(machine: &Machine, kaji: &std::path::Path) {
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

    let processes = processes(machine);
    let before = cpu_ticks(&processes);
    tokio::time::sleep(IDLE).await;
    let used = cpu_ticks(&processes).saturating_sub(before);
    let share = used as f64 / ticks_per_second() / IDLE.as_secs_f64() * 100.0;
    println!("| CPU of an idle cluster over {} s | {share:.2} % of a core | |", IDLE.as_secs());
    let (resident, proportional) = memory(&processes);
    println!(
        "| memory of an idle cluster, {} processes | {resident:.1} MB resident, {proportional:.1} MB proportional | |",
        processes.len()
    );
    let size = fs::metadata(kaji).map(|file| file.len()).unwrap_or_default();
    println!("| size of the binary | {:.1} MB | |", size as f64 / 1e6);
    machine.kaji(&["cluster", "delete"]).ok();
}

fn row(what: &str, times: &[Duration]) {
    let mut ms: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
    ms.sort_by(f64::total_cmp);
    let at = |share: f64| ms[((ms.len() - 1) as f64 * share).round() as usize];
    println!("| {what} | {:.0} ms | {:.0} to {:.0} ms, n = {} |", at(0.5), at(0.0), at(1.0), ms.len());
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

/// The process numbers of the node's first process and everything below it that is Kaji's own.
fn processes(machine: &Machine) -> Vec<i32> {
    let state = fs::read(machine.home().join("clusters/kaji/cluster.json")).expect("the cluster's state");
    let state: serde_json::Value = serde_json::from_slice(&state).expect("JSON");
    let init = state["nodes"][0]["process"]["pid"].as_i64().expect("the node runs") as i32;
    let mut found = vec![init];
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        found.extend(children.split_whitespace().filter_map(|child| child.parse::<i32>().ok()));
        next += 1;
    }
    let program = fs::read_link(format!("/proc/{init}/exe")).ok();
    found.retain(|pid| fs::read_link(format!("/proc/{pid}/exe")).ok() == program);
    found
}

fn cpu_ticks(processes: &[i32]) -> u64 {
    let ticks = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
    };
    processes.iter().filter_map(ticks).sum()
}

fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

/// Resident and proportional megabytes of all processes together.
fn memory(processes: &[i32]) -> (f64, f64) {
    let mut sums = (0.0, 0.0);
    for pid in processes {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let kilobytes = |name: &str| {
            let line = rollup.lines().find(|line| line.starts_with(name))?;
            line.split_whitespace().nth(1)?.parse::<f64>().ok()
        };
        sums.0 += kilobytes("Rss:").unwrap_or_default() / 1e3;
        sums.1 += kilobytes("Pss:").unwrap_or_default() / 1e3;
    }
    sums
}
