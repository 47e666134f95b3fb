//! What goes on at every level, as tables of text for people
//! (upstream: flowcontrol/apf_controller_debug.go).

use std::collections::BTreeMap;
use std::time::Duration;

use apimachinery::duration::GoDuration;

use crate::configuration::LevelState;

const LEVELS: [&str; 10] = [
    "PriorityLevelName",
    "ActiveQueues",
    "IsIdle",
    "IsQuiescing",
    "WaitingRequests",
    "ExecutingRequests",
    "DispatchedRequests",
    "RejectedRequests",
    "TimedoutRequests",
    "CancelledRequests",
];

const QUEUES: [&str; 9] = [
    "PriorityLevelName",
    "Index",
    "PendingRequests",
    "ExecutingRequests",
    "SeatsInUse",
    "NextDispatchR",
    "InitialSeatsSum",
    "MaxSeatsSum",
    "TotalWorkSum",
];

const REQUESTS: [&str; 10] = [
    "PriorityLevelName",
    "FlowSchemaName",
    "QueueIndex",
    "RequestIndexInQueue",
    "FlowDistingsher",
    "ArriveTime",
    "InitialSeats",
    "FinalSeats",
    "AdditionalLatency",
    "StartTime",
];

const DETAILS: [&str; 8] =
    ["UserName", "Verb", "APIPath", "Namespace", "Name", "APIVersion", "Resource", "SubResource"];

/// What Go writes of a time that is none.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// The table of this name: `dump_priority_levels`, `dump_queues`, `dump_requests`, the last maybe with `details`.
pub(crate) fn dump(what: &str, levels: &BTreeMap<String, LevelState>, details: bool) -> Option<String> {
    match what {
        "dump_priority_levels" => Some(table(&LEVELS, levels.iter().map(|(name, level)| of_level(name, level)))),
        "dump_queues" => Some(table(&QUEUES, levels.iter().flat_map(|(name, level)| of_queues(name, level)))),
        "dump_requests" => {
            let head: Vec<&str> = REQUESTS.iter().chain(DETAILS.iter().filter(|_| details)).copied().collect();
            Some(table(&head, levels.iter().flat_map(|(name, level)| of_requests(name, level, details))))
        }
        _ => None,
    }
}

fn of_requests(name: &str, level: &LevelState, details: bool) -> Vec<Vec<String>> {
    let requests = level.level.requests.lock();
    let now = component_base::now();
    let time = |time: Duration| (now - level.level.since(time)).to_string();
    let number = |index: Option<usize>| index.map_or_else(|| "-1".to_owned(), |index| index.to_string());
    let mut last = (None, 0);
    let rows = requests.in_order().into_iter().map(|present| {
        let asked = present.asker.attributes();
        let before = if last.0 == present.queue { last.1 } else { 0 };
        last = (present.queue, before + 1);
        let index = (present.queue.is_some() && present.started.is_none()).then_some(before);
        let mut row = vec![
            name.to_owned(),
            present.flow.schema.metadata.name.clone(),
            number(present.queue),
            number(index),
            present.flow.distinguisher(&asked).to_owned(),
            time(present.arrived),
            present.work.initial_seats.to_string(),
            present.work.final_seats.to_string(),
            GoDuration::from_nanos(i64::try_from(present.work.additional_latency.as_nanos()).unwrap_or(0)).to_string(),
            present.started.map_or_else(|| NO_TIME.to_owned(), time),
        ];
        if details {
            let version = [asked.group, asked.version];
            let version = version.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
            let words = [asked.user.username.as_str(), asked.verb, asked.path, asked.namespace, asked.name];
            row.extend(words.map(str::to_owned));
            row.extend([version, asked.resource.to_owned(), asked.subresource.to_owned()]);
        }
        row
    });
    rows.collect()
}

fn of_level(name: &str, level: &LevelState) -> Vec<String> {
    let (state, timed_out) = level.level.state();
    let active = state.queues.iter().filter(|queue| queue.waiting > 0).count();
    vec![
        name.to_owned(),
        active.to_string(),
        level.level.is_idle().to_string(),
        level.is_quiescing.to_string(),
        state.waiting.to_string(),
        state.executing.to_string(),
        state.totals.dispatched.to_string(),
        state.totals.rejected.to_string(),
        timed_out.to_string(),
        state.totals.cancelled.saturating_sub(timed_out).to_string(),
    ]
}

fn of_queues(name: &str, level: &LevelState) -> Vec<Vec<String>> {
    let (state, _) = level.level.state();
    let queues = state.queues.iter().enumerate().map(|(index, queue)| {
        vec![
            name.to_owned(),
            index.to_string(),
            queue.waiting.to_string(),
            queue.executing.to_string(),
            queue.seats_in_use.to_string(),
            format!("{:.8}ss", queue.next_dispatch_r),
            queue.initial_seats.to_string(),
            queue.max_seats.to_string(),
            format!("{:.8}ss", queue.waiting_work),
        ]
    });
    queues.collect()
}

/// Columns as Go's tabwriter sets them: eight wide at least, a blank between them, the last one as it is.
fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut lines: Vec<Vec<String>> = vec![head.iter().map(|&name| name.to_owned()).collect()];
    lines.extend(rows);
    for line in &mut lines {
        let last = line.len().saturating_sub(1);
        line[..last].iter_mut().for_each(|cell| cell.push(','));
    }
    let width = |column: usize| {
        let longest = lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
        (longest.unwrap_or(0) + 1).max(8)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        for (column, cell) in line.iter().enumerate() {
            let width = if column + 1 == line.len() { 0 } else { widths[column] };
            text.push_str(&format!("{cell:<width$}"));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_one_another() {
        let rows = vec![vec!["a-long-name".to_owned(), "1".to_owned(), "x".to_owned()]];
        assert_eq!(
            table(&["Name", "Of", "Last"], rows.into_iter()),
            "Name,        Of,     Last\na-long-name, 1,      x\n"
        );
    }
}
