//! `/exec`, `/attach`, `/run` and `/portForward`.

use std::sync::Arc;

use component_base::Scope;
use cri::{ExecIo, ExecRequest, TerminalSize};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use kube::ResourceExt;
use streaming::remotecommand::{self, Options, Streams};
use streaming::status::Outcome;
use streaming::{portforward, upgrade};

use super::route::At;
use super::{Body, query, text};
use crate::context::Context;
use crate::kubelet::Workers;
use crate::pod::PodRef;
use crate::pod::spec::host_network;

/// Seconds a command of `/run` may take.
const RUN_LIMIT_S: u64 = 60;

fn size(size: remotecommand::TerminalSize) -> TerminalSize {
    TerminalSize { width: size.width, height: size.height }
}

fn io(streams: Streams<TerminalSize>) -> ExecIo {
    ExecIo { stdin: streams.stdin, stdout: streams.stdout, stderr: streams.stderr, resize: streams.resize }
}

/// Id of a running container, or the answer that there is none.
fn running(workers: &Workers, at: &At) -> Result<String, Box<Response<Body>>> {
    let refuse = |status, message: String| Err(Box::new(text(status, message)));
    let Some(view) = workers.find(&at.namespace, &at.pod) else {
        return refuse(StatusCode::NOT_FOUND, "pod does not exist".to_owned());
    };
    let found = view.containers.iter().find(|container| container.name == at.container && container.running);
    match found.and_then(|container| container.id.clone()) {
        Some(id) => Ok(id),
        None => refuse(StatusCode::INTERNAL_SERVER_ERROR, format!("container not found ({:?})", at.container)),
    }
}

/// Streams and command of a query (upstream: remotecommand.NewOptions; both names of each are known).
fn options(text: Option<&str>) -> (Options, Vec<String>) {
    let mut options = Options::default();
    let mut command = Vec::new();
    for (name, value) in query(text) {
        let yes = matches!(value.as_str(), "1" | "true");
        match name.as_str() {
            "input" | "stdin" => options.stdin |= yes,
            "output" | "stdout" => options.stdout |= yes,
            "error" | "stderr" => options.stderr |= yes,
            "tty" => options.tty |= yes,
            "command" => command.push(value),
            _ => {}
        }
    }
    // A terminal mixes both outputs.
    options.stderr &= !options.tty;
    (options, command)
}

fn check(options: Options) -> Result<(), Box<Response<Body>>> {
    if options.stdin || options.stdout || options.stderr {
        return Ok(());
    }
    let message = "you must specify at least 1 of stdin, stdout, stderr";
    Err(Box::new(text(StatusCode::BAD_REQUEST, message)))
}

/// Runs a command with streams.
pub fn exec(
    cx: &Arc<Context>,
    workers: &Workers,
    scope: &Scope,
    at: &At,
    request: Request<Incoming>,
) -> Response<Body> {
    let (options, command) = options(request.uri().query());
    let id = match check(options).and_then(|()| running(workers, at)) {
        Ok(id) => id,
        Err(response) => return *response,
    };
    let wanted = ExecRequest { container_id: id, command, tty: options.tty, stdin: options.stdin };
    let runtime = cx.runtime.clone();
    remotecommand::serve(request, options, scope, size, move |streams| async move {
        match runtime.exec(wanted, io(streams)).await {
            Ok(code) => Outcome::Exited(code),
            Err(err) => Outcome::Failed(format!("error executing command in container: {err}")),
        }
    })
}

/// Joins the streams of a container's first process.
pub fn attach(
    cx: &Arc<Context>,
    workers: &Workers,
    scope: &Scope,
    at: &At,
    request: Request<Incoming>,
) -> Response<Body> {
    let (options, _) = options(request.uri().query());
    let id = match check(options).and_then(|()| running(workers, at)) {
        Ok(id) => id,
        Err(response) => return *response,
    };
    let runtime = cx.runtime.clone();
    remotecommand::serve(request, options, scope, size, move |streams| async move {
        match runtime.attach(&id, io(streams)).await {
            Ok(()) => Outcome::Exited(0),
            Err(err) => Outcome::Failed(format!("error attaching to container: {err}")),
        }
    })
}

/// Runs a command to its end and answers its output.
pub async fn run(cx: &Arc<Context>, workers: &Workers, at: &At, text_query: Option<&str>) -> Response<Body> {
    let id = match running(workers, at) {
        Ok(id) => id,
        Err(response) => return *response,
    };
    let words = query(text_query).into_iter().find(|(name, _)| name == "cmd").map(|(_, value)| value);
    let command: Vec<String> = words.unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    match cx.runtime.exec_sync(&id, &command, RUN_LIMIT_S).await {
        Ok((_, stdout, stderr)) => text(StatusCode::OK, [stdout, stderr].concat()),
        Err(err) => text(StatusCode::INTERNAL_SERVER_ERROR, err.to_string()),
    }
}

/// Connects to ports of a pod.
pub fn port_forward(
    cx: &Arc<Context>,
    workers: &Workers,
    scope: &Scope,
    namespace: &str,
    name: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    if upgrade::requested(&request).is_none() {
        return text(StatusCode::BAD_REQUEST, "Upgrade request required");
    }
    let Some(view) = workers.find(namespace, name) else {
        return text(StatusCode::NOT_FOUND, "pod does not exist");
    };
    if view.sandbox.is_none() {
        let message = format!("pod not found (\"{}\")", PodRef::of(&view.pod));
        return text(StatusCode::INTERNAL_SERVER_ERROR, message);
    }
    let uid = view.pod.uid().unwrap_or_default();
    let of_node = host_network(&view.pod);
    let network = cx.network.clone();
    portforward::serve(request, scope, format!("{name}_{namespace}"), move |port| {
        let (network, uid) = (network.clone(), uid.clone());
        async move {
            let failed = |err: String| format!("failed to connect to localhost:{port} inside namespace {uid:?}: {err}");
            if of_node {
                let connecting = tokio::net::TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, port));
                return connecting.await.map_err(|err| failed(err.to_string()));
            }
            network.dial(&uid, port).await.map_err(|err| failed(err.to_string()))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_the_streams() {
        let (kubelet, command) = options(Some("input=1&output=1&tty=1&error=1&command=sh&command=-c"));
        assert_eq!(kubelet, Options { stdin: true, stdout: true, stderr: false, tty: true });
        assert_eq!(command, ["sh", "-c"]);
        let (api, _) = options(Some("stdin=true&stderr=true&stdout=false"));
        assert_eq!(api, Options { stdin: true, stdout: false, stderr: true, tty: false });
    }
}
