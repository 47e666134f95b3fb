//! Jobs and cron jobs (upstream: `printJob`, `printCronJob`).

use apimachinery::Object;
use jiff::Timestamp;

use super::duration::{human_duration, parse, since};
use super::text::{containers, holds, images, or_none, selector};
use super::{age, col, integer, name, string, wide};
use crate::json::Read;
use crate::resource::Column;

/// Columns of jobs.
pub(crate) fn jobs() -> Vec<Column> {
    vec![
        name(),
        string("Status", state),
        string("Completions", completions),
        col("Duration", "string", |job, now| duration(job, now).into()),
        age(),
        wide(string("Containers", |job| containers(job.object("spec").object("template").object("spec")))),
        wide(string("Images", |job| images(job.object("spec").object("template").object("spec")))),
        wide(string("Selector", |job| selector(job.object("spec").value("selector")))),
    ]
}

fn state(job: &Object) -> &'static str {
    let status = job.object("status");
    let found = |kinds: &[&'static str]| kinds.iter().find(|kind| holds(status, kind)).copied();
    found(&["Complete", "Failed"])
        .or(job.is_deleting().then_some("Terminating"))
        .or_else(|| found(&["Suspended", "FailureTarget", "SuccessCriteriaMet"]))
        .unwrap_or("Running")
}

fn completions(job: &Object) -> String {
    let (spec, succeeded) = (job.object("spec"), job.object("status").int("succeeded").unwrap_or_default());
    match (spec.int("completions"), spec.int("parallelism").unwrap_or_default()) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, parallel @ 2..) => format!("{succeeded}/1 of {parallel}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn duration(job: &Object, now: Timestamp) -> String {
    let status = job.object("status");
    let Some(start) = parse(status.text("startTime")) else { return String::new() };
    let end = parse(status.text("completionTime")).unwrap_or(now);
    human_duration(end.as_second() - start.as_second())
}

/// Columns of cron jobs.
pub(crate) fn cron_jobs() -> Vec<Column> {
    let pod = |object: &Object| {
        let job = object.object("spec").object("jobTemplate").object("spec");
        job.object("template").object("spec").clone()
    };
    vec![
        name(),
        string("Schedule", |object| object.object("spec").text("schedule").to_owned()),
        string("Timezone", |object| or_none(object.object("spec").text("timeZone"))),
        col("Suspend", "boolean", |object, _| {
            let suspend = object.object("spec").value("suspend").and_then(serde_json::Value::as_bool);
            suspend.map_or("<unset>", |suspend| if suspend { "True" } else { "False" }).into()
        }),
        integer("Active", |object| object.object("status").list("active").len()),
        col("Last Schedule", "string", |object, now| match object.object("status").text("lastScheduleTime") {
            "" => "<none>".into(),
            time => since(time, now).into(),
        }),
        age(),
        wide(string("Containers", move |object| containers(&pod(object)))),
        wide(string("Images", move |object| images(&pod(object)))),
        wide(string("Selector", |object| {
            selector(object.object("spec").object("jobTemplate").object("spec").value("selector"))
        })),
    ]
}
