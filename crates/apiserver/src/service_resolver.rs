//! Where a Service is reached by the server itself: webhooks and extension servers
//! (upstream: kube-aggregator/pkg/apiserver/resolvers.go, apiserver/pkg/util/proxy `ResolveCluster`).

use apimachinery::Object;
use apimachinery::json::Read;
use futures::future::BoxFuture;

use crate::registry::Registry;

/// A port of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServicePort {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) port: u16,
}

impl ServicePort {
    /// The name that the certificate of the Service's server has.
    pub(crate) fn server_name(&self) -> String {
        format!("{}.{}.svc", self.name, self.namespace)
    }
}

/// Host and port of a Service's port; or why there is none, in upstream's words.
pub(crate) fn resolve<'a>(
    registry: &'a Registry,
    wanted: &'a ServicePort,
) -> BoxFuture<'a, Result<(String, u16), String>> {
    Box::pin(async move {
        let row = registry.row("", "v1", "services").map_err(|error| error.message)?;
        let found = registry.find(&row, &wanted.namespace, &wanted.name).await.map_err(|error| error.message)?;
        let service = found.ok_or_else(|| format!("service {:?} not found", wanted.name))?;
        address(&service, wanted)
    })
}

fn address(service: &Object, wanted: &ServicePort) -> Result<(String, u16), String> {
    let spec = service.object("spec");
    let port = wanted.port;
    match (spec.text("type"), spec.text("clusterIP")) {
        ("ExternalName", _) => Ok((spec.text("externalName").to_owned(), port)),
        (_, "None" | "") => Err("cannot route to service with ClusterIP \"None\"".into()),
        (_, address) => {
            let known = spec.list("ports").iter().any(|one| one.int("port") == Some(i64::from(port)));
            let unknown = || format!("no service port {port} found for service {:?}", wanted.name);
            if known { Ok((address.to_owned(), port)) } else { Err(unknown()) }
        }
    }
}

/// `host:port`, as URLs and `Host` headers name it.
pub(crate) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn services_are_reached_by_their_type() {
        let wanted = ServicePort { namespace: "a".into(), name: "hook".into(), port: 443 };
        for (spec, expected) in [
            (json!({"type": "ExternalName", "externalName": "example.org"}), Ok("example.org:443")),
            (json!({"clusterIP": "10.96.0.7", "ports": [{"port": 443}]}), Ok("10.96.0.7:443")),
            (json!({"type": "NodePort", "clusterIP": "fd00::7", "ports": [{"port": 443}]}), Ok("[fd00::7]:443")),
            (json!({"clusterIP": "None"}), Err("cannot route to service with ClusterIP \"None\"")),
            (json!({"clusterIP": "10.96.0.7"}), Err("no service port 443 found for service \"hook\"")),
        ] {
            let service = Object::from_value(json!({"spec": spec})).expect("an object");
            let found = address(&service, &wanted).map(|(host, port)| authority(&host, port));
            assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{spec}");
        }
    }
}
