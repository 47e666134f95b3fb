//! As much of an API server as an informer needs: one list and one watch a kind.

use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

type Answer = UnsyncBoxBody<Bytes, io::Error>;

#[derive(Clone)]
pub struct Api {
    services: Arc<Vec<Service>>,
    slices: Arc<Vec<EndpointSlice>>,
    modify: UnboundedSender<String>,
    /// What the watch of EndpointSlices will say; taken by the first.
    modified: Arc<Mutex<Option<UnboundedReceiver<String>>>>,
}

impl Api {
    pub fn new(services: Vec<Service>, slices: Vec<EndpointSlice>) -> Self {
        let (modify, modified) = unbounded();
        Self {
            services: Arc::new(services),
            slices: Arc::new(slices),
            modify,
            modified: Arc::new(Mutex::new(Some(modified))),
        }
    }

    pub fn client(&self) -> client::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let answer = Response::new(api.answer(request.uri()));
            async { Ok::<_, io::Error>(answer) }
        });
        client::in_process(service, apimachinery::UserInfo::new("system:kube-proxy", Vec::<String>::new()))
    }

    /// An EndpointSlice is so from now on.
    pub fn modify(&self, mut slice: EndpointSlice) {
        slice.metadata.resource_version = Some("2".into());
        // The type comes first, as API servers write it.
        let slice = serde_json::to_string(&slice).expect("JSON");
        let event = format!(r#"{{"type":"MODIFIED","object":{slice}}}"#);
        self.modify.unbounded_send(event).expect("somebody watches");
    }

    fn answer(&self, uri: &http::Uri) -> Answer {
        let is_watch = uri.query().is_some_and(|query| query.contains("watch=true"));
        let list = |kind: &str, items: Value| {
            let list = json!({"kind": kind, "metadata": {"resourceVersion": "1"}, "items": items});
            Full::new(Bytes::from(list.to_string())).map_err(|never| match never {}).boxed_unsync()
        };
        match (uri.path(), is_watch) {
            ("/api/v1/services", false) => list("ServiceList", json!(*self.services)),
            ("/apis/discovery.k8s.io/v1/endpointslices", false) => list("EndpointSliceList", json!(*self.slices)),
            ("/apis/discovery.k8s.io/v1/endpointslices", true) => {
                let modified = self.modified.lock().expect("no test panicked here").take();
                let events = modified
                    .expect("one watch")
                    .map(|event| Ok::<_, io::Error>(http_body::Frame::data(Bytes::from(format!("{event}\n")))));
                StreamBody::new(events).boxed_unsync()
            }
            _ => StreamBody::new(futures::stream::pending()).boxed_unsync(),
        }
    }
}

pub fn service(cluster_ip: &str, node_port: u16) -> Service {
    let service = json!({
        "metadata": {"name": "web", "namespace": "default", "resourceVersion": "1"},
        "spec": {"type": "NodePort", "clusterIP": cluster_ip, "ports": [{"port": 80, "nodePort": node_port}]},
    });
    serde_json::from_value(service).expect("a Service")
}

/// The endpoints of `web`: addresses, and whether they are ready.
pub fn slice(endpoints: &[(&str, bool)]) -> EndpointSlice {
    let endpoint = |(address, ready): &(&str, bool)| json!({"addresses": [address], "conditions": {"ready": ready, "serving": true, "terminating": !ready}});
    let slice = json!({
        "metadata": {
            "name": "web-1", "namespace": "default", "resourceVersion": "1",
            "labels": {"kubernetes.io/service-name": "web"},
        },
        "addressType": "IPv4",
        "endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>(),
        "ports": [{"port": 8080, "protocol": "TCP"}],
    });
    serde_json::from_value(slice).expect("an EndpointSlice")
}
