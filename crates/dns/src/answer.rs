//! A question in, an answer out: pure, and tested by tables.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use client::ObjectKey;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::zone::{EndpointRecord, Port, ServiceRecord, Target, Zone};

/// The version of the specification that the zone follows.
const SPECIFICATION: &str = "1.1.0";
/// How long a resolver may remember that something is not there.
const NEGATIVE_TTL: u32 = 5;

/// What the zone says to a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// These records, and others that the asker will want next.
    Records {
        /// The answer.
        answers: Vec<Record>,
        /// Addresses of names in the answer.
        additionals: Vec<Record>,
    },
    /// The name is another one, at which to go on.
    Alias {
        /// The record that says so.
        record: Box<Record>,
        /// The other name.
        target: Name,
    },
    /// The name is there, without records of the type.
    NoData,
    /// There is no such name.
    NoName,
    /// The name is not of this zone.
    NotOurs,
}

impl Answer {
    fn of(answers: Vec<Record>) -> Self {
        if answers.is_empty() { Self::NoData } else { Self::Records { answers, additionals: Vec::new() } }
    }
}

impl Zone {
    /// The answer to a question. Names match in any case; records bear the name as it was asked.
    pub fn answer(&self, name: &Name, kind: RecordType) -> Answer {
        let labels: Vec<String> =
            name.iter().map(|label| String::from_utf8_lossy(label).to_ascii_lowercase()).collect();
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        if let Some(address) = reverse_address(&labels) {
            return self.answer_reverse(name, kind, address);
        }
        let Some(rest) = labels.len().checked_sub(self.domain.len()).map(|split| labels.split_at(split)) else {
            return Answer::NotOurs;
        };
        if rest.1.iter().zip(&self.domain).any(|(label, domain)| label != domain) {
            return Answer::NotOurs;
        }
        Question { zone: self, name, kind }.below_domain(rest.0)
    }

    /// The record that goes with "no data" and "no such name".
    pub fn authority(&self) -> Option<Record> {
        let origin = self.name(&[])?;
        let server = self.name(&["ns", "dns"])?;
        let responsible = self.name(&["hostmaster"])?;
        let soa = SOA::new(server, responsible, 1, 7200, 1800, 86_400, NEGATIVE_TTL);
        Some(Record::from_rdata(origin, NEGATIVE_TTL, RData::SOA(soa)))
    }

    fn answer_reverse(&self, name: &Name, kind: RecordType, address: IpAddr) -> Answer {
        let owners = self.owners(address);
        if owners.is_empty() {
            // Perhaps the node's resolvers know it.
            return Answer::NotOurs;
        }
        if !matches!(kind, RecordType::PTR | RecordType::ANY) {
            return Answer::NoData;
        }
        // A Service's own address names the Service alone.
        let of_services = owners.iter().any(|owner| owner.hostname.is_none());
        let named = owners.iter().filter(|owner| owner.hostname.is_none() == of_services);
        let mut targets: Vec<Name> = named
            .filter_map(|owner| {
                let service = [owner.service.name.as_str(), owner.service.namespace.as_str(), "svc"];
                let labels: Vec<&str> = owner.hostname.as_deref().into_iter().chain(service).collect();
                self.name(&labels)
            })
            .collect();
        targets.dedup();
        Answer::of(targets.into_iter().map(|target| self.record(name, RData::PTR(PTR(target)))).collect())
    }

    /// A name of the zone; `None` when it would be too long.
    fn name(&self, labels: &[&str]) -> Option<Name> {
        let all = labels.iter().copied().chain(self.domain.iter().map(String::as_str));
        let mut name = Name::from_labels(all.map(str::as_bytes)).ok()?;
        name.set_fqdn(true);
        Some(name)
    }

    fn record(&self, name: &Name, data: RData) -> Record {
        Record::from_rdata(name.clone(), self.ttl, data)
    }
}

struct Question<'a> {
    zone: &'a Zone,
    name: &'a Name,
    kind: RecordType,
}

