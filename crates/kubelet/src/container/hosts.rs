//! The pod's host name and `/etc/hosts` (upstream: pkg/kubelet/kubelet_pods.go).

use k8s_openapi::api::core::v1::{HostAlias, Pod};
use kube::ResourceExt;

use crate::pod::spec::spec;

const MANAGED: &str = "# Kubernetes-managed hosts file.\n";
const MANAGED_HOST_NETWORK: &str = "# Kubernetes-managed hosts file (host network).\n";

/// Host name and domain of a pod; the domain is empty without a subdomain (upstream: GeneratePodHostNameAndDomain).
pub fn name_and_domain(pod: &Pod, cluster_domain: &str) -> (String, String) {
    let spec = spec(pod);
    if let Some(name) = spec.hostname_override.as_deref().filter(|name| !name.is_empty()) {
        return (name.to_owned(), String::new());
    }
    let given = spec.hostname.as_deref().filter(|name| !name.is_empty());
    let hostname = given.map_or_else(|| truncate(&pod.name_any()), str::to_owned);
    let domain = match spec.subdomain.as_deref().filter(|name| !name.is_empty()) {
        Some(subdomain) => format!("{subdomain}.{}.svc.{cluster_domain}", pod.namespace().unwrap_or_default()),
        None => String::new(),
    };
    (hostname, domain)
}

/// What `hostname` prints inside the pod.
pub fn node_name(pod: &Pod, cluster_domain: &str) -> String {
    let (hostname, domain) = name_and_domain(pod, cluster_domain);
    if spec(pod).set_hostname_as_fqdn == Some(true) && !domain.is_empty() {
        return format!("{hostname}.{domain}");
    }
    hostname
}

fn truncate(name: &str) -> String {
    let cut: String = name.chars().take(63).collect();
    cut.trim_end_matches(['-', '.']).to_owned()
}

/// The file for a pod with its own network.
pub fn hosts_file(ips: &[String], hostname: &str, domain: &str, aliases: &[HostAlias]) -> String {
    let mut text = String::from(MANAGED);
    text.push_str("127.0.0.1\tlocalhost\n");
    text.push_str("::1\tlocalhost ip6-localhost ip6-loopback\n");
    text.push_str("fe00::0\tip6-localnet\n");
    text.push_str("fe00::0\tip6-mcastprefix\n");
    text.push_str("fe00::1\tip6-allnodes\n");
    text.push_str("fe00::2\tip6-allrouters\n");
    for ip in ips {
        if domain.is_empty() {
            text.push_str(&format!("{ip}\t{hostname}\n"));
        } else {
            text.push_str(&format!("{ip}\t{hostname}.{domain}\t{hostname}\n"));
        }
    }
    push_aliases(&mut text, aliases);
    text
}

/// The file for a pod in the node's network: the node's own, and the aliases.
pub fn hosts_file_of_node(node: &str, aliases: &[HostAlias]) -> String {
    let mut text = format!("{MANAGED_HOST_NETWORK}{node}");
    push_aliases(&mut text, aliases);
    text
}

fn push_aliases(text: &mut String, aliases: &[HostAlias]) {
    if aliases.is_empty() {
        return;
    }
    text.push_str("\n# Entries added by HostAliases.\n");
    for alias in aliases {
        text.push_str(&format!("{}\t{}\n", alias.ip, alias.hostnames.as_deref().unwrap_or_default().join("\t")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names() {
        for (spec, expected, shown) in [
            (json!({}), ("web-0", ""), "web-0"),
            (json!({"hostname": "h"}), ("h", ""), "h"),
            (json!({"subdomain": "s"}), ("web-0", "s.n.svc.cluster.local"), "web-0"),
            (
                json!({"subdomain": "s", "setHostnameAsFQDN": true}),
                ("web-0", "s.n.svc.cluster.local"),
                "web-0.s.n.svc.cluster.local",
            ),
            (json!({"hostnameOverride": "o", "subdomain": "s"}), ("o", ""), "o"),
        ] {
            let mut spec = spec;
            spec["containers"] = json!([]);
            let pod = json!({"metadata": {"name": "web-0", "namespace": "n"}, "spec": spec});
            let pod: Pod = serde_json::from_value(pod).expect("a pod");
            let (name, domain) = name_and_domain(&pod, "cluster.local");
            assert_eq!((name.as_str(), domain.as_str()), expected);
            assert_eq!(node_name(&pod, "cluster.local"), shown);
        }
    }

    #[test]
    fn the_hosts_file_ends_with_the_pod_and_its_aliases() {
        let alias = HostAlias { ip: "1.2.3.4".into(), hostnames: Some(vec!["a".into(), "b".into()]) };
        let text = hosts_file(&["10.1.0.2".into()], "h", "s.n.svc.x", &[alias]);
        let tail =
            "fe00::2\tip6-allrouters\n10.1.0.2\th.s.n.svc.x\th\n\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n";
        assert!(text.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"));
        assert!(text.ends_with(tail), "{text}");
    }
}
