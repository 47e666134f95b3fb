//! Is the server behind an APIService there? What the objects say, before anybody is asked
//! (upstream: pkg/controllers/status/remote/remote_available_controller.go).

use apimachinery::Object;
use serde_json::{Value, json};

use crate::service_resolver::ServicePort;

/// The condition `Available`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) status: &'static str,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Condition {
    /// Of what this server answers itself.
    pub(super) fn local() -> Self {
        Self { status: "True", reason: "Local", message: "Local APIServices are always available".into() }
    }

    pub(super) fn passed() -> Self {
        Self { status: "True", reason: "Passed", message: "all checks passed".into() }
    }

    pub(super) fn failed(reason: &'static str, message: impl Into<String>) -> Self {
        Self { status: "False", reason, message: message.into() }
    }

    pub(super) fn is_true(&self) -> bool {
        self.status == "True"
    }

    /// The object's conditions with this one in place, if it says anything new.
    pub(super) fn set(&self, object: &Value, now: &str) -> Option<Value> {
        let mut conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let present = conditions.iter().position(|condition| condition["type"] == "Available");
        let mut since = now.to_owned();
        if let Some(present) = present.map(|at| conditions.remove(at)) {
            let says = |field: &str| present[field].as_str().unwrap_or_default().to_owned();
            if says("status") == self.status {
                if says("reason") == self.reason && says("message") == self.message {
                    return None;
                }
                since = says("lastTransitionTime");
            }
        }
        conditions.push(json!({
            "type": "Available", "status": self.status, "lastTransitionTime": since,
            "reason": self.reason, "message": self.message,
        }));
        Some(conditions.into())
    }
}

/// Why the Service cannot be asked, judging by it and its EndpointSlices.
pub(super) fn obstacle(wanted: &ServicePort, service: Option<&Object>, slices: &[Object]) -> Option<Condition> {
    let words = format!("service/{} in {:?}", wanted.name, wanted.namespace);
    let Some(service) = service else {
        return Some(Condition::failed("ServiceNotFound", format!("{words} is not present")));
    };
    if service.str_at(&["spec", "type"]).unwrap_or("ClusterIP") != "ClusterIP" {
        return None;
    }
    let ports = service.at(&["spec", "ports"]).and_then(Value::as_array);
    let Some(port) = ports.into_iter().flatten().find(|port| port["port"] == wanted.port) else {
        let message = format!("{words} is not listening on port {}", wanted.port);
        return Some(Condition::failed("ServicePortError", message));
    };
    if slices.is_empty() {
        let message = format!("cannot find endpointslices for {words}");
        return Some(Condition::failed("EndpointsNotFound", message));
    }
    let port_name = port["name"].as_str().unwrap_or_default();
    if !slices.iter().any(|slice| has_endpoint(slice, port_name)) {
        let message = format!("endpointslices for {words} have no addresses with port name {port_name:?}");
        return Some(Condition::failed("MissingEndpoints", message));
    }
    None
}

fn has_endpoint(slice: &Object, port_name: &str) -> bool {
    let list = |field: &str| slice.0.get(field).and_then(Value::as_array).into_iter().flatten();
    list("endpoints").any(|endpoint| endpoint["conditions"]["ready"] != false)
        && list("ports")
            .any(|port| port["name"].as_str().unwrap_or_default() == port_name && port["port"].as_u64().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn object(value: Value) -> Object {
        Object::from_value(value).expect("an object")
    }

    fn check(service: Option<Value>, slices: &[Value], expected: Expect) {
        let wanted = ServicePort { namespace: "a".into(), name: "api".into(), port: 443 };
        let slices: Vec<Object> = slices.iter().cloned().map(object).collect();
        let found = obstacle(&wanted, service.map(object).as_ref(), &slices);
        let words = found.map_or_else(|| "none".into(), |found| format!("{}: {}", found.reason, found.message));
        expected.assert_eq(&words);
    }

    #[test]
    fn obstacles_have_upstreams_words() {
        let service =
            |port: u16| json!({ "spec": { "type": "ClusterIP", "ports": [{ "name": "web", "port": port }] } });
        let slice = |ready: bool, name: &str| json!({ "endpoints": [{ "conditions": { "ready": ready } }], "ports": [{ "name": name, "port": 8443 }] });
        check(None, &[], expect![[r#"ServiceNotFound: service/api in "a" is not present"#]]);
        check(
            Some(service(80)),
            &[],
            expect![[r#"ServicePortError: service/api in "a" is not listening on port 443"#]],
        );
        check(
            Some(service(443)),
            &[],
            expect![[r#"EndpointsNotFound: cannot find endpointslices for service/api in "a""#]],
        );
        let missing = expect![[
            r#"MissingEndpoints: endpointslices for service/api in "a" have no addresses with port name "web""#
        ]];
        check(Some(service(443)), &[slice(false, "web"), slice(true, "other")], missing);
        check(Some(service(443)), &[slice(true, "web")], expect!["none"]);
        check(Some(json!({ "spec": { "type": "ExternalName" } })), &[], expect!["none"]);
    }

    #[test]
    fn a_condition_that_says_nothing_new_is_not_set() {
        let set = |object: &Value| Condition::passed().set(object, "now");
        let first = set(&json!({})).expect("new");
        assert_eq!(set(&json!({ "status": { "conditions": first } })), None);
        let failed = Condition::failed("X", "y").set(&json!({ "status": { "conditions": first } }), "later");
        assert_eq!(failed.expect("new")[0]["lastTransitionTime"], "later");
    }
}
