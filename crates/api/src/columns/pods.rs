//! Pods (upstream: `printPod`).

use std::collections::HashSet;

use apimachinery::Object;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::duration::{human_duration, parse};
use super::text::{condition, containers, holds, images, labels, or_none};
use super::{age, col, name, string, wide};
use crate::json::Read;
use crate::resource::Column;

/// Columns of pods.
pub(crate) fn pods() -> Vec<Column> {
    vec![
        name(),
        string("Ready", |pod| {
            let summary = Summary::of(pod);
            format!("{}/{}", summary.ready, summary.total)
        }),
        string("Status", |pod| Summary::of(pod).reason),
        col("Restarts", "string", |pod, now| Summary::of(pod).restarts(now).into()),
        age(),
        wide(string("IP", |pod| {
            let status = pod.object("status");
            let first = status.list("podIPs").first().map(|ip| ip.text("ip"));
            or_none(first.unwrap_or_else(|| status.text("podIP")))
        })),
        wide(string("Node", |pod| or_none(pod.object("spec").text("nodeName")))),
        wide(string("Nominated Node", |pod| or_none(pod.object("status").text("nominatedNodeName")))),
        wide(string("Readiness Gates", |pod| {
            let gates = pod.object("spec").list("readinessGates");
            let open = gates.iter().filter(|gate| holds(pod.object("status"), gate.text("conditionType"))).count();
            if gates.is_empty() { "<none>".into() } else { format!("{open}/{}", gates.len()) }
        })),
    ]
}

/// Columns of pod templates.
pub(crate) fn pod_templates() -> Vec<Column> {
    vec![
        name(),
        string("Containers", |object| containers(object.object("template").object("spec"))),
        string("Images", |object| images(object.object("template").object("spec"))),
        string("Pod Labels", |object| labels(object.object("template").object("metadata").object("labels"))),
    ]
}

/// What a pod's row says about its containers.
struct Summary {
    ready: usize,
    total: usize,
    reason: String,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

/// Restarts added up, with the time of the last.
#[derive(Clone, Copy, Default)]
struct Restarts {
    count: i64,
    last: Option<Timestamp>,
}

impl Restarts {
    fn add(&mut self, container: &Value) {
        self.count += container.int("restartCount").unwrap_or_default();
        let finished = container.object("lastState").object("terminated").text("finishedAt");
        self.last = self.last.max(parse(finished));
    }
}

impl Summary {
    fn of(pod: &Object) -> Self {
        let (spec, status) = (pod.object("spec"), pod.object("status"));
        let sidecars: HashSet<&str> = spec
            .list("initContainers")
            .iter()
            .filter(|container| container.text("restartPolicy") == "Always")
            .map(|container| container.text("name"))
            .collect();
        let own_reason = if status.text("reason").is_empty() { status.text("phase") } else { status.text("reason") };
        let gated =
            condition(status, "PodScheduled").is_some_and(|condition| condition.text("reason") == "SchedulingGated");
        let mut summary = Self {
            ready: 0,
            total: spec.list("containers").len() + sidecars.len(),
            reason: if gated { "SchedulingGated".into() } else { own_reason.to_owned() },
            restarts: 0,
            last_restart: None,
        };
        let (all, of_sidecars, initializing) = summary.init_containers(spec, status, &sidecars);
        let mut restarts = all;
        if !initializing || holds(status, "Initialized") {
            restarts = of_sidecars;
            summary.containers(status, &mut restarts);
        }
        (summary.restarts, summary.last_restart) = (restarts.count, restarts.last);
        if pod.is_deleting() {
            if status.text("reason") == "NodeLost" {
                summary.reason = "Unknown".into();
            } else if !matches!(status.text("phase"), "Failed" | "Succeeded") {
                summary.reason = "Terminating".into();
            }
        }
        summary
    }

    /// Looks for the init container that the pod is at. Answers the restarts of all and of the sidecars up to it,
    /// and whether there is one.
    fn init_containers(
        &mut self,
        spec: &Map<String, Value>,
        status: &Map<String, Value>,
        sidecars: &HashSet<&str>,
    ) -> (Restarts, Restarts, bool) {
        let (mut all, mut of_sidecars) = (Restarts::default(), Restarts::default());
        for (index, container) in status.list("initContainerStatuses").iter().enumerate() {
            all.add(container);
            let sidecar = sidecars.contains(container.text("name"));
            if sidecar {
                of_sidecars.add(container);
            }
            let state = container.object("state");
            let terminated = state.value("terminated");
            if terminated.is_some_and(|ended| ended.int("exitCode").unwrap_or_default() == 0) {
                continue;
            }
            if sidecar && container.flag("started") {
                self.ready += usize::from(container.flag("ready"));
                continue;
            }
            let waits_for = state.object("waiting").text("reason");
            self.reason = match terminated {
                Some(ended) => format!("Init:{}", end_reason(ended)),
                None if !matches!(waits_for, "" | "PodInitializing") => format!("Init:{waits_for}"),
                None => format!("Init:{index}/{}", spec.list("initContainers").len()),
            };
            return (all, of_sidecars, true);
        }
        (all, of_sidecars, false)
    }

