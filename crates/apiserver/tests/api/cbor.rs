//! CBOR (KEP-4222): of built-in kinds and custom resources alike, for requests, answers, lists, watches and applies.

use ::cbor::{decode, encode};
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::harness::Cluster;

const CBOR: &str = "application/cbor";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path).header("accept", CBOR).header("content-type", CBOR)
}

async fn ask(cluster: &Cluster, method: &str, path: &str, body: impl Into<Bytes>) -> (u16, Value) {
    let (code, media_type, bytes) = cluster.bytes(request(method, path), body).await;
    assert_eq!(media_type, CBOR, "{method} {path}: {}", String::from_utf8_lossy(&bytes));
    assert_eq!(bytes[..3], ::cbor::SELF_DESCRIBED);
    (code, decode(&bytes).expect("one data item"))
}

async fn with_widgets() -> Cluster {
    let cluster = Cluster::new().await;
    let spec = json!({"type": "object", "properties": {"size": {"type": "integer"}, "ratio": {"type": "number"}}});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}}]},
    });
    let created = cluster.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition).await;
    assert_eq!(created.code, 201, "{}", created.line());
    cluster
}

fn secret(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {"k": "AQI="}})
}

fn widget(name: &str, size: i64) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": size, "ratio": 0.5}})
}

#[tokio::test]
async fn objects_travel_both_ways() {
    let cluster = with_widgets().await;
    for (collection, object) in [(SECRETS, secret("a")), (WIDGETS, widget("a", 3))] {
        let (code, created) = ask(&cluster, "POST", collection, encode(&object)).await;
        assert_eq!((code, &created["kind"], &created["spec"]), (201, &object["kind"], &object["spec"]));
        let path = format!("{collection}/a");
        assert_eq!(ask(&cluster, "GET", &path, "").await, (200, created.clone()));
        assert_eq!(cluster.get(&path).await.body, created);
        let (code, updated) = ask(&cluster, "PUT", &path, encode(&created)).await;
        assert_eq!((code, updated), (200, created));

        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": "other"}});
        let (code, status) = ask(&cluster, "DELETE", &path, encode(&options)).await;
        assert_eq!((code, &status["reason"]), (409, &json!("Conflict")));
        let (code, _) = ask(&cluster, "DELETE", &path, "").await;
        assert_eq!(code, 200);
        let (code, status) = ask(&cluster, "GET", &path, "").await;
        assert_eq!((code, &status["kind"], &status["reason"]), (404, &json!("Status"), &json!("NotFound")));
    }
}

#[tokio::test]
async fn bytes_of_other_encoders_are_read() {
    let cluster = Cluster::new().await;
    // As another library may write it: text strings, an indefinite map, the data as bytes that are base64 later.
    let mut body = b"\xbf\x64kind\x66Secret\x6aapiVersion\x62v1\x68metadata\xa1\x64name\x61b".to_vec();
    body.extend_from_slice(b"\x64data\xa1\x61k\xd6\x42\x01\x02\xff");
    let (code, created) = ask(&cluster, "POST", SECRETS, body).await;
    assert_eq!((code, &created["data"]), (201, &json!({"k": "AQI="})));
}

#[tokio::test]
async fn lists_metadata_and_tables_are_encoded() {
    let cluster = with_widgets().await;
    for name in ["a", "b"] {
        cluster.post(WIDGETS, widget(name, 1)).await;
    }
    assert_eq!(ask(&cluster, "GET", WIDGETS, "").await, (200, cluster.get(WIDGETS).await.body));
    for (form, kind) in [("Table", "Table"), ("PartialObjectMetadataList", "PartialObjectMetadataList")] {
        let accept = format!("{CBOR};as={form};g=meta.k8s.io;v=v1");
        let (code, _, bytes) = cluster.bytes(Request::builder().uri(WIDGETS).header("accept", accept), "").await;
        assert_eq!((code, &decode(&bytes).expect("one data item")["kind"]), (200, &json!(kind)));
    }
    for path in ["/api", "/apis", "/apis/example.com/v1"] {
        assert_eq!(ask(&cluster, "GET", path, "").await.0, 200, "{path}");
    }
    let many = "x".repeat(1000);
    for number in 0..200 {
        let mut secret = secret(&format!("s{number}"));
        secret["metadata"]["annotations"] = json!({ "many": many });
        cluster.post(SECRETS, secret).await;
    }
    assert_eq!(ask(&cluster, "GET", SECRETS, "").await, (200, cluster.get(SECRETS).await.body), "sent in pieces");
}

