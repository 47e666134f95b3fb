//! log, exec, attach and port-forward of pods: requests to the kubelet that runs the pod
//! (upstream: pkg/registry/core/pod/strategy.go `LogLocation`, `StreamLocation`, pkg/registry/core/pod/rest).

use apimachinery::{Object, StatusError};
use async_trait::async_trait;
use http::{HeaderValue, Response, header};
use http_body_util::BodyExt;
use serde_json::Value;

use crate::admission::connect::connect;
use crate::body::{self, Body};
use crate::forward::{forward, is_upgrade};
use crate::handler::{Call, Handler};
use crate::kubelet_client::{KubeletAddress, KubeletClient};
use crate::registry::Cx;
use crate::request::Query;

/// The most of an error's text that is read from a kubelet.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// Which stream of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodStream {
    /// What a container has written.
    Log,
    /// A command in a container.
    Exec,
    /// The container's own process.
    Attach,
    /// Connections to ports of the pod.
    PortForward,
}

#[async_trait]
impl Handler for PodStream {
    async fn handle(&self, call: Call) -> Result<Response<Body>, StatusError> {
        let cx = &call.cx;
        let allowed = if *self == Self::Log {
            matches!(cx.info.verb.as_str(), "get")
        } else {
            matches!(cx.info.verb.as_str(), "get" | "create")
        };
        if !allowed {
            return Err(StatusError::new(
                405,
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource",
            ));
        }
        if *self != Self::Log {
            connect(cx).await?;
        }
        let pod = cx.registry().find(&cx.row, &cx.info.namespace, &cx.info.name).await?;
        let pod = pod.ok_or_else(|| cx.row.not_found(&cx.info.name))?;
        let path = self.kubelet_path(&pod, &cx.query)?;
        let node = pod.str_at(&["spec", "nodeName"]).unwrap_or_default();
        if node.is_empty() {
            if *self == Self::Log {
                return Ok(plain_text(Response::new(body::empty())));
            }
            return Err(StatusError::bad_request(format!("pod {} does not have a host assigned", pod.name())));
        }
        if *self != Self::Log && !is_upgrade(&call.parts.headers) {
            return Err(StatusError::bad_request("Upgrade request required"));
        }
        let (address, kubelets) = (kubelet_address(cx, node).await?, kubelets(cx)?);
        let io = kubelets.connect(&address).await?;
        let scope = cx.server.scope.clone();
        let response = forward(io, call.parts, call.body, &address.authority(), &path, &scope).await?;
        if *self == Self::Log { log_answer(response).await } else { Ok(response) }
    }
}

impl PodStream {
    /// The kubelet's path for the pod's, with the query translated.
    fn kubelet_path(self, pod: &Object, query: &Query) -> Result<String, StatusError> {
        let (namespace, name) = (pod.namespace(), pod.name());
        if self == Self::PortForward {
            let ports: Vec<(&str, &str)> =
                query.all("port").chain(query.all("ports")).map(|port| ("port", port)).collect();
            return Ok(format!("/portForward/{namespace}/{name}{}", encode(&ports)));
        }
        let container = container_of(pod, query.get("container"))?;
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        let endpoint = match self {
            Self::Log => {
                for option in [
                    "follow",
                    "previous",
                    "sinceSeconds",
                    "sinceTime",
                    "timestamps",
                    "tailLines",
                    "limitBytes",
                    "stream",
                ] {
                    pairs.extend(query.get(option).map(|value| (option, value)));
                }
                check_log_options(query)?;
                "containerLogs"
            }
            Self::Attach => "attach",
            _ => "exec",
        };
        if self != Self::Log {
            for (option, kubelets) in [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")] {
                if query.is_true(option) {
                    pairs.push((kubelets, "1"));
                }
            }
            if self == Self::Exec {
                pairs.extend(query.all("command").map(|word| ("command", word)));
            }
        }
        Ok(format!("/{endpoint}/{namespace}/{name}/{container}{}", encode(&pairs)))
    }
}

