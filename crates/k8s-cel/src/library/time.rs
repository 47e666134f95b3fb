//! Points and spans of time (upstream: cel-go common/types/{timestamp,duration}.go).

use apimachinery::duration::GoDuration;
use jiff::Timestamp;
use jiff::civil::{Date, Weekday};
use jiff::tz::{Offset, TimeZone};

use super::Called;
use crate::error::EvalError;
use crate::value::Value;

const SECOND: i64 = 1_000_000_000;
/// The first second of the year 1, and the last of the year 9999.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Whether the language knows such a time.
pub(crate) fn is_in_range(at: Timestamp) -> bool {
    SECONDS.contains(&at.as_second())
}

/// So many seconds after 1970.
pub(crate) fn from_seconds(seconds: i64) -> Result<Timestamp, EvalError> {
    Timestamp::from_second(seconds).ok().filter(|at| is_in_range(*at)).ok_or(EvalError::Overflow("timestamp"))
}

/// RFC 3339.
pub(crate) fn parse_timestamp(text: &str) -> Result<Timestamp, EvalError> {
    let has_shape = text.len() >= 20 && text.as_bytes()[10].eq_ignore_ascii_case(&b'T') && text.as_bytes()[4] == b'-';
    let parsed = text.parse::<Timestamp>().ok().filter(|at| has_shape && is_in_range(*at));
    parsed.ok_or_else(|| EvalError::function(format!("invalid timestamp string: {}", super::quote(text))))
}

/// `2006-01-02`.
pub(crate) fn parse_date(text: &str) -> Result<Timestamp, EvalError> {
    let date = text.parse::<Date>().ok().filter(|_| text.len() == 10);
    date.and_then(|date| date.to_zoned(TimeZone::UTC).ok())
        .map(|at| at.timestamp())
        .ok_or_else(|| EvalError::function(format!("invalid date string: {}", super::quote(text))))
}

/// Go's `1h30m`, in nanoseconds.
pub(crate) fn parse_duration(text: &str) -> Result<i64, EvalError> {
    let parsed: Result<GoDuration, _> = text.parse();
    parsed.map(GoDuration::as_nanos).map_err(|error| EvalError::function(error.to_string()))
}

/// Go's durations, and `3 days` or `2w` (upstream: kube-openapi strfmt/duration.go).
pub(crate) fn parse_schema_duration(text: &str) -> Result<i64, EvalError> {
    parse_duration(text).or_else(|error| {
        let trimmed = text.trim();
        let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
        let unit = match trimmed[digits..].trim().to_ascii_lowercase().as_str() {
            "d" | "day" | "days" => 24 * 3600 * SECOND,
            "w" | "wk" | "week" | "weeks" => 7 * 24 * 3600 * SECOND,
            "h" | "hr" | "hour" | "hours" => 3600 * SECOND,
            "m" | "min" | "minute" | "minutes" => 60 * SECOND,
            "s" | "sec" | "second" | "seconds" => SECOND,
            _ => return Err(error),
        };
        trimmed[..digits].parse::<i64>().ok().and_then(|count| count.checked_mul(unit)).ok_or(error)
    })
}

/// RFC 3339 with as many digits behind the second as there are.
pub(crate) fn show_timestamp(at: Timestamp) -> String {
    at.to_string()
}

/// Seconds, as `90.5s`.
pub(crate) fn show_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let (seconds, rest) = (nanos.unsigned_abs() / SECOND as u64, nanos.unsigned_abs() % SECOND as u64);
    let fraction = format!("{rest:09}");
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { format!("{sign}{seconds}s") } else { format!("{sign}{seconds}.{fraction}s") }
}

/// The parts of a span.
pub(super) fn of_duration<'a>(function: &str, nanos: i64) -> Called<'a> {
    let value = match function {
        "getHours" => nanos / (3600 * SECOND),
        "getMinutes" => nanos / (60 * SECOND),
        "getSeconds" => nanos / SECOND,
        "getMilliseconds" => nanos % SECOND / 1_000_000,
        _ => return None,
    };
    Some(Ok(Value::Int(value)))
}

/// The parts of a point in time, in UTC or a zone.
pub(super) fn of_timestamp<'a>(function: &str, at: Timestamp, args: &[Value<'a>]) -> Called<'a> {
    let zone = match args {
        [] => TimeZone::UTC,
        [Value::String(name)] => match zone(name) {
            Some(zone) => zone,
            None => return Some(Err(EvalError::function(format!("unknown time zone {}", &**name)))),
        },
        _ => return None,
    };
    let local = at.to_zoned(zone).datetime();
    let value = match function {
        "getFullYear" => i64::from(local.year()),
        "getMonth" => i64::from(local.month()) - 1,
        "getDate" => i64::from(local.day()),
        "getDayOfMonth" => i64::from(local.day()) - 1,
        "getDayOfYear" => i64::from(local.date().day_of_year()) - 1,
        "getDayOfWeek" => i64::from(local.weekday().since(Weekday::Sunday)),
        "getHours" => i64::from(local.hour()),
        "getMinutes" => i64::from(local.minute()),
        "getSeconds" => i64::from(local.second()),
        "getMilliseconds" => i64::from(local.millisecond()),
        _ => return None,
    };
    Some(Ok(Value::Int(value)))
}

/// A zone by name, or by its distance from UTC as `-08:00`.
fn zone(name: &str) -> Option<TimeZone> {
    let Some((hours, minutes)) = name.split_once(':') else {
        return if name == "UTC" || name.is_empty() { Some(TimeZone::UTC) } else { TimeZone::get(name).ok() };
    };
    let (negative, hours) = (hours.starts_with('-'), hours.trim_start_matches(['-', '+']));
    let (hours, minutes) = (hours.parse::<i32>().ok()?, minutes.parse::<i32>().ok()?);
    let seconds = (hours.checked_mul(3600)?).checked_add(minutes.checked_mul(60)?)?;
    Offset::from_seconds(if negative { -seconds } else { seconds }).ok().map(Offset::to_time_zone)
}
