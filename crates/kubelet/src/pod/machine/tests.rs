//! Histories of pods: events in, actions and status out.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::pod::status;

/// One pod under test, with a clock of its own and a transcript.
struct Story {
    machine: Machine,
    now: Timestamp,
    told: Vec<String>,
    instances: u32,
}

fn start_time() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().expect("a time")
}

fn pod(spec: Value) -> Arc<Pod> {
    let metadata = json!({"name": "p", "namespace": "n", "uid": "u", "generation": 1});
    Arc::new(serde_json::from_value(json!({"metadata": metadata, "spec": spec})).expect("a pod"))
}

impl Story {
    fn of(spec: Value) -> Self {
        let machine = Machine::new(pod(spec), Adopted::default(), start_time());
        let mut story = Self { machine, now: start_time(), told: Vec::new(), instances: 0 };
        story.step("tick", Event::Tick);
        story
    }

    /// A pod whose sandbox is up.
    fn up(spec: Value) -> Self {
        let mut story = Self::of(spec);
        story.step("volumes", Event::Volumes(Ok(())));
        let ips = vec!["10.0.0.5".parse().expect("an address")];
        story.step("sandbox", Event::Sandbox(Ok(Sandbox { id: "s".into(), attempt: 0, ips })));
        story
    }

    fn step(&mut self, what: &str, event: Event) {
        let actions = self.machine.step(event, self.now);
        let status = status::generate(&self.machine, &["10.9.9.9".to_owned()], self.now);
        self.machine.set_shown(status);
        let shown: Vec<String> = actions.iter().map(show).collect();
        self.told.push(format!("{what}: {}", shown.join("; ")));
    }

    fn wait(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
        self.step(&format!("+{seconds}s"), Event::Tick);
    }

    fn started(&mut self, name: &str) -> String {
        self.instances += 1;
        let id = format!("{name}{}", self.instances);
        let attempt = self.machine.container(name).and_then(|c| c.current.as_ref()).map_or(0, |i| i.attempt + 1);
        let life = Life::Running { since: self.now };
        let result = Ok(Instance { id: id.clone(), attempt, image: "i".into(), image_id: "sha".into(), life });
        self.step(&format!("started {id}"), Event::Started { name: name.into(), result });
        id
    }

    fn exited(&mut self, id: &str, exit_code: i32) {
        let ended = Ended {
            exit_code,
            reason: if exit_code == 0 { "Completed" } else { "Error" }.into(),
            message: String::new(),
            started_at: Some(self.now),
            finished_at: self.now,
        };
        self.step(&format!("{id} exited {exit_code}"), Event::Exited { id: id.into(), ended });
    }

    fn failed(&mut self, name: &str, reason: &str, message: &str) {
        let result = Err(SetupFailure { reason: reason.into(), message: message.into() });
        self.step(&format!("{name} failed"), Event::Started { name: name.into(), result });
    }

    fn probed(&mut self, id: &str, sort: ProbeSort, passed: bool) {
        let name = id.trim_end_matches(char::is_numeric).to_owned();
        let outcome = match passed {
            true => ProbeOutcome::Success,
            false => ProbeOutcome::Failure { message: "no".into(), refused: false },
        };
        self.step(&format!("{sort:?} {passed}"), Event::Probed { name, id: id.into(), sort, outcome });
    }