/// Upstream: `ValidatePodLogOptions`.
fn check_log_options(query: &Query) -> Result<(), StatusError> {
    use apimachinery::field::{Error, Path};
    let mut errors = Vec::new();
    for (option, least) in [("tailLines", 0_i64), ("limitBytes", 1), ("sinceSeconds", 1)] {
        let Some(text) = query.get(option) else { continue };
        match text.parse::<i64>() {
            Ok(number) if number >= least => {}
            Ok(number) => {
                errors.push(Error::invalid(
                    &Path::new(option),
                    number,
                    format!("must be greater than or equal to {least}"),
                ));
            }
            Err(_) => {
                return Err(StatusError::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")));
            }
        }
    }
    if query.get("sinceSeconds").is_some() && query.get("sinceTime").is_some() {
        errors
            .push(Error::forbidden(&Path::default(), "at most one of `sinceTime` or `sinceSeconds` may be specified"));
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(StatusError::invalid(&apimachinery::GroupKind::new("", "PodLogOptions"), "", &errors))
    }
}

/// The container that is meant (upstream: `validateContainer`).
fn container_of(pod: &Object, asked: Option<&str>) -> Result<String, StatusError> {
    let names = |list: &str| -> Vec<String> {
        let list = pod.at(&["spec", list]).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(|container| container["name"].as_str().map(str::to_owned)).collect()
    };
    let (containers, inits) = (names("containers"), names("initContainers"));
    if let Some(asked) = asked {
        let known = containers.iter().chain(&inits).chain(&names("ephemeralContainers")).any(|name| name == asked);
        let refused = || StatusError::bad_request(format!("container {asked} is not valid for pod {}", pod.name()));
        return known.then(|| asked.to_owned()).ok_or_else(refused);
    }
    match containers.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(StatusError::bad_request(format!("a container name must be specified for pod {}", pod.name()))),
        several => {
            let mut text = format!(
                "a container name must be specified for pod {}, choose one of: [{}]",
                pod.name(),
                several.join(" ")
            );
            if !inits.is_empty() {
                text.push_str(&format!(" or one of the init containers: [{}]", inits.join(" ")));
            }
            Err(StatusError::bad_request(text))
        }
    }
}

/// The way to kubelets.
pub(super) fn kubelets(cx: &Cx) -> Result<&KubeletClient, StatusError> {
    let kubelets = cx.server.kubelets.as_ref();
    kubelets.ok_or_else(|| StatusError::unavailable("this server has no client certificate for kubelets"))
}

/// Where the kubelet of a node listens.
pub(super) async fn kubelet_address(cx: &Cx, node: &str) -> Result<KubeletAddress, StatusError> {
    let nodes = cx.registry().row("", "v1", "nodes")?;
    let object = cx.registry().find(&nodes, "", node).await?.ok_or_else(|| nodes.not_found(node))?;
    KubeletAddress::of(&object).ok_or_else(|| {
        StatusError::internal(format!("no preferred addresses found; known addresses: [] of node {node}"))
    })
}

/// A kubelet's answer to a log request; its errors are text and become Status
/// (upstream: registry/generic/rest/response_checker.go).
async fn log_answer(response: Response<Body>) -> Result<Response<Body>, StatusError> {
    let code = response.status();
    if code.is_success() {
        return Ok(plain_text(response));
    }
    let (mut body, mut text) = (response.into_body(), Vec::new());
    while let Some(Ok(frame)) = body.frame().await
        && text.len() < MAX_ERROR_BYTES
    {
        text.extend_from_slice(frame.data_ref().map(|data| &data[..]).unwrap_or_default());
    }
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    Err(match code.as_u16() {
        400 => StatusError::bad_request(text),
        404 => StatusError::new(404, "NotFound", text),
        500 => StatusError::internal(text),
        code => StatusError::new(code, "", format!("the kubelet answered with an error: {text}")),
    })
}

fn plain_text(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// A query string of these pairs, with its question mark.
fn encode(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (index, (name, value)) in pairs.iter().enumerate() {
        text.push(if index == 0 { '?' } else { '&' });
        escape(name, &mut text);
        text.push('=');
        escape(value, &mut text);
    }
    text
}

fn escape(value: &str, out: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn path(stream: PodStream, query: &str, containers: &[&str]) -> String {
        let containers: Vec<Value> = containers.iter().map(|name| json!({ "name": name })).collect();
        let pod = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": containers}});
        let pod = Object::from_value(pod).expect("an object");
        match stream.kubelet_path(&pod, &Query::parse(Some(query))) {
            Ok(path) => path,
            Err(error) => format!("{} {}", error.code, error.message),
        }
    }

    #[test]
    fn paths_are_translated() {
        for (stream, query, containers, expected) in [
            (PodStream::Log, "follow=true&tailLines=5", &["a"][..], "/containerLogs/n/p/a?follow=true&tailLines=5"),
            (
                PodStream::Exec,
                "command=sh&command=-c&command=a%20b&stdin=true&stdout=1&tty=false",
                &["a"],
                "/exec/n/p/a?input=1&output=1&command=sh&command=-c&command=a%20b",
            ),
            (PodStream::Attach, "container=b&stdout=true", &["a", "b"], "/attach/n/p/b?output=1"),
            (PodStream::PortForward, "ports=80", &["a"], "/portForward/n/p?port=80"),
            (
                PodStream::Exec,
                "",
                &["a", "b"],
                "400 a container name must be specified for pod p, choose one of: [a b]",
            ),
            (PodStream::Exec, "container=c", &["a", "b"], "400 container c is not valid for pod p"),
            (
                PodStream::Log,
                "tailLines=-1",
                &["a"],
                "422 PodLogOptions \"\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0",
            ),
        ] {
            assert_eq!(path(stream, query, containers), expected, "{stream:?} {query}");
        }
    }
}
