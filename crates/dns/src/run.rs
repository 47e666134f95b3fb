//! Wiring: addresses, sockets, informers.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use client::{Event, Informer, Informers, ObjectKey};
use component_base::Scope;
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use netlink::Socket;
use netlink::route::{self, Changes};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::spawn_blocking;

use crate::forward::Forwarder;
use crate::server::Server;
use crate::zone::{ServiceRecord, SliceRecord, Zone};

/// What the DNS server must know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it answers, as 10.96.0.10:53.
    pub listen: Vec<SocketAddr>,
    /// The link that gets those addresses, as lo.
    pub link: String,
    /// The cluster's domain, as cluster.local.
    pub domain: String,
    /// How many seconds answers may be kept.
    pub ttl: u32,
    /// The file that names the node's own resolvers.
    pub resolv_conf: PathBuf,
}

/// Why the DNS server cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address could not be added to the link.
    #[error("give {link} the DNS server's addresses")]
    Address {
        /// The link.
        link: String,
        /// The cause.
        #[source]
        err: netlink::Error,
    },
    /// The link is not there.
    #[error("no link {link} for the DNS server's addresses")]
    NoLink {
        /// Its name.
        link: String,
    },
    /// An address could not be listened at.
    #[error("listen for DNS at {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        err: io::Error,
    },
    /// The work was cut off: the process ends.
    #[error("cut off while the process ends")]
    CutOff,
}

impl Config {
    /// Ready to run. The informers are asked for Services and EndpointSlices.
    pub fn build(self, informers: &Informers) -> Dns {
        let ours: Vec<IpAddr> = self.listen.iter().map(SocketAddr::ip).collect();
        let zone = Zone::new(&self.domain, ours.clone(), self.ttl);
        let server = Arc::new(Server::new(zone, Forwarder::new(self.resolv_conf.clone(), ours)));
        let services = informers.informer::<Service>();
        let slices = informers.informer::<EndpointSlice>();
        feed(&server, &services, &slices);
        Dns { config: self, server, services, slices }
    }
}

/// Every change of the caches becomes one of the zone, on the reflector's own task.
fn feed(server: &Arc<Server>, services: &Informer<Service>, slices: &Informer<EndpointSlice>) {
    let sink = server.clone();
    services.on_event(move |event| {
        let service = present(event);
        sink.zone.write().set_service(ObjectKey::of(&**event.object()), service.and_then(ServiceRecord::of));
    });
    let sink = server.clone();
    slices.on_event(move |event| {
        let slice = present(event);
        sink.zone.write().set_slice(ObjectKey::of(&**event.object()), slice.and_then(SliceRecord::of));
    });
}

/// The object, unless it is gone.
fn present<K>(event: &Event<K>) -> Option<&K> {
    match event {
        Event::Deleted(_) => None,
        event => Some(event.object()),
    }
}

/// The cluster's DNS server.
pub struct Dns {
    config: Config,
    server: Arc<Server>,
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
}

impl Dns {
    /// Serves until the scope ends.
    pub async fn run(self, scope: Scope) -> Result<(), Error> {
        self.start(&scope).await?;
        scope.cancelled().await;
        Ok(())
    }

    /// Takes the addresses and listens; what it then does ends with the scope.
    pub async fn start(self, scope: &Scope) -> Result<(), Error> {
        let config = self.config.clone();
        spawn_blocking(move || ensure_addresses(&config)).await.map_err(|_| Error::CutOff)??;
        for address in &self.config.listen {
            let failed = |err| Error::Listen { address: *address, err };
            let udp = UdpSocket::bind(address).await.map_err(failed)?;
            let tcp = TcpListener::bind(address).await.map_err(failed)?;
            scope.spawn("dns/udp", self.server.clone().serve_udp(udp, scope.clone()));
            scope.spawn("dns/tcp", self.server.clone().serve_tcp(tcp, scope.clone()));
        }
        scope.spawn("dns/synced", async move {
            self.synced().await;
            self.server.set_synced();
        });
        Ok(())
    }

    async fn synced(&self) {
        self.services.synced().await;
        self.slices.synced().await;
    }
}

/// Gives the link every IPv4 address that is not loopback's anyway.
fn ensure_addresses(config: &Config) -> Result<(), Error> {
    let failed = |err| Error::Address { link: config.link.clone(), err };
    let wanted = config.listen.iter().filter_map(|address| match address.ip() {
        IpAddr::V4(ip) if !ip.is_loopback() && !ip.is_unspecified() => Some(Ipv4Net::from(ip)),
        _ => None,
    });
    let wanted: Vec<Ipv4Net> = wanted.collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let mut socket = Socket::route().map_err(failed)?;
    let link = route::link(&mut socket, &config.link).map_err(failed)?;
    let link = link.ok_or_else(|| Error::NoLink { link: config.link.clone() })?.index;
    let mut changes = Changes::new();
    changes.set_up(&config.link);
    wanted.into_iter().for_each(|address| changes.add_address(link, address));
    changes.apply(&mut socket).map_err(failed)
}
