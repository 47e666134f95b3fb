//! Protobuf, which typed Go clients speak: bodies, answers, lists, watches, errors.

use bytes::{Buf, BytesMut};
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::harness::Cluster;

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";

fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path).header("accept", PROTOBUF).header("content-type", PROTOBUF)
}

fn secret(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {"k": "AQI="}})
}

fn encoded(object: &Value) -> Vec<u8> {
    let text = |field: &str| object[field].as_str().expect("a type");
    ::protobuf::encode(text("apiVersion"), text("kind"), object.to_string().as_bytes()).expect("encodes")
}

#[tokio::test]
async fn objects_travel_both_ways() {
    let cluster = Cluster::new().await;
    let (code, media_type, bytes) = cluster.bytes(request("POST", SECRETS), encoded(&secret("a"))).await;
    assert_eq!((code, media_type.as_str()), (201, PROTOBUF));
    let created = ::protobuf::decode(&bytes).expect("an object");
    assert_eq!((&created["kind"], &created["data"]["k"]), (&json!("Secret"), &json!("AQI=")));

    let path = format!("{SECRETS}/a");
    let (code, _, bytes) = cluster.bytes(request("GET", &path), "").await;
    assert_eq!((code, &::protobuf::decode(&bytes).expect("an object")), (200, &created));
    assert_eq!(cluster.get(&path).await.body["metadata"]["uid"], created["metadata"]["uid"]);

    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": "other"}});
    let (code, _, bytes) = cluster.bytes(request("DELETE", &path), encoded(&options)).await;
    let status = ::protobuf::decode(&bytes).expect("a status");
    assert_eq!((code, &status["reason"], &status["kind"]), (409, &json!("Conflict"), &json!("Status")));
    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions"});
    let (code, ..) = cluster.bytes(request("DELETE", &path), encoded(&options)).await;
    assert_eq!(code, 200);
}

#[tokio::test]
async fn lists_and_metadata_are_encoded() {
    let cluster = Cluster::new().await;
    for name in ["a", "b"] {
        cluster.post(SECRETS, secret(name)).await;
    }
    let (code, media_type, bytes) = cluster.bytes(request("GET", SECRETS), "").await;
    assert_eq!((code, media_type.as_str()), (200, PROTOBUF));
    let list = ::protobuf::decode(&bytes).expect("a list");
    let json = cluster.get(SECRETS).await.body;
    assert_eq!((&list["kind"], &list["metadata"]), (&json!("SecretList"), &json["metadata"]));
    assert_eq!(list["items"][1]["metadata"], json["items"][1]["metadata"]);

    let accept = format!("{PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
    let (_, _, bytes) = cluster.bytes(Request::builder().uri(SECRETS).header("accept", accept), "").await;
    let list = ::protobuf::decode(&bytes).expect("a list");
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!((&list["items"][0]["metadata"]["name"], &list["items"][0]["data"]), (&json!("a"), &Value::Null));

    let accept = format!("{PROTOBUF};as=Table;g=meta.k8s.io;v=v1");
    let answer = cluster.ask(Request::builder().uri(SECRETS).header("accept", accept.clone()), "").await;
    assert_eq!(answer.code, 406);
    let accept = format!("{accept}, application/json");
    let answer = cluster.ask(Request::builder().uri(SECRETS).header("accept", accept), "").await;
    assert_eq!(answer.at("/kind"), "SecretList");
}

#[tokio::test]
async fn watches_are_frames() {
    let cluster = Cluster::new().await;
    cluster.post(SECRETS, secret("a")).await;
    let path = format!(
        "{SECRETS}?watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    );
    let response = cluster.send(request("GET", &path), "").await;
    assert_eq!(response.headers()["content-type"], "application/vnd.kubernetes.protobuf;stream=watch");
    let (mut body, mut bytes, mut seen) = (response.into_body(), BytesMut::new(), Vec::new());
    while seen.len() < 2 {
        bytes.extend_from_slice(body.frame().await.expect("goes on").expect("data").data_ref().expect("data"));
        while let Some(length) = bytes.first_chunk().map(|four| u32::from_be_bytes(*four) as usize)
            && bytes.len() >= 4 + length
        {
            bytes.advance(4);
            seen.push(bytes.split_to(length));
        }
    }
    for (event, (kind, name)) in seen.iter().zip([("ADDED", Some("a")), ("BOOKMARK", None)]) {
        // Field 1 is the type; the object in field 2 has an envelope of its own.
        assert_eq!(&event[2..2 + kind.len()], kind.as_bytes());
        let at = event.windows(4).position(|four| four == b"k8s\0").expect("an envelope inside");
        let object = ::protobuf::decode(&event[at..]).expect("an object");
        assert_eq!((&object["kind"], object["metadata"]["name"].as_str()), (&json!("Secret"), name));
    }
}

#[tokio::test]
async fn errors_are_encoded_and_broken_bodies_refused() {
    let cluster = Cluster::new().await;
    let (code, media_type, bytes) = cluster.bytes(request("GET", "/api/v1/namespaces/default/secrets/none"), "").await;
    assert_eq!((code, media_type.as_str()), (404, PROTOBUF));
    let status = ::protobuf::decode(&bytes).expect("a status");
    assert_eq!((&status["kind"], &status["reason"]), (&json!("Status"), &json!("NotFound")));
    assert_eq!(status["details"]["name"], "none");

    let whole = encoded(&secret("a"));
    for broken in
        [b"{}".to_vec(), whole[..whole.len() - 9].to_vec(), encoded(&json!({"apiVersion": "v1", "kind": "Status"}))]
    {
        let (code, ..) = cluster.bytes(request("POST", SECRETS), broken).await;
        assert_eq!(code, 400);
    }
    let yaml = Request::builder().uri(format!("{SECRETS}?watch=true")).header("accept", "application/yaml");
    let answer = cluster.ask(yaml, "").await;
    assert_eq!(answer.code, 406);
}

#[tokio::test]
async fn discovery_is_encoded() {
    let cluster = Cluster::new().await;
    for (path, kind) in [
        ("/api", "APIVersions"),
        ("/apis", "APIGroupList"),
        ("/apis/apps", "APIGroup"),
        ("/apis/apps/v1", "APIResourceList"),
    ] {
        let (code, _, bytes) = cluster.bytes(request("GET", path), "").await;
        assert_eq!((code, &::protobuf::decode(&bytes).expect("an object")["kind"]), (200, &json!(kind)));
    }
}
