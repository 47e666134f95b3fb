//! Ingresses and their classes.

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::{Map, Value};

use super::super::service;
use crate::check::{self, Errors, names};
use crate::json::{Read, Write};
use crate::resource::{Strategy, WriteContext};

/// The strategy of ingresses.
pub(crate) struct Ingress;

const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

impl Strategy for Ingress {
    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        rules(&mut errors, object, false);
        let annotation = object.object("metadata").object("annotations").get(CLASS_ANNOTATION).and_then(Value::as_str);
        let spec = object.object("spec");
        if let Some(annotation) = annotation
            && spec.has("ingressClassName")
            && annotation != spec.text("ingressClassName")
        {
            let detail = "must match `ingressClassName` when both are specified";
            errors.push(Error::invalid(&Path::new("annotations").child(CLASS_ANNOTATION), annotation, detail));
        }
        errors
    }

    /// A name of a secret that was wrong before may stay wrong.
    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let mut tls = old.object("spec").list("tls").iter();
        let was_wrong = tls.any(|tls| !secret_errors(tls.text("secretName")).is_empty());
        rules(&mut errors, object, was_wrong);
        errors
    }

    fn judges_updates_alone(&self) -> bool {
        true
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        let is_old = object.object("metadata").object("annotations").has(CLASS_ANNOTATION)
            && !object.object("spec").has("ingressClassName");
        let words =
            || format!("annotation {CLASS_ANNOTATION:?} is deprecated, please use 'spec.ingressClassName' instead");
        is_old.then(words).into_iter().collect()
    }

    fn update_warnings(&self, _object: &Object, _old: &Object) -> Vec<String> {
        Vec::new()
    }

    fn validate_status_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let path = Path::new("status").child("loadBalancer").child("ingress");
        let known = service::balancer_ips(old);
        let balancers = object.object("status").object("loadBalancer").list("ingress");
        for (index, one) in balancers.iter().enumerate() {
            service::balancer_ip(&mut errors, one, &known, &path.index(index));
            service::balancer_hostname(&mut errors, one, &path.index(index));
        }
        errors
    }

    fn judge_status_update(
        &self,
        _cx: &WriteContext<'_>,
        object: &Object,
        old: &Object,
    ) -> (Vec<field::Error>, Vec<String>) {
        (self.validate_status_update(object, old), service::balancer_warnings(object))
    }
}

fn secret_errors(name: &str) -> Vec<String> {
    if name.is_empty() { Vec::new() } else { names::dns1123_subdomain(name) }
}

fn rules(errors: &mut Errors, object: &Object, any_secret: bool) {
    let (spec, path) = (object.object("spec"), Path::new("spec"));
    if spec.list("rules").is_empty() && !spec.has("defaultBackend") {
        let detail = "either `defaultBackend` or `rules` must be specified";
        errors.push(Error::invalid(&path, spec.list("rules").to_vec(), detail));
    }
    if spec.has("defaultBackend") {
        backend(errors, spec.object("defaultBackend"), &path.child("defaultBackend"));
    }
    for (index, rule) in spec.list("rules").iter().enumerate() {
        ingress_rule(errors, rule, &path.child("rules").index(index));
    }
    for (index, tls) in spec.list("tls").iter().enumerate() {
        let path = path.child("tls").index(index);
        for (index, name) in tls.texts("hosts").enumerate() {
            host(errors, name, &path.child("hosts").index(index));
        }
        let secret = tls.text("secretName");
        if !any_secret {
            check::named(errors, secret_errors, secret, &path.child("secretName"));
        }
    }
    if spec.has("ingressClassName") {
        let class = spec.text("ingressClassName");
        check::named(errors, names::dns1123_subdomain, class, &path.child("ingressClassName"));
    }
}

fn ingress_rule(errors: &mut Errors, rule: &Value, path: &Path) {
    let name = rule.text("host");
    if !name.is_empty() {
        if name.parse::<std::net::IpAddr>().is_ok() {
            errors.push(Error::invalid(&path.child("host"), name, "must be a DNS name, not an IP address"));
        }
        host(errors, name, &path.child("host"));
    }
    if !rule.has("http") {
        return;
    }
    let (paths, path) = (rule.object("http").list("paths"), path.child("http").child("paths"));
    if paths.is_empty() {
        errors.push(Error::required(&path, ""));
    }
    for (index, one) in paths.iter().enumerate() {
        http_path(errors, one, &path.index(index));
    }
}

