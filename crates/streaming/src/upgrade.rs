//! Choosing a protocol and answering `101 Switching Protocols`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    UPGRADE,
};
use http::{Method, Request, Response, StatusCode};
use ring::digest;

/// Header with which SPDY peers negotiate the protocol inside.
pub const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
/// Header that lists what a server would have spoken.
pub const ACCEPTED_PROTOCOLS: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");

/// What a client asks to upgrade to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// SPDY/3.1.
    Spdy,
    /// WebSocket.
    WebSocket,
}

fn tokens(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|word| word.trim().to_owned()).filter(|w| !w.is_empty()).collect()
}

/// What the request asks to upgrade to, if it does.
pub fn requested<B>(request: &Request<B>) -> Option<Transport> {
    let headers = request.headers();
    let upgrade = tokens(headers, &CONNECTION).iter().any(|word| word.eq_ignore_ascii_case("upgrade"));
    let to = tokens(headers, &UPGRADE);
    if upgrade && to.iter().any(|word| word.eq_ignore_ascii_case("websocket")) && request.method() == Method::GET {
        return Some(Transport::WebSocket);
    }
    (upgrade && to.iter().any(|word| word.eq_ignore_ascii_case("spdy/3.1"))).then_some(Transport::Spdy)
}

/// The first of `ours` that the client offers. `offered` is empty when it offers nothing.
pub struct Offer {
    /// What the client speaks, best first.
    pub offered: Vec<String>,
}

impl Offer {
    /// The protocols a request offers over its transport.
    pub fn of<B>(request: &Request<B>, transport: Transport) -> Self {
        let header = match transport {
            Transport::Spdy => &STREAM_PROTOCOL,
            Transport::WebSocket => &SEC_WEBSOCKET_PROTOCOL,
        };
        Self { offered: tokens(request.headers(), header) }
    }

    /// The protocol to speak: the client's first that we know.
    pub fn choose(&self, ours: &[&'static str]) -> Option<&'static str> {
        self.offered.iter().find_map(|offered| ours.iter().find(|known| *known == offered).copied())
    }
}

fn answer<B: Default>(status: StatusCode) -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = status;
    response
}

/// Refuses a request that offers no protocol we speak (upstream: httpstream.Handshake).
pub fn refuse<B: Default>(ours: &[&'static str]) -> Response<B> {
    let mut response = answer(StatusCode::FORBIDDEN);
    for protocol in ours {
        response.headers_mut().append(ACCEPTED_PROTOCOLS, HeaderValue::from_static(protocol));
    }
    response
}

/// Refuses a request that asks for no upgrade.
pub fn not_an_upgrade<B: Default>() -> Response<B> {
    answer(StatusCode::BAD_REQUEST)
}

/// `101` to a SPDY client.
pub fn spdy_response<B: Default>(protocol: Option<&'static str>) -> Response<B> {
    let mut response = answer(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("SPDY/3.1"));
    if let Some(protocol) = protocol {
        headers.insert(STREAM_PROTOCOL, HeaderValue::from_static(protocol));
    }
    response
}

/// `101` to a WebSocket client; `None` when its key is missing.
pub fn websocket_response<B: Default, R>(request: &Request<R>, protocol: Option<&'static str>) -> Option<Response<B>> {
    let key = request.headers().get(SEC_WEBSOCKET_KEY)?;
    let mut response = answer(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(&accept_key(key.as_bytes())).ok()?);
    if let Some(protocol) = protocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    Some(response)
}

/// RFC 6455, section 1.3.
pub fn accept_key(key: &[u8]) -> String {
    const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_key_is_that_of_the_rfc() {
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn requests_ask_for_one_of_two_transports() {
        let request = |method: &str, upgrade: &str| {
            Request::builder()
                .method(method)
                .header("Connection", "keep-alive, Upgrade")
                .header("Upgrade", upgrade)
                .header("X-Stream-Protocol-Version", "v9, v4.channel.k8s.io")
                .body(())
                .expect("a request")
        };
        assert_eq!(requested(&request("POST", "SPDY/3.1")), Some(Transport::Spdy));
        assert_eq!(requested(&request("GET", "websocket")), Some(Transport::WebSocket));
        assert_eq!(requested(&request("GET", "h2c")), None);
        let offer = Offer::of(&request("POST", "SPDY/3.1"), Transport::Spdy);
        assert_eq!(offer.choose(&["v5.channel.k8s.io", "v4.channel.k8s.io"]), Some("v4.channel.k8s.io"));
        assert_eq!(offer.choose(&["v1"]), None);
    }
}
