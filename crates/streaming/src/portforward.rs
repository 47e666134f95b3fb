//! port-forward: pairs of streams, each pair a connection to a port (upstream: kubelet/pkg/cri/streaming/portforward,
//! and client-go tools/portforward for SPDY frames inside WebSocket messages).

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use component_base::Scope;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use crate::Error;
use crate::spdy::{self, Incoming, Stream};
use crate::upgrade::{self, Offer, Transport};
use crate::websocket;

const PROTOCOL: &str = "portforward.k8s.io";
const TUNNELLED: &str = "SPDY/3.1+portforward.k8s.io";

/// How long the second stream of a pair may take.
const PAIRING: Duration = Duration::from_secs(30);
/// Most pairs that wait for their second stream.
const MAX_WAITING: usize = 256;

/// Answers the upgrade and connects streams to what `dial` opens for their port, in a task of `scope`.
///
/// `target` names the pod in errors.
pub fn serve<R, B, F, Fut, C>(mut request: Request<R>, scope: &Scope, target: String, dial: F) -> Response<B>
where
    B: Default,
    F: Fn(u16) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<C, String>> + Send + 'static,
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some(transport) = upgrade::requested(&request) else { return upgrade::not_an_upgrade() };
    let offer = Offer::of(&request, transport);
    let upgraded = hyper::upgrade::on(&mut request);
    let forward = Forward { target, dial: Arc::new(dial) };
    match transport {
        Transport::Spdy => {
            let protocol = offer.choose(&[PROTOCOL]);
            if protocol.is_none() && !offer.offered.is_empty() {
                return upgrade::refuse(&[PROTOCOL]);
            }
            scope.spawn("portforward", async move {
                let result = async {
                    let (incoming, driver) = spdy::accept(TokioIo::new(upgraded.await?));
                    forward.run(incoming, driver).await
                };
                log(result.await);
            });
            upgrade::spdy_response(Some(PROTOCOL))
        }
        Transport::WebSocket => {
            if offer.choose(&[TUNNELLED]).is_none() {
                return upgrade::refuse(&[TUNNELLED]);
            }
            let Some(response) = upgrade::websocket_response(&request, Some(TUNNELLED)) else {
                return upgrade::not_an_upgrade();
            };
            scope.spawn("portforward", async move {
                let result = async {
                    let (bytes, tunnel) = websocket::tunnel(TokioIo::new(upgraded.await?));
                    let (incoming, driver) = spdy::accept(bytes);
                    let both = async {
                        let (result, _) = tokio::join!(driver, tunnel);
                        result
                    };
                    forward.run(incoming, both).await
                };
                log(result.await);
            });
            response
        }
    }
}

fn log(result: Result<(), Error>) {
    if let Err(err) = result {
        tracing::debug!(error = %err, "a port-forward ended early");
    }
}

struct Forward<F> {
    target: String,
    dial: Arc<F>,
}

/// Two streams with the same request id.
#[derive(Default)]
struct Pair {
    data: Option<Stream>,
    error: Option<Stream>,
}

struct Waiting {
    pair: Pair,
    since: Instant,
}

impl<F, Fut, C> Forward<F>
where
    F: Fn(u16) -> Fut + Send + Sync,
    Fut: Future<Output = Result<C, String>> + Send,
    C: AsyncRead + AsyncWrite + Unpin + Send,
{
    /// Serves the pairs until the client goes.
    async fn run(
        self,
        mut incoming: Incoming,
        driver: impl Future<Output = std::io::Result<()>> + Send,
    ) -> Result<(), Error> {
        let mut waiting: HashMap<String, Waiting> = HashMap::new();
        let mut connections = FuturesUnordered::new();
        tokio::pin!(driver);
        loop {
            tokio::select! {
                result = &mut driver => return Ok(result?),
                Some(()) = connections.next(), if !connections.is_empty() => {}
                stream = incoming.next() => {
                    let Some(stream) = stream else { return Ok(driver.await?) };
                    waiting.retain(|_, pair| pair.since.elapsed() < PAIRING);
                    if let Some((data, error)) = pair_up(&mut waiting, stream) {
                        connections.push(self.connect(data, error));
                    }
                }
            }
        }
    }

    /// Connects a pair to its port. What goes wrong is told on the error stream.
    async fn connect(&self, data: Stream, error: Stream) {
        let mut errors = error.writer;
        let port = data.header("port").unwrap_or_default().to_owned();
        let result = match port.parse::<u16>().ok().filter(|port| *port > 0) {
            Some(number) => self.copy(number, data).await,
            None => Err(format!("unable to parse {port:?} as a port")),
        };
        if let Err(cause) = result {
            let text = format!("error forwarding port {port} to pod {}, uid : {cause}", self.target);
            // A client that is gone reads no errors.
            let _ = errors.write_all(text.as_bytes()).await;
        }
        let _ = errors.shutdown().await;
    }

    async fn copy(&self, port: u16, data: Stream) -> Result<(), String> {
        let (mut reader, mut writer) = (data.reader, data.writer);
        let connection = match (self.dial)(port).await {
            Ok(connection) => connection,
            Err(err) => {
                let _ = writer.shutdown().await;
                return Err(err);
            }
        };
        let (mut read, mut write) = tokio::io::split(connection);
        let inward = async {
            let result = tokio::io::copy(&mut reader, &mut write).await;
            // The port may have closed before; then there is nothing to shut down.
            let _ = write.shutdown().await;
            result
        };
        let outward = async {
            let result = tokio::io::copy(&mut read, &mut writer).await;
            let _ = writer.shutdown().await;
            result
        };
        tokio::pin!(inward, outward);
        // Once the port has said all there is, the rest of what the client sends has no reader.
        tokio::select! {
            result = &mut outward => result.map(drop).map_err(|err| err.to_string()),
            result = &mut inward => match result {
                Ok(_) => outward.await.map(drop).map_err(|err| err.to_string()),
                Err(err) => Err(err.to_string()),
            },
        }
    }
}

/// Files a stream; answers data and error stream once both are there.
fn pair_up(waiting: &mut HashMap<String, Waiting>, stream: Stream) -> Option<(Stream, Stream)> {
    // Clients before Kubernetes 1.3 send no request id: their pairs come one after the other.
    let id = stream.header("requestid").map_or_else(|| ((stream.id - 1) / 4).to_string(), str::to_owned);
    if waiting.len() >= MAX_WAITING && !waiting.contains_key(&id) {
        return None;
    }
    let entry = waiting.entry(id.clone()).or_insert_with(|| Waiting { pair: Pair::default(), since: Instant::now() });
    match stream.header("streamtype") {
        Some("error") => entry.pair.error = Some(stream),
        Some("data") => entry.pair.data = Some(stream),
        _ => return None,
    }
    if entry.pair.data.is_none() || entry.pair.error.is_none() {
        return None;
    }
    let pair = waiting.remove(&id)?.pair;
    Some((pair.data?, pair.error?))
}