/// Upstream: `validateHTTPIngressPath`.
fn http_path(errors: &mut Errors, one: &Value, path: &Path) {
    const SEQUENCES: &[&str] = &["//", "/./", "/../", "%2f", "%2F"];
    const ENDS: &[&str] = &["/..", "/."];
    let (text, at) = (one.text("path"), path.child("path"));
    match one.text("pathType") {
        "" => {
            errors.push(Error::required(&path.child("pathType"), "pathType must be specified"));
            return;
        }
        "Exact" | "Prefix" => {
            if !text.starts_with('/') {
                errors.push(Error::invalid(&at, text, "must be an absolute path"));
            }
            for sequence in SEQUENCES.iter().filter(|sequence| text.contains(**sequence)) {
                errors.push(Error::invalid(&at, text, format!("must not contain '{sequence}'")));
            }
            for end in ENDS.iter().filter(|end| text.ends_with(**end)) {
                errors.push(Error::invalid(&at, text, format!("cannot end with '{end}'")));
            }
        }
        "ImplementationSpecific" => {
            if !text.is_empty() && !text.starts_with('/') {
                errors.push(Error::invalid(&at, text, "must be an absolute path"));
            }
        }
        other => {
            let kinds = ["Exact", "ImplementationSpecific", "Prefix"];
            errors.push(Error::not_supported(&path.child("pathType"), other, &kinds));
        }
    }
    backend(errors, one.object("backend"), &path.child("backend"));
}

fn host(errors: &mut Errors, name: &str, path: &Path) {
    let rule = if name.contains('*') { names::wildcard_dns1123_subdomain } else { names::dns1123_subdomain };
    check::named(errors, rule, name, path);
}

fn backend(errors: &mut Errors, backend: &Map<String, Value>, path: &Path) {
    match (backend.has("resource"), backend.has("service")) {
        (true, true) => errors.push(Error::invalid(path, "", "cannot set both resource and service backends")),
        (true, false) => reference(errors, backend.object("resource"), &path.child("resource")),
        (false, true) => {
            let (service, at) = (backend.object("service"), path.child("service"));
            check::required_name(errors, names::dns1123_label, service, "name", &at);
            let (port, at) = (service.object("port"), at.child("port"));
            match (port.text("name"), port.int("number").unwrap_or_default()) {
                ("", 0) => errors.push(Error::required(path, "port name or number is required")),
                ("", number) => check::port_number(errors, number, &at.child("number")),
                (name, 0) => check::named(errors, names::port_name, name, &at.child("name")),
                _ => errors.push(Error::invalid(path, "", "cannot set both port name & port number")),
            }
        }
        (false, false) => errors.push(Error::invalid(path, "", "resource or service backend is required")),
    }
}

/// Group, kind and name of something else.
fn reference(errors: &mut Errors, of: &Map<String, Value>, path: &Path) {
    if of.has("apiGroup") {
        check::named(errors, names::dns1123_subdomain, of.text("apiGroup"), &path.child("apiGroup"));
    }
    check::required_name(errors, names::path_segment_name, of, "kind", path);
    check::required_name(errors, names::path_segment_name, of, "name", path);
}

/// The strategy of ingress classes.
pub(crate) struct IngressClass;

const MAX_CONTROLLER: usize = 250;