    fn delete(&mut self, grace_s: i64) {
        let mut pod = (**self.machine.pod()).clone();
        pod.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.now + SignedDuration::from_secs(grace_s)));
        pod.metadata.deletion_grace_period_seconds = Some(grace_s);
        self.step("delete", Event::Spec(Arc::new(pod)));
    }

    /// Phase, the conditions that do not hold, and the state of each container.
    fn status(&mut self) {
        let status = self.machine.shown();
        let unmet = status.conditions.iter().flatten().filter(|c| c.status != "True");
        let unmet: Vec<String> =
            unmet.map(|c| format!("!{}({})", c.type_, c.reason.as_deref().unwrap_or_default())).collect();
        let lists = [&status.init_container_statuses, &status.container_statuses];
        let containers = lists.into_iter().flat_map(|list| list.iter().flatten()).map(|c| {
            let state = c.state.clone().unwrap_or_default();
            let text = match (state.waiting, state.running, state.terminated) {
                (Some(waiting), ..) => waiting.reason.unwrap_or_default(),
                (_, Some(_), _) => if c.ready { "ready" } else { "running" }.to_owned(),
                (.., Some(ended)) => format!("{}({})", ended.reason.unwrap_or_default(), ended.exit_code),
                _ => "?".to_owned(),
            };
            format!("{}={text}x{}", c.name, c.restart_count)
        });
        let containers: Vec<String> = containers.collect();
        let phase = status.phase.clone().unwrap_or_default();
        self.told.push(format!("  = {phase} {} {}", containers.join(" "), unmet.join(" ")));
    }

    fn check(self, expected: Expect) {
        expected.assert_eq(&(self.told.join("\n") + "\n"));
    }
}

fn show(action: &Action) -> String {
    match action {
        Action::MountVolumes => "mount".into(),
        Action::CreateSandbox { attempt } => format!("sandbox {attempt}"),
        Action::Start { name, attempt } => format!("start {name} {attempt}"),
        Action::PostStart { name, .. } => format!("postStart {name}"),
        Action::Stop { id, grace_s, .. } => format!("stop {id} in {grace_s}s"),
        Action::CancelStarts => "cancel starts".into(),
        Action::Probe { id, sort, delay, .. } => format!("probe {id} {sort:?} in {}ms", delay.as_millis()),
        Action::Resize { id, .. } => format!("resize {id}"),
        Action::TearDown { remove } => format!("tear down{}", if *remove { " and remove" } else { "" }),
        Action::Remove => "remove from API".into(),
        Action::Emit { reason, message, .. } => format!("event {reason}: {message}"),
    }
}

fn one(container: Value) -> Value {
    let mut container = container;
    container["name"] = json!("a");
    container["image"] = json!("img");
    json!({"containers": [container]})
}