#[tokio::test]
async fn watches_are_sequences() {
    let cluster = with_widgets().await;
    cluster.post(WIDGETS, widget("a", 1)).await;
    let path = format!(
        "{WIDGETS}?watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    );
    let response = cluster.send(request("GET", &path), "").await;
    assert_eq!(response.headers()["content-type"], "application/cbor-seq");
    let (mut body, mut bytes, mut seen) = (response.into_body(), Vec::new(), Vec::new());
    cluster.post(WIDGETS, widget("b", 1)).await;
    while seen.len() < 3 {
        let frame = body.frame().await.expect("the watch goes on").expect("bytes");
        bytes.extend_from_slice(frame.data_ref().expect("data"));
        // Items end where they end: the first prefix that is one.
        while let Some((end, event)) = (1..=bytes.len()).find_map(|end| Some((end, decode(&bytes[..end]).ok()?))) {
            seen.push(format!(
                "{} {}",
                event["type"].as_str().unwrap_or_default(),
                event["object"]["metadata"]["name"]
            ));
            bytes.drain(..end);
        }
    }
    assert_eq!(seen, ["ADDED \"a\"", "BOOKMARK null", "ADDED \"b\""]);
}

#[tokio::test]
async fn configurations_are_applied() {
    let cluster = with_widgets().await;
    let path = format!("{WIDGETS}/a?fieldManager=me");
    let apply = |object: Value| {
        let request = Request::builder().method("PATCH").uri(&path).header("accept", CBOR);
        (request.header("content-type", "application/apply-patch+cbor"), encode(&object))
    };
    let (request, body) = apply(widget("a", 5));
    let (code, _, bytes) = cluster.bytes(request, body).await;
    let created = decode(&bytes).expect("one data item");
    assert_eq!((code, &created["spec"]["size"]), (201, &json!(5)));
    assert_eq!(created["metadata"]["managedFields"][0]["manager"], "me");
    let (request, _) = apply(json!(null));
    let answer = cluster.ask(request.header("accept", "application/json"), &b"\xa2\x41a\x01\x41a\x02"[..]).await;
    assert_eq!(answer.code, 400);
}

#[tokio::test]
async fn broken_bodies_are_refused() {
    let cluster = Cluster::new().await;
    for (body, cause) in [
        (&b"{}"[..], "unexpected EOF ({})"),
        (b"", "unexpected EOF (<empty>)"),
        (
            b"\xa1\x44kind\xf9\x7e\x00",
            "cbor: data item of cbor type primitives is not accepted by protocol: floating-point NaN (a1446b696e64f97e00)",
        ),
        (b"\xa2\x41a\x01\x61a\x02", "cbor: found duplicate map key \"a\" at map element index 1 (a2416101616102)"),
        (b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff", "unexpected EOF (bbffffffffffffffff)"),
        (b"\xa0\x00", "cbor: 1 bytes of extraneous data starting at index 1 (a000)"),
    ] {
        let request = Request::builder().method("POST").uri(SECRETS).header("content-type", CBOR);
        let answer = cluster.ask(request, body).await;
        let expected = format!(
            "400 BadRequest: the object provided is unrecognized (must be of type Secret): unable to determine group/version/kind: {cause}"
        );
        assert_eq!(answer.line(), expected);
    }
}