impl Question<'_> {
    fn below_domain(&self, labels: &[&str]) -> Answer {
        match labels {
            [] => self.apex(),
            ["dns-version"] => self.if_type(RecordType::TXT, || RData::TXT(TXT::new(vec![SPECIFICATION.to_owned()]))),
            ["ns", "dns"] => Answer::of(self.addresses(self.name, self.zone.servers.iter().copied())),
            ["svc" | "pod" | "dns"] => Answer::NoData,
            [_, "pod"] => Answer::NoData,
            [address, _, "pod"] => self.pod(address),
            [namespace, "svc"] if self.zone.has_namespace(namespace) => Answer::NoData,
            [below @ .., service, namespace, "svc"] => self.service(below, &ObjectKey::new(*namespace, *service)),
            _ => Answer::NoName,
        }
    }

    fn apex(&self) -> Answer {
        match self.kind {
            RecordType::SOA => Answer::of(self.zone.authority().into_iter().collect()),
            RecordType::NS => {
                let Some(server) = self.zone.name(&["ns", "dns"]) else { return Answer::NoData };
                let additionals = self.glue(&server, self.zone.servers.iter().copied());
                let answers = vec![self.zone.record(self.name, RData::NS(NS(server)))];
                Answer::Records { answers, additionals }
            }
            _ => Answer::NoData,
        }
    }

    /// `10-244-0-7` in a namespace is that address, whether or not a pod has it there.
    /// upstream: CoreDNS plugin/kubernetes, option "pods insecure", which kubeadm sets; it asks for the namespace at
    /// least, for which we would have to watch all of them.
    fn pod(&self, label: &str) -> Answer {
        let address = match label.replace('-', ".").parse::<Ipv4Addr>() {
            Ok(address) => Some(IpAddr::V4(address)),
            Err(_) => label.replace('-', ":").parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        };
        address.map_or(Answer::NoName, |address| Answer::of(self.addresses(self.name, [address])))
    }

    fn service(&self, below: &[&str], key: &ObjectKey) -> Answer {
        let Some(service) = self.zone.service(key) else { return Answer::NoName };
        if let Target::Alias(target) = &service.target {
            return if below.is_empty() { self.alias(target) } else { Answer::NoName };
        }
        match below {
            [] => self.whole_service(key, service),
            [port, protocol] => match (port.strip_prefix('_'), protocol.strip_prefix('_')) {
                (Some(port), Some(protocol)) => self.port(key, service, port, protocol),
                _ => Answer::NoName,
            },
            [protocol] if protocol.starts_with('_') => {
                let known = service.ports.iter().any(|port| protocol[1..] == port.protocol);
                if known { Answer::NoData } else { Answer::NoName }
            }
            [hostname] => self.endpoint(key, service, hostname),
            _ => Answer::NoName,
        }
    }

    fn alias(&self, target: &str) -> Answer {
        let Ok(mut target) = Name::from_ascii(target) else { return Answer::NoData };
        target.set_fqdn(true);
        let record = self.zone.record(self.name, RData::CNAME(CNAME(target.clone())));
        match self.kind {
            RecordType::CNAME => Answer::of(vec![record]),
            _ => Answer::Alias { record: Box::new(record), target },
        }
    }

    fn whole_service(&self, key: &ObjectKey, service: &ServiceRecord) -> Answer {
        let addresses: Vec<IpAddr> = match &service.target {
            Target::Addresses(addresses) => addresses.clone(),
            _ => self.live(key, service).into_iter().map(|(_, endpoint)| endpoint.address).collect(),
        };
        if addresses.is_empty() {
            // upstream: CoreDNS says so of a headless Service without endpoints.
            return Answer::NoName;
        }
        match self.kind {
            RecordType::SRV => self.locations(key, service, |_| true),
            _ => Answer::of(self.addresses(self.name, addresses)),
        }
    }

    fn port(&self, key: &ObjectKey, service: &ServiceRecord, name: &str, protocol: &str) -> Answer {
        let matches = |port: &Port| port.name == name && port.protocol == protocol;
        match self.locations(key, service, matches) {
            Answer::NoData => Answer::NoName,
            _ if !matches!(self.kind, RecordType::SRV | RecordType::ANY) => Answer::NoData,
            answer => answer,
        }
    }

    fn endpoint(&self, key: &ObjectKey, service: &ServiceRecord, hostname: &str) -> Answer {
        let named = self.live(key, service).into_iter().filter(|(_, endpoint)| endpoint.hostname == hostname);
        let addresses: Vec<IpAddr> = named.map(|(_, endpoint)| endpoint.address).collect();
        match addresses.is_empty() {
            true => Answer::NoName,
            false => Answer::of(self.addresses(self.name, addresses)),
        }
    }

    /// SRV records for the ports that match: the Service itself, or each endpoint by its name.
    fn locations(&self, key: &ObjectKey, service: &ServiceRecord, matches: impl Fn(&Port) -> bool) -> Answer {
        let mut answers = Vec::new();
        let mut additionals = Vec::new();
        let mut add = |target: &Name, number: u16, weight: u16| {
            let data = RData::SRV(SRV::new(0, weight, number, target.clone()));
            answers.push(self.zone.record(self.name, data));
        };
        match &service.target {
            Target::Addresses(addresses) => {
                let Some(target) = self.zone.name(&[&key.name, &key.namespace, "svc"]) else { return Answer::NoData };
                service.ports.iter().filter(|port| matches(port)).for_each(|port| add(&target, port.number, 100));
                additionals.extend(self.glue(&target, addresses.iter().copied()));
            }
            _ => {
                let live = self.live(key, service);
                let weight = 100 / u16::try_from(live.len().clamp(1, 100)).unwrap_or(100);
                for (ports, endpoint) in live {
                    let labels = [endpoint.hostname.as_str(), &key.name, &key.namespace, "svc"];
                    let Some(target) = self.zone.name(&labels) else { continue };
                    let found = ports.iter().filter(|port| matches(port));
                    if found.inspect(|port| add(&target, port.number, weight)).count() > 0 {
                        additionals.extend(self.glue(&target, [endpoint.address]));
                    }
                }
            }
        }
        if answers.is_empty() { Answer::NoData } else { Answer::Records { answers, additionals } }
    }

    /// The endpoints that are published, each once, in order of their addresses, with the ports of their slice.
    fn live(&self, key: &ObjectKey, service: &ServiceRecord) -> Vec<(&[Port], &EndpointRecord)> {
        let mut live = BTreeMap::new();
        for slice in self.zone.slices(key) {
            for endpoint in slice.endpoints.iter().filter(|endpoint| endpoint.ready || service.publish_not_ready) {
                live.insert((endpoint.address, &endpoint.hostname), (slice.ports.as_slice(), endpoint));
            }
        }
        live.into_values().collect()
    }

    fn if_type(&self, kind: RecordType, data: impl FnOnce() -> RData) -> Answer {
        let asked = self.kind == kind || self.kind == RecordType::ANY;
        if asked { Answer::of(vec![self.zone.record(self.name, data())]) } else { Answer::NoData }
    }

    /// Address records of the type that was asked for.
    fn addresses(&self, name: &Name, addresses: impl IntoIterator<Item = IpAddr>) -> Vec<Record> {
        let mut records = self.glue(name, addresses);
        records.retain(|record| self.kind == RecordType::ANY || record.record_type() == self.kind);
        records
    }

    /// Address records of either type.
    fn glue(&self, name: &Name, addresses: impl IntoIterator<Item = IpAddr>) -> Vec<Record> {
        let data = |address| match address {
            IpAddr::V4(address) => RData::A(A(address)),
            IpAddr::V6(address) => RData::AAAA(AAAA(address)),
        };
        addresses.into_iter().map(|address| self.zone.record(name, data(address))).collect()
    }
}

/// The address in `4.3.2.1.in-addr.arpa` or the like; `None` for a part of one.
fn reverse_address(labels: &[&str]) -> Option<IpAddr> {
    match labels {
        [d, c, b, a, "in-addr", "arpa"] => Some(IpAddr::V4(format!("{a}.{b}.{c}.{d}").parse().ok()?)),
        [digits @ .., "ip6", "arpa"] if digits.len() == 32 => {
            let mut number = 0_u128;
            for digit in digits.iter().rev() {
                let mut characters = digit.chars();
                number = number << 4 | u128::from(characters.next()?.to_digit(16)?);
                characters.next().is_none().then_some(())?;
            }
            Some(IpAddr::V6(number.into()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
