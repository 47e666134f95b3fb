//! Pulling from a registry that the test serves on loopback.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use component_base::Scope;
use cri::images::RegistryConfig;
use cri::{Error, ImageService, ImageStore, PullProgress, RegistryAuth};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tar::EntryType;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{ServerConfig, crypto::ring};

use crate::images::{digest, image_of, layer_of};
use crate::node::open_store;

/// What the registry asks of its clients.
#[derive(Clone, Copy, PartialEq)]
enum Door {
    Open,
    Basic,
    Token,
}

/// `user:secret`.
const BASIC: &str = "Basic dXNlcjpzZWNyZXQ=";

struct Registry {
    door: Door,
    address: SocketAddr,
    documents: HashMap<String, Vec<u8>>,
    /// How many layer answers are still cut off in the middle.
    cuts: Mutex<u32>,
    asked: Mutex<Vec<String>>,
}

impl Registry {
    /// Serves an image `team/app:1` until `scope` ends.
    async fn serve(scope: &Scope, door: Door, cuts: u32, damage: bool) -> Arc<Self> {
        Self::serve_with(scope, door, cuts, damage, None).await
    }

    async fn serve_with(scope: &Scope, door: Door, cuts: u32, damage: bool, tls: Option<TlsAcceptor>) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let layer = layer_of(&[("greeting", EntryType::Regular, &"hello ".repeat(10_000), "")]);
        let packed = zstd::encode_all(&layer[..], 1).expect("zstd");
        let (config, manifest) = image_of(&layer, &packed);
        let platform = |arch: &str| serde_json::json!({"architecture": arch, "os": "linux"});
        let index = serde_json::json!({"schemaVersion": 2, "manifests": [
            {"digest": digest(&config), "size": 1, "platform": platform("riscv64")},
            {"digest": digest(&manifest), "size": manifest.len(), "platform": platform("amd64")},
        ]});
        let index = serde_json::to_vec(&index).expect("JSON");
        let mut documents = HashMap::new();
        documents.insert("/v2/team/app/manifests/1".to_owned(), index.clone());
        documents.insert(format!("/v2/team/app/manifests/{}", digest(&index)), index);
        documents.insert(format!("/v2/team/app/manifests/{}", digest(&manifest)), manifest);
        documents.insert(format!("/v2/team/app/blobs/{}", digest(&config)), config);
        let mut sent = packed.clone();
        if damage {
            sent[40] ^= 1;
        }
        // The layer itself is elsewhere.
        documents.insert("/elsewhere".to_owned(), sent);
        documents.insert(format!("/v2/team/app/blobs/{}", digest(&packed)), b"->/elsewhere".to_vec());
        let registry = Arc::new(Self {
            door,
            address: listener.local_addr().expect("an address"),
            documents,
            cuts: Mutex::new(cuts),
            asked: Mutex::default(),
        });
        let served = registry.clone();
        let connections = scope.clone();
        scope.spawn("registry", async move {
            while let Ok((stream, _)) = listener.accept().await {
                let registry = served.clone();
                let tls = tls.clone();
                connections.spawn("registry connection", async move {
                    let answer = service_fn(move |request| {
                        let registry = registry.clone();
                        async move { Ok::<_, Infallible>(registry.answer(&request)) }
                    });
                    if let Some(tls) = tls {
                        let Ok(stream) = tls.accept(stream).await else { return };
                        let stream = TokioIo::new(stream);
                        let _ = hyper::server::conn::http1::Builder::new().serve_connection(stream, answer).await;
                        return;
                    }
                    let _ =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        registry
    }

    fn reference(&self) -> String {
        format!("{}/team/app:1", self.address)
    }

    fn count(&self, part: &str) -> usize {
        self.asked.lock().expect("whole").iter().filter(|path| path.contains(part)).count()
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        self.asked.lock().expect("whole").push(path.clone());
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let status = |code: StatusCode| Response::builder().status(code);
        let empty = Empty::new().map_err(|never| match never {}).boxed();
        if path == "/token" {
            let query = request.uri().query().unwrap_or_default();
            assert!(
                query.contains("service=test") && query.contains("scope=repository%3Ateam%2Fapp%3Apull"),
                "{query}"
            );
            return match header("authorization") {
                BASIC => Response::new(whole(r#"{"token":"letmein"}"#)),
                _ => status(StatusCode::UNAUTHORIZED).body(empty).expect("a response"),
            };
        }
        let (wanted, challenge) = match self.door {
            Door::Open => ("", String::new()),
            Door::Basic => (BASIC, "Basic realm=\"test\"".to_owned()),
            Door::Token => {
                ("Bearer letmein", format!("Bearer realm=\"http://{}/token\",service=\"test\"", self.address))
            }
        };
        if !wanted.is_empty() && header("authorization") != wanted {
            return status(StatusCode::UNAUTHORIZED)
                .header("www-authenticate", challenge)
                .body(empty)
                .expect("a response");
        }
        let Some(bytes) = self.documents.get(&path) else {
            return status(StatusCode::NOT_FOUND).body(empty).expect("a response");
        };
        if let Some(target) = bytes.strip_prefix(b"->") {
            let target = String::from_utf8_lossy(target).into_owned();
            return status(StatusCode::TEMPORARY_REDIRECT).header("location", target).body(empty).expect("a response");
        }
        let from: usize =
            header("range").strip_prefix("bytes=").and_then(|r| r.trim_end_matches('-').parse().ok()).unwrap_or(0);
        let code = if from > 0 { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        let rest = Bytes::copy_from_slice(&bytes[from..]);
        let mut cuts = self.cuts.lock().expect("whole");
        let response = status(code).header("content-length", rest.len());
        let body = if path == "/elsewhere" && *cuts > 0 {
            *cuts -= 1;
            broken(rest.slice(..rest.len() / 2))
        } else {
            whole(rest)
        };
        response.body(body).expect("a response")
    }
}

type Body = BoxBody<Bytes, io::Error>;

fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// A body whose connection breaks after `bytes`.
fn broken(bytes: Bytes) -> Body {
    let frames = [Ok(Frame::data(bytes)), Err(io::ErrorKind::ConnectionReset.into())];
    BodyExt::boxed(StreamBody::new(futures::stream::iter(frames)))
}

/// TLS for `localhost`, and the certificate to trust.
fn tls() -> (TlsAcceptor, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a configuration");
    (TlsAcceptor::from(Arc::new(config)), made.cert.pem())
}

#[tokio::test]
async fn certificates_are_checked() {
    let scope = Scope::root();
    let (acceptor, certificate) = tls();
    let registry = Registry::serve_with(&scope, Door::Basic, 0, false, Some(acceptor)).await;
    let reference = format!("localhost:{}/team/app:1", registry.address.port());
    let directory = tempfile::tempdir().expect("a directory");
    let store = open_store(directory.path(), &scope).await;
    let err = store.pull_image(&reference, &[credentials("secret")], None).await.expect_err("nobody vouches for it");
    assert!(err.to_string().contains("invalid peer certificate"), "{err}");
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, certificate).expect("written");
    let config = RegistryConfig { plain_http: Vec::new(), ca_files: vec![file] };
    let store = ImageStore::open(&directory.path().join("trusting"), config, scope.clone()).await.expect("a store");
    let image = store.pull_image(&reference, &[credentials("secret")], None).await.expect("a pull");
    assert_eq!(image.size_bytes, 60_000);
    scope.cancel();
}

fn credentials(password: &str) -> RegistryAuth {
    RegistryAuth { username: "user".to_owned(), password: password.to_owned(), identity_token: String::new() }
}

#[tokio::test]
async fn images_are_pulled_through_every_door() {
    for door in [Door::Open, Door::Basic, Door::Token] {
        let scope = Scope::root();
        let registry = Registry::serve(&scope, door, 2, false).await;
        let directory = tempfile::tempdir().expect("a directory");
        let store = open_store(directory.path(), &scope).await;
        let (progress, seen) = tokio::sync::watch::channel(PullProgress::default());
        // The first that works counts.
        let auth = [credentials("wrong"), credentials("secret")];
        let image = store.pull_image(&registry.reference(), &auth, Some(progress)).await.expect("a pull");
        assert_eq!(image.repo_tags, [registry.reference()]);
        assert!(image.repo_digests[0].starts_with(&format!("{}/team/app@sha256:", registry.address)));
        assert_eq!(image.size_bytes, 60_000);
        let seen = *seen.borrow();
        assert!(seen.total_bytes > 0 && seen.done_bytes == seen.total_bytes, "{seen:?}");
        assert_eq!(registry.count("/elsewhere"), 3, "a broken transfer goes on");
        // By digest, with the layer at hand: nothing large is fetched again.
        let again = store.pull_image(&image.repo_digests[0], &auth, None).await.expect("a pull");
        assert_eq!(again.id, image.id);
        assert_eq!(registry.count("/elsewhere"), 3);
        scope.cancel();
    }
}

#[tokio::test]
async fn what_goes_wrong_is_told() {
    let scope = Scope::root();
    let directory = tempfile::tempdir().expect("a directory");
    let store = open_store(directory.path(), &scope).await;
    let closed = Registry::serve(&scope, Door::Token, 0, false).await;
    let open = Registry::serve(&scope, Door::Open, 0, false).await;
    let damaged = Registry::serve(&scope, Door::Open, 0, true).await;
    for (reference, auth, cause) in [
        (closed.reference(), vec![credentials("wrong")], "failed to authorize"),
        (closed.reference(), vec![], "failed to authorize"),
        (format!("{}/team/app:2", open.address), vec![], "not found"),
        (format!("{}/team/other:1", open.address), vec![], "not found"),
        (damaged.reference(), vec![], "arrived as sha256:"),
        ("127.0.0.1:1/team/app:1".to_owned(), vec![], "Connection refused"),
    ] {
        let err = store.pull_image(&reference, &auth, None).await.expect_err("it fails");
        assert!(matches!(err, Error::Pull { .. }) && err.to_string().contains(cause), "{reference}: {err}");
    }
    assert!(matches!(store.pull_image("NO", &[], None).await, Err(Error::InvalidImageName { .. })));
    assert!(store.list_images().await.expect("a list").is_empty());
    let images = directory.path().join("data/images");
    for place in ["tmp", "layers"] {
        assert_eq!(std::fs::read_dir(images.join(place)).expect("the store").count(), 0, "{place}");
    }
    scope.cancel();
}

#[tokio::test]
async fn pulls_of_one_image_at_the_same_time_are_one() {
    let scope = Scope::root();
    let registry = Registry::serve(&scope, Door::Open, 0, false).await;
    let directory = tempfile::tempdir().expect("a directory");
    let store = open_store(directory.path(), &scope).await;
    let reference = registry.reference();
    let pulls = (0..8).map(|_| store.pull_image(&reference, &[], None));
    for image in futures::future::join_all(pulls).await {
        assert_eq!(image.expect("a pull").size_bytes, 60_000);
    }
    assert_eq!((registry.count("manifests/1"), registry.count("/elsewhere")), (1, 1));
    scope.cancel();
}
