//! The grammar of label selectors (upstream: `labels.Lexer` and `labels.Parser`).

use super::{Operator, Requirement, SelectorError, aggregate};
use crate::validation;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Word,
    In,
    NotIn,
    Open,
    Close,
    Comma,
    Not,
    Equals,
    DoubleEquals,
    NotEquals,
    Greater,
    Less,
    End,
    Bad,
}

type Lexeme<'t> = (Token, &'t str);

/// The requirements of a selector's text, in reading order.
pub(super) fn requirements(text: &str) -> Result<Vec<Requirement>, SelectorError> {
    let mut parser = Parser { rest: text };
    let mut requirements = Vec::new();
    loop {
        match parser.peek_word() {
            (Token::Word | Token::Not, _) => {
                requirements.push(parser.requirement().map_err(SelectorError::Unparsable)?);
            }
            (Token::End, _) => return Ok(requirements),
            (_, found) => return Err(unexpected(found, "!, identifier, or 'end of string'")),
        }
        match parser.next_word() {
            (Token::End, _) => return Ok(requirements),
            (Token::Comma, _) => match parser.peek_word() {
                (Token::Word | Token::Not, _) => {}
                (_, found) => return Err(unexpected(found, "identifier after ','")),
            },
            (_, found) => return Err(unexpected(found, "',' or 'end of string'")),
        }
    }
}

fn unexpected(found: &str, expected: &str) -> SelectorError {
    SelectorError::Syntax(expected_words(found, expected))
}

fn expected_words(found: &str, expected: &str) -> String {
    format!("found '{found}', expected: {expected}")
}

struct Parser<'t> {
    rest: &'t str,
}

impl<'t> Parser<'t> {
    /// The next token, where `in` and `notin` are words of the grammar.
    fn next(&mut self) -> Lexeme<'t> {
        let (lexeme, rest) = lex(self.rest);
        self.rest = rest;
        lexeme
    }

    /// The next token, where `in` and `notin` are names like others.
    fn next_word(&mut self) -> Lexeme<'t> {
        as_word(self.next())
    }

    fn peek_word(&self) -> Lexeme<'t> {
        as_word(lex(self.rest).0)
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let (mut token, mut key) = self.next_word();
        let negated = token == Token::Not;
        if negated {
            (token, key) = self.next_word();
        }
        if token != Token::Word {
            return Err(expected_words(key, "identifier"));
        }
        let wrong = validation::qualified_name(key);
        if !wrong.is_empty() {
            let path = crate::field::Path::default();
            return Err(crate::field::Error::invalid(&path, key, wrong.join("; ")).to_string());
        }
        let stands_alone = matches!(self.peek_word().0, Token::End | Token::Comma);
        if negated || stands_alone {
            let operator = if negated { Operator::DoesNotExist } else { Operator::Exists };
            return Requirement::new(key, operator, &[]).map_err(|errors| aggregate(&errors));
        }
        let operator = self.operator()?;
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => vec![self.exact_value()?],
        };
        Requirement::new(key, operator, &values).map_err(|errors| aggregate(&errors))
    }

    fn operator(&mut self) -> Result<Operator, String> {
        Ok(match self.next() {
            (Token::In, _) => Operator::In,
            (Token::NotIn, _) => Operator::NotIn,
            (Token::Equals, _) => Operator::Equals,
            (Token::DoubleEquals, _) => Operator::DoubleEquals,
            (Token::NotEquals, _) => Operator::NotEquals,
            (Token::Greater, _) => Operator::GreaterThan,
            (Token::Less, _) => Operator::LessThan,
            (_, found) => return Err(expected_words(found, "in, notin, =, ==, !=, gt, lt")),
        })
    }

    /// `(a,b)`; an empty place between commas or parentheses is the empty value.
    fn values(&mut self) -> Result<Vec<&'t str>, String> {
        if let (token, found) = self.next_word()
            && token != Token::Open
        {
            return Err(format!("found '{found}' expected: '('"));
        }
        let mut values = Vec::new();
        if !matches!(self.peek_word().0, Token::Word | Token::Comma | Token::Close) {
            return Err(expected_words(self.peek_word().1, "',', ')' or identifier"));
        }
        loop {
            match self.peek_word() {
                (Token::Word, value) => {
                    self.next();
                    values.push(value);
                }
                (Token::Comma | Token::Close, _) => values.push(""),
                (_, found) => return Err(expected_words(found, "',', or identifier")),
            }
            match self.next_word() {
                (Token::Comma, _) => {}
                (Token::Close, _) => break,
                (_, found) => return Err(expected_words(found, "',' or ')'")),
            }
        }
        values.sort_unstable();
        values.dedup();
        Ok(values)
    }

    fn exact_value(&mut self) -> Result<&'t str, String> {
        if matches!(self.peek_word().0, Token::End | Token::Comma) {
            return Ok("");
        }
        match self.next_word() {
            (Token::Word, value) => Ok(value),
            (_, found) => Err(expected_words(found, "identifier")),
        }
    }
}

fn as_word((token, text): Lexeme<'_>) -> Lexeme<'_> {
    (if matches!(token, Token::In | Token::NotIn) { Token::Word } else { token }, text)
}

/// The first token of `text`, and what follows it.
fn lex(text: &str) -> (Lexeme<'_>, &str) {
    let text = text.trim_start_matches([' ', '\t', '\r', '\n']);
    let Some(first) = text.chars().next() else { return ((Token::End, ""), "") };
    let symbols = [
        ("==", Token::DoubleEquals),
        ("!=", Token::NotEquals),
        ("=", Token::Equals),
        ("!", Token::Not),
        (">", Token::Greater),
        ("<", Token::Less),
        ("(", Token::Open),
        (")", Token::Close),
        (",", Token::Comma),
        ("\0", Token::Bad),
    ];
    if let Some((symbol, token)) = symbols.iter().find(|(symbol, _)| text.starts_with(symbol)) {
        let (found, rest) = text.split_at(symbol.len());
        return ((*token, found), rest);
    }
    debug_assert!(!is_boundary(first), "symbols and spaces are handled above");
    let end = text.find(is_boundary).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let token = match word {
        "in" => Token::In,
        "notin" => Token::NotIn,
        _ => Token::Word,
    };
    ((token, word), rest)
}

fn is_boundary(char: char) -> bool {
    matches!(char, '=' | '!' | '(' | ')' | ',' | '>' | '<' | ' ' | '\t' | '\r' | '\n' | '\0')
}
