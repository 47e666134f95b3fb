//! The status that the API shows of a pod, from its [`Machine`] (upstream: pkg/kubelet/kubelet_pods.go
//! generateAPIPodStatus, pkg/kubelet/status/generate.go).

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, HostIP,
    PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::container::{Ended, Life, Record};
use super::machine::{Cause, Machine, Stage};
use super::qos::qos_class;
use super::spec::{self, RestartPolicy, Sort};

/// The status of the pod now. `host_ips` are the node's addresses, the primary one first.
pub fn generate(machine: &Machine, host_ips: &[String], now: Timestamp) -> PodStatus {
    let pod = machine.pod();
    if machine.frozen {
        return pod.status.clone().unwrap_or_default();
    }
    let old = machine.shown().clone();
    let phase = phase(machine, &old);
    // A pod that was refused has no containers to show.
    let refused =
        machine.is_new() && matches!(machine.termination(), Some(end) if matches!(end.cause, Cause::Failed(_)));
    let statuses = |wanted: fn(Sort) -> bool| {
        let of_sort: Vec<ContainerStatus> = machine
            .containers()
            .iter()
            .filter(|record| wanted(record.sort()))
            .map(|record| container_status(machine, record))
            .collect();
        (!of_sort.is_empty() && !refused).then_some(of_sort)
    };
    let ips: Vec<String> = match machine.sandbox() {
        _ if spec::host_network(pod) => host_ips.iter().take(1).cloned().collect(),
        Some(sandbox) => sandbox.ips.iter().map(ToString::to_string).collect(),
        None => old.pod_ips.iter().flatten().map(|ip| ip.ip.clone()).collect(),
    };
    let (reason, message) = match machine.termination().map(|end| &end.cause) {
        Some(Cause::Failed(why)) => (Some(why.reason.clone()), Some(why.message.clone())),
        _ => (old.reason.clone(), old.message.clone()),
    };
    let conditions = conditions(machine, &old, phase, now);
    PodStatus {
        phase: Some(phase.to_owned()),
        conditions: Some(conditions),
        container_statuses: statuses(|sort| sort == Sort::App),
        init_container_statuses: statuses(Sort::is_init),
        ephemeral_container_statuses: statuses(|sort| sort == Sort::Ephemeral),
        host_ip: host_ips.first().cloned(),
        host_ips: Some(host_ips.iter().map(|ip| HostIP { ip: ip.clone() }).collect()),
        pod_ip: ips.first().cloned(),
        pod_ips: (!ips.is_empty()).then(|| ips.into_iter().map(|ip| PodIP { ip }).collect()),
        qos_class: Some(qos_class(pod).as_str().to_owned()),
        start_time: Some(old.start_time.clone().unwrap_or(Time(machine.started_at))),
        observed_generation: pod.metadata.generation,
        reason,
        message,
        ..old
    }
}

/// upstream: kubelet_pods.go getPhase.
fn phase(machine: &Machine, old: &PodStatus) -> &'static str {
    match old.phase.as_deref() {
        Some("Succeeded") => return "Succeeded",
        Some("Failed") => return "Failed",
        _ => {}
    }
    let end = machine.termination();
    if end.is_some_and(|end| matches!(end.cause, Cause::Failed(_))) {
        return "Failed";
    }
    let of = |sort: Sort| machine.containers().iter().filter(move |record| record.sort() == sort);
    let over = end.is_some_and(|end| end.stage >= Stage::TearingDown);
    let init_failed = of(Sort::Init).any(|c| c.ended().is_some() && !c.succeeded());
    if over {
        let all_good = of(Sort::App).all(Record::succeeded) && !init_failed;
        return if all_good { "Succeeded" } else { "Failed" };
    }
    if machine.finished() {
        return if init_failed || of(Sort::App).any(|c| !c.succeeded()) { "Failed" } else { "Succeeded" };
    }
    let restarts = spec::restart_policy(machine.pod()) != RestartPolicy::Never;
    if !machine.initialized && of(Sort::App).all(|c| c.current.is_none()) {
        return "Pending";
    }
    let unborn = of(Sort::App).any(|c| c.current.is_none());
    if unborn && !(restarts && of(Sort::App).any(|c| c.current.is_some() && c.next_attempt > 0)) {
        return "Pending";
    }
    "Running"
}

