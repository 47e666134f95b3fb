//! Probing a container once (upstream: pkg/kubelet/prober/prober.go, pkg/probe).

pub mod grpc;
pub mod http;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use k8s_openapi::api::core::v1::Probe;
use tokio::net::TcpStream;

use crate::effects::ContainerJob;
use crate::pod::container::ProbeSort;
use crate::pod::machine::ProbeOutcome;
use crate::pod::spec::port_number;

/// Most bytes of an answer that are kept for the message.
pub const MAX_BODY: usize = 10 * 1024;

/// Runs one probe of the instance `id` and answers its result.
pub async fn probe(job: &ContainerJob, id: &str, sort: ProbeSort) -> ProbeOutcome {
    let container = &job.spec.container;
    let spec = match sort {
        ProbeSort::Startup => &container.startup_probe,
        ProbeSort::Readiness => &container.readiness_probe,
        ProbeSort::Liveness => &container.liveness_probe,
    };
    let Some(spec) = spec else { return ProbeOutcome::Unknown("there is no such probe".to_owned()) };
    let limit = Duration::from_secs(u64::try_from(spec.timeout_seconds.unwrap_or(1)).unwrap_or(1).max(1));
    run(job, id, spec, limit).await
}

async fn run(job: &ContainerJob, id: &str, spec: &Probe, limit: Duration) -> ProbeOutcome {
    let ports = job.spec.container.ports.as_ref();
    let pod_ip = job.job.pod_ips.first().map(String::as_str).unwrap_or_default();
    if let Some(action) = &spec.exec {
        let command = action.command.clone().unwrap_or_default();
        return exec(job, id, &command, limit).await;
    }
    if let Some(action) = &spec.http_get {
        let Some(port) = port_number(&action.port, ports) else { return unknown_port() };
        return http::probe(&http::Request::new(action, pod_ip, port), limit).await;
    }
    if let Some(action) = &spec.tcp_socket {
        let Some(port) = port_number(&action.port, ports) else { return unknown_port() };
        let host = action.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(pod_ip);
        return tcp(host, port, limit).await;
    }
    if let Some(action) = &spec.grpc {
        let Ok(port) = u16::try_from(action.port) else { return unknown_port() };
        let service = action.service.as_deref().unwrap_or_default();
        return grpc::probe(pod_ip, port, service, limit).await;
    }
    ProbeOutcome::Unknown("missing probe handler".to_owned())
}

fn unknown_port() -> ProbeOutcome {
    ProbeOutcome::Unknown("couldn't find the port of the probe".to_owned())
}

async fn exec(job: &ContainerJob, id: &str, command: &[String], limit: Duration) -> ProbeOutcome {
    match job.job.cx.runtime.exec_sync(id, command, limit.as_secs()).await {
        Ok((0, _, _)) => ProbeOutcome::Success,
        Ok((_, stdout, stderr)) => {
            let mut output = [stdout, stderr].concat();
            output.truncate(MAX_BODY);
            failure(String::from_utf8_lossy(&output).into_owned())
        }
        Err(cri::Error::Timeout(seconds)) => {
            failure(format!("command timed out: {command:?} timed out after {seconds}s"))
        }
        Err(err) => ProbeOutcome::Unknown(err.to_string()),
    }
}

fn failure(message: String) -> ProbeOutcome {
    ProbeOutcome::Failure { message, refused: false }
}

async fn tcp(host: &str, port: u16, limit: Duration) -> ProbeOutcome {
    match connect(host, port, limit).await {
        Ok(_) => ProbeOutcome::Success,
        Err(err) => ProbeOutcome::Failure { refused: err.refused, message: err.message },
    }
}

/// Why nothing answers.
#[derive(Debug, PartialEq, Eq)]
pub struct ConnectError {
    /// As Go words it.
    pub message: String,
    /// The port is closed.
    pub refused: bool,
}

/// Opens a TCP connection within `limit`.
pub async fn connect(host: &str, port: u16, limit: Duration) -> Result<TcpStream, ConnectError> {
    let shown = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let connecting = async {
        match host.parse::<IpAddr>() {
            Ok(ip) => TcpStream::connect(SocketAddr::new(ip, port)).await,
            Err(_) => TcpStream::connect((host, port)).await,
        }
    };
    match tokio::time::timeout(limit, connecting).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(err)) => {
            let refused = err.kind() == std::io::ErrorKind::ConnectionRefused;
            let cause = if refused { "connect: connection refused".to_owned() } else { err.to_string() };
            Err(ConnectError { message: format!("dial tcp {shown}: {cause}"), refused })
        }
        Err(_) => Err(ConnectError { message: format!("dial tcp {shown}: i/o timeout"), refused: false }),
    }
}
