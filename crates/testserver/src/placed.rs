//! [`Placed`]: the objects of a kind, of a namespace or of the cluster, without the caller saying which of both.

use client::Client;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::{Api, Resource};

/// Where a kind lives.
pub trait Placed: Sized {
    /// Its objects in a namespace; for a kind of the cluster the namespace means nothing.
    fn api(client: &Client, namespace: &str) -> Api<Self>;
}

impl<K> Placed for K
where
    K: Resource<DynamicType = ()>,
    K::Scope: Place<K>,
{
    fn api(client: &Client, namespace: &str) -> Api<Self> {
        K::Scope::api(client, namespace)
    }
}

/// One of the two sorts of places.
pub trait Place<K> {
    /// The objects there.
    fn api(client: &Client, namespace: &str) -> Api<K>;
}

impl<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>> Place<K> for NamespaceResourceScope {
    fn api(client: &Client, namespace: &str) -> Api<K> {
        Api::namespaced(client.clone(), namespace)
    }
}

impl<K: Resource<DynamicType = (), Scope = ClusterResourceScope>> Place<K> for ClusterResourceScope {
    fn api(client: &Client, _: &str) -> Api<K> {
        Api::all(client.clone())
    }
}
