//! From JSON text to messages, in one walk: no tree is built in between.
//!
//! Lengths come before contents, so a place of one byte is kept and, for longer messages, made wider afterwards.
//! A field of an inlined message is written as a message of its own; decoders merge them, as the wire format demands.

use std::fmt;

use apimachinery::duration::GoDuration;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::table::{Field, Form, Kind, Label, Message, Named, message};
use crate::wire::{self, begin, end};
use crate::{ProtobufError, scalar};

/// Appends the fields of a message that the JSON object in `json` has.
pub(crate) fn fields(message: &'static Message, json: &[u8], out: &mut Vec<u8>) -> Result<(), ProtobufError> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    Fields { message, out }.deserialize(&mut deserializer).map_err(|error| ProtobufError::Json(error.to_string()))
}

/// The fields of a message, from an object.
struct Fields<'o> {
    message: &'static Message,
    out: &'o mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(named) = map.next_key_seed(Name(self.message))? {
            // apiVersion and kind are in the envelope.
            let Some(named) = named else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let [outer, inner] = named.within.map(|number| (number > 0).then(|| begin(self.out, number)));
            map.next_value_seed(Entry { field: &named.field, out: self.out })?;
            [inner, outer].into_iter().flatten().for_each(|at| end(self.out, at));
        }
        Ok(())
    }
}

/// A name of an object, looked up.
struct Name(&'static Message);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<&'static Named>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<&'static Named>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.named(name))
    }
}

/// A field with its value: single, a list or a map.
struct Entry<'o> {
    field: &'static Field,
    out: &'o mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Entry<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.field.label {
            Label::Single | Label::Inline => {
                Item { number: self.field.number, kind: self.field.kind, out: self.out }.deserialize(deserializer)
            }
            Label::Repeated | Label::Map => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Entry<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value for {}", self.field.name)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Field { number, kind, .. } = *self.field;
        while items.next_element_seed(Item { number, kind, out: self.out })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            let at = begin(self.out, self.field.number);
            wire::bytes(self.out, 1, key.as_bytes());
            map.next_value_seed(Item { number: 2, kind: self.field.kind, out: self.out })?;
            end(self.out, at);
        }
        Ok(())
    }
}

/// One value under a field number. `null` is no value.
struct Item<'o> {
    number: u32,
    kind: Kind,
    out: &'o mut Vec<u8>,
}

impl Item<'_> {
    fn form(&self) -> Option<(&'static Message, Form)> {
        match self.kind {
            Kind::Message(id) => Some((message(id), message(id).form)),
            _ => None,
        }
    }

    fn refused<E: Error>(&self, found: impl fmt::Display) -> E {
        E::custom(format_args!("unexpected {found} in field {}", self.number))
    }

    fn int<E: Error>(self, value: i64) -> Result<(), E> {
        match (self.kind, self.form()) {
            (Kind::Int, _) => wire::varint(self.out, self.number, value.cast_unsigned()),
            #[expect(clippy::cast_precision_loss, reason = "JSON has one sort of number")]
            (Kind::Double, _) => wire::double(self.out, self.number, value as f64),
            (_, Some((_, Form::IntOrString))) => {
                let at = begin(self.out, self.number);
                wire::varint(self.out, 1, 0);
                wire::varint(self.out, 2, value.cast_unsigned());
                end(self.out, at);
            }
            (_, Some((_, Form::Quantity))) => return self.visit_str(&value.to_string()),
            _ => return Err(self.refused(value)),
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Item<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if let Some((_, Form::Raw)) = self.form() {
            let raw = <&RawValue as serde::Deserialize>::deserialize(deserializer)?.get();
            if raw != "null" {
                let at = begin(self.out, self.number);
                wire::bytes(self.out, 1, raw.as_bytes());
                end(self.out, at);
            }
            return Ok(());
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Item<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value for field {}", self.number)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match (self.kind, self.form()) {
            (Kind::Bool, _) => wire::varint(self.out, self.number, u64::from(value)),
            (_, Some((_, Form::SchemaOrBool))) => {
                let at = begin(self.out, self.number);
                wire::varint(self.out, 1, u64::from(value));
                end(self.out, at);
            }
            _ => return Err(self.refused(value)),
        }
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.int(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        match i64::try_from(value) {
            Ok(value) => self.int(value),
            Err(_) => Err(self.refused(value)),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        match (self.kind, self.form()) {
            (Kind::Double, _) => wire::double(self.out, self.number, value),
            (_, Some((_, Form::Quantity))) => return self.visit_str(&value.to_string()),
            _ => return Err(self.refused(value)),
        }
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        match (self.kind, self.form()) {
            (Kind::String, _) => wire::bytes(self.out, self.number, text.as_bytes()),
            (Kind::Bytes, _) => {
                wire::bytes(self.out, self.number, &STANDARD.decode(text).map_err(|error| self.refused(error))?);
            }
            (_, Some((_, form @ (Form::Time | Form::MicroTime)))) => {
                let at: jiff::Timestamp = text.parse().map_err(|error| self.refused(error))?;
                let message = begin(self.out, self.number);
                scalar::put_time(self.out, at, form == Form::MicroTime);
                end(self.out, message);
            }
            (_, Some((_, Form::Duration))) => {
                let span: GoDuration = text.parse().map_err(|error| self.refused(error))?;
                let message = begin(self.out, self.number);
                wire::varint(self.out, 1, span.as_nanos().cast_unsigned());
                end(self.out, message);
            }
            (_, Some((_, Form::IntOrString))) => {
                let at = begin(self.out, self.number);
                wire::varint(self.out, 1, 1);
                wire::bytes(self.out, 3, text.as_bytes());
                end(self.out, at);
            }
            (_, Some((_, Form::Quantity))) => {
                let at = begin(self.out, self.number);
                wire::bytes(self.out, 1, text.as_bytes());
                end(self.out, at);
            }
            _ => return Err(self.refused("a string")),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let number = match self.form() {
            Some((_, Form::List)) => 1,
            Some((_, Form::SchemaOrList)) => 2,
            _ => return Err(self.refused("a list")),
        };
        let inner = self.form().and_then(|(message, _)| message.field(number));
        let Some(&Field { kind, .. }) = inner else { return Err(self.refused("a list")) };
        let at = begin(self.out, self.number);
        while items.next_element_seed(Item { number, kind, out: self.out })?.is_some() {}
        end(self.out, at);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Some((message, form)) = self.form() else { return Err(self.refused("an object")) };
        let at = begin(self.out, self.number);
        match form {
            Form::Struct => Fields { message, out: self.out }.visit_map(map)?,
            Form::SchemaOrBool => {
                wire::varint(self.out, 1, 1);
                nested(message, 2, self.out, map)?;
            }
            Form::SchemaOrList => nested(message, 1, self.out, map)?,
            _ => return Err(self.refused("an object")),
        }
        end(self.out, at);
        Ok(())
    }
}

/// The object as the field `number` of `message`.
fn nested<'de, A: MapAccess<'de>>(
    message: &'static Message,
    number: u32,
    out: &mut Vec<u8>,
    map: A,
) -> Result<(), A::Error> {
    match message.field(number) {
        Some(field) => Item { number, kind: field.kind, out }.visit_map(map),
        None => Err(A::Error::custom("no such field")),
    }
}