fn container_status(machine: &Machine, record: &Record) -> ContainerStatus {
    let spec = &record.spec.container;
    let current = record.current.as_ref();
    let terminated = |id: &str, ended: &Ended| terminated(id, ended);
    let over = machine.termination().is_some();
    let waits = record.waiting.as_ref().filter(|_| record.running().is_none() && !over || record.hook_pending);
    let previous = || {
        record
            .previous
            .as_ref()
            .map(|(id, ended)| ContainerState { terminated: Some(terminated(id, ended)), ..ContainerState::default() })
    };
    let (state, last_state) = match (current, waits) {
        (Some(instance), Some(waiting)) if instance.ended().is_some() => {
            let last = instance.ended().map(|ended| ContainerState {
                terminated: Some(terminated(&instance.id, ended)),
                ..ContainerState::default()
            });
            (waiting_state(&waiting.reason, &waiting.message), last)
        }
        (Some(_), _) if record.hook_pending => (waiting_state("ContainerCreating", ""), previous()),
        (Some(instance), _) => match &instance.life {
            Life::Running { since } => {
                let running = ContainerStateRunning { started_at: Some(Time(*since)) };
                (ContainerState { running: Some(running), ..ContainerState::default() }, previous())
            }
            Life::Ended(ended) => {
                let ended = terminated(&instance.id, ended);
                (ContainerState { terminated: Some(ended), ..ContainerState::default() }, previous())
            }
        },
        (None, Some(waiting)) => (waiting_state(&waiting.reason, &waiting.message), previous()),
        (None, None) => {
            let has_init = machine.containers().iter().any(|c| c.sort().is_init());
            let reason = if has_init && !machine.initialized { "PodInitializing" } else { "ContainerCreating" };
            (waiting_state(reason, ""), previous())
        }
    };
    let ephemeral_or_init = matches!(record.sort(), Sort::Ephemeral | Sort::Init);
    ContainerStatus {
        name: record.name().to_owned(),
        state: Some(state),
        last_state: Some(last_state.unwrap_or_default()),
        ready: record.ready(),
        started: Some(if ephemeral_or_init { record.running().is_some() } else { record.started() }),
        restart_count: i32::try_from(record.restart_count()).unwrap_or(i32::MAX),
        image: current.map_or_else(|| spec.image.clone().unwrap_or_default(), |instance| instance.image.clone()),
        image_id: current.map(|instance| instance.image_id.clone()).unwrap_or_default(),
        container_id: current.map(|instance| format!("kaji://{}", instance.id)),
        resources: spec.resources.clone().filter(|_| current.is_some()),
        allocated_resources: spec.resources.as_ref().and_then(|r| r.requests.clone()).filter(|_| current.is_some()),
        volume_mounts: current.and(spec.volume_mounts.as_ref()).map(|mounts| {
            let shown =
                |mount: &k8s_openapi::api::core::v1::VolumeMount| k8s_openapi::api::core::v1::VolumeMountStatus {
                    name: mount.name.clone(),
                    mount_path: mount.mount_path.clone(),
                    read_only: mount.read_only.filter(|read_only| *read_only),
                    recursive_read_only: mount
                        .read_only
                        .filter(|read_only| *read_only)
                        .map(|_| mount.recursive_read_only.clone().unwrap_or_else(|| "Disabled".to_owned())),
                    ..Default::default()
                };
            mounts.iter().map(shown).collect()
        }),
        ..ContainerStatus::default()
    }
}

