//! CronJobs (upstream: pkg/apis/batch/v1/defaults.go, `ValidateCronJobCreate`).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};

use super::job::{job_warnings, validate_job_spec};
use super::workload;
use crate::check::{self, Errors};
use crate::json::{Read, Write};
use crate::resource::Strategy;

/// Where the spec of its jobs is.
const OF_JOB: &[&str] = &["spec", "jobTemplate", "spec"];

/// The strategy of cron jobs.
pub(crate) struct CronJob;

impl Strategy for CronJob {
    fn default(&self, object: &mut Object) {
        let Some(spec) = object.object_made("spec") else { return };
        spec.default_text("concurrencyPolicy", "Allow");
        spec.default_to("suspend", false);
        spec.default_to("successfulJobsHistoryLimit", 3);
        spec.default_to("failedJobsHistoryLimit", 1);
        // What a job gets at create (parallelism, completions...) it gets when the controller makes it.
        if let Some(job) = spec.object_made("jobTemplate").and_then(|template| template.object_made("spec")) {
            super::pod::default_template(job);
        }
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        workload::name_warning(object).into_iter().chain(job_warnings(object, OF_JOB)).collect()
    }

    fn update_warnings(&self, object: &Object, old: &Object) -> Vec<String> {
        let is_same = object.value("spec") == old.value("spec");
        let mut found = if is_same { Vec::new() } else { job_warnings(object, OF_JOB) };
        if object.object("spec").text("schedule").contains("TZ") {
            // Upstream has one spec too many.
            found.push(
                "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see \
                 https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
                    .to_owned(),
            );
        }
        found
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = rules(object, None);
        if object.name().len() > 52 {
            let detail = "must be no more than 52 characters";
            errors.push(Error::invalid(&Path::new("metadata").child("name"), object.name(), detail));
        }
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        rules(object, Some(old))
    }

    fn judges_updates_alone(&self) -> bool {
        true
    }
}

/// Upstream: `validateCronJobSpec`; time zones that are there already may stay.
fn rules(object: &Object, old: Option<&Object>) -> Errors {
    let mut errors = Errors::new();
    let (spec, path) = (object.object("spec"), Path::new("spec"));
    let old = old.map(|old| old.object("spec"));
    if check::required(&mut errors, spec, "schedule", &path) {
        let zoned = old.is_some_and(|old| old.text("schedule").contains("TZ"));
        if let Err(detail) = zoned_schedule(spec.text("schedule"), zoned, spec.has("timeZone")) {
            errors.push(Error::invalid(&path.child("schedule"), spec.text("schedule"), detail));
        }
    }
    check::one_of(&mut errors, spec, "concurrencyPolicy", &["Allow", "Forbid", "Replace"], &path);
    for field in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        check::not_negative(&mut errors, spec, field, &path);
    }
    if spec.has("timeZone")
        && old.is_none_or(|old| old.value("timeZone") != spec.value("timeZone"))
        && let Err(detail) = time_zone(spec.text("timeZone"))
    {
        errors.push(Error::invalid(&path.child("timeZone"), spec.text("timeZone"), detail));
    }
    let job = spec.object("jobTemplate").object("spec");
    let path = path.child("jobTemplate").child("spec");
    validate_job_spec(&mut errors, job, &path);
    if job.has("selector") {
        let selector = job.object("selector").clone();
        errors.push(Error::invalid(&path.child("selector"), selector, "`selector` will be auto-generated"));
    }
    if job.flag("manualSelector") {
        errors.push(Error::not_supported(&path.child("manualSelector"), true, &["nil", "false"]));
    }
    errors
}

/// A schedule and the time zone that old ones begin with, as `CRON_TZ=Asia/Tokyo` (upstream: `validateScheduleFormat`).
fn zoned_schedule(text: &str, may_be_zoned: bool, has_zone: bool) -> Result<(), String> {
    let rest = match text.split_once(' ') {
        Some((zone, rest)) if zone.starts_with("TZ=") || zone.starts_with("CRON_TZ=") => rest,
        _ => text,
    };
    schedule(rest)?;
    match (text.contains("TZ"), may_be_zoned, has_zone) {
        (true, true, true) => Err("cannot use both timeZone field and TZ or CRON_TZ in schedule".to_owned()),
        (true, false, _) => Err("cannot use TZ or CRON_TZ in schedule, use timeZone field instead".to_owned()),
        _ => Ok(()),
    }
}

