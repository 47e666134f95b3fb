//! Header blocks: names and values, compressed by one zlib stream a connection and direction.

use std::io;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::dictionary::dictionary;

/// Most bytes of one header block, unpacked.
const MAX_BLOCK: usize = 64 * 1024;
/// Most headers of one block.
const MAX_HEADERS: usize = 256;

/// Names (in lower case) and values.
pub type Headers = Vec<(String, String)>;

/// The value of a header.
pub fn get<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn broken(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Packs header blocks.
pub struct Packer {
    zlib: Compress,
}

impl Packer {
    /// A packer at the start of a connection.
    pub fn new() -> io::Result<Self> {
        let mut zlib = Compress::new(Compression::default(), true);
        zlib.set_dictionary(dictionary()).map_err(io::Error::other)?;
        Ok(Self { zlib })
    }

    /// Packs one block.
    pub fn pack(&mut self, headers: &Headers) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        plain.extend_from_slice(&(headers.len() as u32).to_be_bytes());
        for (name, value) in headers {
            for text in [name, value] {
                plain.extend_from_slice(&(text.len() as u32).to_be_bytes());
                plain.extend_from_slice(text.as_bytes());
            }
        }
        let mut packed = Vec::with_capacity(plain.len() + 64);
        let mut rest = plain.as_slice();
        loop {
            packed.reserve(256);
            let before = self.zlib.total_in();
            self.zlib.compress_vec(rest, &mut packed, FlushCompress::Sync).map_err(io::Error::other)?;
            rest = &rest[(self.zlib.total_in() - before) as usize..];
            // Room left over means that the flush is complete.
            if rest.is_empty() && packed.len() < packed.capacity() {
                return Ok(packed);
            }
        }
    }
}

/// Unpacks header blocks.
pub struct Unpacker {
    zlib: Decompress,
}

impl Default for Unpacker {
    fn default() -> Self {
        Self { zlib: Decompress::new(true) }
    }
}

impl Unpacker {
    /// Unpacks one block.
    pub fn unpack(&mut self, packed: &[u8]) -> io::Result<Headers> {
        parse(&self.inflate(packed)?)
    }

    fn inflate(&mut self, packed: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        let mut rest = packed;
        loop {
            plain.reserve(1024);
            let (read, written) = (self.zlib.total_in(), self.zlib.total_out());
            let result = self.zlib.decompress_vec(rest, &mut plain, FlushDecompress::Sync);
            rest = &rest[(self.zlib.total_in() - read) as usize..];
            let progress = self.zlib.total_in() > read || self.zlib.total_out() > written;
            match result {
                Ok(Status::StreamEnd) => return Err(broken("the header stream ended")),
                Ok(_) => {}
                Err(err) if err.needs_dictionary().is_some() => {
                    self.zlib.set_dictionary(dictionary()).map_err(|_| broken("unknown header dictionary"))?;
                    continue;
                }
                Err(_) => return Err(broken("header compression")),
            }
            if plain.len() > MAX_BLOCK {
                return Err(broken("header block too large"));
            }
            if rest.is_empty() && plain.len() < plain.capacity() {
                return Ok(plain);
            }
            if !progress {
                return Err(broken("header compression"));
            }
        }
    }
}

fn parse(plain: &[u8]) -> io::Result<Headers> {
    let mut rest = plain;
    let count = take_u32(&mut rest)? as usize;
    if count > MAX_HEADERS {
        return Err(broken("too many headers"));
    }
    let mut headers = Vec::with_capacity(count);
    for _ in 0..count {
        let name = take_text(&mut rest)?.to_lowercase();
        headers.push((name, take_text(&mut rest)?));
    }
    Ok(headers)
}

fn take_u32(rest: &mut &[u8]) -> io::Result<u32> {
    let (head, tail) = rest.split_first_chunk::<4>().ok_or_else(|| broken("short header block"))?;
    *rest = tail;
    Ok(u32::from_be_bytes(*head))
}

fn take_text(rest: &mut &[u8]) -> io::Result<String> {
    let length = take_u32(rest)? as usize;
    let (text, tail) = rest.split_at_checked(length).ok_or_else(|| broken("short header block"))?;
    *rest = tail;
    Ok(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn blocks_of_one_connection_share_their_history() {
        let (mut packer, mut unpacker) = (Packer::new().expect("a packer"), Unpacker::default());
        let block = headers(&[("streamtype", "stdout"), ("port", "80"), ("empty", "")]);
        let first = packer.pack(&block).expect("packed");
        let second = packer.pack(&block).expect("packed");
        assert!(second.len() < first.len());
        assert_eq!(unpacker.unpack(&first).expect("unpacked"), block);
        assert_eq!(unpacker.unpack(&second).expect("unpacked"), block);
    }

    #[test]
    fn large_blocks_pass_and_bombs_do_not() {
        let (mut packer, mut unpacker) = (Packer::new().expect("a packer"), Unpacker::default());
        let large = headers(&[("a", &"x".repeat(20_000))]);
        assert_eq!(unpacker.unpack(&packer.pack(&large).expect("packed")).expect("unpacked"), large);
        let bomb = headers(&[("a", &"x".repeat(10_000_000))]);
        assert!(unpacker.unpack(&packer.pack(&bomb).expect("packed")).is_err());
    }

    #[test]
    fn hostile_blocks_are_errors() {
        for bytes in [&[][..], &[0], &[0xff; 40], &[0x78, 0x9c, 0, 0], &[0x78, 0xbb, 0, 0, 0, 0, 9]] {
            assert!(Unpacker::default().unpack(bytes).is_err(), "{bytes:?}");
        }
        assert!(parse(&[0xff, 0xff, 0xff, 0xff]).is_err());
        assert!(parse(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 1]).is_err());
    }
}
