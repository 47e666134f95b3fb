//! The pure core: Services and EndpointSlices go in, the commands that bring the table up to date come out.
//!
//! Guarantees: a change of one Service gives commands for that Service alone; commands of one [`Update`] are one
//! transaction; of Services that claim the same frontend the first by name has it, in whatever order they came.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;

use client::ObjectKey;
use ipnet::Ipv4Net;
use netlink::nft::{Command, Datum, Name, Tuple, Value};

use crate::base::{self, Balancer, SETS};
use crate::endpoints::Slice;
use crate::flows::UdpEndpoints;
use crate::fragment::{self, Fragment, Frontend, Place};
use crate::service::ServiceInfo;

/// What the rules must know of the node and the cluster.
#[derive(Clone, Debug)]
pub struct NodeView {
    /// All pods' network.
    pub cluster_cidr: Ipv4Net,
    /// The Services' network.
    pub service_cidr: Ipv4Net,
    /// Addresses of the Services' network that this node itself answers at, as the DNS server's.
    pub served_here: Vec<Ipv4Addr>,
}

/// What one pass asks of the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// One transaction.
    pub commands: Vec<Command>,
    /// Whether UDP flows may have become stale.
    pub udp_changed: bool,
}

/// Everything known, and what was made of it.
#[derive(Debug)]
pub struct Proxier {
    node: NodeView,
    services: BTreeMap<ObjectKey, ServiceInfo>,
    slices: HashMap<ObjectKey, Slice>,
    /// The slices of each Service.
    slices_of: HashMap<ObjectKey, BTreeSet<ObjectKey>>,
    /// Who claims each frontend; the first has it.
    claims: HashMap<Frontend, BTreeSet<ObjectKey>>,
    /// What each Service became.
    fragments: HashMap<ObjectKey, Fragment>,
    /// How many Services each local endpoint is part of.
    local: BTreeMap<Ipv4Addr, usize>,
    /// How many Services use each shared cluster address element; more than one while they replace each other.
    cluster_ips: HashMap<Tuple, usize>,
    /// The shared chains there are. They stay: there are as many as there are different numbers of endpoints.
    balancers: BTreeSet<Balancer>,
    dirty: BTreeSet<ObjectKey>,
}

impl Proxier {
    /// Nothing known, nothing made.
    pub fn new(node: NodeView) -> Self {
        Self {
            node,
            services: BTreeMap::new(),
            slices: HashMap::new(),
            slices_of: HashMap::new(),
            claims: HashMap::new(),
            fragments: HashMap::new(),
            local: BTreeMap::new(),
            cluster_ips: HashMap::new(),
            balancers: BTreeSet::new(),
            dirty: BTreeSet::new(),
        }
    }

    /// A Service is so, or gone.
    pub fn set_service(&mut self, key: ObjectKey, service: Option<ServiceInfo>) {
        let old = match &service {
            Some(service) => self.services.insert(key.clone(), service.clone()),
            None => self.services.remove(&key),
        };
        if old == service {
            return;
        }
        let claims = |service: Option<&ServiceInfo>| service.map(fragment::frontends).unwrap_or_default();
        let (before, after) = (claims(old.as_ref()), claims(service.as_ref()));
        for frontend in before.difference(&after) {
            if let Some(claimants) = self.claims.get_mut(frontend) {
                claimants.remove(&key);
                self.dirty.extend(claimants.first().cloned());
                if claimants.is_empty() {
                    self.claims.remove(frontend);
                }
            }
        }
        for frontend in after.difference(&before) {
            let claimants = self.claims.entry(*frontend).or_default();
            self.dirty.extend(claimants.first().cloned());
            claimants.insert(key.clone());
        }
        self.dirty.insert(key);
    }

    /// An EndpointSlice is so, or gone.
    pub fn set_slice(&mut self, key: ObjectKey, slice: Option<Slice>) {
        let old = match &slice {
            Some(slice) => self.slices.insert(key.clone(), slice.clone()),
            None => self.slices.remove(&key),
        };
        if old == slice {
            return;
        }
        if let Some(old) = old {
            if let Some(slices) = self.slices_of.get_mut(&old.service) {
                slices.remove(&key);
                if slices.is_empty() {
                    self.slices_of.remove(&old.service);
                }
            }
            self.dirty.insert(old.service);
        }
        if let Some(slice) = slice {
            self.slices_of.entry(slice.service.clone()).or_default().insert(key);
            self.dirty.insert(slice.service);
        }
    }

