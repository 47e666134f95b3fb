//! gRPC health probes (upstream: pkg/probe/grpc), by hand over HTTP/2: the two messages of
//! `grpc.health.v1.Health/Check` have one field each.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, TE};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::{MAX_BODY, connect};
use crate::pod::machine::ProbeOutcome;

fn failure(message: String) -> ProbeOutcome {
    ProbeOutcome::Failure { message, refused: false }
}

/// Asks the health service of `host:port` about `service`.
pub async fn probe(host: &str, port: u16, service: &str, limit: Duration) -> ProbeOutcome {
    let text = format!("timeout: failed to connect service \"{host}:{port}\" within {}s", limit.as_secs());
    match tokio::time::timeout(limit, check(host, port, service, limit)).await {
        Ok(Ok(1)) => ProbeOutcome::Success,
        Ok(Ok(status)) => {
            let name = match status {
                0 => "UNKNOWN",
                2 => "NOT_SERVING",
                _ => "SERVICE_UNKNOWN",
            };
            failure(format!("service unhealthy (responded with {name:?})"))
        }
        Ok(Err(outcome)) => outcome,
        Err(_) => failure(text),
    }
}

async fn check(host: &str, port: u16, service: &str, limit: Duration) -> Result<u8, ProbeOutcome> {
    let stream = connect(host, port, limit)
        .await
        .map_err(|err| ProbeOutcome::Failure { message: err.message, refused: err.refused })?;
    let bad = |err: hyper::Error| failure(format!("error: health rpc probe failed: {err}"));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(bad)?;
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let request = http::Request::post(format!("http://{host}:{port}/grpc.health.v1.Health/Check"))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .body(Full::new(request_message(service)))
        .map_err(|err| ProbeOutcome::Unknown(err.to_string()))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(bad)?;
        let early = grpc_status(response.headers());
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        let body = body.map_err(|err| failure(format!("error: health rpc probe failed: {err}")))?;
        let code = early.or_else(|| body.trailers().and_then(grpc_status)).unwrap_or_else(|| "0".to_owned());
        match code.as_str() {
            "0" => Ok(serving_status(&body.to_bytes())),
            "12" => Err(failure(
                "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)".to_owned(),
            )),
            "5" => Ok(3),
            code => Err(failure(format!("error: health rpc probe failed: rpc error: code = {code}"))),
        }
    };
    tokio::pin!(exchange);
    tokio::pin!(connection);
    tokio::select! {
        answer = &mut exchange => answer,
        _ = &mut connection => exchange.await,
    }
}

fn grpc_status(headers: &http::HeaderMap) -> Option<String> {
    headers.get("grpc-status").and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// HealthCheckRequest{service = 1} in a gRPC frame.
fn request_message(service: &str) -> Bytes {
    // Field 1, length-delimited; a name is at most 127 bytes long or takes a second length byte.
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.put_u8((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.put_u8(length as u8);
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.put_slice(&message);
    frame.freeze()
}

/// The status of a HealthCheckResponse{status = 1}; 0 (unknown) when it is not set.
fn serving_status(frame: &[u8]) -> u8 {
    match frame.get(5..) {
        Some([0x08, status, ..]) => *status,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_framed() {
        assert_eq!(&request_message("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&request_message("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(serving_status(&[0, 0, 0, 0, 2, 8, 1]), 1);
        assert_eq!(serving_status(&[0, 0, 0, 0, 0]), 0);
        assert_eq!(serving_status(&[]), 0);
    }
}
