//! From data items to the JSON value that they stand for (upstream: serializer/cbor/internal/modes/decode.go).

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use minicbor::data::Type;
use minicbor::decode::{Decoder, Error};
use serde_json::{Map, Number, Value};

use crate::{CborError, MAX_DEPTH};

const TIME_TEXT: u64 = 0;
const TIME_EPOCH: u64 = 1;
const BIGNUM: u64 = 2;
const NEGATIVE_BIGNUM: u64 = 3;
const LATER_BASE64URL: u64 = 21;
const LATER_BASE64: u64 = 22;
const LATER_BASE16: u64 = 23;
const SELF_DESCRIBED: u64 = 55799;

/// Decodes exactly one data item.
pub fn decode(bytes: &[u8]) -> Result<Value, CborError> {
    let mut reader = Reader { decoder: Decoder::new(bytes), depth: 0 };
    // The mark in front is no level: what nests as deep as it may is read again when it is written with one.
    while bytes[reader.decoder.position()..].starts_with(&crate::SELF_DESCRIBED) {
        let after = reader.decoder.position() + crate::SELF_DESCRIBED.len();
        reader.decoder.set_position(after);
    }
    let value = reader.item(None)?;
    let at = reader.decoder.position();
    if at < bytes.len() {
        return Err(CborError::Extraneous { bytes: bytes.len() - at, index: at });
    }
    Ok(value)
}

/// What a byte string is to become, said by a tag around it; it holds for all byte strings inside.
#[derive(Clone, Copy)]
enum Later {
    Base64,
    Base64Url,
    Base16,
}

struct Reader<'b> {
    decoder: Decoder<'b>,
    depth: usize,
}

