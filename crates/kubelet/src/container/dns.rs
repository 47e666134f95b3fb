//! The pod's `resolv.conf` (upstream: pkg/kubelet/network/dns/dns.go).

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use crate::pod::spec::{host_network, spec};

const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;

/// What a resolver configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolver {
    /// Servers.
    pub servers: Vec<String>,
    /// Search domains.
    pub searches: Vec<String>,
    /// Options.
    pub options: Vec<String>,
}

impl Resolver {
    /// Reads a `resolv.conf`.
    pub fn parse(text: &str) -> Self {
        let mut resolver = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let rest = |words: std::str::SplitWhitespace<'_>| words.map(str::to_owned).collect::<Vec<_>>();
            match words.next() {
                Some("nameserver") => resolver.servers.extend(words.next().map(str::to_owned)),
                Some("search") => resolver.searches = rest(words).into_iter().filter(|word| word != ".").collect(),
                Some("options") => resolver.options = rest(words),
                _ => {}
            }
        }
        resolver
    }

    /// Writes it.
    pub fn render(&self) -> String {
        let mut text = String::new();
        if !self.searches.is_empty() {
            text.push_str(&format!("search {}\n", self.searches.join(" ")));
        }
        for server in &self.servers {
            text.push_str(&format!("nameserver {server}\n"));
        }
        if !self.options.is_empty() {
            text.push_str(&format!("options {}\n", self.options.join(" ")));
        }
        text
    }
}

/// The configuration for a pod: by its dnsPolicy, completed by its dnsConfig.
pub fn for_pod(pod: &Pod, node: &Resolver, cluster_dns: Option<&str>, cluster_domain: &str) -> Resolver {
    let spec = spec(pod);
    let policy = match spec.dns_policy.as_deref() {
        Some("ClusterFirst") | None if host_network(pod) => "Default",
        Some(policy) => policy,
        None => "ClusterFirst",
    };
    let mut resolver = match (policy, cluster_dns) {
        ("None", _) => Resolver::default(),
        ("ClusterFirst" | "ClusterFirstWithHostNet", Some(server)) => {
            let namespace = pod.namespace().unwrap_or_default();
            let mut searches = vec![format!("{namespace}.svc.{cluster_domain}")];
            searches.extend([format!("svc.{cluster_domain}"), cluster_domain.to_owned()]);
            searches.extend(node.searches.iter().cloned());
            Resolver { servers: vec![server.to_owned()], searches, options: vec!["ndots:5".to_owned()] }
        }
        _ => node.clone(),
    };
    if let Some(config) = &spec.dns_config {
        extend_unique(&mut resolver.servers, config.nameservers.iter().flatten());
        extend_unique(&mut resolver.searches, config.searches.iter().flatten());
        for option in config.options.iter().flatten() {
            let name = option.name.clone().unwrap_or_default();
            resolver.options.retain(|known| known.split(':').next() != Some(name.as_str()));
            resolver.options.push(match option.value.as_deref().filter(|value| !value.is_empty()) {
                Some(value) => format!("{name}:{value}"),
                None => name,
            });
        }
    }
    resolver.servers.truncate(MAX_NAMESERVERS);
    dedup(&mut resolver.searches);
    resolver.searches.truncate(MAX_SEARCHES);
    resolver
}

fn extend_unique<'a>(list: &mut Vec<String>, more: impl Iterator<Item = &'a String>) {
    list.extend(more.cloned());
    dedup(list);
}

fn dedup(list: &mut Vec<String>) {
    let mut seen = std::collections::HashSet::new();
    list.retain(|entry| seen.insert(entry.clone()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(spec: Value, expected: &str) {
        let mut spec = spec;
        spec["containers"] = json!([]);
        let pod = serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec}));
        let node = Resolver::parse("# ours\nnameserver 1.1.1.1\nsearch lan\noptions edns0\n");
        assert_eq!(for_pod(&pod.expect("a pod"), &node, Some("10.96.0.10"), "cluster.local").render(), expected);
    }

    #[test]
    fn by_policy() {
        let cluster =
            "search n.svc.cluster.local svc.cluster.local cluster.local lan\nnameserver 10.96.0.10\noptions ndots:5\n";
        let node = "search lan\nnameserver 1.1.1.1\noptions edns0\n";
        check(json!({}), cluster);
        check(json!({"dnsPolicy": "ClusterFirst", "hostNetwork": true}), node);
        check(json!({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": true}), cluster);
        check(json!({"dnsPolicy": "Default"}), node);
        check(
            json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["9.9.9.9"], "searches": ["a", "a"],
                "options": [{"name": "ndots", "value": "2"}, {"name": "use-vc"}]}}),
            "search a\nnameserver 9.9.9.9\noptions ndots:2 use-vc\n",
        );
    }
}
