//! Environment variables that name Services (upstream: pkg/kubelet/envvars/envvars.go).

use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;

/// The variables of every Service in `services` that has a cluster address.
pub fn variables(services: &[Arc<Service>]) -> Vec<(String, String)> {
    let mut result = Vec::new();
    for service in services {
        let Some(spec) = &service.spec else { continue };
        let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None") else { continue };
        let ports = spec.ports.as_deref().unwrap_or_default();
        let Some(first) = ports.first() else { continue };
        let prefix = variable_name(&service.name_any());
        result.push((format!("{prefix}_SERVICE_HOST"), ip.to_owned()));
        result.push((format!("{prefix}_SERVICE_PORT"), first.port.to_string()));
        for port in ports {
            if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
                result.push((format!("{prefix}_SERVICE_PORT_{}", variable_name(name)), port.port.to_string()));
            }
        }
        for (index, port) in ports.iter().enumerate() {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let scheme = protocol.to_lowercase();
            let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
            let url = format!("{scheme}://{host}:{}", port.port);
            if index == 0 {
                result.push((format!("{prefix}_PORT"), url.clone()));
            }
            let link = format!("{prefix}_PORT_{}_{}", port.port, protocol.to_uppercase());
            result.push((link.clone(), url));
            result.push((format!("{link}_PROTO"), scheme));
            result.push((format!("{link}_PORT"), port.port.to_string()));
            result.push((format!("{link}_ADDR"), ip.to_owned()));
        }
    }
    result
}

fn variable_name(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_service_becomes_its_variables() {
        let service = json!({"metadata": {"name": "my-web"}, "spec": {"clusterIP": "10.96.1.1",
            "ports": [{"name": "http-a", "port": 80, "protocol": "TCP"}]}});
        let headless = json!({"metadata": {"name": "h"}, "spec": {"clusterIP": "None", "ports": [{"port": 1}]}});
        let services = [service, headless].map(|value| Arc::new(serde_json::from_value(value).expect("a service")));
        let lines: Vec<String> = variables(&services).into_iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(
            lines,
            [
                "MY_WEB_SERVICE_HOST=10.96.1.1",
                "MY_WEB_SERVICE_PORT=80",
                "MY_WEB_SERVICE_PORT_HTTP_A=80",
                "MY_WEB_PORT=tcp://10.96.1.1:80",
                "MY_WEB_PORT_80_TCP=tcp://10.96.1.1:80",
                "MY_WEB_PORT_80_TCP_PROTO=tcp",
                "MY_WEB_PORT_80_TCP_PORT=80",
                "MY_WEB_PORT_80_TCP_ADDR=10.96.1.1",
            ]
        );
    }
}
