//! `/metrics`: what was counted, and what is counted when somebody looks: objects by kind, and the process
//! (upstream: endpoints of component-base/metrics, prometheus/client_golang process_collector.go).

use std::fmt::Write as _;
use std::fs;

use http::{HeaderMap, HeaderValue, Response, header};

use crate::body::{self, Body};
use crate::nonresource::GIT_VERSION;
use crate::server::ApiServer;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

/// Answers in the form that the client reads.
pub(crate) fn answer(server: &ApiServer, headers: &HeaderMap) -> Response<Body> {
    let mut text = server.metrics.encode();
    text.truncate(text.trim_end().trim_end_matches("# EOF").len());
    write_step_summary(&mut text);
    write_objects(server, &mut text);
    write_process(&mut text);
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = if accept.contains("application/openmetrics-text") {
        text.push_str("# EOF\n");
        OPEN_METRICS
    } else {
        text = classic(&text);
        TEXT
    };
    let mut response = Response::new(body::full(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// The older text format names counters with their suffix in every line, and knows no units. Counters that upstream
/// calls a `_count` have no suffix there.
fn classic(text: &str) -> String {
    let kind = |name: &str| text.contains(&format!("# TYPE {name} counter\n")) && !name.ends_with("_count");
    let mut out = String::with_capacity(text.len());
    for line in text.lines().filter(|line| !line.starts_with("# UNIT ")) {
        if let Some((name, rest)) = line.split_once("_count_total{") {
            let _ = writeln!(out, "{name}_count{{{rest}");
            continue;
        }
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(word @ ("HELP" | "TYPE")), Some(name), rest)
                if kind(name) && !name.ends_with("_total") =>
            {
                let _ = writeln!(out, "# {word} {name}_total {}", rest.unwrap_or_default());
            }
            _ => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

/// Upstream's summary of the steps of admission asks for no quantiles: what is left is the sum and the count that the
/// histogram has.
fn write_step_summary(text: &mut String) {
    const HISTOGRAM: &str = "apiserver_admission_step_admission_duration_seconds";
    let mut lines = String::new();
    for rest in text.lines().filter_map(|line| line.strip_prefix(HISTOGRAM)) {
        if rest.starts_with("_sum{") || rest.starts_with("_count{") {
            let _ = writeln!(lines, "{HISTOGRAM}_summary{rest}");
        }
    }
    let help = "Admission sub-step latency summary in seconds, broken out for each operation and API resource and step type (validate or admit).";
    let _ = write!(text, "# HELP {HISTOGRAM}_summary {help}\n# TYPE {HISTOGRAM}_summary summary\n{lines}");
}

/// Upstream: `apiserver_resource_objects`, and its name before that.
fn write_objects(server: &ApiServer, text: &mut String) {
    let rows = server.registry.rows();
    let mut seen: Vec<String> = Vec::new();
    let mut lines = [String::new(), String::new(), String::new()];
    for row in rows.all() {
        let prefix = row.key_prefix();
        if seen.contains(&prefix) {
            continue;
        }
        let (group, resource) = (&row.gvk.group, &row.plural);
        let stats = server.registry.store().stats(&prefix);
        let full = if group.is_empty() { resource.clone() } else { format!("{resource}.{group}") };
        let [objects, older, sizes] = &mut lines;
        let labels = format!("group=\"{group}\",resource=\"{resource}\"");
        let _ = writeln!(objects, "apiserver_resource_objects{{{labels}}} {}", stats.objects);
        let _ = writeln!(older, "apiserver_storage_objects{{resource=\"{full}\"}} {}", stats.objects);
        let average = stats.bytes.checked_div(stats.objects).unwrap_or(0);
        let _ = writeln!(sizes, "apiserver_resource_size_estimate_bytes{{{labels}}} {}", average * stats.objects);
        seen.push(prefix);
    }
    let [objects, older, sizes] = lines;
    let _ = write!(
        text,
        "# HELP apiserver_resource_objects Number of stored objects at the time of last check split by kind.\n\
         # TYPE apiserver_resource_objects gauge\n{objects}\
         # HELP apiserver_storage_objects Number of stored objects at the time of last check split by kind.\n\
         # TYPE apiserver_storage_objects gauge\n{older}\
         # HELP apiserver_resource_size_estimate_bytes Estimated size of stored objects in database.\n\
         # TYPE apiserver_resource_size_estimate_bytes gauge\n{sizes}"
    );
}

fn write_process(text: &mut String) {
    let mut line = |name: &str, help: &str, kind: &str, value: f64| {
        let sample = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{sample} {value}");
    };
    if let Some(process) = Process::read() {
        line("process_cpu_seconds", "Total user and system CPU time spent in seconds.", "counter", process.cpu_seconds);
        line("process_resident_memory_bytes", "Resident memory size in bytes.", "gauge", process.resident_bytes);
        line("process_virtual_memory_bytes", "Virtual memory size in bytes.", "gauge", process.virtual_bytes);
        let help = "Start time of the process since unix epoch in seconds.";
        line("process_start_time_seconds", help, "gauge", process.start_seconds);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        line("process_open_fds", "Number of open file descriptors.", "gauge", open.count() as f64);
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let open_files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    if let Some(most) = open_files.and_then(|rest| rest.split_whitespace().next()?.parse().ok()) {
        line("process_max_fds", "Maximum number of open file descriptors.", "gauge", most);
    }
    let help = "A metric with a constant '1' value labeled by the version of Kubernetes.";
    let _ = writeln!(
        text,
        "# HELP kubernetes_build_info {help}\n# TYPE kubernetes_build_info gauge\n\
         kubernetes_build_info{{git_version=\"{GIT_VERSION}\",major=\"1\",minor=\"37\"}} 1"
    );
}

/// What the kernel says of this process.
struct Process {
    cpu_seconds: f64,
    resident_bytes: f64,
    virtual_bytes: f64,
    start_seconds: f64,
}

impl Process {
    fn read() -> Option<Self> {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let boot = fs::read_to_string("/proc/stat").ok()?;
        let boot: f64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The name, in parentheses, may hold anything; numbers follow from the third field on.
        let fields: Vec<f64> =
            stat.rsplit_once(')')?.1.split_whitespace().skip(1).map(|field| field.parse().unwrap_or(0.0)).collect();
        let field = |number: usize| fields.get(number - 4).copied();
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) / ticks,
            start_seconds: boot + field(22)? / ticks,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * rustix::param::page_size() as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_readers_get_the_older_form() {
        let open = "# HELP a Seen.\n# TYPE a counter\na_total 1\n# HELP b Held.\n# TYPE b gauge\n# UNIT b bytes\nb 2\n";
        let expected = "# HELP a_total Seen.\n# TYPE a_total counter\na_total 1\n# HELP b Held.\n# TYPE b gauge\nb 2\n";
        assert_eq!(classic(open), expected);
        let open = "# HELP a_count Seen.\n# TYPE a_count counter\na_count_total{b=\"c\"} 1\n";
        let expected = "# HELP a_count Seen.\n# TYPE a_count counter\na_count{b=\"c\"} 1\n";
        assert_eq!(classic(open), expected);
    }

    #[test]
    fn a_summary_is_read_off_the_histogram() {
        let name = "apiserver_admission_step_admission_duration_seconds";
        let mut text = format!("{name}_sum{{a=\"b\"}} 1.5\n{name}_count{{a=\"b\"}} 3\n{name}_bucket{{le=\"1\"}} 2\n");
        write_step_summary(&mut text);
        assert!(text.ends_with(&format!(
            "# TYPE {name}_summary summary\n{name}_summary_sum{{a=\"b\"}} 1.5\n{name}_summary_count{{a=\"b\"}} 3\n"
        )));
    }

    #[test]
    fn the_process_is_measured() {
        let process = Process::read().expect("Linux");
        assert!(process.resident_bytes > 1e5 && process.virtual_bytes > process.resident_bytes);
        assert!(process.start_seconds > 1e9);
    }
}
