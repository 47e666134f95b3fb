//! Messages in, messages out, over UDP and TCP.
//!
//! What the zone knows is answered on the spot; what must be asked elsewhere gets a task, of which there is a limit.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use component_base::metrics::{Counter, Metrics};
use component_base::{Backoff, Scope};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Record, RecordType};
use parking_lot::RwLock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::answer::Answer;
use crate::forward::{Forwarder, PAYLOAD};
use crate::zone::Zone;

/// Questions that are asked elsewhere at a time.
const MOST_FORWARDED: usize = 512;
/// Connections at a time.
const MOST_CONNECTIONS: usize = 256;
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(10);
/// How many names an answer may go through.
const LONGEST_CHAIN: usize = 8;
/// The least that every asker takes over UDP.
const SMALLEST: u16 = 512;

/// How an answer travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Udp,
    Tcp,
}

/// The server's state, shared by its tasks.
pub(crate) struct Server {
    pub(crate) zone: RwLock<Zone>,
    /// Whether the zone knows everything yet.
    synced: AtomicBool,
    forwarder: Forwarder,
    forwarding: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    /// Turns the order of addresses, so that askers who take the first spread.
    turn: AtomicUsize,
    requests: Counter,
    forwarded: Counter,
}

/// What is to be done with a message.
enum Reply {
    Now(Vec<u8>),
    Later(Box<Pending>),
    Nothing,
}

/// A question whose rest must be asked elsewhere.
struct Pending {
    request: Message,
    transport: Transport,
    /// Aliases that led there.
    aliases: Vec<Record>,
    query: Query,
}

impl Server {
    pub(crate) fn new(zone: Zone, forwarder: Forwarder) -> Self {
        let metrics = Metrics::global();
        Self {
            zone: RwLock::new(zone),
            synced: AtomicBool::new(false),
            forwarder,
            forwarding: Arc::new(Semaphore::new(MOST_FORWARDED)),
            connections: Arc::new(Semaphore::new(MOST_CONNECTIONS)),
            turn: AtomicUsize::new(0),
            requests: metrics.register("dns_requests", "Questions asked", Counter::default()),
            forwarded: metrics.register("dns_forwarded", "Questions asked elsewhere", Counter::default()),
        }
    }

    /// The zone knows everything there is. Until then its names get "server failure", which resolvers try again.
    pub(crate) fn set_synced(&self) {
        self.synced.store(true, Ordering::Release);
    }

    /// Answers datagrams.
    pub(crate) async fn serve_udp(self: Arc<Self>, socket: UdpSocket, scope: Scope) {
        let socket = Arc::new(socket);
        let mut trouble = trouble();
        let mut buffer = [0; 4096];
        loop {
            let (length, from) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(err) => {
                    tracing::warn!(error = %err, "a DNS question was not received");
                    sleep(trouble.next_delay()).await;
                    continue;
                }
            };
            trouble.reset();
            match self.receive(&buffer[..length], Transport::Udp) {
                Reply::Nothing => {}
                Reply::Now(bytes) => send(&socket, &bytes, from).await,
                Reply::Later(pending) => match self.forwarding.clone().try_acquire_owned() {
                    Err(_) => send(&socket, &failure(&pending.request, ResponseCode::ServFail), from).await,
                    Ok(permit) => {
                        let (server, socket) = (self.clone(), socket.clone());
                        scope.spawn("dns/forward", async move {
                            send(&socket, &server.finish(*pending).await, from).await;
                            drop(permit);
                        });
                    }
                },
            }
        }
    }

    /// Takes connections.
    pub(crate) async fn serve_tcp(self: Arc<Self>, listener: TcpListener, scope: Scope) {
        let mut trouble = trouble();
        loop {
            // A place first: connections beyond the limit wait in the kernel's queue.
            let Ok(permit) = self.connections.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    trouble.reset();
                    let server = self.clone();
                    scope.spawn("dns/connection", async move {
                        // The other side hung up or fell silent: nobody is left to tell.
                        let _ = server.serve_connection(stream).await;
                        drop(permit);
                    });
                }
                Err(err) => {
                    tracing::warn!(error = %err, "a DNS connection was not taken");
                    sleep(trouble.next_delay()).await;
                }
            }
        }
    }

    async fn serve_connection(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let length = timeout(IDLE, stream.read_u16()).await??;
            let mut request = vec![0; length.into()];
            timeout(IDLE, stream.read_exact(&mut request)).await??;
            let answer = match self.receive(&request, Transport::Tcp) {
                Reply::Nothing => return Ok(()),
                Reply::Now(bytes) => bytes,
                Reply::Later(pending) => self.finish(*pending).await,
            };
            let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
            timeout(IDLE, stream.write_all(&[&length.to_be_bytes()[..], &answer].concat())).await??;
        }
    }

    fn receive(&self, bytes: &[u8], transport: Transport) -> Reply {
        self.requests.inc();
        let Ok(request) = Message::from_vec(bytes) else { return malformed(bytes) };
        if request.metadata.message_type != MessageType::Query {
            return Reply::Nothing;
        }
        let refuse = |code| Reply::Now(failure(&request, code));
        if request.metadata.op_code != OpCode::Query {
            return refuse(ResponseCode::NotImp);
        }
        let [query] = request.queries.as_slice() else { return refuse(ResponseCode::FormErr) };
        if request.version() != 0 {
            return refuse(ResponseCode::BADVERS);
        }
        if query.query_class() != DNSClass::IN || matches!(query.query_type(), RecordType::AXFR | RecordType::IXFR) {
            return refuse(ResponseCode::Refused);
        }
        let query = query.clone();
        self.look_up(request, query, transport)
    }

    /// Follows names through the zone, as far as it goes.
    fn look_up(&self, request: Message, mut query: Query, transport: Transport) -> Reply {
        let zone = self.zone.read();
        let mut sections = Sections::default();
        for _ in 0..LONGEST_CHAIN {
            let answer = zone.answer(query.name(), query.query_type());
            if !matches!(answer, Answer::NotOurs) && !self.synced.load(Ordering::Acquire) {
                return Reply::Now(failure(&request, ResponseCode::ServFail));
            }
            match answer {
                Answer::Records { mut answers, additionals } => {
                    let turn = self.turn.fetch_add(1, Ordering::Relaxed) % answers.len().max(1);
                    answers.rotate_left(turn);
                    sections.answers.extend(answers);
                    sections.additionals = additionals;
                    return Reply::Now(respond(&request, transport, ResponseCode::NoError, true, sections));
                }
                Answer::Alias { record, target } => {
                    sections.answers.push(*record);
                    query.set_name(target);
                }
                Answer::NotOurs => {
                    let aliases = sections.answers;
                    return Reply::Later(Box::new(Pending { request, transport, aliases, query }));
                }
                nothing => {
                    let is_missing = nothing == Answer::NoName;
                    let code = if is_missing { ResponseCode::NXDomain } else { ResponseCode::NoError };
                    sections.authorities.extend(zone.authority());
                    return Reply::Now(respond(&request, transport, code, true, sections));
                }
            }
        }
        Reply::Now(failure(&request, ResponseCode::ServFail))
    }

    async fn finish(&self, pending: Pending) -> Vec<u8> {
        self.forwarded.inc();
        let dnssec = pending.request.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok);
        let found = self.forwarder.resolve(&pending.query, dnssec).await;
        let mut answers = pending.aliases;
        answers.extend(found.answers);
        let sections = Sections { answers, authorities: found.authorities, additionals: found.additionals };
        respond(&pending.request, pending.transport, found.metadata.response_code, false, sections)
    }
}

