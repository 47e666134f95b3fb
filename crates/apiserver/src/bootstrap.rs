//! The objects every cluster begins with (upstream: pkg/controlplane/controller/{systemnamespaces,kubernetesservice,
//! clusterauthenticationtrust}, pkg/registry/scheduling/rest).

use std::net::IpAddr;
use std::sync::Arc;

use apimachinery::{GroupVersionKind, Object, StatusError};
use serde_json::{Value, json};

use crate::registry::update::{Change, Part, change};
use crate::registry::{Cx, create, fields};
use crate::server::{ApiServer, BuildError};

/// Makes what is missing and corrects what depends on this server's addresses.
pub async fn run(server: &Arc<ApiServer>) -> Result<(), BuildError> {
    for object in objects(server) {
        let words = format!("{} {:?}", object.kind(), object.name());
        ensure(server, object).await.map_err(|cause| BuildError::Bootstrap { object: words, cause })?;
    }
    Ok(())
}

fn objects(server: &ApiServer) -> Vec<Object> {
    let mut list: Vec<Value> = ["default", "kube-system", "kube-public", "kube-node-lease"]
        .map(|name| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }))
        .into();
    list.push(priority_class(
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ));
    list.push(priority_class(
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ));
    let cidr = server.config.service_cidr.to_string();
    list.push(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": { "name": "kubernetes" },
        "spec": { "cidrs": [cidr] },
    }));
    if let Some(address) = server.config.service_cidr.hosts().next() {
        list.push(own_service(server, &address.to_string()));
    }
    if advertised(server).next().is_some() {
        list.push(own_endpoints(server));
        list.push(own_endpoint_slice(server));
    }
    if !server.config.client_ca_pem.is_empty() {
        list.push(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "extension-apiserver-authentication", "namespace": "kube-system" },
            "data": authentication_data(server),
        }));
    }
    list.into_iter().filter_map(Object::from_value).collect()
}

/// How extension servers know this server, and its clients (upstream: clusterauthenticationtrust).
fn authentication_data(server: &ApiServer) -> Value {
    let mut data = json!({ "client-ca-file": server.config.client_ca_pem });
    if let Some(proxy) = &server.config.proxy_client {
        data["requestheader-client-ca-file"] = proxy.ca_pem.as_str().into();
        data["requestheader-allowed-names"] = json!(proxy.allowed_names).to_string().into();
        for (name, header) in [
            ("requestheader-username-headers", "X-Remote-User"),
            ("requestheader-uid-headers", "X-Remote-Uid"),
            ("requestheader-group-headers", "X-Remote-Group"),
            ("requestheader-extra-headers-prefix", "X-Remote-Extra-"),
        ] {
            data[name] = json!([header]).to_string().into();
        }
    }
    data
}

fn priority_class(name: &str, value: i64, description: &str) -> Value {
    json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": { "name": name },
        "value": value, "description": description, "preemptionPolicy": "PreemptLowerPriority",
    })
}

fn own_service(server: &ApiServer, address: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": { "component": "apiserver", "provider": "kubernetes" },
        },
        "spec": {
            "type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "sessionAffinity": "None",
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster",
            "ports": [{ "name": "https", "port": 443, "protocol": "TCP", "targetPort": server.config.secure_port }],
        },
    })
}

/// The addresses at which others reach the server; its own loopback address is no endpoint.
fn advertised(server: &ApiServer) -> impl Iterator<Item = &IpAddr> {
    server.config.advertise_addresses.iter().filter(|ip| !ip.is_loopback())
}

fn own_endpoints(server: &ApiServer) -> Value {
    let addresses: Vec<Value> = advertised(server).map(|ip| json!({ "ip": ip.to_string() })).collect();
    json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {
            "name": "kubernetes", "namespace": "default", "labels": { "endpointslice.kubernetes.io/skip-mirror": "true" },
        },
        "subsets": [{
            "addresses": addresses, "ports": [{ "name": "https", "port": server.config.secure_port, "protocol": "TCP" }],
        }],
    })
}

fn own_endpoint_slice(server: &ApiServer) -> Value {
    let addresses = advertised(server).filter(|ip| matches!(ip, IpAddr::V4(_)));
    let endpoints: Vec<Value> =
        addresses.map(|ip| json!({ "addresses": [ip.to_string()], "conditions": { "ready": true } })).collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": { "name": "kubernetes", "namespace": "default", "labels": { "kubernetes.io/service-name": "kubernetes" } },
        "addressType": "IPv4", "endpoints": endpoints,
        "ports": [{ "name": "https", "port": server.config.secure_port, "protocol": "TCP" }],
    })
}

/// Creates the object, or sets its content where it depends on this server.
async fn ensure(server: &Arc<ApiServer>, object: Object) -> Result<(), StatusError> {
    let gvk = GroupVersionKind::from_api_version(object.api_version(), object.kind());
    let rows = server.registry.rows();
    // A server that serves only some kinds has none of the others to begin with.
    let Some(row) = rows.all().iter().find(|row| row.gvk == gvk) else { return Ok(()) };
    if server.registry.find_entry(row, object.namespace(), object.name()).await?.is_some() {
        return correct(server, row, &object).await;
    }
    let cx = Cx::internal(server, row, "create", object.namespace(), object.name());
    match create::create_object(&cx, object.clone()).await {
        Ok(_) => Ok(()),
        // Another server of the same cluster was faster.
        Err(error) if error.reason == "AlreadyExists" => correct(server, row, &object).await,
        Err(error) => Err(error),
    }
}

async fn correct(server: &Arc<ApiServer>, row: &Arc<api::Resource>, wanted: &Object) -> Result<(), StatusError> {
    let contents: &[&str] = match wanted.kind() {
        "Endpoints" => &["subsets"],
        "EndpointSlice" => &["endpoints", "ports"],
        "ConfigMap" => &["data"],
        _ => return Ok(()),
    };
    let transform = |old: &Object| {
        let mut object = old.clone();
        for field in contents {
            if let Some(value) = wanted.0.get(*field) {
                object.0.insert((*field).to_owned(), value.clone());
            }
        }
        Ok(object)
    };
    let cx = Cx::internal(server, row, "update", wanted.namespace(), wanted.name());
    let manager = fields::Manager::Update(fields::manager_name(&cx));
    change(&cx, &Change { part: Part::Main, manager, retry: true, transform: &transform }).await?;
    Ok(())
}