/// Whether a time zone is one that all machines know (upstream: `validateTimeZone`).
fn time_zone(zone: &str) -> Result<(), String> {
    if zone.is_empty() {
        return Err("timeZone must be nil or non-empty string".to_owned());
    }
    if zone.eq_ignore_ascii_case("Local") {
        let words = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        return Err(words.to_owned());
    }
    jiff::tz::TimeZone::get(zone).map(drop).map_err(|_| format!("unknown time zone {zone}"))
}

/// Whether a schedule can be read: five fields or a macro.
fn schedule(text: &str) -> Result<(), String> {
    if let Some(word) = text.strip_prefix('@') {
        let known = ["yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly"];
        let every = word
            .strip_prefix("every ")
            .is_some_and(|duration| duration.starts_with(|sign: char| sign.is_ascii_digit()));
        return if known.contains(&word) || every { Ok(()) } else { Err(format!("unrecognized descriptor: {text}")) };
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != 5 {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    let months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
    let bounds: [(u32, u32, &[&str]); 5] = [(0, 59, &[]), (0, 23, &[]), (1, 31, &[]), (1, 12, &months), (0, 6, &days)];
    fields.iter().zip(bounds).try_for_each(|(field, (low, high, words))| {
        field.split(',').try_for_each(|range| schedule_range(range, low, high, words))
    })
}

/// `*`, `5`, `1-5`, each with a `/step`.
fn schedule_range(range: &str, low: u32, high: u32, words: &[&str]) -> Result<(), String> {
    let number = |text: &str| {
        let word = words.iter().position(|word| word.eq_ignore_ascii_case(text)).map(|index| index as u32 + low);
        word.or_else(|| text.parse().ok())
            .ok_or_else(|| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"))
    };
    let (span, step) = range.split_once('/').map_or((range, None), |(span, step)| (span, Some(step)));
    if step.is_some_and(|step| step.parse::<u32>().is_ok_and(|step| step == 0)) {
        return Err(format!("step of range should be a positive number: {range}"));
    }
    step.map(&number).transpose()?;
    if span == "*" || span == "?" {
        return Ok(());
    }
    let (first, last) = match span.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(span)?, number(span)?),
    };
    match () {
        () if first < low => Err(format!("beginning of range ({first}) below minimum ({low}): {range}")),
        () if last > high => Err(format!("end of range ({last}) above maximum ({high}): {range}")),
        () if first > last => Err(format!("beginning of range ({first}) beyond end of range ({last}): {range}")),
        () => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{schedule, time_zone, zoned_schedule};

    #[test]
    fn time_zones_have_names() {
        assert_eq!(time_zone("Asia/Tokyo"), Ok(()));
        for (wrong, words) in [
            ("", "timeZone must be nil or non-empty string"),
            ("local", "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"),
            ("Moon/Crater", "unknown time zone Moon/Crater"),
        ] {
            assert_eq!(time_zone(wrong), Err(words.to_owned()));
        }
    }

    #[test]
    fn old_schedules_keep_their_zones() {
        let zoned = "CRON_TZ=Asia/Tokyo 0 0 * * *";
        assert_eq!(zoned_schedule(zoned, true, false), Ok(()));
        let wrong = |may_be_zoned, has_zone| zoned_schedule(zoned, may_be_zoned, has_zone).unwrap_err();
        assert_eq!(wrong(true, true), "cannot use both timeZone field and TZ or CRON_TZ in schedule");
        assert_eq!(wrong(false, false), "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
        assert!(zoned_schedule("TZ=UTC 0 0 * *", true, false).is_err());
    }

    #[test]
    fn schedules_are_read() {
        for right in ["* * * * *", "*/5 0-6,12 1 jan MON-fri", "@daily", "@every 5m", "0 0 ? * *"] {
            assert_eq!(schedule(right), Ok(()), "{right}");
        }
        for wrong in [
            "",
            "* * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "5-1 * * * *",
            "*/0 * * * *",
            "x * * * *",
            "@never",
        ] {
            assert!(schedule(wrong).is_err(), "{wrong}");
        }
        assert_eq!(schedule("a b").unwrap_err(), "expected exactly 5 fields, found 2: [a b]");
    }
}
