//! The wire format: varints, lengths, field numbers (protobuf.dev/programming-guides/encoding).

use crate::ProtobufError;

/// One field's value as it travels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// Reads fields one by one.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next field's number and value; `None` at the end.
    pub(crate) fn next_field(&mut self) -> Result<Option<(u32, Wire<'a>)>, ProtobufError> {
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
    pub(crate) fn next_varint(&mut self) -> Result<Option<u64>, ProtobufError> {
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

/// Appends a number as a varint.
fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn tag(out: &mut Vec<u8>, field: u32, wire: u32) {
    number(out, u64::from(field << 3 | wire));
}

/// A field that is a number.
pub(crate) fn varint(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, 0);
    number(out, value);
}

/// A field that is a floating point number.
pub(crate) fn double(out: &mut Vec<u8>, field: u32, value: f64) {
    tag(out, field, 1);
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

/// The beginning of a field of so many bytes.
pub(crate) fn length(out: &mut Vec<u8>, field: u32, length: usize) {
    tag(out, field, 2);
    number(out, length as u64);
}

/// A field of bytes or text.
pub(crate) fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    length(out, field, value.len());
    out.extend_from_slice(value);
}

/// Begins a message within a message; [`end`] writes its length.
pub(crate) fn begin(out: &mut Vec<u8>, field: u32) -> usize {
    tag(out, field, 2);
    out.push(0);
    out.len()
}

/// Ends the message that began `at` this place.
pub(crate) fn end(out: &mut Vec<u8>, at: usize) {
    let length = out.len() - at;
    if length < 0x80 {
        out[at - 1] = length as u8;
        return;
    }
    let mut prefix = Vec::with_capacity(5);
    number(&mut prefix, length as u64);
    let wider = prefix.len() - 1;
    out.resize(out.len() + wider, 0);
    out.copy_within(at..at + length, at + wider);
    out[at - 1..at + wider].copy_from_slice(&prefix);
}