    fn containers(&mut self, status: &Map<String, Value>, restarts: &mut Restarts) {
        let mut runs = false;
        let mut error = None;
        for container in status.list("containerStatuses").iter().rev() {
            restarts.add(container);
            let state = container.object("state");
            let waits_for = state.object("waiting").text("reason");
            if !waits_for.is_empty() {
                self.reason = waits_for.to_owned();
            } else if let Some(ended) = state.value("terminated") {
                self.reason = end_reason(ended);
                if ended.int("exitCode").unwrap_or_default() != 0 {
                    error = Some(self.reason.clone());
                }
            } else if container.flag("ready") && state.has("running") {
                runs = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" {
            self.reason = match error {
                _ if runs && holds(status, "Ready") => "Running".into(),
                Some(error) => error,
                None if runs => "NotReady".into(),
                None => return,
            };
        }
    }

    fn restarts(&self, now: Timestamp) -> String {
        match self.last_restart {
            Some(last) if self.restarts != 0 => {
                format!("{} ({} ago)", self.restarts, human_duration(now.as_second() - last.as_second()))
            }
            _ => self.restarts.to_string(),
        }
    }
}

/// Why a container ended.
fn end_reason(terminated: &Value) -> String {
    match (terminated.text("reason"), terminated.int("signal").unwrap_or_default()) {
        ("", 0) => format!("ExitCode:{}", terminated.int("exitCode").unwrap_or_default()),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::row;
    use super::*;
    use serde_json::json;

    fn check(pod: Value, expected: &str) {
        let mut pod = pod;
        pod["metadata"]["name"] = json!("web");
        pod["metadata"]["creationTimestamp"] = json!("2026-01-01T23:55:00Z");
        assert_eq!(row(&pods(), pod), expected);
    }

    fn running(restarts: i64) -> Value {
        json!({"name": "a", "ready": true, "restartCount": restarts, "state": {"running": {}},
            "lastState": {"terminated": {"finishedAt": "2026-01-01T23:57:00Z"}}})
    }

    #[test]
    fn rows_tell_what_pods_do() {
        let spec = json!({"nodeName": "n1", "containers": [{"name": "a"}]});
        check(
            json!({"spec": spec, "status": {"phase": "Running", "podIP": "10.244.0.2", "containerStatuses": [running(0)]}}),
            "web  1/1  Running  0  5m | 10.244.0.2  n1  <none>  <none>",
        );
        check(
            json!({"spec": spec, "status": {"phase": "Running", "containerStatuses": [running(2)]}}),
            "web  1/1  Running  2 (3m ago)  5m | <none>  n1  <none>  <none>",
        );
        check(
            json!({"spec": {"containers": [{}]}, "status": {"phase": "Pending"}}),
            "web  0/1  Pending  0  5m | <none>  <none>  <none>  <none>",
        );
        check(
            json!({"metadata": {"deletionTimestamp": "x"}, "spec": spec, "status": {"phase": "Running"}}),
            "web  0/1  Terminating  0  5m | <none>  n1  <none>  <none>",
        );
        for (state, reason) in [
            (json!({"waiting": {"reason": "CrashLoopBackOff"}}), "CrashLoopBackOff"),
            (json!({"terminated": {"reason": "Completed"}}), "Completed"),
            (json!({"terminated": {"exitCode": 3}}), "ExitCode:3"),
            (json!({"terminated": {"signal": 9}}), "Signal:9"),
        ] {
            let status = json!({"phase": "Running", "containerStatuses": [{"name": "a", "state": state}]});
            check(
                json!({"spec": spec, "status": status}),
                &format!("web  0/1  {reason}  0  5m | <none>  n1  <none>  <none>"),
            );
        }
    }

    #[test]
    fn a_completed_container_does_not_hide_the_others() {
        let ended = |code: i64, reason: &str| json!({"state": {"terminated": {"exitCode": code, "reason": reason}}});
        let spec = json!({"containers": [{"name": "a"}, {"name": "b"}]});
        let ready = json!([{"type": "Ready", "status": "True"}]);
        for (statuses, conditions, expected) in [
            (json!([ended(0, "Completed"), running(0)]), &ready, "1/2  Running"),
            (json!([ended(0, "Completed"), running(0)]), &json!([]), "1/2  NotReady"),
            (json!([ended(0, "Completed"), ended(1, "Error")]), &json!([]), "0/2  Error"),
            (json!([ended(0, "Completed"), ended(0, "Completed")]), &json!([]), "0/2  Completed"),
        ] {
            let status = json!({"phase": "Running", "containerStatuses": statuses, "conditions": conditions});
            check(
                json!({"spec": spec, "status": status}),
                &format!("web  {expected}  0  5m | <none>  <none>  <none>  <none>"),
            );
        }
    }

    #[test]
    fn rows_tell_how_far_initialization_is() {
        let spec = json!({"initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}], "containers": [{"name": "a"}]});
        let done = json!({"name": "i", "state": {"terminated": {"exitCode": 0}}});
        let sidecar = json!({"name": "s", "started": true, "ready": true, "restartCount": 1, "state": {"running": {}}});
        for (statuses, containers, expected) in [
            (json!([{"name": "i", "state": {"running": {}}}]), json!([]), "0/2  Init:0/2  0"),
            (
                json!([{"name": "i", "state": {"waiting": {"reason": "ErrImagePull"}}}]),
                json!([]),
                "0/2  Init:ErrImagePull  0",
            ),
            (
                json!([{"name": "i", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}]),
                json!([]),
                "0/2  Init:Error  0",
            ),
            (
                json!([done, {"name": "s", "state": {"waiting": {"reason": "PodInitializing"}}}]),
                json!([]),
                "0/2  Init:1/2  0",
            ),
            (json!([done, sidecar]), json!([running(0)]), "2/2  Running  1 (3m ago)"),
        ] {
            let status =
                json!({"phase": "Running", "initContainerStatuses": statuses, "containerStatuses": containers});
            check(
                json!({"spec": spec, "status": status}),
                &format!("web  {expected}  5m | <none>  <none>  <none>  <none>"),
            );
        }
    }
}
