//! URLs as Go takes them apart (upstream: apiserver/pkg/cel/library/urls.go, Go's net/url `ParseRequestURI`).

use std::collections::BTreeMap;
use std::fmt;

use super::{Called, quote};
use crate::value::{Key, List, Map, Value};

/// A URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    text: String,
    scheme: String,
    host: String,
    path: String,
    query: String,
}

impl Url {
    /// Reads an absolute URL or an absolute path.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        parse(text).map_err(|why| format!("parse {}: {why}", quote(text)))
    }

    /// The host without its port, and the port.
    fn host_and_port(&self) -> (&str, &str) {
        let after_brackets = self.host.rfind(']').map_or(0, |at| at + 1);
        match self.host[after_brackets..].rfind(':') {
            Some(colon) => {
                let colon = after_brackets + colon;
                (&self.host[..colon], &self.host[colon + 1..])
            }
            None => (&self.host, ""),
        }
    }

    /// Calls a function of the URL.
    pub(super) fn member<'a>(&self, function: &str, args: &[Value<'a>]) -> Called<'a> {
        if !args.is_empty() {
            return None;
        }
        let text = match function {
            "getScheme" => &*self.scheme,
            "getHost" => &self.host,
            "getHostname" => {
                let host = self.host_and_port().0;
                host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
            }
            "getPort" => self.host_and_port().1,
            "getEscapedPath" => &self.path,
            "getQuery" => return Some(Ok(self.query())),
            _ => return None,
        };
        Some(Ok(Value::from(text.to_owned())))
    }

    fn query<'a>(&self) -> Value<'a> {
        let mut found: BTreeMap<String, Vec<Value<'a>>> = BTreeMap::new();
        for pair in self.query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if let (Some(name), Some(value)) = (unescape(name, true), unescape(value, true)) {
                found.entry(name).or_default().push(Value::from(value));
            }
        }
        let entries =
            found.into_iter().map(|(name, values)| (Key::String(name.into()), Value::List(List::new(values))));
        Value::Map(Map::new(entries.collect()))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn parse(text: &str) -> Result<Url, String> {
    if text.is_empty() {
        return Err("empty url".to_owned());
    }
    if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    let (scheme, rest) = scheme(text)?;
    // As a request the whole text must be sound; its parts are those of a URL with a fragment.
    let (rest, _) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut url =
        Url { text: text.to_owned(), scheme, host: String::new(), path: String::new(), query: query.to_owned() };
    if !rest.starts_with('/') {
        return if url.scheme.is_empty() { Err("invalid URI for request".to_owned()) } else { Ok(url) };
    }
    let mut path = rest;
    if let Some(behind) = rest.strip_prefix("//")
        && (!url.scheme.is_empty() || !rest.starts_with("///"))
    {
        let end = behind.find('/').unwrap_or(behind.len());
        let (authority, rest) = behind.split_at(end);
        url.host = host(authority)?;
        path = rest;
    }
    unescape(path, false).ok_or_else(|| escape_error(path))?;
    url.path = escape_path(path);
    Ok(url)
}

/// The scheme in lower case, and what follows the colon.
fn scheme(text: &str) -> Result<(String, &str), String> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme".to_owned()),
            ':' => return Ok((text[..at].to_ascii_lowercase(), &text[at + 1..])),
            _ => break,
        }
    }
    Ok((String::new(), text))
}

fn host(authority: &str) -> Result<String, String> {
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let after = match host.strip_prefix('[') {
        Some(inner) => match inner.find(']') {
            Some(end) => &inner[end + 1..],
            None => return Err("missing ']' in host".to_owned()),
        },
        None => host.rfind(':').map_or("", |colon| &host[colon..]),
    };
    let digits = after.strip_prefix(':').unwrap_or(after);
    if (!after.is_empty() && !after.starts_with(':')) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("invalid port {} after host", quote(after)));
    }
    if let Some(wrong) = host.chars().find(|c| " <>\"\\^`{|}".contains(*c)) {
        return Err(format!("invalid character {} in host name", quote(&wrong.to_string())));
    }
    unescape(host, false).ok_or_else(|| escape_error(host))
}

fn escape_error(text: &str) -> String {
    let at = text.find('%').unwrap_or(0);
    let shown: String = text[at..].chars().take(3).collect();
    format!("invalid URL escape {}", quote(&shown))
}

/// Takes escapes out; `None` where one is broken.
fn unescape(text: &str, is_query: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        match first {
            b'%' => {
                let digits = std::str::from_utf8(behind.get(..2)?).ok()?;
                bytes.push(
                    u8::from_str_radix(digits, 16).ok().filter(|_| digits.bytes().all(|b| b.is_ascii_hexdigit()))?,
                );
                rest = &behind[2..];
            }
            b'+' if is_query => bytes.push(b' '),
            other => bytes.push(*other),
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Escapes what a path may not hold as it is.
fn escape_path(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@!'()*[]%".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}
