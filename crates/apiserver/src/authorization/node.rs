//! The Node authorizer: a kubelet reads what the pods bound to its node need, and writes its own objects
//! (upstream: plugin/pkg/auth/authorizer/node/node_authorizer.go, bootstrappolicy/policy.go `NodeRules`).
//!
//! Upstream walks a graph of all objects. Here one index says which things the pods of a node name; the rest of a path
//! (volume > claim > pod) is followed through the store when somebody asks.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use futures::FutureExt;
use serde_json::Value;
use store::{Entry, Store};

use super::bootstrap::parse_rules;
use super::follow::{Follower, Projection};
use super::rule::PolicyRule;
use crate::authorizer::{Attributes, Decision};

mod of_node;

const PODS: &str = "/registry/core/pods/";
const LEASE_NAMESPACE: &str = "kube-node-lease";

/// What nodes may do whatever runs on them. Which object of these they may write is judged by NodeRestriction.
static NODE_RULES: LazyLock<Vec<PolicyRule>> = LazyLock::new(|| parse_rules(super::bootstrap::NODE_RULES));

/// Judges requests of nodes.
#[derive(Debug)]
pub struct NodeAuthorizer {
    pods: Follower<NodePods>,
    store: Arc<dyn Store>,
}

/// What a pod names: kind, namespace, name.
type Thing = (&'static str, Box<str>, Box<str>);

#[derive(Debug)]
struct BoundPod {
    created: u64,
    node: Box<str>,
    things: Vec<Thing>,
}

/// The things that the pods of each node name.
#[derive(Debug, Default)]
struct NodePods {
    pods: HashMap<Box<str>, BoundPod>,
    /// By node, how many pods name a thing.
    by_node: HashMap<Box<str>, HashMap<Thing, usize>>,
}

impl Projection for NodePods {
    fn put(&mut self, entry: &Entry) {
        let node = attribute(entry, "f:spec.nodeName").unwrap_or_default();
        // What a bound pod names does not change, but for ephemeral containers; most events are of its status.
        let known = self.pods.get(&*entry.key);
        if known.is_some_and(|known| known.created == entry.created && *known.node == *node)
            && !contains(&entry.finished.value, b"\"ephemeralContainers\"")
        {
            return;
        }
        self.delete(&entry.key);
        if node.is_empty() {
            return;
        }
        let Some((namespace, name)) = entry.key.strip_prefix(PODS).and_then(|key| key.split_once('/')) else { return };
        let pod: Value = serde_json::from_slice(&entry.finished.value).unwrap_or_default();
        let mut things = things_of(&pod, namespace);
        things.insert(("pods", namespace.into(), name.into()));
        let named = self.by_node.entry(node.into()).or_default();
        for thing in &things {
            *named.entry(thing.clone()).or_default() += 1;
        }
        let bound = BoundPod { created: entry.created, node: node.into(), things: things.into_iter().collect() };
        self.pods.insert((&*entry.key).into(), bound);
    }

    fn delete(&mut self, key: &str) {
        let Some(bound) = self.pods.remove(key) else { return };
        let Some(named) = self.by_node.get_mut(&bound.node) else { return };
        for thing in &bound.things {
            if let Some(count) = named.get_mut(thing) {
                *count -= 1;
                if *count == 0 {
                    named.remove(thing);
                }
            }
        }
        if named.is_empty() {
            self.by_node.remove(&bound.node);
        }
    }
}

fn attribute<'a>(entry: &'a Entry, name: &str) -> Option<&'a str> {
    entry.finished.attributes.get("", name)
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// Secrets, config maps, claims and the account that a pod's spec names
/// (upstream: pkg/api/v1/pod/util.go `VisitPodSecretNames`, `VisitPodConfigmapNames`).
fn things_of(pod: &Value, namespace: &str) -> BTreeSet<Thing> {
    let spec = &pod["spec"];
    let mut things = BTreeSet::new();
    let mut add = |kind: &'static str, name: &Value| {
        if let Some(name) = name.as_str().filter(|name| !name.is_empty()) {
            things.insert((kind, namespace.into(), name.into()));
        }
    };
    add("serviceaccounts", &spec["serviceAccountName"]);
    for secret in items(&spec["imagePullSecrets"]) {
        add("secrets", &secret["name"]);
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in items(&spec[list]) {
            for source in items(&container["envFrom"]) {
                add("secrets", &source["secretRef"]["name"]);
                add("configmaps", &source["configMapRef"]["name"]);
            }
            for variable in items(&container["env"]) {
                add("secrets", &variable["valueFrom"]["secretKeyRef"]["name"]);
                add("configmaps", &variable["valueFrom"]["configMapKeyRef"]["name"]);
            }
        }
    }
    for volume in items(&spec["volumes"]) {
        add("secrets", &volume["secret"]["secretName"]);
        add("configmaps", &volume["configMap"]["name"]);
        add("persistentvolumeclaims", &volume["persistentVolumeClaim"]["claimName"]);
        add("secrets", &volume["csi"]["nodePublishSecretRef"]["name"]);
        if volume["ephemeral"].is_object() {
            let claim = [&pod["metadata"]["name"], &volume["name"]].map(|name| name.as_str().unwrap_or_default());
            add("persistentvolumeclaims", &Value::from(claim.join("-")));
        }
        for source in items(&volume["projected"]["sources"]) {
            add("secrets", &source["secret"]["name"]);
            add("configmaps", &source["configMap"]["name"]);
        }
    }
    for claim in items(&pod["status"]["resourceClaimStatuses"]) {
        add("resourceclaims", &claim["resourceClaimName"]);
    }
    for claim in items(&spec["resourceClaims"]) {
        add("resourceclaims", &claim["resourceClaimName"]);
    }
    things
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// The node that the user is, if it is one.
pub fn node_of(user: &apimachinery::UserInfo) -> Option<&str> {
    user.username.strip_prefix("system:node:").filter(|node| !node.is_empty() && user.is_in("system:nodes"))
}

