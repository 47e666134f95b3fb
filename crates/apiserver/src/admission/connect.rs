//! Connections to pods, services and nodes, as plugins see them: the options of the connection are the object
//! (upstream: endpoints/handlers/rest.go `ConnectResource`).

use apimachinery::{Object, StatusError};
use serde_json::{Map, Value};

use super::conversion::Conversions;
use super::reinvocation::Reinvocation;
use super::{Operation, Request};
use crate::registry::Cx;

const FLAGS: [&str; 4] = ["stdin", "stdout", "stderr", "tty"];

/// Lets admission judge a connection, before anybody looks where it would lead.
pub async fn connect(cx: &Cx) -> Result<(), StatusError> {
    if cx.query.has("dryRun") {
        return Err(StatusError::bad_request("dryRun is not supported"));
    }
    let mut request = Request {
        cx,
        row: &cx.row,
        operation: Operation::Connect,
        namespace: &cx.info.namespace,
        name: cx.info.name.clone(),
        subresource: &cx.info.subresource,
        object: None,
        old: None,
        dry_run: false,
        reinvocation: Reinvocation::default(),
        conversions: Conversions::default(),
    };
    let mut options = Object(options(cx));
    options.set_type(&request.kind());
    request.object = Some(options);
    let chain = &cx.server.admission;
    chain.admit(&mut request).await?;
    chain.validate(&request).await
}

/// `PodExecOptions` and its like, from the query.
fn options(cx: &Cx) -> Map<String, Value> {
    let mut options = Map::new();
    if cx.info.subresource == "proxy" {
        options.insert("path".into(), cx.info.rest.clone().into());
        return options;
    }
    for flag in FLAGS.into_iter().filter(|flag| cx.query.is_true(flag)) {
        options.insert(flag.into(), true.into());
    }
    if let Some(container) = cx.query.get("container") {
        options.insert("container".into(), container.into());
    }
    let command: Vec<Value> = cx.query.all("command").map(Value::from).collect();
    if !command.is_empty() {
        options.insert("command".into(), command.into());
    }
    let ports: Vec<Value> =
        cx.query.all("ports").filter_map(|port| port.parse::<i64>().ok()).map(Value::from).collect();
    if !ports.is_empty() {
        options.insert("ports".into(), ports.into());
    }
    options
}
