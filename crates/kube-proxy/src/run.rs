//! The loop: events wake it, one transaction a pass.
//!
//! upstream: pkg/proxy/nftables/proxier.go (syncProxyRules), pkg/proxy/runner/bounded_frequency_runner.go

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use client::{Event, Informer, Informers, ObjectKey};
use component_base::metrics::{Counter, Histogram, Metrics};
use component_base::{Backoff, Scope};
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::flows::UdpEndpoints;
use crate::kernel::Kernel;
use crate::proxier::{NodeView, Proxier};
use crate::{ServiceInfo, Slice};

/// What kube-proxy must know.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node's name, for local traffic policies.
    pub node_name: String,
    /// All pods' network, as 10.244.0.0/16.
    pub cluster_cidr: Ipv4Net,
    /// The Services' network, as 10.96.0.0/16.
    pub service_cidr: Ipv4Net,
    /// Addresses of the Services' network that this node itself answers at, as the DNS server's.
    pub served_here: Vec<Ipv4Addr>,
    /// The least time between two passes, in which changes gather.
    pub min_sync_period: Duration,
}

impl Config {
    /// Ready to run. The informers are asked for Services and EndpointSlices.
    pub fn build(self, informers: &Informers) -> KubeProxy {
        let pending: Arc<Pending> = Arc::default();
        let services = informers.informer::<Service>();
        let slices = informers.informer::<EndpointSlice>();
        let sink = pending.clone();
        services.on_event(move |event| sink.put(|latest| &mut latest.services, event));
        let sink = pending.clone();
        slices.on_event(move |event| sink.put(|latest| &mut latest.slices, event));
        let (passes, meters) = (watch::Sender::new(0), Meters::new(Metrics::global()));
        KubeProxy { config: self, services, slices, pending, passes, meters }
    }
}

/// The latest state of what changed since the last pass; bounded by the number of objects.
#[derive(Default)]
struct Pending {
    latest: Mutex<Latest>,
    woken: Notify,
}

#[derive(Default)]
struct Latest {
    services: BTreeMap<ObjectKey, Option<Arc<Service>>>,
    slices: BTreeMap<ObjectKey, Option<Arc<EndpointSlice>>>,
}

impl Pending {
    fn put<K: client::informer::Cacheable>(
        &self,
        of: impl Fn(&mut Latest) -> &mut BTreeMap<ObjectKey, Option<Arc<K>>>,
        event: &Event<K>,
    ) {
        let object = event.object();
        let state = (!matches!(event, Event::Deleted(_))).then(|| object.clone());
        of(&mut self.latest.lock()).insert(ObjectKey::of(&**object), state);
        self.woken.notify_one();
    }

    fn take(&self) -> Latest {
        std::mem::take(&mut *self.latest.lock())
    }
}

/// What operators watch; the names are upstream's.
struct Meters {
    sync: Histogram,
    failures: Counter,
}

impl Meters {
    fn new(metrics: &Metrics) -> Self {
        let buckets = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];
        Self {
            sync: metrics.register(
                "kubeproxy_sync_proxy_rules_duration_seconds",
                "Time of one pass over the rules",
                Histogram::new(buckets),
            ),
            failures: metrics.register(
                "kubeproxy_sync_proxy_rules_nftables_sync_failures",
                "Passes that the kernel refused",
                Counter::default(),
            ),
        }
    }
}

/// The Services of this node's network namespace.
pub struct KubeProxy {
    config: Config,
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
    pending: Arc<Pending>,
    passes: watch::Sender<u64>,
    meters: Meters,
}

impl KubeProxy {
    /// How many passes have reached the kernel: from the first on, Services work.
    pub fn passes(&self) -> watch::Receiver<u64> {
        self.passes.subscribe()
    }

    /// Keeps the table current until the scope ends. The table stays behind, so that connections do.
    pub async fn run(self, scope: Scope) {
        tokio::select! {
            () = scope.cancelled() => {}
            () = self.sync_for_ever(&scope) => {}
        }
    }

    async fn sync_for_ever(self, scope: &Scope) {
        // A first pass over half the Services would cut off the other half.
        self.services.synced().await;
        self.slices.synced().await;
        let node = NodeView {
            cluster_cidr: self.config.cluster_cidr,
            service_cidr: self.config.service_cidr,
            served_here: self.config.served_here.clone(),
        };
        let mut proxier = Proxier::new(node);
        let mut retry = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
        let mut whole_table = true;
        let mut kernel = None;
        loop {
            self.absorb(&mut proxier);
            let start = Instant::now();
            if whole_table || proxier.is_dirty() {
                match self.pass(&mut proxier, whole_table, kernel.take(), scope).await {
                    Ok(used) => {
                        whole_table = false;
                        kernel = Some(used);
                        self.passes.send_modify(|passes| *passes += 1);
                        retry.reset();
                    }
                    Err(err) => {
                        self.meters.failures.inc();
                        let delay = retry.next_delay();
                        tracing::error!(error = &err as &dyn std::error::Error, ?delay, "Services are out of date");
                        // Whatever the reason, the table is not what we think: the next pass replaces it.
                        whole_table = true;
                        sleep(delay).await;
                        continue;
                    }
                }
                self.meters.sync.observe(start.elapsed().as_secs_f64());
            }
            self.pending.woken.notified().await;
            sleep_until(start + self.config.min_sync_period).await;
        }
    }

    fn absorb(&self, proxier: &mut Proxier) {
        let Latest { services, slices } = self.pending.take();
        for (key, service) in services {
            proxier.set_service(key, service.as_deref().and_then(ServiceInfo::of));
        }
        for (key, slice) in slices {
            let slice = slice.as_deref().and_then(|slice| Slice::of(slice, &self.config.node_name));
            proxier.set_slice(key, slice);
        }
    }

    async fn pass(
        &self,
        proxier: &mut Proxier,
        whole_table: bool,
        kernel: Option<Kernel>,
        scope: &Scope,
    ) -> Result<Kernel, SyncError> {
        let update = if whole_table { proxier.everything() } else { proxier.update() };
        let udp = if update.udp_changed { proxier.udp_endpoints() } else { UdpEndpoints::new() };
        let commands = update.commands.len();
        let applied = scope.spawn_blocking(move || -> Result<Kernel, netlink::Error> {
            let mut kernel = kernel.map_or_else(Kernel::open, Ok)?;
            kernel.apply(&update, &udp)?;
            Ok(kernel)
        });
        let kernel = applied.await.map_err(|_| SyncError::CutOff)??;
        tracing::debug!(commands, services = proxier.len(), whole_table, "Services are up to date");
        Ok(kernel)
    }
}

/// Why a pass did not reach the kernel.
#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    #[error("cut off while the process ends")]
    CutOff,
}
