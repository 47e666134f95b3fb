//! The lines of keys that are there twice, as upstream's YAML reader tells them (upstream: go.yaml.in/yaml/v2,
//! `decode.go`): a second walk, for documents that are known to have some.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use crate::codec::json::MAX_PROBLEMS;
use crate::schema::Problem;

/// What is there twice below a node, in reading order.
#[derive(Default)]
pub(super) struct Lines(pub(super) Vec<Problem>);

impl Lines {
    fn extend(&mut self, found: Vec<Problem>) {
        self.0.extend(found);
        self.0.truncate(MAX_PROBLEMS);
    }
}

impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(Walk)
    }
}

struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = Lines;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Lines, E> {
        Ok(Lines::default())
    }

    fn visit_none<E>(self) -> Result<Lines, E> {
        Ok(Lines::default())
    }

    fn visit_some<D: Deserializer<'de>>(self, reader: D) -> Result<Lines, D::Error> {
        Lines::deserialize(reader)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Lines, E> {
        Ok(Lines::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Lines, E> {
        Ok(Lines::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Lines, E> {
        Ok(Lines::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Lines, E> {
        Ok(Lines::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Lines, E> {
        Ok(Lines::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Lines, A::Error> {
        let mut lines = Lines::default();
        while let Some(item) = items.next_element::<Lines>()? {
            lines.extend(item.0);
        }
        Ok(lines)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Lines, A::Error> {
        let (mut lines, mut seen) = (Lines::default(), HashSet::new());
        while let Some(key) = entries.next_key::<String>()? {
            let value: Spanned<Lines> = entries.next_value()?;
            lines.extend(value.value.0);
            if seen.contains(&key) {
                lines.extend(vec![Problem::Repeated(value.referenced.line(), key)]);
            } else {
                seen.insert(key);
            }
        }
        Ok(lines)
    }
}