/// How long to leave a socket alone that fails: out of memory or descriptors, it would fail again at once.
fn trouble() -> Backoff {
    Backoff::new(Duration::from_millis(5), Duration::from_secs(1))
}

async fn send(socket: &UdpSocket, bytes: &[u8], to: SocketAddr) {
    if let Err(err) = socket.send_to(bytes, to).await {
        tracing::debug!(%to, error = %err, "a DNS answer was not sent");
    }
}

#[derive(Default)]
struct Sections {
    answers: Vec<Record>,
    authorities: Vec<Record>,
    additionals: Vec<Record>,
}

/// Writes the answer; over UDP cut to what the asker takes.
fn respond(
    request: &Message,
    transport: Transport,
    code: ResponseCode,
    authoritative: bool,
    sections: Sections,
) -> Vec<u8> {
    let mut message = head(request, code);
    message.metadata.authoritative = authoritative;
    message.answers = sections.answers;
    message.authorities = sections.authorities;
    message.additionals = sections.additionals;
    let limit = match transport {
        Transport::Udp if request.edns.is_some() => request.max_payload().clamp(SMALLEST, PAYLOAD),
        Transport::Udp => SMALLEST,
        Transport::Tcp => u16::MAX,
    };
    let fits = |bytes: &Vec<u8>| bytes.len() <= usize::from(limit);
    if let Some(bytes) = message.to_vec().ok().filter(fits) {
        return bytes;
    }
    // What nobody asked for goes first.
    message.additionals.clear();
    if let Some(bytes) = message.to_vec().ok().filter(fits) {
        return bytes;
    }
    message.truncate().to_vec().unwrap_or_else(|_| failure(request, ResponseCode::ServFail))
}

fn head(request: &Message, code: ResponseCode) -> Message {
    let mut message = Message::response(request.metadata.id, request.metadata.op_code);
    message.metadata.recursion_desired = request.metadata.recursion_desired;
    message.metadata.checking_disabled = request.metadata.checking_disabled;
    message.metadata.recursion_available = true;
    message.metadata.response_code = code;
    message.add_queries(request.queries.iter().cloned());
    if request.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD).set_rcode_high(code.high());
        message.set_edns(edns);
    }
    message
}

fn failure(request: &Message, code: ResponseCode) -> Vec<u8> {
    // A header and a question that were just read can be written.
    head(request, code).to_vec().unwrap_or_default()
}

/// "Format error", if there is at least an identifier to answer to and it is a question.
fn malformed(bytes: &[u8]) -> Reply {
    const HEADER: usize = 12;
    match bytes {
        [high, low, flags, ..] if bytes.len() >= HEADER && flags & 0x80 == 0 => {
            let id = u16::from_be_bytes([*high, *low]);
            let message = Message::error_msg(id, OpCode::Query, ResponseCode::FormErr);
            message.to_vec().map_or(Reply::Nothing, Reply::Now)
        }
        _ => Reply::Nothing,
    }
}

#[cfg(test)]
mod tests;