impl NodeAuthorizer {
    /// Follows the pods of `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { pods: Follower::new(store.clone(), PODS), store }
    }

    /// The judgement on a request; nothing to say about users that are no nodes.
    pub fn authorize(&self, request: &Attributes<'_>) -> Decision {
        let Some(node) = node_of(request.user) else { return Decision::NoOpinion(String::new()) };
        if request.is_resource {
            match (request.group, request.resource) {
                ("", "secrets" | "configmaps") => return self.read_named(node, request),
                ("", "persistentvolumeclaims") if request.subresource == "status" => {
                    return self.write_claim_status(node, request);
                }
                ("", "persistentvolumeclaims" | "persistentvolumes")
                | ("storage.k8s.io", "volumeattachments")
                | ("resource.k8s.io", "resourceclaims") => return self.get_only(node, request),
                ("", "serviceaccounts") => return self.service_account(node, request),
                ("coordination.k8s.io", "leases") => return lease(node, request),
                ("storage.k8s.io", "csinodes") => return own_object(node, request, "CSINode"),
                ("resource.k8s.io", "resourceslices") => return self.resource_slice(node, request),
                ("certificates.k8s.io", "podcertificaterequests") => {
                    return self.pod_certificate_request(node, request);
                }
                ("", "nodes") if request.subresource.is_empty() && request.verb == "get" && request.name != node => {
                    return no(format!("node '{node}' cannot read '{}', only its own Node object", request.name));
                }
                ("", "pods") if request.subresource.is_empty() && request.verb == "get" => {
                    return self.related(node, request);
                }
                // KEP-4601: a kubelet sees its own pods.
                ("", "pods")
                    if request.subresource.is_empty()
                        && matches!(request.verb, "list" | "watch")
                        && !selects_own(request, "spec.nodeName", node) =>
                {
                    return no("can only list/watch pods with spec.nodeName field selector".into());
                }
                _ => {}
            }
        }
        if NODE_RULES.iter().any(|rule| rule.allows(request)) {
            Decision::Allow
        } else {
            Decision::NoOpinion(String::new())
        }
    }

    /// get, list and watch of one named object.
    fn read_named(&self, node: &str, request: &Attributes<'_>) -> Decision {
        if !matches!(request.verb, "get" | "list" | "watch") {
            return no("can only read resources of this type".into());
        }
        self.without_subresource(node, request)
    }

    fn get_only(&self, node: &str, request: &Attributes<'_>) -> Decision {
        if request.verb != "get" {
            return no("can only get individual resources of this type".into());
        }
        self.without_subresource(node, request)
    }

    fn without_subresource(&self, node: &str, request: &Attributes<'_>) -> Decision {
        if !request.subresource.is_empty() {
            return no("cannot read subresource".into());
        }
        self.related(node, request)
    }

    fn write_claim_status(&self, node: &str, request: &Attributes<'_>) -> Decision {
        match request.verb {
            "update" | "patch" => self.related(node, request),
            _ => no("can only update the status of resources of this type".into()),
        }
    }

    fn service_account(&self, node: &str, request: &Attributes<'_>) -> Decision {
        match (request.verb, request.subresource) {
            ("get", "") | ("create", "token") => self.related(node, request),
            _ => no("can only create tokens for individual service accounts".into()),
        }
    }

    fn related(&self, node: &str, request: &Attributes<'_>) -> Decision {
        if request.name.is_empty() {
            return no("No Object name found".into());
        }
        let related = match request.resource {
            "persistentvolumes" => self.needs_volume(node, request.name),
            "volumeattachments" => self.is_attached(node, request.name),
            _ => self.names(node, request.resource, request.namespace, request.name),
        };
        if related {
            Decision::Allow
        } else {
            no(format!("no relationship found between node '{node}' and this object"))
        }
    }

    fn names(&self, node: &str, resource: &str, namespace: &str, name: &str) -> bool {
        self.pods.read(|pods| {
            let Some(named) = pods.by_node.get(node) else { return false };
            KINDS
                .iter()
                .find(|kind| **kind == resource)
                .is_some_and(|kind| named.contains_key(&(*kind, namespace.into(), name.into())))
        })
    }

    /// A volume whose claim a pod of the node names.
    fn needs_volume(&self, node: &str, name: &str) -> bool {
        let Some(volume) = self.stored(&format!("/registry/core/persistentvolumes/{name}")) else { return false };
        let claim = &volume["spec"]["claimRef"];
        match (claim["namespace"].as_str(), claim["name"].as_str()) {
            (Some(namespace), Some(claim)) => self.names(node, "persistentvolumeclaims", namespace, claim),
            _ => false,
        }
    }

    fn is_attached(&self, node: &str, name: &str) -> bool {
        let attachment = self.stored(&format!("/registry/storage.k8s.io/volumeattachments/{name}"));
        attachment.is_some_and(|attachment| attachment["spec"]["nodeName"] == node)
    }

    fn stored(&self, key: &str) -> Option<Value> {
        let entry = self.store.get(key).now_or_never()?.ok()??;
        serde_json::from_slice(&entry.finished.value).ok()
    }
}

