//! One line of a CRI log file: `2026-01-02T03:04:05.678901234Z stdout F text` (upstream: cri-client/pkg/logs/logs.go).

/// One entry of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The time as written.
    pub time: &'a str,
    /// `stdout` or `stderr`.
    pub stream: &'a str,
    /// The text; with its newline unless the entry is a part of a longer line.
    pub content: &'a [u8],
}

/// Parses one line with its newline; `None` for what is no entry.
pub fn line(line: &[u8]) -> Option<Entry<'_>> {
    let (time, rest) = word(line)?;
    let (stream, rest) = word(rest)?;
    let (tags, rest) = word(rest)?;
    if !matches!(stream, "stdout" | "stderr") {
        return None;
    }
    let partial = tags.split(':').any(|tag| tag == "P");
    let content = if partial { rest.strip_suffix(b"\n").unwrap_or(rest) } else { rest };
    Some(Entry { time, stream, content })
}

fn word(text: &[u8]) -> Option<(&str, &[u8])> {
    let end = text.iter().position(|byte| *byte == b' ')?;
    Some((std::str::from_utf8(&text[..end]).ok()?, &text[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        let full = line(b"2026-01-01T00:00:00Z stdout F hello world\n").expect("an entry");
        assert_eq!((full.stream, full.content), ("stdout", &b"hello world\n"[..]));
        let part = line(b"2026-01-01T00:00:00Z stderr P half\n").expect("an entry");
        assert_eq!((part.stream, part.content), ("stderr", &b"half"[..]));
        assert_eq!(line(b"2026-01-01T00:00:00Z stdout F \n").expect("an entry").content, b"\n");
        assert!(line(b"nonsense\n").is_none() && line(b"t other F x\n").is_none());
    }
}
