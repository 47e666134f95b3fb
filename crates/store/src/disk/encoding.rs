//! How a [`Record`] is written, in the database and in the logs alike.
//!
//! `created`, length of the key, whether there is a value, key, value.

use std::sync::Arc;

use bytes::Bytes;

use super::Record;
use crate::kv::Revision;

/// What is written before the key.
const HEAD: usize = 8 + 4 + 1;

/// How many bytes [`encode`] appends.
pub(crate) fn encoded_len(record: &Record) -> usize {
    HEAD + record.key.len() + record.value.as_ref().map_or(0, Bytes::len)
}

/// Appends the record. Its revision is kept beside it.
pub(crate) fn encode(record: &Record, into: &mut Vec<u8>) {
    into.extend_from_slice(&record.created.to_le_bytes());
    into.extend_from_slice(&(record.key.len() as u32).to_le_bytes());
    into.push(u8::from(record.value.is_some()));
    into.extend_from_slice(record.key.as_bytes());
    into.extend_from_slice(record.value.as_deref().unwrap_or_default());
}

/// The record that was encoded, if `encoded` is one.
pub(crate) fn decode(revision: Revision, encoded: &[u8]) -> Option<Record> {
    let (created, rest) = encoded.split_first_chunk::<8>()?;
    let (key_len, rest) = rest.split_first_chunk::<4>()?;
    let (has_value, rest) = rest.split_first()?;
    let (key, value) = rest.split_at_checked(u32::from_le_bytes(*key_len) as usize)?;
    let key: Arc<str> = std::str::from_utf8(key).ok()?.into();
    let value = match has_value {
        0 if value.is_empty() => None,
        1 => Some(Bytes::copy_from_slice(value)),
        _ => return None,
    };
    Some(Record { revision, created: u64::from_le_bytes(*created), key, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_encoding() {
        for value in [None, Some(Bytes::new()), Some(Bytes::from_static(b"{}"))] {
            let record = Record { revision: 7, created: 3, key: "/registry/舵".into(), value };
            let mut encoded = Vec::new();
            encode(&record, &mut encoded);
            assert_eq!(encoded.len(), encoded_len(&record));
            assert_eq!(decode(7, &encoded), Some(record));
            assert_eq!(decode(7, &encoded[..12]), None);
        }
    }
}