    /// Whether a pass would find something to do.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The commands for everything that changed since the last pass.
    pub fn update(&mut self) -> Update {
        let mut change = Change::default();
        let mut udp_changed = false;
        for key in std::mem::take(&mut self.dirty) {
            let old = self.fragments.remove(&key).unwrap_or_default();
            let new = self.desired(&key);
            let after = new.as_ref().unwrap_or(const { &Fragment::NONE });
            if old != *after {
                udp_changed |= old.udp != after.udp;
                self.count_local(&mut change, &old, after);
                change.balancers.extend(after.balancers.difference(&self.balancers));
                self.balancers.extend(&after.balancers);
                change.replace(&old, after);
            }
            if let Some(new) = new {
                self.fragments.insert(key, new);
            }
        }
        self.count_cluster_ips(&mut change);
        Update { commands: change.commands(&self.node), udp_changed }
    }

    /// The commands that replace whatever table there is by the whole of this one, in one transaction.
    pub fn everything(&mut self) -> Update {
        self.fragments.clear();
        self.local.clear();
        self.cluster_ips.clear();
        self.balancers.clear();
        self.dirty.clear();
        let mut table = base::table(&self.node);
        let mut elements = Elements::new();
        let keys: Vec<ObjectKey> = self.services.keys().cloned().collect();
        for key in keys {
            let Some(fragment) = self.desired(&key) else { continue };
            for ((set, key), datum) in &fragment.elements {
                let is_cluster_ip = *set == SETS.cluster_ips;
                if is_cluster_ip && counted(self.cluster_ips.entry(*key).or_default()) != 1 {
                    continue;
                }
                elements.add(set, *key, datum.clone());
            }
            for ip in &fragment.local {
                if counted(self.local.entry(*ip).or_default()) == 1 {
                    let (set, key) = hairpin(*ip);
                    elements.add(&set, key, None);
                }
            }
            table.sets.extend(fragment.own.sets.clone());
            table.chains.extend(fragment.own.chains.clone());
            self.balancers.extend(&fragment.balancers);
            self.fragments.insert(key, fragment);
        }
        table.chains.extend(self.balancers.iter().map(|balancer| (balancer.name(), balancer.chain(&self.node))));
        let mut commands = vec![Command::AddTable, Command::DeleteTable, Command::AddTable];
        commands.extend(table.create());
        commands.extend(elements.commands());
        Update { commands, udp_changed: true }
    }

    /// Every UDP frontend with its endpoints.
    pub fn udp_endpoints(&self) -> UdpEndpoints {
        let all = self.fragments.values().flat_map(|fragment| &fragment.udp);
        all.map(|(frontend, endpoints)| (*frontend, endpoints.clone())).collect()
    }

    /// How many Services have rules.
    pub fn len(&self) -> usize {
        self.fragments.len()
    }

    /// Whether no Service has rules.
    pub fn is_empty(&self) -> bool {
        self.fragments.is_empty()
    }

    fn desired(&self, key: &ObjectKey) -> Option<Fragment> {
        let service = self.services.get(key)?;
        let slices = self.slices_of.get(key).into_iter().flatten();
        let slices: Vec<&Slice> = slices.filter_map(|slice| self.slices.get(slice)).collect();
        let owns =
            |frontend: &Frontend| self.claims.get(frontend).and_then(BTreeSet::first).is_some_and(|owner| owner == key);
        Some(fragment::desired(key, service, &slices, &self.node, &owns))
    }

    fn count_local(&mut self, change: &mut Change, old: &Fragment, new: &Fragment) {
        for ip in new.local.difference(&old.local) {
            if counted(self.local.entry(*ip).or_default()) == 1 {
                change.add(hairpin(*ip), None);
            }
        }
        for ip in old.local.difference(&new.local) {
            if let Some(count) = self.local.get_mut(ip) {
                *count -= 1;
                if *count == 0 {
                    self.local.remove(ip);
                    change.remove(hairpin(*ip), None);
                }
            }
        }
    }

    /// Two Services may have the same cluster address for a moment, when one is made with the address of another
    /// whose deletion is seen later. The element is added by the first and deleted with the last.
    fn count_cluster_ips(&mut self, change: &mut Change) {
        let is_cluster_ip = |place: &Place| place.0 == SETS.cluster_ips;
        for (place, count) in std::mem::take(&mut change.shared) {
            if !is_cluster_ip(&place) {
                continue;
            }
            let users = self.cluster_ips.entry(place.1).or_default();
            let before = *users;
            *users = before.saturating_add_signed(count);
            match (before, *users) {
                (0, 1..) => change.add(place, None),
                (1.., 0) => {
                    self.cluster_ips.remove(&place.1);
                    change.remove(place, None);
                }
                _ => {}
            }
        }
    }
}

/// One more of them.
fn counted(count: &mut usize) -> usize {
    *count += 1;
    *count
}

/// The element that lets an endpoint of this node connect to itself.
fn hairpin(ip: Ipv4Addr) -> Place {
    (SETS.hairpin.clone(), Tuple::of([Value::Address(ip), Value::Address(ip)]))
}

