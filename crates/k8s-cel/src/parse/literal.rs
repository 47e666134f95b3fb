//! Constants: numbers, texts and bytes (upstream: cel-go parser/unescape.go).

use super::lexer::Token;
use crate::ast::Literal;

/// Takes the number at the start of `rest`.
pub(super) fn number(rest: &str) -> Result<(Token, usize), String> {
    if let Some(hex) = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
        let digits = hex.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(hex.len());
        return integer(&hex[..digits], 16, rest, digits + 2);
    }
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let mut length = digits(rest);
    let mut is_float = false;
    if rest[length..].starts_with('.') && rest[length + 1..].starts_with(|c: char| c.is_ascii_digit()) {
        is_float = true;
        length += 1 + digits(&rest[length + 1..]);
    }
    if let Some(exponent) = rest[length..].strip_prefix(['e', 'E']) {
        let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let count = digits(unsigned);
        if count > 0 {
            is_float = true;
            length += 1 + (exponent.len() - unsigned.len()) + count;
        }
    }
    if is_float {
        let value = rest[..length].parse::<f64>().ok().filter(|value| value.is_finite());
        let value = value.ok_or_else(|| "invalid double literal".to_owned())?;
        return Ok((Token::Literal(Literal::Double(value)), length));
    }
    integer(&rest[..length], 10, rest, length)
}

/// The smallest int has no positive counterpart: it is read as itself, and the parser wants a minus before it.
const MIN_INT_MAGNITUDE: u64 = 1 << 63;

fn integer(digits: &str, radix: u32, rest: &str, length: usize) -> Result<(Token, usize), String> {
    let value = u64::from_str_radix(digits, radix);
    if rest[length..].starts_with(['u', 'U']) {
        let value = value.map_err(|_| "invalid uint literal".to_owned())?;
        return Ok((Token::Literal(Literal::Uint(value)), length + 1));
    }
    let value = value.map_err(|_| "invalid int literal".to_owned())?;
    match i64::try_from(value) {
        Ok(value) => Ok((Token::Literal(Literal::Int(value)), length)),
        Err(_) if value == MIN_INT_MAGNITUDE => Ok((Token::Literal(Literal::Int(i64::MIN)), length)),
        Err(_) => Err("invalid int literal".to_owned()),
    }
}

/// How a text begins: `r`, `b`, and its quotes.
pub(super) struct Prefix {
    length: usize,
    raw: bool,
    bytes: bool,
    quote: &'static str,
}

/// The beginning of a text, where `rest` is one.
pub(super) fn text_prefix(rest: &str) -> Option<Prefix> {
    let letters = rest.bytes().take(3).position(|byte| matches!(byte, b'"' | b'\''))?;
    let (mut raw, mut bytes) = (false, false);
    for letter in rest[..letters].chars() {
        let seen = match letter {
            'r' | 'R' => std::mem::replace(&mut raw, true),
            'b' | 'B' => std::mem::replace(&mut bytes, true),
            _ => true,
        };
        if seen {
            return None;
        }
    }
    let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| rest[letters..].starts_with(quote))?;
    Some(Prefix { length: letters + quote.len(), raw, bytes, quote })
}

/// Takes the text at the start of `rest`.
pub(super) fn text(rest: &str, prefix: &Prefix) -> Result<(Token, usize), String> {
    let body = &rest[prefix.length..];
    let unfinished = || {
        let shown: String = rest.lines().next().unwrap_or_default().chars().take(40).collect();
        format!("Syntax error: token recognition error at: '{shown}'")
    };
    let mut out = Text { text: String::new(), bytes: Vec::new(), wants_bytes: prefix.bytes };
    let mut at = 0;
    loop {
        let left = &body[at..];
        if left.starts_with(prefix.quote) {
            return Ok((Token::Literal(out.literal()), prefix.length + at + prefix.quote.len()));
        }
        let first = left.chars().next().ok_or_else(unfinished)?;
        if matches!(first, '\n' | '\r') && prefix.quote.len() == 1 {
            return Err(unfinished());
        }
        if first == '\\' && !prefix.raw {
            at += escape(left, &mut out).ok_or_else(unfinished)?;
        } else if first == '\\' {
            let next = left[1..].chars().next().ok_or_else(unfinished)?;
            out.push(first);
            out.push(next);
            at += 1 + next.len_utf8();
        } else {
            out.push(first);
            at += first.len_utf8();
        }
    }
}

struct Text {
    text: String,
    bytes: Vec<u8>,
    wants_bytes: bool,
}

impl Text {
    fn push(&mut self, c: char) {
        if self.wants_bytes {
            self.bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            self.text.push(c);
        }
    }

    /// A number from an escape: a byte or a character.
    fn push_code(&mut self, code: u32, is_byte: bool) -> Option<()> {
        if self.wants_bytes && is_byte {
            self.bytes.push(u8::try_from(code).ok()?);
        } else {
            self.push(char::from_u32(code)?);
        }
        Some(())
    }

    fn literal(self) -> Literal {
        if self.wants_bytes { Literal::Bytes(self.bytes.into()) } else { Literal::String(self.text.into()) }
    }
}

/// Takes the escape at the start of `left`; answers its length.
fn escape(left: &str, out: &mut Text) -> Option<usize> {
    let kind = left[1..].chars().next()?;
    let simple = match kind {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\\' | '\'' | '"' | '`' | '?' => kind,
        'x' | 'X' | 'u' | 'U' | '0'..='3' => return code(left, kind, out),
        _ => return None,
    };
    out.push(simple);
    Some(2)
}

fn code(left: &str, kind: char, out: &mut Text) -> Option<usize> {
    let (skip, digits, radix, is_byte) = match kind {
        'x' | 'X' => (2, 2, 16, true),
        'u' if !out.wants_bytes => (2, 4, 16, false),
        'U' if !out.wants_bytes => (2, 8, 16, false),
        '0'..='3' => (1, 3, 8, true),
        _ => return None,
    };
    let text = left.get(skip..skip + digits)?;
    if !text.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    out.push_code(u32::from_str_radix(text, radix).ok()?, is_byte)?;
    Some(skip + digits)
}