fn waiting_state(reason: &str, message: &str) -> ContainerState {
    let waiting = ContainerStateWaiting {
        reason: Some(reason.to_owned()),
        message: (!message.is_empty()).then(|| message.to_owned()),
    };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

fn terminated(id: &str, ended: &Ended) -> ContainerStateTerminated {
    ContainerStateTerminated {
        container_id: Some(format!("kaji://{id}")),
        exit_code: ended.exit_code,
        reason: Some(ended.reason.clone()),
        message: (!ended.message.is_empty()).then(|| ended.message.clone()),
        started_at: ended.started_at.map(Time),
        finished_at: Some(Time(ended.finished_at)),
        signal: None,
    }
}

/// One condition before its times are known.
struct Verdict {
    kind: &'static str,
    holds: bool,
    reason: &'static str,
    message: String,
}

fn holds(kind: &'static str) -> Verdict {
    Verdict { kind, holds: true, reason: "", message: String::new() }
}

fn fails(kind: &'static str, reason: &'static str, message: String) -> Verdict {
    Verdict { kind, holds: false, reason, message }
}

fn conditions(machine: &Machine, old: &PodStatus, phase: &str, now: Timestamp) -> Vec<PodCondition> {
    let sandbox_up =
        machine.sandbox().is_some_and(|sandbox| spec::host_network(machine.pod()) || !sandbox.ips.is_empty());
    let containers_ready = containers_ready(machine, phase);
    let verdicts = [
        Verdict { holds: sandbox_up, ..holds("PodReadyToStartContainers") },
        initialized(machine, phase),
        ready(machine, &containers_ready),
        containers_ready,
        holds("PodScheduled"),
    ];
    // Our own conditions as last generated, those of others as the API has them.
    let shown = old.conditions.iter().flatten();
    let theirs = machine.pod().status.iter().flat_map(|status| status.conditions.iter().flatten());
    let generation = machine.pod().metadata.generation;
    let ours: Vec<&str> = verdicts.iter().map(|verdict| verdict.kind).collect();
    let theirs: Vec<PodCondition> = theirs.filter(|c| !ours.contains(&c.type_.as_str())).cloned().collect();
    let mut all: Vec<PodCondition> = Vec::with_capacity(theirs.len() + verdicts.len());
    for verdict in verdicts {
        let before = shown.clone().find(|condition| condition.type_ == verdict.kind);
        if let Some(scheduled) = before.filter(|_| verdict.kind == "PodScheduled") {
            all.push(scheduled.clone());
            continue;
        }
        let status = if verdict.holds { "True" } else { "False" };
        let since = before.filter(|condition| condition.status == status);
        all.push(PodCondition {
            type_: verdict.kind.to_owned(),
            status: status.to_owned(),
            reason: (!verdict.reason.is_empty()).then(|| verdict.reason.to_owned()),
            message: (!verdict.message.is_empty()).then_some(verdict.message),
            last_transition_time: since.and_then(|before| before.last_transition_time.clone()).or(Some(Time(now))),
            last_probe_time: None,
            observed_generation: generation,
        });
    }
    all.extend(theirs);
    all
}

fn names<'a>(records: impl Iterator<Item = &'a Record>) -> String {
    let names: Vec<&str> = records.map(Record::name).collect();
    format!("[{}]", names.join(" "))
}

fn initialized(machine: &Machine, phase: &str) -> Verdict {
    let kind = "Initialized";
    if phase == "Succeeded" {
        return Verdict { reason: "PodCompleted", ..holds(kind) };
    }
    if machine.initialized || machine.containers().iter().any(|c| c.sort() == Sort::App && c.current.is_some()) {
        return holds(kind);
    }
    let mut incomplete = machine
        .containers()
        .iter()
        .filter(|c| match c.sort() {
            Sort::Init => !c.succeeded(),
            Sort::Sidecar => !c.started(),
            _ => false,
        })
        .peekable();
    if incomplete.peek().is_none() {
        return holds(kind);
    }
    fails(kind, "ContainersNotInitialized", format!("containers with incomplete status: {}", names(incomplete)))
}

fn containers_ready(machine: &Machine, phase: &str) -> Verdict {
    let kind = "ContainersReady";
    match phase {
        "Succeeded" => return fails(kind, "PodCompleted", String::new()),
        "Failed" => return fails(kind, "PodFailed", String::new()),
        _ => {}
    }
    let mut unready =
        machine.containers().iter().filter(|c| matches!(c.sort(), Sort::App | Sort::Sidecar) && !c.ready()).peekable();
    if unready.peek().is_none() {
        return holds(kind);
    }
    fails(kind, "ContainersNotReady", format!("containers with unready status: {}", names(unready)))
}

fn ready(machine: &Machine, containers_ready: &Verdict) -> Verdict {
    let kind = "Ready";
    if !containers_ready.holds {
        return fails(kind, containers_ready.reason, containers_ready.message.clone());
    }
    let status = machine.pod().status.as_ref();
    let mut open = Vec::new();
    for gate in spec::spec(machine.pod()).readiness_gates.iter().flatten() {
        let wanted = &gate.condition_type;
        let known = status.and_then(|s| s.conditions.iter().flatten().find(|c| c.type_ == *wanted));
        match known {
            None => open.push(format!("corresponding condition of pod readiness gate {wanted:?} does not exist.")),
            Some(condition) if condition.status != "True" => open
                .push(format!("the status of pod readiness gate {wanted:?} is not \"True\", but {}", condition.status)),
            Some(_) => {}
        }
    }
    if open.is_empty() { holds(kind) } else { fails(kind, "ReadinessGatesNotReady", open.join(", ")) }
}
