//! PEM as Go's `encoding/pem` reads it: whatever stands between blocks, and blocks that are none, are passed over.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

/// One block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block<'a> {
    /// What it says it is, as `CERTIFICATE`.
    pub(crate) label: &'a str,
    /// Whether lines of `key: value` come before the content.
    pub(crate) has_headers: bool,
    /// The content, decoded.
    pub(crate) contents: Vec<u8>,
}

/// The blocks of a text, in order.
pub(crate) fn blocks(text: &[u8]) -> impl Iterator<Item = Block<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            rest = after_line_start(rest, BEGIN)?;
            if let Some((block, after)) = block(rest) {
                rest = after;
                return Some(block);
            }
        }
    })
}

/// A block whose BEGIN has been read, and what comes after it.
fn block(text: &[u8]) -> Option<(Block<'_>, &[u8])> {
    let (first, mut rest) = line(text);
    let label = first.strip_suffix(DASHES)?;
    let mut has_headers = false;
    loop {
        let (header, after) = line(rest);
        if !header.contains(&b':') {
            break;
        }
        (has_headers, rest) = (true, after);
    }
    // An empty block may end at once.
    let (content, after) = match rest.strip_prefix(END).filter(|_| !has_headers) {
        Some(after) => (&rest[..0], after),
        None => {
            let after = after_line_start(rest, END)?;
            (&rest[..rest.len() - after.len() - END.len()], after)
        }
    };
    let trailer = after.strip_prefix(label)?.strip_prefix(DASHES)?;
    let (tail, after) = line(trailer);
    if !tail.is_empty() {
        return None;
    }
    let content: Vec<u8> = content.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let contents = STANDARD.decode(content).ok()?;
    Some((Block { label: std::str::from_utf8(label).ok()?, has_headers, contents }, after))
}

/// What follows the first line that begins so.
fn after_line_start<'a>(text: &'a [u8], begin: &[u8]) -> Option<&'a [u8]> {
    let mut rest = text;
    loop {
        if let Some(after) = rest.strip_prefix(begin) {
            return Some(after);
        }
        let newline = rest.iter().position(|byte| *byte == b'\n')?;
        rest = &rest[newline + 1..];
    }
}

/// A line without the white space at its end, and what follows it.
fn line(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| *byte == b'\n') {
        Some(end) => (text[..end].trim_ascii_end(), &text[end + 1..]),
        None => (text.trim_ascii_end(), &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        let shown = |block: Block<'_>| {
            let headers = if block.has_headers { " with headers" } else { "" };
            format!("{}{headers} {:?}\n", block.label, block.contents)
        };
        blocks(text.as_bytes()).map(shown).collect()
    }

    #[test]
    fn blocks_are_found_between_other_things() {
        let one = "-----BEGIN A-----\nAQ\r\n ID\n-----END A-----\n";
        assert_eq!(read(&format!("{one}text -----BEGIN C-----\n{one}")), "A [1, 2, 3]\nA [1, 2, 3]\n");
        assert_eq!(read("-----BEGIN A-----\nk: v\n\nAQID\n-----END A-----"), "A with headers [1, 2, 3]\n");
        assert_eq!(read("-----BEGIN A-----\n-----END A-----"), "A []\n");
        assert_eq!(read("-----BEGIN A B-----  \nAQID\n-----END A B-----  \n"), "A B [1, 2, 3]\n");
    }

    #[test]
    fn what_is_no_block_is_passed_over() {
        let good = "-----BEGIN B-----\nAQID\n-----END B-----\n";
        for bad in [
            "-----BEGIN A\nAQID\n-----END A-----\n",
            "-----BEGIN A-----\nAQI\n-----END A-----\n",
            "-----BEGIN A-----\nAQID\n-----END C-----\n",
            "-----BEGIN A-----\nAQID\n-----END A----- x\n",
            " -----BEGIN A-----\nAQID\n-----END A-----\n",
            "-----BEGIN ",
            "",
        ] {
            assert_eq!(read(&format!("{bad}\n{good}")), "B [1, 2, 3]\n", "{bad}");
            assert_eq!(read(bad), "", "{bad}");
        }
    }
}