/// Elements set by set: the kernel takes a long list of one set faster than many short ones.
struct Elements(BTreeMap<Name, Vec<(Tuple, Option<Datum>)>>);

impl Elements {
    fn new() -> Self {
        Self(BTreeMap::new())
    }

    fn add(&mut self, set: &Name, key: Tuple, datum: Option<Datum>) {
        match self.0.get_mut(set) {
            Some(elements) => elements.push((key, datum)),
            None => drop(self.0.insert(set.clone(), vec![(key, datum)])),
        }
    }

    fn commands(self) -> impl Iterator<Item = Command> {
        self.0.into_iter().flat_map(|(set, elements)| {
            elements.into_iter().map(move |(key, datum)| Command::AddElement(set.clone(), key, datum))
        })
    }
}

/// The difference between two states, gathered over all Services of a pass.
#[derive(Debug, Default)]
struct Change {
    removed: BTreeMap<Place, Option<Datum>>,
    added: BTreeMap<Place, Option<Datum>>,
    /// By how much the users of a cluster address changed.
    shared: BTreeMap<Place, isize>,
    balancers: BTreeSet<Balancer>,
    new_sets: Vec<Command>,
    new_chains: Vec<Command>,
    flushed: Vec<Command>,
    rules: Vec<Command>,
    old_sets: Vec<Command>,
    old_chains: Vec<Command>,
}

impl Change {
    /// An element that was added and removed in the same pass is where it was.
    fn add(&mut self, place: Place, datum: Option<Datum>) {
        match self.removed.get(&place) {
            Some(old) if *old == datum => drop(self.removed.remove(&place)),
            _ => drop(self.added.insert(place, datum)),
        }
    }

    fn remove(&mut self, place: Place, datum: Option<Datum>) {
        match self.added.get(&place) {
            Some(new) if *new == datum => drop(self.added.remove(&place)),
            _ => drop(self.removed.insert(place, datum)),
        }
    }

    /// One Service's part becomes another.
    fn replace(&mut self, old: &Fragment, new: &Fragment) {
        for (name, set) in &new.own.sets {
            if !old.own.sets.contains_key(name) {
                self.new_sets.push(Command::AddSet(name.clone(), set.clone()));
            }
        }
        for (name, chain) in &new.own.chains {
            match old.own.chains.get(name) {
                Some(known) if known == chain => continue,
                Some(_) => self.flushed.push(Command::FlushChain(name.clone())),
                None => self.new_chains.push(Command::AddChain(name.clone(), None)),
            }
            self.rules.extend(chain.rules.iter().map(|rule| Command::AddRule(name.clone(), rule.clone())));
        }
        for name in old.own.chains.keys().filter(|name| !new.own.chains.contains_key(*name)) {
            self.flushed.push(Command::FlushChain(name.clone()));
            self.old_chains.push(Command::DeleteChain(name.clone()));
        }
        let gone = |name: &Name| old.own.sets.contains_key(name) && !new.own.sets.contains_key(name);
        for name in old.own.sets.keys().filter(|name| gone(name)) {
            self.old_sets.push(Command::DeleteSet(name.clone()));
        }
        for (place, datum) in &old.elements {
            // The elements of a set go with it.
            if new.elements.get(place) != Some(datum) && !gone(&place.0) {
                self.remove_counted(place.clone(), datum.clone());
            }
        }
        for (place, datum) in &new.elements {
            if old.elements.get(place) != Some(datum) {
                self.add_counted(place.clone(), datum.clone());
            }
        }
    }

    fn add_counted(&mut self, place: Place, datum: Option<Datum>) {
        if place.0 == SETS.cluster_ips { *self.shared.entry(place).or_default() += 1 } else { self.add(place, datum) }
    }

    fn remove_counted(&mut self, place: Place, datum: Option<Datum>) {
        if place.0 == SETS.cluster_ips {
            *self.shared.entry(place).or_default() -= 1;
        } else {
            self.remove(place, datum);
        }
    }

    /// In the order in which nothing is named before it is there, and nothing goes while it is named.
    fn commands(self, node: &NodeView) -> Vec<Command> {
        let mut commands = self.new_sets;
        for balancer in self.balancers {
            let name = balancer.name();
            commands.push(Command::AddChain(name.clone(), None));
            let rules = balancer.chain(node).rules;
            commands.extend(rules.into_iter().map(|rule| Command::AddRule(name.clone(), rule)));
        }
        commands.extend(self.new_chains);
        commands.extend(self.flushed);
        commands.extend(self.removed.into_keys().map(|(set, key)| Command::DeleteElement(set, key)));
        commands.extend(self.added.into_iter().map(|((set, key), datum)| Command::AddElement(set, key, datum)));
        commands.extend(self.rules);
        commands.extend(self.old_sets);
        commands.extend(self.old_chains);
        commands
    }
}

#[cfg(test)]
mod tests;
