//! Messages that are one value in JSON: times, durations, IntOrString.

use jiff::Timestamp;
use serde_json::Value;

use super::ProtobufError;
use super::wire::{Reader, Wire};

/// Field 1 as bytes; empty where it is missing.
pub(super) fn first_bytes(bytes: &[u8]) -> Result<&[u8], ProtobufError> {
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
pub(super) fn time(bytes: &[u8], micros: bool) -> Result<Option<Value>, ProtobufError> {
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
    let text =
        if micros { component_base::clock::rfc3339_micros(at) } else { component_base::clock::rfc3339_seconds(at) };
    Ok(Some(text.into()))
}

/// A duration in nanoseconds, in Go's form with its exact value.
pub(super) fn duration(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let [nanos] = numbers::<1>(bytes)?;
    Ok(format!("{nanos}ns").into())
}

pub(super) fn int_or_string(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let (mut reader, mut kind, mut number, mut text) = (Reader::new(bytes), 0, 0_i64, &b""[..]);
    while let Some((field, wire)) = reader.next_field()? {
        match (field, wire) {
            (1, Wire::Varint(value)) => kind = value,
            (2, Wire::Varint(value)) => number = value.cast_signed(),
            (3, Wire::Bytes(value)) => text = value,
            _ => {}
        }
    }
    if kind == 0 { Ok(number.into()) } else { super::text("strVal", text).map(Value::from) }
}
