//! What to do next, from the state alone.

use jiff::{SignedDuration, Timestamp};

use super::{Action, Busy, Cause, Machine, Progress, Sort, Stage, Waiting};
use crate::pod::spec;

/// What a container needs now.
enum Need {
    /// Nothing: it runs, or has ended for good.
    Nothing,
    /// A start.
    Start,
}

impl Machine {
    pub(super) fn plan(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        if self.termination.is_none() {
            self.check_deadline(now, actions);
        }
        if self.termination.is_none() && self.finished() {
            self.terminate(Cause::Finished, spec::grace_period_s(&self.pod), now);
        }
        if self.termination.is_some() {
            self.plan_end(now, actions)
        } else {
            self.plan_running(now, actions)
        }
        self.plan_probes(actions);
    }

    /// upstream: pkg/kubelet/active_deadline.go.
    fn check_deadline(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        if self.active_deadline().is_some_and(|deadline| deadline <= now) {
            let message = "Pod was active on the node longer than the specified deadline";
            actions.push(Action::Emit {
                warning: false,
                reason: "DeadlineExceeded",
                message: message.to_owned(),
                container: None,
            });
            actions.push(Action::CancelStarts);
            let why = Waiting { reason: "DeadlineExceeded".to_owned(), message: message.to_owned() };
            self.terminate(Cause::Failed(why), spec::grace_period_s(&self.pod), now);
        }
    }

    /// Whether every app container ended for good, or an init container failed for good.
    pub(in crate::pod) fn finished(&self) -> bool {
        let over = |record: &crate::pod::container::Record| {
            record.busy.is_none()
                && !record.replace
                && record.ended().is_some_and(|ended| !spec::restarts(&self.pod, &record.spec, ended.exit_code))
        };
        let mut init = self.containers.iter().filter(|c| c.sort() == Sort::Init);
        if !self.initialized && init.any(|c| over(c) && !c.succeeded()) {
            return true;
        }
        let mut apps = self.containers.iter().filter(|c| c.sort() == Sort::App).peekable();
        apps.peek().is_some() && apps.all(over)
    }

    fn plan_running(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        match self.volumes {
            Progress::Done(()) => {}
            Progress::Busy => return,
            Progress::Failed(at) if at > now => return,
            Progress::Wanted | Progress::Failed(_) => {
                self.volumes = Progress::Busy;
                return actions.push(Action::MountVolumes);
            }
        }
        match self.sandbox {
            Progress::Done(_) => {}
            Progress::Busy => return,
            Progress::Failed(at) if at > now => return,
            Progress::Wanted | Progress::Failed(_) => {
                self.sandbox = Progress::Busy;
                self.initialized = false;
                return actions.push(Action::CreateSandbox { attempt: self.next_sandbox });
            }
        }
        self.plan_replacements(actions);
        self.plan_init(now, actions);
        if self.initialized {
            self.plan_all(Sort::App, now, actions);
            self.plan_all(Sort::Ephemeral, now, actions);
        }
    }

    /// Stops containers whose image was changed; they start again with the new one.
    fn plan_replacements(&mut self, actions: &mut Vec<Action>) {
        let grace_s = spec::grace_period_s(&self.pod);
        for record in &mut self.containers {
            let Some(instance) = record.running().filter(|_| record.replace && record.busy.is_none()) else { continue };
            actions.push(Action::Stop {
                name: record.name().to_owned(),
                id: instance.id.clone(),
                grace_s,
                message: format!("Container {} definition changed, will be restarted", record.name()),
            });
            record.busy = Some(Busy::Stopping);
        }
    }

    /// Init containers come up one after the other; sidecars must have started before the next one does
    /// (upstream: kuberuntime_container.go computeInitContainerActions).
    fn plan_init(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let mut may_go_on = true;
        for index in 0..self.containers.len() {
            let sort = self.containers[index].sort();
            if !sort.is_init() {
                continue;
            }
            if self.initialized {
                if sort == Sort::Sidecar {
                    self.bring_up(index, now, actions);
                }
                continue;
            }
            if !may_go_on {
                // A sidecar that came up before goes on being kept up.
                if sort == Sort::Sidecar && self.containers[index].current.is_some() {
                    self.bring_up(index, now, actions);
                }
                continue;
            }
            let record = &self.containers[index];
            let passed = if sort == Sort::Init { record.succeeded() && !record.replace } else { record.started() };
            if !passed {
                may_go_on = false;
                self.bring_up(index, now, actions);
            }
        }
        self.initialized |= may_go_on;
    }

    fn plan_all(&mut self, sort: Sort, now: Timestamp, actions: &mut Vec<Action>) {
        for index in 0..self.containers.len() {
            if self.containers[index].sort() == sort {
                self.bring_up(index, now, actions);
            }
        }
    }

