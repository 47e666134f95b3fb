//! The request line, its query and its headers; continue tokens.

use apiserver::negotiate::{Offer, negotiate_offer};
use apiserver::registry::list::Token;
use apiserver::registry::options::{DeleteOptions, ListOptions};
use apiserver::request::{Query, RequestInfo, decode};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::ACCEPT;
use http::{HeaderValue, Request};

use super::text;
use crate::target::{Memory, Target};

const MEMORY: Memory = Memory { base: 64 << 10, per_byte: 256 };

pub(crate) static REQUEST: Target = Target::new("request", check_request)
    .memory(MEMORY)
    .words(&[
        "/api/v1/",
        "/apis/apps/v1/",
        "namespaces/",
        "pods/",
        "watch/",
        "proxy/",
        "/log",
        "%2F",
        "%00",
        "%",
        "+",
        "&",
        "=",
        "?",
        "//",
        "..",
        "labelSelector=",
        "fieldSelector=metadata.name%3D",
        "resourceVersion=",
        "resourceVersionMatch=Exact",
        "limit=",
        "continue=",
        "timeoutSeconds=",
        "watch=true",
        "sendInitialEvents=true",
        "dryRun=All",
        "propagationPolicy=Orphan",
        "gracePeriodSeconds=",
        "GET ",
        "POST ",
        "DELETE ",
        "\n",
        "application/json",
        ";as=Table;v=v1;g=meta.k8s.io",
        ";q=0.5",
        "*/*",
        "application/cbor",
    ])
    .longest(2048);

pub(crate) static CONTINUE: Target = Target::new("continue_token", check_token)
    .memory(MEMORY)
    .words(&["eyJ2IjoibWV0YS5rOHMuaW8vdjEi", "=", "-", "_", "\"rv\":", "\"start\":", "..", "\\u0000"])
    .longest(1024);

/// `METHOD uri`, and on the next line what is accepted. The words of a request are parts of its line.
fn check_request(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let (line, accept) = text.split_once('\n').unwrap_or((text, ""));
    let (method, uri) = line.split_once(' ').unwrap_or(("GET", line));
    let Ok(request) = Request::builder().method(method).uri(uri).body(()) else { return };
    let (mut parts, ()) = request.into_parts();
    let query = Query::parse(parts.uri.query());
    let info = RequestInfo::parse(&parts, &query);
    assert_eq!(info, RequestInfo::parse(&parts, &query));
    // What is no UTF-8 when it is decoded is replaced, three bytes for three.
    for word in [&info.group, &info.version, &info.namespace, &info.resource, &info.name, &info.subresource, &info.rest]
    {
        assert!(word.len() <= uri.len() + 1, "{word:?}");
    }
    assert!(info.rest.is_empty() || info.rest.starts_with('/'), "{:?}", info.rest);
    assert!(decode(&info.resource).len() <= info.resource.len());
    let given = parts.uri.query().unwrap_or_default().len();
    assert!(query.pairs().iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() <= given);
    for watching in [false, true] {
        let _ = ListOptions::parse(&query, watching);
    }
    let _ = DeleteOptions::parse(None, &query);
    if let Ok(value) = HeaderValue::from_str(accept) {
        parts.headers.insert(ACCEPT, value);
        for offer in [Offer { transforms: true, protobuf: true }, Offer::default()] {
            let _ = negotiate_offer(&parts.headers, &query, offer);
        }
    }
}

/// A token never leads outside of the list it came from, and is written as it was read.
fn check_token(input: &[u8]) {
    const PREFIX: &str = "/registry/pods/default/";
    let Some(text) = text(input) else { return };
    // Raw JSON is tried as the token that it would be.
    for text in [text.to_owned(), URL_SAFE_NO_PAD.encode(text)] {
        let Ok(token) = Token::decode(&text) else { continue };
        let Ok(key) = token.start_after(PREFIX) else { continue };
        assert!(key.starts_with(PREFIX) && !key.split('/').any(|step| step == ".."), "{key:?}");
        let again = Token::decode(&Token::encode(token.revision(), &key, PREFIX)).expect("a token of ours");
        assert_eq!((again.revision(), again.start_after(PREFIX)), (token.revision(), Ok(key)));
    }
}
