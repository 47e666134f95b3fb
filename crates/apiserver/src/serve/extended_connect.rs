//! WebSockets over HTTP/2: a CONNECT with a protocol becomes the upgrade it stands for, and its answer a 200
//! (RFC 8441). The rest of the server knows one kind of upgrade.

use http::header::{CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::ext::Protocol;

use crate::body::Body;

/// What belongs to the older handshake alone.
const OF_THE_UPGRADE: [HeaderName; 3] = [CONNECTION, UPGRADE, SEC_WEBSOCKET_ACCEPT];

/// The key of the older handshake proves that an answer is no old copy; HTTP/2 has no need of it.
const KEY: HeaderValue = HeaderValue::from_static("a2FqaS1vdmVyLWh0dHAvMg==");

/// Turns an extended CONNECT into an upgrade; tells whether it was one.
pub(super) fn enter<B>(request: &mut Request<B>) -> bool {
    if request.method() != Method::CONNECT {
        return false;
    }
    let Some(protocol) = request.extensions().get::<Protocol>() else { return false };
    let Ok(protocol) = HeaderValue::from_str(protocol.as_str()) else { return false };
    *request.method_mut() = Method::GET;
    let headers = request.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, protocol);
    headers.insert(SEC_WEBSOCKET_KEY, KEY);
    headers.entry(SEC_WEBSOCKET_VERSION).or_insert(HeaderValue::from_static("13"));
    true
}

/// Turns the answer to the upgrade into one to the CONNECT.
pub(super) fn leave(mut response: Response<Body>) -> Response<Body> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        *response.status_mut() = StatusCode::OK;
    }
    for name in OF_THE_UPGRADE {
        response.headers_mut().remove(name);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body;

    #[test]
    fn a_connect_becomes_an_upgrade_and_its_answer_a_200() {
        let mut request = Request::builder().method("CONNECT").uri("/x").body(()).expect("a request");
        assert!(!enter(&mut request), "no protocol, no tunnel");
        request.extensions_mut().insert(Protocol::from_static("websocket"));
        assert!(enter(&mut request));
        assert_eq!(request.method(), Method::GET);
        assert_eq!(request.headers()[UPGRADE], "websocket");
        let mut response = Response::new(body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
        let response = leave(response);
        assert_eq!((response.status(), response.headers().len()), (StatusCode::OK, 0));
    }
}
