//! A KMS plugin that turns every byte around.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use component_base::Scope;
use encryption::grpc::{Field, fields, put_bytes};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use store::suite::put;
use store::{Expect, Store};
use tokio::net::UnixListener;

use super::at_rest::{config, is_on_disk, open};

fn turned(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| !byte).collect()
}

fn field(message: &[u8], number: u32) -> Vec<u8> {
    let fields = fields(message).expect("a message");
    let found = fields.into_iter().find_map(|(field, value)| match value {
        Field::Bytes(bytes) if field == number => Some(bytes.to_vec()),
        _ => None,
    });
    found.unwrap_or_default()
}

fn answer(method: &str, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match method {
        "/v2.KeyManagementService/Status" => {
            put_bytes(&mut out, 1, b"v2");
            put_bytes(&mut out, 2, b"ok");
            put_bytes(&mut out, 3, b"key-1");
        }
        "/v2.KeyManagementService/Encrypt" => {
            put_bytes(&mut out, 1, &turned(&field(message, 1)));
            put_bytes(&mut out, 2, b"key-1");
        }
        _ => {
            assert_eq!(field(message, 3), b"key-1");
            put_bytes(&mut out, 1, &turned(&field(message, 1)));
        }
    }
    out
}

/// Serves on a socket; counts the calls to Decrypt.
fn plugin(socket: &Path, decrypted: Arc<AtomicUsize>, scope: &Scope) {
    let listener = UnixListener::bind(socket).expect("a socket");
    let tasks = scope.clone();
    scope.spawn("plugin", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let decrypted = decrypted.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let decrypted = decrypted.clone();
                async move {
                    let method = request.uri().path().to_owned();
                    if method.ends_with("Decrypt") {
                        decrypted.fetch_add(1, Ordering::Relaxed);
                    }
                    let body = request.into_body().collect().await.expect("a body").to_bytes();
                    let message = answer(&method, &body[5..]);
                    let mut framed = BytesMut::from(&[0_u8][..]);
                    framed.extend_from_slice(&u32::try_from(message.len()).expect("short").to_be_bytes());
                    framed.extend_from_slice(&message);
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", HeaderValue::from_static("0"));
                    let frames = [Frame::data(framed.freeze()), Frame::trailers(trailers)];
                    let frames = futures::stream::iter(frames.map(Ok::<Frame<Bytes>, Infallible>));
                    let mut response = Response::new(StreamBody::new(frames));
                    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
                    Ok::<_, Infallible>(response)
                }
            });
            tasks.spawn("plugin-connection", async move {
                let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_seals_the_seed_and_opens_it_once() {
    let (directory, sockets) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let (servers, decrypted) = (Scope::root(), Arc::new(AtomicUsize::new(0)));
    let socket = sockets.path().join("kms.sock");
    plugin(&socket, decrypted.clone(), &servers);
    let provider = format!("{{kms: {{apiVersion: v2, name: vault, endpoint: 'unix://{}'}}}}", socket.display());

    let scope = Scope::root();
    let (store, _) = open(directory.path(), &config(&[&provider]), &scope);
    for name in ["a", "b"] {
        let key = format!("/registry/core/secrets/shop/{name}");
        put(&store, &key, Expect::Absent, "very-secret-words").await;
    }
    assert!(
        !is_on_disk(directory.path(), "very-secret-words") && is_on_disk(directory.path(), "k8s:enc:kms:v2:vault:")
    );
    assert_eq!(decrypted.load(Ordering::Relaxed), 0, "what it has sealed itself it knows");
    drop(store);
    assert!(scope.shutdown(std::time::Duration::from_secs(30)).await);

    let scope = Scope::root();
    let (store, _) = open(directory.path(), &config(&[&provider]), &scope);
    let found = store.get("/registry/core/secrets/shop/b").await.expect("read").expect("there");
    assert_eq!(&found.finished.value[..], b"very-secret-words");
    assert_eq!(decrypted.load(Ordering::Relaxed), 1, "both carry the same seed");
    drop(store);
    assert!(scope.shutdown(std::time::Duration::from_secs(30)).await);
    servers.cancel();
}
