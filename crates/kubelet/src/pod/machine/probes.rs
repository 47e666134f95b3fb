//! Probes: when to look, and what the results add up to (upstream: pkg/kubelet/prober/worker.go).

use jiff::{SignedDuration, Timestamp};

use super::{Action, Busy, Life, Machine, ProbeOutcome, ProbeSort, Sort};
use crate::pod::container::Record;
use crate::pod::spec;

/// So long after its start a container may still be about to listen.
const EARLY: SignedDuration = SignedDuration::from_secs(5);
/// An early refusal is looked at again after this long, doubling...
const EARLY_LOOK: SignedDuration = SignedDuration::from_millis(10);
/// ...up to this.
const LATE_LOOK: SignedDuration = SignedDuration::from_millis(250);

impl Machine {
    /// Arms the probes that are due to run and are not armed.
    pub(super) fn plan_probes(&mut self, actions: &mut Vec<Action>) {
        let ending = self.termination.is_some();
        for record in &mut self.containers {
            if !matches!(record.sort(), Sort::App | Sort::Sidecar) || record.hook_pending {
                continue;
            }
            let Some(id) = record.running().map(|instance| instance.id.clone()) else { continue };
            for sort in ProbeSort::ALL {
                if !wanted(record, sort, ending) {
                    continue;
                }
                let Some(probe) = record.probe_spec(sort) else { continue };
                let delay = SignedDuration::from_secs(i64::from(probe.initial_delay_seconds.unwrap_or(0)));
                record.probe_mut(sort).armed = true;
                actions.push(Action::Probe { name: record.name().to_owned(), id: id.clone(), sort, delay });
            }
        }
    }

    pub(super) fn note_probed(
        &mut self,
        name: &str,
        id: &str,
        sort: ProbeSort,
        outcome: ProbeOutcome,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        let pod_grace = spec::grace_period_s(&self.pod);
        let ending = self.termination.is_some();
        let Some(record) = self.record_mut(name) else { return };
        let Some(instance) = record.running().filter(|instance| instance.id == id) else { return };
        let since = match instance.life {
            Life::Running { since } => since,
            Life::Ended(_) => return,
        };
        let Some(probe) = record.probe_spec(sort).cloned() else { return };
        let mut delay = SignedDuration::from_secs(i64::from(probe.period_seconds.unwrap_or(10).max(1)));
        let listening_soon = now.duration_since(since) < EARLY;
        match outcome {
            ProbeOutcome::Failure { refused: true, .. }
                if listening_soon && sort != ProbeSort::Liveness && record.probe(sort).last.is_none() =>
            {
                // It has only just been started and does not listen yet: look again soon instead of a period later.
                let looks = record.probe(sort).early;
                record.probe_mut(sort).early += 1;
                delay = (EARLY_LOOK * 2_i32.pow(looks.min(8))).min(LATE_LOOK).min(delay);
            }
            ProbeOutcome::Success => count(record, sort, true, &probe),
            ProbeOutcome::Failure { message, .. } => {
                let text = format!("{} probe failed: {message}", sort.as_str());
                actions.push(unhealthy(text, name));
                count(record, sort, false, &probe);
            }
            ProbeOutcome::Unknown(message) => {
                actions.push(unhealthy(format!("{} probe errored: {message}", sort.as_str()), name));
            }
        }
        let failed = record.probe(sort).passed == Some(false);
        if failed && sort != ProbeSort::Readiness && !ending && record.busy.is_none() {
            record.busy = Some(Busy::Stopping);
            let what = sort.as_str().to_lowercase();
            actions.push(Action::Stop {
                name: name.to_owned(),
                id: id.to_owned(),
                grace_s: probe.termination_grace_period_seconds.unwrap_or(pod_grace),
                message: format!("Container {name} failed {what} probe, will be restarted"),
            });
        }
        let over = sort == ProbeSort::Startup && record.probe(sort).passed == Some(true);
        if over || record.busy == Some(Busy::Stopping) && sort != ProbeSort::Readiness {
            record.probe_mut(sort).armed = over;
            return;
        }
        actions.push(Action::Probe { name: name.to_owned(), id: id.to_owned(), sort, delay });
    }
}

/// Whether a probe should be armed now.
fn wanted(record: &Record, sort: ProbeSort, ending: bool) -> bool {
    if record.probe(sort).armed || record.probe_spec(sort).is_none() {
        return false;
    }
    match sort {
        ProbeSort::Startup => !ending && record.busy.is_none() && record.probe(sort).passed.is_none(),
        ProbeSort::Readiness => record.started(),
        ProbeSort::Liveness => !ending && record.busy.is_none() && record.started(),
    }
}

/// Adds a result; the verdict changes once as many equal ones came in a row as the threshold says.
fn count(record: &mut Record, sort: ProbeSort, passed: bool, probe: &k8s_openapi::api::core::v1::Probe) {
    let threshold = if passed { probe.success_threshold.unwrap_or(1) } else { probe.failure_threshold.unwrap_or(3) };
    let state = record.probe_mut(sort);
    state.run = if state.last == Some(passed) { state.run.saturating_add(1) } else { 1 };
    state.last = Some(passed);
    if i64::from(state.run) >= i64::from(threshold.max(1)) {
        state.passed = Some(passed);
    }
}

fn unhealthy(message: String, container: &str) -> Action {
    Action::Emit { warning: true, reason: "Unhealthy", message, container: Some(container.to_owned()) }
}
