//! What processes use, as the kernel tells it.

use std::fs;
use std::time::Duration;

use testkit::Machine;

/// Some processes, by number.
pub struct Processes(Vec<i32>);

impl Processes {
    /// One.
    pub fn one(pid: u32) -> Self {
        Self(vec![pid as i32])
    }

    /// The first process of the cluster's node and everything below it that is Kaji's own.
    pub fn of_cluster(machine: &Machine) -> Self {
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
        Self(found)
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// CPU time of all of them, to a hundredth of a second.
    pub fn cpu(&self) -> Duration {
        let ticks = |pid: &i32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
            Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
        };
        let ticks: u64 = self.0.iter().filter_map(ticks).sum();
        Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// Resident and proportional megabytes of all of them together.
    pub fn memory(&self) -> (f64, f64) {
        (self.sum("smaps_rollup", "Rss:"), self.sum("smaps_rollup", "Pss:"))
    }

    /// The most megabytes that were resident since the start, of all of them together.
    pub fn peak(&self) -> f64 {
        self.sum("status", "VmHWM:")
    }

    fn sum(&self, file: &str, name: &str) -> f64 {
        let kilobytes = |pid: &i32| {
            let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
            let line = text.lines().find(|line| line.starts_with(name))?;
            line.split_whitespace().nth(1)?.parse::<f64>().ok()
        };
        self.0.iter().filter_map(kilobytes).sum::<f64>() / 1e3
    }
}