#[test]
fn a_pod_comes_up_and_is_deleted() {
    let mut story = Story::up(one(json!({})));
    story.status();
    let id = story.started("a");
    story.status();
    story.delete(30);
    story.exited(&id, 0);
    story.step("stopped", Event::Stopped { name: "a".into(), id, ended: None });
    story.status();
    story.step("torn down", Event::TornDown(Ok(())));
    story.step("written", Event::StatusWritten);
    story.step("removed", Event::Removed);
    assert!(story.machine.is_done());
    story.check(expect![[r#"
        tick: mount
        volumes: sandbox 0
        sandbox: start a 0
          = Pending a=ContainerCreatingx0 !Ready(ContainersNotReady) !ContainersReady(ContainersNotReady)
        started a1: 
          = Running a=readyx0 
        delete: cancel starts; stop a1 in 30s
        a1 exited 0: 
        stopped: tear down and remove
          = Succeeded a=Completed(0)x0 !Ready(PodCompleted) !ContainersReady(PodCompleted)
        torn down: 
        written: remove from API
        removed: 
    "#]]);
}

#[test]
fn crashes_back_off() {
    let mut story = Story::up(one(json!({})));
    let first = story.started("a");
    story.exited(&first, 1);
    let second = story.started("a");
    story.exited(&second, 1);
    story.status();
    story.wait(9);
    story.wait(1);
    story.status();
    let third = story.started("a");
    story.exited(&third, 1);
    story.wait(700);
    let fourth = story.started("a");
    story.now += SignedDuration::from_secs(700);
    story.exited(&fourth, 1);
    story.check(expect![[r#"
        tick: mount
        volumes: sandbox 0
        sandbox: start a 0
        started a1: 
        a1 exited 1: start a 1
        started a2: 
        a2 exited 1: event BackOff: Back-off restarting failed container a in pod p_n(u)
          = Running a=CrashLoopBackOffx1 !Ready(ContainersNotReady) !ContainersReady(ContainersNotReady)
        +9s: 
        +1s: start a 2
          = Running a=CrashLoopBackOffx1 !Ready(ContainersNotReady) !ContainersReady(ContainersNotReady)
        started a3: 
        a3 exited 1: event BackOff: Back-off restarting failed container a in pod p_n(u)
        +700s: start a 3
        started a4: 
        a4 exited 1: start a 4
    "#]]);
}

#[test]
fn a_job_pod_succeeds_or_fails() {
    for (code, phase) in [(0, "Succeeded"), (3, "Failed")] {
        let mut story = Story::up(json!({"restartPolicy": "Never", "containers": [{"name": "a"}]}));
        let id = story.started("a");
        story.exited(&id, code);
        story.step("torn down", Event::TornDown(Ok(())));
        assert_eq!(story.machine.shown().phase.as_deref(), Some(phase));
        assert!(!story.machine.is_done(), "it stays until it is deleted");
        story.delete(30);
        assert_eq!(story.told.last().map(String::as_str), Some("delete: tear down and remove"));
        assert_eq!(story.machine.shown().phase.as_deref(), Some(phase));
    }
}

#[test]
fn init_containers_and_sidecars_in_order() {
    let mut story = Story::up(json!({
        "initContainers": [
            {"name": "i"},
            {"name": "s", "restartPolicy": "Always", "startupProbe": {"tcpSocket": {"port": 1}}},
            {"name": "j"}],
        "containers": [{"name": "a"}],
    }));
    story.status();
    let init = story.started("i");
    story.exited(&init, 0);
    let sidecar = story.started("s");
    story.status();
    story.probed(&sidecar, ProbeSort::Startup, true);
    let init = story.started("j");
    story.exited(&init, 0);
    story.status();
    let app = story.started("a");
    story.status();
    story.delete(10);
    story.exited(&app, 0);
    story.step("stopped", Event::Stopped { name: "a".into(), id: app, ended: None });
    story.check(expect![[r#"
        tick: mount
        volumes: sandbox 0
        sandbox: start i 0
          = Pending i=PodInitializingx0 s=PodInitializingx0 j=PodInitializingx0 a=PodInitializingx0 !Initialized(ContainersNotInitialized) !Ready(ContainersNotReady) !ContainersReady(ContainersNotReady)
        started i1: 
        i1 exited 0: start s 0
        started s2: probe s2 Startup in 0ms
          = Pending i=Completed(0)x0 s=runningx0 j=PodInitializingx0 a=PodInitializingx0 !Initialized(ContainersNotInitialized) !Ready(ContainersNotReady) !ContainersReady(ContainersNotReady)
        Startup true: start j 0
        started j3: 
        j3 exited 0: start a 0
          = Pending i=Completed(0)x0 s=readyx0 j=Completed(0)x0 a=ContainerCreatingx0 !Ready(ContainersNotReady) !ContainersReady(ContainersNotReady)
        started a4: 
          = Running i=Completed(0)x0 s=readyx0 j=Completed(0)x0 a=readyx0 
        delete: cancel starts; stop a4 in 10s
        a4 exited 0: 
        stopped: stop s2 in 10s
    "#]]);
}

#[test]
fn a_failing_init_container_ends_a_pod_that_never_restarts() {
    let spec = json!({"restartPolicy": "Never", "initContainers": [{"name": "i"}], "containers": [{"name": "a"}]});
    let mut story = Story::up(spec);
    let init = story.started("i");
    story.exited(&init, 7);
    story.status();
    story.check(expect![[r#"
        tick: mount
        volumes: sandbox 0
        sandbox: start i 0
        started i1: 
        i1 exited 7: tear down
          = Failed i=Error(7)x0 a=PodInitializingx0 !Initialized(ContainersNotInitialized) !Ready(PodFailed) !ContainersReady(PodFailed)
    "#]]);
}

#[test]
fn pulls_back_off_with_upstreams_words() {
    let mut story = Story::up(one(json!({})));
    story.failed("a", "ErrImagePull", "not there");
    story.status();
    story.wait(1);
    story.status();
    story.wait(9);
    story.failed("a", "ErrImagePull", "not there");
    story.step("images changed", Event::ImagesChanged);
    story.check(expect![[r#"
        tick: mount
        volumes: sandbox 0
        sandbox: start a 0
        a failed: 
          = Pending a=ErrImagePullx0 !Ready(ContainersNotReady) !ContainersReady(ContainersNotReady)
        +1s: event BackOff: Back-off pulling image "img"; event Failed: Error: ImagePullBackOff
          = Pending a=ImagePullBackOffx0 !Ready(ContainersNotReady) !ContainersReady(ContainersNotReady)
        +9s: start a 0
        a failed: 
        images changed: start a 0
    "#]]);
}

#[test]
fn a_missing_source_holds_until_it_appears() {
    let mut story = Story::of(one(json!({})));
    story.step("no volumes", Event::Volumes(Err("configmap \"c\" not found".into())));
    story.status();
    story.step("changed", Event::SourceChanged);
    story.step("volumes", Event::Volumes(Ok(())));
    story.step("sandbox", Event::Sandbox(Ok(Sandbox { id: "s".into(), attempt: 0, ips: vec![] })));
    story.failed("a", "CreateContainerConfigError", "secret \"x\" not found");
    story.status();
    story.step("changed", Event::SourceChanged);
    story.check(expect![[r#"
        tick: mount
        no volumes: event FailedMount: configmap "c" not found
          = Pending a=ContainerCreatingx0 !PodReadyToStartContainers() !Ready(ContainersNotReady) !ContainersReady(ContainersNotReady)
        changed: mount
        volumes: sandbox 0
        sandbox: start a 0
        a failed: 
          = Pending a=CreateContainerConfigErrorx0 !PodReadyToStartContainers() !Ready(ContainersNotReady) !ContainersReady(ContainersNotReady)
        changed: start a 0
    "#]]);
}

#[test]
fn probes_gate_restart_and_show() {
    let get = json!({"httpGet": {"port": 80}, "periodSeconds": 5, "failureThreshold": 2});
    let mut story = Story::up(one(json!({"readinessProbe": get, "livenessProbe": get})));
    let id = story.started("a");
    story.status();
    story.probed(&id, ProbeSort::Readiness, true);
    story.status();
    story.probed(&id, ProbeSort::Readiness, false);
    story.probed(&id, ProbeSort::Readiness, false);
    story.status();
    story.probed(&id, ProbeSort::Liveness, false);
    story.probed(&id, ProbeSort::Liveness, false);
    story.exited(&id, 137);
    story.step("stopped", Event::Stopped { name: "a".into(), id: id.clone(), ended: None });
    story.probed(&id, ProbeSort::Readiness, true);
    story.check(expect![[r#"
        tick: mount
        volumes: sandbox 0
        sandbox: start a 0
        started a1: probe a1 Readiness in 0ms; probe a1 Liveness in 0ms
          = Running a=runningx0 !Ready(ContainersNotReady) !ContainersReady(ContainersNotReady)
        Readiness true: probe a1 Readiness in 5000ms
          = Running a=readyx0 
        Readiness false: event Unhealthy: Readiness probe failed: no; probe a1 Readiness in 5000ms
        Readiness false: event Unhealthy: Readiness probe failed: no; probe a1 Readiness in 5000ms
          = Running a=runningx0 !Ready(ContainersNotReady) !ContainersReady(ContainersNotReady)
        Liveness false: event Unhealthy: Liveness probe failed: no; probe a1 Liveness in 5000ms
        Liveness false: event Unhealthy: Liveness probe failed: no; stop a1 in 30s
        a1 exited 137: 
        stopped: start a 1
        Readiness true: 
    "#]]);
}

#[test]
fn a_server_that_does_not_listen_yet_is_looked_at_soon() {
    let mut story = Story::up(one(json!({"readinessProbe": {"tcpSocket": {"port": 80}}})));
    let id = story.started("a");
    for _ in 0..2 {
        let outcome = ProbeOutcome::Failure { message: "refused".into(), refused: true };
        let event = Event::Probed { name: "a".into(), id: id.clone(), sort: ProbeSort::Readiness, outcome };
        story.step("refused", event);
    }
    assert_eq!(story.told[4..], ["refused: probe a1 Readiness in 10ms", "refused: probe a1 Readiness in 20ms"]);
}

#[test]
fn the_deadline_ends_a_pod() {
    let mut story = Story::up(json!({"activeDeadlineSeconds": 60, "containers": [{"name": "a"}]}));
    let id = story.started("a");
    assert_eq!(story.machine.wake_at(), Some(start_time() + SignedDuration::from_secs(60)));
    story.wait(60);
    story.exited(&id, 137);
    story.step("stopped", Event::Stopped { name: "a".into(), id, ended: None });
    let status = story.machine.shown();
    assert_eq!((status.phase.as_deref(), status.reason.as_deref()), (Some("Failed"), Some("DeadlineExceeded")));
    assert_eq!(story.told.last().map(String::as_str), Some("stopped: tear down"));
}

/// INV-14: once teardown of a pod has begun, none of its containers starts again.
#[test]
fn nothing_starts_once_the_end_has_begun() {
    let mut story = Story::up(one(json!({})));
    story.delete(30);
    story.failed("a", "ErrImagePull", "given up");
    for event in [Event::Tick, Event::SourceChanged, Event::Volumes(Ok(()))] {
        story.step("later", event);
    }
    let starts = story.told[3..].iter().filter(|line| line.contains(": start ")).count();
    assert_eq!(starts, 0, "{:?}", story.told);
}

#[test]
fn changed_limits_and_images_reach_a_running_container() {
    let mut story = Story::up(one(json!({})));
    let id = story.started("a");
    let limited = one(json!({"resources": {"limits": {"cpu": "1"}}}));
    story.step("limits", Event::Spec(pod(limited.clone())));
    let mut other = limited;
    other["containers"][0]["image"] = json!("other");
    story.step("image", Event::Spec(pod(other)));
    story.exited(&id, 0);
    story.step("stopped", Event::Stopped { name: "a".into(), id, ended: None });
    story.started("a");
    story.check(expect![[r#"
        tick: mount
        volumes: sandbox 0
        sandbox: start a 0
        started a1: 
        limits: resize a1
        image: stop a1 in 30s
        a1 exited 0: 
        stopped: start a 1
        started a2: 
    "#]]);
}

#[test]
fn what_this_node_cannot_run_fails() {
    let mut story = Story::of(json!({"os": {"name": "windows"}, "containers": [{"name": "a"}]}));
    story.step("torn down", Event::TornDown(Ok(())));
    let status = story.machine.shown();
    assert_eq!((status.phase.as_deref(), status.reason.as_deref()), (Some("Failed"), Some("PodOSNotSupported")));
    assert_eq!(story.told, ["tick: tear down", "torn down: "]);
}

#[test]
fn what_runs_is_adopted() {
    let mut pod = (*pod(one(json!({"readinessProbe": {"tcpSocket": {"port": 1}}})))).clone();
    pod.status = serde_json::from_value(json!({"phase": "Running", "containerStatuses": [{"name": "a", "ready": true,
        "started": true, "restartCount": 2, "image": "img", "imageID": "", "containerID": "kaji://x"}]}))
    .expect("a status");
    let life = Life::Running { since: start_time() };
    let instance = Instance { id: "x".into(), attempt: 2, image: "img".into(), image_id: "".into(), life };
    let sandbox = Sandbox { id: "s".into(), attempt: 0, ips: vec!["10.0.0.5".parse().expect("an address")] };
    let adopted = Adopted { sandbox: Some(sandbox), sandbox_attempts: 1, containers: vec![("a".into(), instance)] };
    let machine = Machine::new(Arc::new(pod), adopted, start_time());
    let mut story = Story { machine, now: start_time(), told: Vec::new(), instances: 0 };
    story.step("tick", Event::Tick);
    story.status();
    story.step("volumes", Event::Volumes(Ok(())));
    story.check(expect![[r#"
        tick: mount; probe x Readiness in 0ms
          = Running a=readyx2 
        volumes: 
    "#]]);
}