impl Reader<'_> {
    /// The next data item.
    fn item(&mut self, later: Option<Later>) -> Result<Value, CborError> {
        let kind = self.kind()?;
        Ok(match kind {
            Type::Bool => self.decoder.bool().map_err(malformed)?.into(),
            Type::Null => self.decoder.null().map(|()| Value::Null).map_err(malformed)?,
            Type::U8 | Type::U16 | Type::U32 | Type::U64 | Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::Int => {
                self.integer()?.into()
            }
            Type::F16 => number(self.decoder.f16().map_err(malformed)?.into())?,
            Type::F32 => number(self.decoder.f32().map_err(malformed)?.into())?,
            Type::F64 => number(self.decoder.f64().map_err(malformed)?)?,
            Type::Bytes | Type::BytesIndef => self.byte_string(later)?.into(),
            Type::String | Type::StringIndef => self.text()?.into(),
            Type::Array | Type::ArrayIndef => self.nested(|reader| reader.array(later))?,
            Type::Map | Type::MapIndef => self.nested(|reader| reader.map(later))?,
            Type::Tag => self.nested(|reader| reader.tagged(later))?,
            Type::Undefined => return Err(not_accepted("primitives", "simple value 23 is not recognized")),
            Type::Simple => {
                let value = self.decoder.simple().map_err(malformed)?;
                return Err(not_accepted("primitives", format!("simple value {value} is not recognized")));
            }
            Type::Break | Type::Unknown(_) => return Err(self.broken("unexpected initial byte")),
        })
    }

    fn kind(&self) -> Result<Type, CborError> {
        self.decoder.datatype().map_err(malformed)
    }

    fn broken(&self, what: &str) -> CborError {
        CborError::Malformed(self.decoder.position(), what.to_owned())
    }

    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, CborError>) -> Result<T, CborError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(CborError::Depth);
        }
        let result = inner(self)?;
        self.depth -= 1;
        Ok(result)
    }

    fn integer(&mut self) -> Result<i64, CborError> {
        let number = i128::from(self.decoder.int().map_err(malformed)?);
        let kind = if number < 0 { "negative integer" } else { "positive integer" };
        i64::try_from(number).map_err(|_| CborError::Overflow { kind, number })
    }

    fn array(&mut self, later: Option<Later>) -> Result<Value, CborError> {
        // Nothing is reserved for what is only announced.
        let mut left = self.decoder.array().map_err(malformed)?;
        let mut items = Vec::new();
        while self.goes_on(&mut left)? {
            items.push(self.item(later)?);
        }
        Ok(items.into())
    }

    fn map(&mut self, later: Option<Later>) -> Result<Value, CborError> {
        let mut left = self.decoder.map().map_err(malformed)?;
        let mut map = Map::new();
        let mut index = 0;
        while self.goes_on(&mut left)? {
            let kind = self.kind()?;
            let Value::String(key) = self.item(later)? else { return Err(CborError::Key(name(kind))) };
            if map.contains_key(&key) {
                return Err(CborError::Duplicate { key, index });
            }
            let value = self.item(later)?;
            map.insert(key, value);
            index += 1;
        }
        Ok(map.into())
    }

    /// Whether another item follows: by the count that was announced, or until the break.
    fn goes_on(&mut self, left: &mut Option<u64>) -> Result<bool, CborError> {
        match left {
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None if self.kind()? == Type::Break => {
                let after = self.decoder.position() + 1;
                self.decoder.set_position(after);
                Ok(false)
            }
            None => Ok(true),
        }
    }

    fn tagged(&mut self, later: Option<Later>) -> Result<Value, CborError> {
        let tag = self.decoder.tag().map_err(malformed)?.as_u64();
        let kind = self.kind()?;
        match tag {
            TIME_TEXT | TIME_EPOCH => self.time(tag, kind),
            BIGNUM | NEGATIVE_BIGNUM => Err(not_accepted("tag", "bignum")),
            LATER_BASE64 => self.item(Some(Later::Base64)),
            LATER_BASE64URL => self.item(Some(Later::Base64Url)),
            LATER_BASE16 => self.item(Some(Later::Base16)),
            SELF_DESCRIBED => self.item(later),
            // What a tag says that nobody knows does not matter.
            _ => self.item(later),
        }
    }

    /// A point in time, as RFC 3339 has it.
    fn time(&mut self, tag: u64, kind: Type) -> Result<Value, CborError> {
        let wanted = if tag == TIME_TEXT { "text string" } else { "integer or floating-point number" };
        let wrong = CborError::Tag { tag, wanted, found: name(kind) };
        match (tag, self.item(None)?) {
            (TIME_TEXT, Value::String(text)) => match text.parse::<Timestamp>() {
                Ok(_) => Ok(text.into()),
                Err(_) => Err(CborError::Time(text)),
            },
            (TIME_EPOCH, Value::Number(number)) => {
                let at = match number.as_i64() {
                    Some(seconds) => Timestamp::from_second(seconds).ok(),
                    None => number.as_f64().and_then(since_epoch),
                };
                at.map(|at| at.to_string().into()).ok_or_else(|| CborError::Time(number.to_string()))
            }
            _ => Err(wrong),
        }
    }

    fn byte_string(&mut self, later: Option<Later>) -> Result<String, CborError> {
        let mut bytes = Vec::new();
        for piece in self.decoder.bytes_iter().map_err(malformed)? {
            bytes.extend_from_slice(piece.map_err(malformed)?);
        }
        match later {
            None => String::from_utf8(bytes).map_err(|_| CborError::Utf8),
            Some(Later::Base64) => Ok(STANDARD.encode(bytes)),
            Some(Later::Base64Url) => Ok(URL_SAFE_NO_PAD.encode(bytes)),
            Some(Later::Base16) => Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        }
    }

    fn text(&mut self) -> Result<String, CborError> {
        let mut text = String::new();
        for piece in self.decoder.str_iter().map_err(malformed)? {
            text.push_str(piece.map_err(malformed)?);
        }
        Ok(text)
    }
}

fn since_epoch(seconds: f64) -> Option<Timestamp> {
    let whole = seconds.floor();
    let nanos = ((seconds - whole) * 1e9) as i32;
    // Casts saturate, and what is outside of the calendar is refused.
    Timestamp::new(whole as i64, nanos).ok()
}

fn number(number: f64) -> Result<Value, CborError> {
    let refused = if number.is_nan() { "floating-point NaN" } else { "floating-point infinity" };
    Number::from_f64(number).map(Value::Number).ok_or_else(|| not_accepted("primitives", refused))
}

fn not_accepted(kind: &'static str, cause: impl Into<String>) -> CborError {
    CborError::NotAccepted { kind, cause: cause.into() }
}

fn malformed(error: Error) -> CborError {
    if error.is_end_of_input() {
        return CborError::Eof;
    }
    let text = error.to_string();
    if text.contains("utf-8") {
        return CborError::Utf8;
    }
    CborError::Malformed(error.position().unwrap_or_default(), text)
}

