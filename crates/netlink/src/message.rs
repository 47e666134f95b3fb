//! Netlink messages as bytes: headers, and attributes nested to any depth.

/// `NLM_F_REQUEST`.
pub const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`: answer even when all went well.
pub const ACK: u16 = 0x4;
/// `NLM_F_DUMP`: answer with everything there is.
pub const DUMP: u16 = 0x300;
/// `NLM_F_REPLACE`: replace what is there.
pub const REPLACE: u16 = 0x100;
/// `NLM_F_EXCL`: fail with `EEXIST` when it is there.
pub const EXCL: u16 = 0x200;
/// `NLM_F_CREATE`: create what is not there.
pub const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`: add at the end of a list.
pub const APPEND: u16 = 0x800;

/// The length of `struct nlmsghdr`.
pub const HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;
const NESTED: u16 = 0x8000;

/// Messages back to back, to be sent at once; sequence numbers count from one.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    last: u32,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a message of a type; `REQUEST` is implied. Returns its sequence number.
    pub fn message(&mut self, kind: u16, flags: u16, write: impl FnOnce(&mut Body)) -> u32 {
        self.last += 1;
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; HEADER]);
        write(&mut Body { bytes: &mut self.bytes });
        let length = (self.bytes.len() - start) as u32;
        let header = &mut self.bytes[start..start + HEADER];
        header[0..4].copy_from_slice(&length.to_ne_bytes());
        header[4..6].copy_from_slice(&kind.to_ne_bytes());
        header[6..8].copy_from_slice(&(flags | REQUEST).to_ne_bytes());
        header[8..12].copy_from_slice(&self.last.to_ne_bytes());
        self.last
    }

    /// The sequence number of the last message; 0 when there is none.
    pub fn last(&self) -> u32 {
        self.last
    }

    /// What goes over the socket.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The rest of one message, or of one nested attribute.
#[derive(Debug)]
pub struct Body<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Body<'_> {
    /// Bytes as they are: the fixed structure in front of the attributes.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// An attribute.
    pub fn put(&mut self, kind: u16, value: &[u8]) {
        let length = (ATTRIBUTE_HEADER + value.len()) as u16;
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
    }

    /// A byte.
    pub fn u8(&mut self, kind: u16, value: u8) {
        self.put(kind, &[value]);
    }

    /// A number in the machine's byte order, as rtnetlink takes it.
    pub fn u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_ne_bytes());
    }

    /// A number in network byte order, as netfilter takes it.
    pub fn be32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_be_bytes());
    }

    /// A long number in network byte order.
    pub fn be64(&mut self, kind: u16, value: u64) {
        self.put(kind, &value.to_be_bytes());
    }

    /// A text with the NUL that the kernel expects.
    pub fn text(&mut self, kind: u16, value: &str) {
        let length = (ATTRIBUTE_HEADER + value.len() + 1) as u16;
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.pad();
    }

    /// An attribute made of attributes. Its length is 16 bits wide: the caller splits longer lists.
    pub fn nest(&mut self, kind: u16, write: impl FnOnce(&mut Body)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; ATTRIBUTE_HEADER]);
        write(&mut Body { bytes: self.bytes });
        let length = self.bytes.len() - start;
        debug_assert!(length <= usize::from(u16::MAX), "a nested attribute of {length} bytes");
        self.bytes[start..start + 2].copy_from_slice(&(length as u16).to_ne_bytes());
        self.bytes[start + 2..start + 4].copy_from_slice(&(kind | NESTED).to_ne_bytes());
    }

    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }
}

/// One message as received.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq`.
    pub sequence: u32,
    /// What follows the header.
    pub body: &'a [u8],
}

/// Splits what a socket delivered; stops at the first malformed header.
pub fn split(mut bytes: &[u8]) -> impl Iterator<Item = Received<'_>> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(bytes.get(0..4)?.try_into().ok()?) as usize;
        let message = bytes.get(..length).filter(|message| message.len() >= HEADER)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Received {
            kind: u16::from_ne_bytes([message[4], message[5]]),
            flags: u16::from_ne_bytes([message[6], message[7]]),
            sequence: u32::from_ne_bytes([message[8], message[9], message[10], message[11]]),
            body: &message[HEADER..],
        })
    })
}

/// The attributes in `bytes` with their types, flags taken off; stops at the first malformed one.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(0..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & 0x3fff;
        let value = bytes.get(ATTRIBUTE_HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The first attribute of a type.
pub fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut batch = Batch::new();
        batch.message(16, ACK, |body| {
            body.raw(&[9; 4]);
            body.text(3, "eth0");
            body.nest(18, |body| body.u32(1, 7));
        });
        batch.message(17, 0, |_| {});
        let messages: Vec<_> = split(batch.bytes()).collect();
        assert_eq!(messages.len(), 2);
        assert_eq!((messages[0].kind, messages[0].flags, messages[0].sequence), (16, ACK | REQUEST, 1));
        let rest = &messages[0].body[4..];
        assert_eq!(attribute(rest, 3), Some(&b"eth0\0"[..]));
        let nested = attribute(rest, 18).expect("the nested attribute is there");
        assert_eq!(attribute(nested, 1), Some(&7_u32.to_ne_bytes()[..]));
    }

    #[test]
    fn malformed_bytes_end_the_reading() {
        for bytes in [&[][..], &[1], &[255, 255, 255, 255, 0, 0, 0, 0], &[3, 0, 0, 0], &[0; 40]] {
            assert_eq!(split(bytes).count(), 0, "{bytes:?}");
        }
        for bytes in [&[][..], &[8, 0, 1, 0], &[2, 0, 1, 0], &[0; 3]] {
            assert_eq!(attributes(bytes).count(), 0, "{bytes:?}");
        }
    }
}