impl Strategy for IngressClass {
    fn default(&self, object: &mut Object) {
        if let Some(parameters) = object.object_at("spec").and_then(|spec| spec.object_at("parameters")) {
            parameters.default_to("scope", "Cluster");
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (spec, path) = (object.object("spec"), Path::new("spec"));
        let (controller, at) = (spec.text("controller"), path.child("controller"));
        if controller.len() > MAX_CONTROLLER {
            errors.push(Error::too_long(&at, MAX_CONTROLLER));
        }
        if check::required(&mut errors, spec, "controller", &path) {
            check::named(&mut errors, names::domain_prefixed_path, controller, &at);
        }
        if spec.has("parameters") {
            parameters(&mut errors, spec.object("parameters"), &path.child("parameters"));
        }
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let controller = |object: &Object| object.at(&["spec", "controller"]).cloned();
        let path = Path::new("spec").child("controller");
        check::immutable(&mut errors, controller(object).as_ref(), controller(old).as_ref(), &path);
        errors
    }
}

fn parameters(errors: &mut Errors, of: &Map<String, Value>, path: &Path) {
    reference(errors, of, path);
    let at = path.child("namespace");
    match of.text("scope") {
        "" => errors.push(Error::required(&path.child("scope"), "")),
        "Namespace" if !of.has("namespace") => {
            errors.push(Error::required(&at, "`parameters.scope` is set to 'Namespace'"));
        }
        "Namespace" => check::named(errors, names::dns1123_label, of.text("namespace"), &at),
        "Cluster" if of.has("namespace") => {
            errors.push(Error::forbidden(&at, "`parameters.scope` is set to 'Cluster'"));
        }
        "Cluster" => {}
        other => errors.push(Error::not_supported(&path.child("scope"), other, &["Cluster", "Namespace"])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn object(spec: Value) -> Object {
        Object::from_value(json!({"metadata": {"name": "in"}, "spec": spec})).expect("an object")
    }

    fn check(strategy: &dyn Strategy, object: &Object, expected: &Expect) {
        let errors = strategy.validate(object);
        expected.assert_eq(&errors.iter().map(|error| format!("{error}\n")).collect::<String>());
    }

    fn rule(paths: Value) -> Value {
        json!({"rules": [{"http": {"paths": paths}}]})
    }

    #[test]
    fn paths_and_backends_are_checked() {
        let web = json!({"service": {"name": "web", "port": {"number": 80}}});
        check(&Ingress, &object(rule(json!([{"path": "/", "pathType": "Prefix", "backend": web}]))), &expect![[""]]);
        check(
            &Ingress,
            &object(rule(json!([
                {"path": "a", "pathType": "Exact", "backend": web},
                {"path": "/a//b/..", "pathType": "Prefix", "backend": web},
                {"path": "a", "pathType": "ImplementationSpecific", "backend": {"resource": {"kind": "", "name": "a/b"}}},
                {"path": "/", "pathType": "Near", "backend": {}},
                {"path": "/"},
                {"path": "/", "pathType": "Exact", "backend": {"service": {"name": "", "port": {"name": "web", "number": 80}}}},
                {"path": "/", "pathType": "Exact", "backend": {"service": {"name": "web"}}},
            ]))),
            &expect![[r#"
                spec.rules[0].http.paths[0].path: Invalid value: "a": must be an absolute path
                spec.rules[0].http.paths[1].path: Invalid value: "/a//b/..": must not contain '//'
                spec.rules[0].http.paths[1].path: Invalid value: "/a//b/..": cannot end with '/..'
                spec.rules[0].http.paths[2].path: Invalid value: "a": must be an absolute path
                spec.rules[0].http.paths[2].backend.resource.kind: Required value
                spec.rules[0].http.paths[2].backend.resource.name: Invalid value: "a/b": may not contain '/'
                spec.rules[0].http.paths[3].pathType: Unsupported value: "Near": supported values: "Exact", "ImplementationSpecific", "Prefix"
                spec.rules[0].http.paths[3].backend: Invalid value: "": resource or service backend is required
                spec.rules[0].http.paths[4].pathType: Required value: pathType must be specified
                spec.rules[0].http.paths[5].backend.service.name: Required value
                spec.rules[0].http.paths[5].backend: Invalid value: "": cannot set both port name & port number
                spec.rules[0].http.paths[6].backend: Required value: port name or number is required
            "#]],
        );
    }

    #[test]
    fn classes_and_secrets_are_checked() {
        let backend = json!({"service": {"name": "web", "port": {"name": "http"}}});
        let mut ingress =
            object(json!({"defaultBackend": backend, "ingressClassName": "fast", "tls": [{"secretName": "A B"}]}));
        let unchanged = ingress.clone();
        ingress.metadata_mut().insert("annotations".into(), json!({CLASS_ANNOTATION: "slow"}));
        let lines: Vec<String> = Ingress.validate(&ingress).iter().map(|error| error.field.clone()).collect();
        assert_eq!(lines, ["spec.tls[0].secretName", "annotations.kubernetes.io/ingress.class"]);
        assert!(Ingress.validate_update(&ingress, &unchanged).is_empty(), "it was so before");
        check(
            &IngressClass,
            &object(
                json!({"controller": "example.com/in", "parameters": {"kind": "P", "name": "p", "scope": "Namespace"}}),
            ),
            &expect![[r#"
                spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'
            "#]],
        );
        check(
            &IngressClass,
            &object(json!({"controller": "in", "parameters": {"kind": "P", "scope": "Cluster", "namespace": "n"}})),
            &expect![[r#"
                spec.controller: Invalid value: "in": must be a domain-prefixed path (such as "acme.io/foo")
                spec.parameters.name: Required value
                spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'
            "#]],
        );
    }

    #[test]
    fn addresses_of_balancers_are_checked() {
        let mut ingress = object(json!({}));
        ingress.0.insert(
            "status".into(),
            json!({"loadBalancer": {"ingress": [{"ip": "x"}, {"hostname": "1.2.3.4"}, {"ip": "1.2.3.4"}]}}),
        );
        let found: Vec<String> =
            Ingress.validate_status_update(&ingress, &object(json!({}))).iter().map(ToString::to_string).collect();
        assert_eq!(Ingress.validate_status_update(&ingress, &ingress).len(), 1, "an address of before may stay");
        assert_eq!(
            found,
            [
                "status.loadBalancer.ingress[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                "status.loadBalancer.ingress[1].hostname: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address",
            ]
        );
    }
}
