//! Names of other zones: asked of the node's resolvers, kept for a moment.
//!
//! Bounded: so many questions at a time, so many answers kept, so long a wait. Of a question that finds no place or no
//! resolver the asker hears "server failure" at once.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use parking_lot::{Mutex, RwLock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout};

use crate::resolv_conf::nameservers;

/// How long one resolver has for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often each resolver is tried.
const ROUNDS: usize = 2;
/// upstream: kubeadm's Corefile, "cache 30".
const LONGEST_KEPT: Duration = Duration::from_secs(30);
const MOST_KEPT: usize = 1000;
/// What passes every path without fragments; as DNS flag day 2020 has it.
pub(crate) const PAYLOAD: u16 = 1232;

/// What makes two questions the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    name: Name,
    kind: RecordType,
    dnssec: bool,
}

struct Kept {
    message: Message,
    since: Instant,
    until: Instant,
}

/// The way to the node's resolvers.
pub(crate) struct Forwarder {
    resolv_conf: PathBuf,
    ours: Vec<IpAddr>,
    /// Other than 53, for tests.
    servers: RwLock<Vec<SocketAddr>>,
    kept: Mutex<HashMap<Key, Kept>>,
}

impl Forwarder {
    /// Reads the resolvers from `resolv_conf`; a missing file names none.
    pub(crate) fn new(resolv_conf: PathBuf, ours: Vec<IpAddr>) -> Self {
        let forwarder = Self { resolv_conf, ours, servers: RwLock::default(), kept: Mutex::default() };
        forwarder.read_servers();
        forwarder
    }

    #[cfg(test)]
    pub(crate) fn to(servers: Vec<SocketAddr>) -> Self {
        Self { resolv_conf: PathBuf::new(), ours: vec![], servers: RwLock::new(servers), kept: Mutex::default() }
    }

    /// The answer to a question; "server failure" when no resolver gives one.
    pub(crate) async fn resolve(&self, query: &Query, dnssec: bool) -> Message {
        let key = Key { name: query.name().to_lowercase(), kind: query.query_type(), dnssec };
        if let Some(message) = self.recall(&key) {
            return message;
        }
        let servers = self.servers.read().clone();
        for server in servers.iter().cycle().take(servers.len() * ROUNDS) {
            match ask(*server, query, dnssec).await {
                Ok(message) => {
                    self.keep(key, &message);
                    return message;
                }
                Err(err) => tracing::debug!(%server, name = %query.name(), error = %err, "a resolver did not answer"),
            }
        }
        // Perhaps the node moved to another network: the next question sees the file as it is now.
        self.read_servers();
        let mut failure = Message::query();
        failure.metadata.response_code = ResponseCode::ServFail;
        failure
    }

    fn read_servers(&self) {
        if let Ok(text) = std::fs::read_to_string(&self.resolv_conf) {
            *self.servers.write() = nameservers(&text, &self.ours);
        }
    }

    fn recall(&self, key: &Key) -> Option<Message> {
        let now = Instant::now();
        let kept = self.kept.lock();
        let kept = kept.get(key).filter(|kept| now < kept.until)?;
        let age = u32::try_from(now.duration_since(kept.since).as_secs()).unwrap_or(u32::MAX);
        let mut message = kept.message.clone();
        let sections = [&mut message.answers, &mut message.authorities, &mut message.additionals];
        for record in sections.into_iter().flatten() {
            record.ttl = record.ttl.saturating_sub(age);
        }
        Some(message)
    }

    fn keep(&self, key: Key, message: &Message) {
        let Some(ttl) = time_to_keep(message) else { return };
        let since = Instant::now();
        let mut kept = self.kept.lock();
        if kept.len() >= MOST_KEPT {
            kept.retain(|_, kept| since < kept.until);
        }
        if kept.len() >= MOST_KEPT
            && let Some(any) = kept.keys().next().cloned()
        {
            kept.remove(&any);
        }
        kept.insert(key, Kept { message: message.clone(), since, until: since + ttl });
    }
}

/// The shortest time that any part of the answer holds; `None` for what is not to be kept.
fn time_to_keep(message: &Message) -> Option<Duration> {
    if !matches!(message.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return None;
    }
    let positive = message.answers.iter().map(|record| record.ttl).min();
    let negative = || {
        message.authorities.iter().find_map(|record| match &record.data {
            RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
            _ => None,
        })
    };
    let seconds = positive.or_else(negative).filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(seconds.into()).min(LONGEST_KEPT))
}

async fn ask(server: SocketAddr, query: &Query, dnssec: bool) -> io::Result<Message> {
    let mut request = Message::query();
    request.metadata.recursion_desired = true;
    request.add_query(query.clone());
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD).set_dnssec_ok(dnssec);
    request.set_edns(edns);
    let bytes = request.to_vec().map_err(io::Error::other)?;
    let is_answer = |message: &Message| {
        let same = |asked: &Query| asked.name() == query.name() && asked.query_type() == query.query_type();
        message.metadata.id == request.metadata.id
            && message.metadata.message_type == MessageType::Response
            && message.queries.first().is_some_and(same)
    };
    let answer = timeout(PATIENCE, over_udp(server, &bytes, is_answer)).await??;
    if !answer.metadata.truncation {
        return Ok(answer);
    }
    let whole = timeout(PATIENCE, over_tcp(server, &bytes)).await??;
    if is_answer(&whole) { Ok(whole) } else { Err(io::Error::other("an answer to another question")) }
}

async fn over_udp(server: SocketAddr, request: &[u8], is_answer: impl Fn(&Message) -> bool) -> io::Result<Message> {
    // A socket a question: the port is as hard to guess as the identifier.
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(request).await?;
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match Message::from_vec(&buffer[..length]) {
            Ok(message) if is_answer(&message) => return Ok(message),
            _ => {}
        }
    }
}

async fn over_tcp(server: SocketAddr, request: &[u8]) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(request.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], request].concat()).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; length.into()];
    stream.read_exact(&mut answer).await?;
    Message::from_vec(&answer).map_err(io::Error::other)
}