/// The kinds of things that pods name.
const KINDS: &[&str] =
    &["secrets", "configmaps", "persistentvolumeclaims", "resourceclaims", "serviceaccounts", "pods"];

fn no(reason: String) -> Decision {
    Decision::NoOpinion(reason)
}

/// Whether a list is limited to objects whose field has this value; or to one object, which is judged by its name.
fn selects_own(request: &Attributes<'_>, field: &str, value: &str) -> bool {
    request.selectors.is_some_and(|selectors| selectors.fields.requires_exact_match(field) == Some(value))
}

fn lease(node: &str, request: &Attributes<'_>) -> Decision {
    if !matches!(request.verb, "get" | "create" | "update" | "patch" | "delete") {
        return no("can only get, create, update, patch, or delete a node lease".into());
    }
    if request.namespace != LEASE_NAMESPACE {
        return no(format!("can only access leases in the {LEASE_NAMESPACE:?} system namespace"));
    }
    if request.verb != "create" && request.name != node {
        return no("can only access node lease with the same name as the requesting node".into());
    }
    Decision::Allow
}

fn own_object(node: &str, request: &Attributes<'_>, kind: &str) -> Decision {
    if !request.subresource.is_empty() {
        return no(format!("cannot authorize {kind} subresources"));
    }
    if !matches!(request.verb, "get" | "create" | "update" | "patch" | "delete") {
        return no(format!("can only get, create, update, patch, or delete a {kind}"));
    }
    if request.verb != "create" && request.name != node {
        return no(format!("can only access {kind} with the same name as the requesting node"));
    }
    Decision::Allow
}

#[cfg(test)]
mod tests {
    use super::*;
    use apimachinery::UserInfo;
    use bytes::Bytes;
    use serde_json::json;
    use store::{Embedded, Expect, Finish, Finished, Revision, Write, Written};

    /// Reads off the node name, as the API server's own hook does.
    struct NodeNames;

    impl Finish for NodeNames {
        fn finish(&self, _key: &str, written: &Bytes, _revision: Revision) -> Finished {
            let object: Value = serde_json::from_slice(written).unwrap_or_default();
            let node = object["spec"]["nodeName"].as_str().unwrap_or_default();
            Finished { value: written.clone(), attributes: [("f:spec.nodeName", node)].into() }
        }
    }

    async fn write(store: &Embedded, key: &str, expect: Expect, value: Value) -> Revision {
        let write = Write { key: key.into(), expect, value: Some(value.to_string().into()) };
        match store.write(write).await.expect("memory") {
            Written::Done(entry) => entry.modified,
            Written::Refused(_) => panic!("{key} was refused"),
        }
    }