/// What upstream's library calls a type.
fn name(kind: Type) -> &'static str {
    match kind {
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => "positive integer",
        Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::Int => "negative integer",
        Type::Bytes | Type::BytesIndef => "byte string",
        Type::String | Type::StringIndef => "UTF-8 text string",
        Type::Array | Type::ArrayIndef => "array",
        Type::Map | Type::MapIndef => "map",
        Type::Tag => "tag",
        _ => "primitives",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(text: &str) -> Result<Value, CborError> {
        decode(&hex::decode(text.replace(' ', "")).expect("hexadecimal"))
    }

    #[test]
    fn items_are_what_upstream_takes_them_for() {
        for (item, expected) in [
            ("d9d9f7 a1 446b696e64 43506f64", json!({"kind": "Pod"})),
            ("a1 646b696e64 63506f64", json!({"kind": "Pod"})),
            ("bf 616b 9f 01 20 ff ff", json!({"k": [1, -1]})),
            ("83 00 1b7fffffffffffffff 3b7fffffffffffffff", json!([0, i64::MAX, i64::MIN])),
            ("84 f4 f5 f6 f93e00", json!([false, true, null, 1.5])),
            ("82 fa3fc00000 fb3ff199999999999a", json!([1.5, 1.1])),
            ("7f 6161 6162 ff", json!("ab")),
            ("5f 4161 4162 ff", json!("ab")),
            ("d6 42 0102", json!("AQI=")),
            ("d5 42 fbff", json!("-_8")),
            ("d7 42 fbff", json!("fbff")),
            ("d6 82 41 01 a1 616b 41 02", json!(["AQ==", {"k": "Ag=="}])),
            ("c0 74 323031332d30332d32315432303a30343a30305a", json!("2013-03-21T20:04:00Z")),
            ("c1 1a514b67b0", json!("2013-03-21T20:04:00Z")),
            ("c1 fb41d452d9ec200000", json!("2013-03-21T20:04:00.5Z")),
            ("d8 20 62 6161", json!("aa")),
            ("a0", json!({})),
            ("80", json!([])),
        ] {
            assert_eq!(of(item), Ok(expected), "{item}");
        }
    }

    #[test]
    fn what_json_cannot_say_is_refused() {
        for (item, message) in [
            ("", "unexpected EOF"),
            ("a1", "unexpected EOF"),
            ("9bffffffffffffffff", "unexpected EOF"),
            ("5bffffffffffffffff00", "unexpected EOF"),
            ("bbffffffffffffffff", "unexpected EOF"),
            ("9f", "unexpected EOF"),
            ("0000", "cbor: 1 bytes of extraneous data starting at index 1"),
            ("a2 4161 01 6161 02", "cbor: found duplicate map key \"a\" at map element index 1"),
            ("a1 01 02", "cbor: cannot unmarshal positive integer into Go value of type string"),
            ("a1 80 02", "cbor: cannot unmarshal array into Go value of type string"),
            (
                "1b8000000000000000",
                "cbor: cannot unmarshal positive integer into Go value of type int64 (9223372036854775808 overflows Go's int64)",
            ),
            (
                "3bffffffffffffffff",
                "cbor: cannot unmarshal negative integer into Go value of type int64 (-18446744073709551616 overflows Go's int64)",
            ),
            ("f97e00", "cbor: data item of cbor type primitives is not accepted by protocol: floating-point NaN"),
            (
                "fa7f800000",
                "cbor: data item of cbor type primitives is not accepted by protocol: floating-point infinity",
            ),
            (
                "f7",
                "cbor: data item of cbor type primitives is not accepted by protocol: simple value 23 is not recognized",
            ),
            (
                "f0",
                "cbor: data item of cbor type primitives is not accepted by protocol: simple value 16 is not recognized",
            ),
            ("c2 41 01", "cbor: data item of cbor type tag is not accepted by protocol: bignum"),
            ("61 ff", "cbor: invalid UTF-8 string"),
            ("41 ff", "cbor: invalid UTF-8 string"),
            ("c0 01", "cbor: tag number 0 must be followed by text string, got positive integer"),
            ("c0 6161", "cbor: cannot set \"a\" for time.Time"),
        ] {
            assert_eq!(of(item).map_err(|error| error.to_string()), Err(message.to_owned()), "{item}");
        }
        for broken in ["c1 fb7e37e43c8800759c", "ff", "1c", "bf ff 01", "a1 ff", "9f ff ff", "5f 6161 ff"] {
            assert!(of(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn items_do_not_nest_for_ever() {
        for open in ["81", "9f", "a1 4161", "c9", "d6"] {
            let deep =
                |levels: usize| of(&(open.repeat(levels) + "00" + &"ff".repeat(if open == "9f" { levels } else { 0 })));
            assert!(deep(MAX_DEPTH).is_ok(), "{open}");
            assert_eq!(deep(MAX_DEPTH + 1), Err(CborError::Depth), "{open}");
            assert_eq!(deep(1_000_000), Err(CborError::Depth), "{open}");
        }
        let marked = "d9d9f7".repeat(3) + &"81".repeat(MAX_DEPTH) + "00";
        assert!(of(&marked).is_ok(), "the mark is no level");
    }
}
