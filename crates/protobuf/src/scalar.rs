//! Messages that are one value in JSON: times, durations, IntOrString.

use apimachinery::duration::GoDuration;
use jiff::Timestamp;
use serde_json::Value;

use crate::ProtobufError;
use crate::wire::{self, Reader, Wire};

/// Field 1 as bytes; empty where it is missing.
pub(crate) fn first_bytes(bytes: &[u8]) -> Result<&[u8], ProtobufError> {
    let (mut reader, mut found) = (Reader::new(bytes), &b""[..]);
    while let Some((number, wire)) = reader.next_field()? {
        if let (1, Wire::Bytes(value)) = (number, wire) {
            found = value;
        }
    }
    Ok(found)
}

/// Numbers by field number, 0 where they are missing.
fn numbers<const N: usize>(bytes: &[u8]) -> Result<[i64; N], ProtobufError> {
    let (mut reader, mut found) = (Reader::new(bytes), [0; N]);
    while let Some((number, wire)) = reader.next_field()? {
        if let (Some(slot), Wire::Varint(value)) = (found.get_mut(number.saturating_sub(1) as usize), wire) {
            *slot = value.cast_signed();
        }
    }
    Ok(found)
}

/// A point in time; an empty message is no time (`null`). `None` for a time outside the calendar.
pub(crate) fn time(bytes: &[u8], micros: bool) -> Result<Option<Value>, ProtobufError> {
    if bytes.is_empty() {
        return Ok(Some(Value::Null));
    }
    let [seconds, nanos] = numbers::<2>(bytes)?;
    // Go's zero time, year 1, stands for none.
    if seconds == -62_135_596_800 {
        return Ok(Some(Value::Null));
    }
    let Some(at) = i32::try_from(nanos).ok().and_then(|nanos| Timestamp::new(seconds, nanos).ok()) else {
        return Ok(None);
    };
    let form = if micros { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    Ok(Some(at.strftime(form).to_string().into()))
}

/// The fields of a point in time.
pub(crate) fn put_time(out: &mut Vec<u8>, at: Timestamp, micros: bool) {
    // Go divides downwards: nanoseconds are never negative.
    let (mut seconds, mut nanos) = (at.as_second(), at.subsec_nanosecond());
    if nanos < 0 {
        seconds -= 1;
        nanos += 1_000_000_000;
    }
    wire::varint(out, 1, seconds.cast_unsigned());
    let nanos = if micros { nanos / 1000 * 1000 } else { 0 };
    wire::varint(out, 2, i64::from(nanos).cast_unsigned());
}

/// A span of time as Go writes it.
pub(crate) fn duration(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let [nanos] = numbers::<1>(bytes)?;
    Ok(GoDuration::from_nanos(nanos).to_string().into())
}

pub(crate) fn int_or_string(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let (mut reader, mut kind, mut number, mut text) = (Reader::new(bytes), 0, 0_i64, &b""[..]);
    while let Some((field, wire)) = reader.next_field()? {
        match (field, wire) {
            (1, Wire::Varint(value)) => kind = value,
            (2, Wire::Varint(value)) => number = value.cast_signed(),
            (3, Wire::Bytes(value)) => text = value,
            _ => {}
        }
    }
    if kind == 0 { Ok(number.into()) } else { crate::decode::text("strVal", text).map(Value::from) }
}