    fn ask(authorizer: &NodeAuthorizer, words: &str) -> bool {
        let words: Vec<&str> = words.split(' ').collect();
        let [node, verb, resource, place] = words.as_slice() else { panic!("{words:?}") };
        let user = UserInfo::new(format!("system:node:{node}"), ["system:nodes"]);
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
        let (namespace, name) = place.split_once('/').unwrap_or(("", place));
        let request = Attributes {
            verb,
            group,
            version: "v1",
            resource,
            subresource,
            namespace,
            name: name.trim_matches('-'),
            ..Attributes::on_resource(&user)
        };
        authorizer.authorize(&request) == Decision::Allow
    }

    #[tokio::test]
    async fn a_node_reads_what_its_pods_need_and_nothing_else() {
        let store = Embedded::in_memory(Arc::new(NodeNames));
        let authorizer = NodeAuthorizer::new(store.clone());
        let spec = |node: &str| {
            json!({"metadata": {"name": "web"}, "spec": {"nodeName": node, "serviceAccountName": "robot",
                "containers": [{"envFrom": [{"configMapRef": {"name": "settings"}}]}],
                "volumes": [{"secret": {"secretName": "key"}}, {"persistentVolumeClaim": {"claimName": "data"}}]}})
        };
        let unbound = write(&store, "/registry/core/pods/shop/web", Expect::Absent, spec("")).await;
        write(
            &store,
            "/registry/core/persistentvolumes/disk",
            Expect::Absent,
            json!({"spec": {"claimRef": {"namespace": "shop", "name": "data"}}}),
        )
        .await;
        let slice = json!({"spec": {"nodeName": "a"}});
        write(&store, "/registry/resource.k8s.io/resourceslices/gpus", Expect::Absent, slice.clone()).await;
        write(&store, "/registry/certificates.k8s.io/podcertificaterequests/shop/web", Expect::Absent, slice).await;
        assert!(!ask(&authorizer, "a get secrets shop/key"), "not bound yet");
        let bound = write(&store, "/registry/core/pods/shop/web", Expect::At(unbound), spec("a")).await;
        for (words, expected) in [
            ("a get secrets shop/key", true),
            ("a watch secrets shop/key", true),
            ("b get secrets shop/key", false),
            ("a get secrets other/key", false),
            ("a list secrets shop/", false),
            ("a update secrets shop/key", false),
            ("a get configmaps shop/settings", true),
            ("a get persistentvolumeclaims shop/data", true),
            ("a list persistentvolumeclaims shop/data", false),
            ("a patch persistentvolumeclaims/status shop/data", true),
            ("a get persistentvolumes disk", true),
            ("b get persistentvolumes disk", false),
            ("a create serviceaccounts/token shop/robot", true),
            ("a create serviceaccounts/token shop/default", false),
            ("a get pods shop/web", true),
            ("b get pods shop/web", false),
            ("a list pods /", false),
            ("a patch pods/status shop/web", true),
            ("a create pods/exec shop/web", false),
            ("a get nodes a", true),
            ("a get nodes b", false),
            ("a patch nodes/status a", true),
            ("a delete nodes a", false),
            ("a update leases.coordination.k8s.io kube-node-lease/a", true),
            ("a update leases.coordination.k8s.io kube-node-lease/b", false),
            ("a create leases.coordination.k8s.io kube-node-lease/", true),
            ("a create leases.coordination.k8s.io shop/", false),
            ("a create resourceslices.resource.k8s.io -", true),
            ("a update resourceslices.resource.k8s.io gpus", true),
            ("b update resourceslices.resource.k8s.io gpus", false),
            ("a delete resourceslices.resource.k8s.io other", false),
            ("a list resourceslices.resource.k8s.io -", false),
            ("a get podcertificaterequests.certificates.k8s.io shop/web", true),
            ("b get podcertificaterequests.certificates.k8s.io shop/web", false),
            ("a create podcertificaterequests.certificates.k8s.io shop/", true),
            ("a patch podcertificaterequests.certificates.k8s.io/status shop/web", false),
            ("a watch podcertificaterequests.certificates.k8s.io shop/", false),
            ("a create events shop/", true),
            ("a list services /", true),
            ("a list deployments.apps shop/", false),
        ] {
            assert_eq!(ask(&authorizer, words), expected, "{words}");
        }
        store
            .write(Write { key: "/registry/core/pods/shop/web".into(), expect: Expect::At(bound), value: None })
            .await
            .expect("memory");
        assert!(!ask(&authorizer, "a get secrets shop/key"), "the pod is gone");
    }
}
