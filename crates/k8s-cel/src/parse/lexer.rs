//! Words of the language.

use super::literal;
use super::{Fault, Parsed};
use crate::ast::Literal;

/// A word.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name, or a name in back quotes.
    Ident(Box<str>),
    /// A constant.
    Literal(Literal),
    /// An operator or bracket.
    Symbol(&'static str),
    /// The operator `in`.
    In,
    /// Nothing is left.
    End,
}

/// A word, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Spanned {
    pub(super) token: Token,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Longer ones first.
const SYMBOLS: [&str; 27] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "+", "-", "*", "/", "%", "?", ":", ".", ",", "(", ")", "[", "]",
    "{", "}", "=", "&", "|",
];

/// Takes the word at or after `from`.
pub(super) fn next(source: &str, from: usize) -> Parsed<Spanned> {
    let start = skip_blank(source, from);
    let rest = &source[start..];
    let Some(first) = rest.chars().next() else {
        return Ok(Spanned { token: Token::End, start, end: start });
    };
    let (token, length) = if first.is_ascii_digit() || (first == '.' && starts_with_digit(&rest[1..])) {
        literal::number(rest).map_err(|message| Fault::new(start, message))?
    } else if let Some(prefix) = literal::text_prefix(rest) {
        literal::text(rest, &prefix).map_err(|message| Fault::new(start, message))?
    } else if first.is_ascii_alphabetic() || first == '_' {
        word(rest)
    } else if first == '`' {
        quoted_name(rest).ok_or_else(|| unknown(start, rest))?
    } else {
        let symbol = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)).ok_or_else(|| unknown(start, rest))?;
        if matches!(*symbol, "=" | "&" | "|") {
            return Err(unknown(start, rest));
        }
        (Token::Symbol(symbol), symbol.len())
    };
    Ok(Spanned { token, start, end: start + length })
}

fn unknown(start: usize, rest: &str) -> Fault {
    let shown: String = rest.chars().take(1).collect();
    Fault::new(start, format!("Syntax error: token recognition error at: '{shown}'"))
}

fn starts_with_digit(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit())
}

/// Behind blanks and comments.
fn skip_blank(source: &str, mut at: usize) -> usize {
    loop {
        let rest = &source[at..];
        let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']);
        at += rest.len() - trimmed.len();
        if !trimmed.starts_with("//") {
            return at;
        }
        at += trimmed.find('\n').unwrap_or(trimmed.len());
    }
}

fn word(rest: &str) -> (Token, usize) {
    let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    let token = match &rest[..length] {
        "true" => Token::Literal(Literal::Bool(true)),
        "false" => Token::Literal(Literal::Bool(false)),
        "null" => Token::Literal(Literal::Null),
        "in" => Token::In,
        name => Token::Ident(name.into()),
    };
    (token, length)
}

/// A field's name in back quotes; upstream allows letters, digits, `_`, `.`, `-`, `/` and blanks.
fn quoted_name(rest: &str) -> Option<(Token, usize)> {
    let name = rest.strip_prefix('`')?.split_once('`')?.0;
    let fits = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-/ ".contains(c));
    fits.then(|| (Token::Ident(name.into()), name.len() + 2))
}