    fn need(&self, index: usize) -> Need {
        let record = &self.containers[index];
        match (&record.current, record.ended()) {
            _ if record.busy.is_some() => Need::Nothing,
            (None, _) => Need::Start,
            (Some(_), Some(ended)) if record.replace || spec::restarts(&self.pod, &record.spec, ended.exit_code) => {
                Need::Start
            }
            _ => Need::Nothing,
        }
    }

    /// Starts the container unless a back-off holds it.
    fn bring_up(&mut self, index: usize, now: Timestamp, actions: &mut Vec<Action>) {
        if matches!(self.need(index), Need::Nothing) {
            return;
        }
        let pod = self.id.clone();
        let record = &mut self.containers[index];
        let name = record.name().to_owned();
        if record.retry_at.is_some_and(|at| at > now) {
            return;
        }
        if let Some((failed, failure)) = &record.setup_failed
            && failure.is_pull()
            && let Some((until, _)) = record.setups.held_until(*failed, now)
        {
            let image = record.spec.container.image.clone().unwrap_or_default();
            let text = format!("Back-off pulling image {image:?}");
            record.retry_at = Some(until);
            record.waiting = Some(Waiting {
                reason: "ImagePullBackOff".to_owned(),
                message: format!("{text}: {}: {}", failure.reason, failure.message),
            });
            actions.push(on_container(false, "BackOff", text, &name));
            actions.push(on_container(true, "Failed", "Error: ImagePullBackOff".to_owned(), &name));
            return;
        }
        let mut attempt = record.next_attempt;
        if let Some(instance) = &record.current {
            let Some(ended) = instance.ended() else { return };
            attempt = instance.attempt + 1;
            if !record.replace {
                if let Some((until, delay)) = record.crashes.held_until(ended.finished_at, now) {
                    record.retry_at = Some(until);
                    record.waiting = Some(Waiting {
                        reason: "CrashLoopBackOff".to_owned(),
                        message: format!(
                            "back-off {} restarting failed container={name} pod={pod}",
                            go_duration(delay)
                        ),
                    });
                    let text = format!("Back-off restarting failed container {name} in pod {pod}");
                    actions.push(on_container(true, "BackOff", text, &name));
                    return;
                }
                record.crashes.next(ended.finished_at, now);
            }
        }
        record.retry_at = None;
        record.busy = Some(Busy::Starting);
        actions.push(Action::Start { name, attempt });
    }

    fn plan_end(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let Some(end) = self.termination.clone() else { return };
        let removal = matches!(end.cause, Cause::Deleted | Cause::Gone);
        match end.stage {
            Stage::Stopping => {
                self.stop_containers(end.deadline, now, actions);
                let quiet = self.containers.iter().all(|c| c.busy.is_none() && c.running().is_none());
                let making = self.sandbox == Progress::Busy || self.volumes == Progress::Busy;
                let due = self.teardown_at.is_none_or(|at| at <= now);
                if quiet && !making && due {
                    self.teardown_at = None;
                    self.set_stage(Stage::TearingDown);
                    actions.push(Action::TearDown { remove: removal });
                }
            }
            Stage::Settled => match end.cause {
                Cause::Gone => self.set_stage(Stage::Done),
                Cause::Deleted if self.status_written || self.frozen => {
                    self.set_stage(Stage::Removing);
                    actions.push(Action::Remove);
                }
                Cause::Deleted => {}
                Cause::Finished | Cause::Failed(_) => self.set_stage(Stage::Done),
            },
            Stage::TearingDown | Stage::Removing | Stage::Done => {}
        }
    }

    /// Stops what runs: everything but sidecars at once, then sidecars, last one first
    /// (upstream: kuberuntime_termination_order.go).
    fn stop_containers(&mut self, deadline: Timestamp, now: Timestamp, actions: &mut Vec<Action>) {
        let left = deadline.duration_since(now).max(SignedDuration::ZERO);
        let grace_s = left.as_secs() + i64::from(left.subsec_nanos() > 0);
        let over = grace_s == 0;
        let mut later_run =
            self.containers.iter().any(|c| c.sort() != Sort::Sidecar && (c.running().is_some() || c.busy.is_some()));
        for record in self.containers.iter_mut().rev() {
            let sidecar = record.sort() == Sort::Sidecar;
            let waits = sidecar && later_run && !over;
            later_run |= sidecar && (record.running().is_some() || record.busy.is_some());
            let Some(instance) = record.running().filter(|_| record.busy.is_none() && !waits) else { continue };
            actions.push(Action::Stop {
                name: record.name().to_owned(),
                id: instance.id.clone(),
                grace_s: grace_s.max(1),
                message: format!("Stopping container {}", record.name()),
            });
            record.busy = Some(Busy::Stopping);
        }
    }
}

fn on_container(warning: bool, reason: &'static str, message: String, container: &str) -> Action {
    Action::Emit { warning, reason, message, container: Some(container.to_owned()) }
}

/// A duration as Go prints it: `10s`, `2m40s`, `5m0s`.
pub(in crate::pod) fn go_duration(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}
