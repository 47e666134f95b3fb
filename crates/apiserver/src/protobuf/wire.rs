//! The wire format: varints, lengths, field numbers (protobuf.dev/programming-guides/encoding).

use super::ProtobufError;

/// One field's value as it travels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// Reads fields one by one.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next field's number and value; `None` at the end.
    pub(super) fn next_field(&mut self) -> Result<Option<(u32, Wire<'a>)>, ProtobufError> {
        let Some(tag) = self.next_varint()? else { return Ok(None) };
        let number = u32::try_from(tag >> 3).map_err(|_| self.malformed())?;
        let wire = match tag & 7 {
            0 => Wire::Varint(self.next_varint()?.ok_or_else(|| self.malformed())?),
            1 => {
                let bytes = self.take(8)?;
                Wire::Fixed64(u64::from_le_bytes(bytes.try_into().map_err(|_| self.malformed())?))
            }
            2 => {
                let length = self.next_varint()?.ok_or_else(|| self.malformed())?;
                Wire::Bytes(self.take(usize::try_from(length).map_err(|_| self.malformed())?)?)
            }
            5 => {
                let bytes = self.take(4)?;
                Wire::Fixed32(u32::from_le_bytes(bytes.try_into().map_err(|_| self.malformed())?))
            }
            _ => return Err(self.malformed()),
        };
        Ok(Some((number, wire)))
    }

    /// The next varint; `None` at the end.
    pub(super) fn next_varint(&mut self) -> Result<Option<u64>, ProtobufError> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or_else(|| self.malformed())?;
            self.at += 1;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(Some(number));
            }
        }
        Err(self.malformed())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], ProtobufError> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len()).ok_or_else(|| self.malformed())?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn malformed(&self) -> ProtobufError {
        ProtobufError::Malformed(self.at)
    }
}
