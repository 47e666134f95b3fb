//! What goes on at every level, as tables of text for people
//! (upstream: flowcontrol/apf_controller_debug.go).

use std::collections::BTreeMap;

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

/// The table of this name: `dump_priority_levels`, `dump_queues`.
pub(crate) fn dump(what: &str, levels: &BTreeMap<String, LevelState>) -> Option<String> {
    match what {
        "dump_priority_levels" => Some(table(&LEVELS, levels.iter().map(|(name, level)| of_level(name, level)))),
        "dump_queues" => Some(table(&QUEUES, levels.iter().flat_map(|(name, level)| of_queues(name, level)))),
        _ => None,
    }
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
