//! Probes and lifecycle hooks: what the kubelet calls in a container.

use apimachinery::field::{Error, Path};
use serde_json::{Map, Value};

use crate::check::{self, Errors};
use crate::json::Read;

const HEADER: &str = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex \
    used for validation is '[-A-Za-z0-9]+')";

/// A probe.
pub(super) fn probe(errors: &mut Errors, probe: &Map<String, Value>, path: &Path) {
    handler(errors, probe, &["exec", "httpGet", "tcpSocket", "grpc"], path);
    for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        check::not_negative(errors, probe, field, path);
    }
    if let Some(seconds) = probe.int("terminationGracePeriodSeconds")
        && seconds <= 0
    {
        errors.push(Error::invalid(&path.child("terminationGracePeriodSeconds"), seconds, "must be greater than 0"));
    }
}

/// A hook.
pub(super) fn hook(errors: &mut Errors, hook: &Map<String, Value>, grace_s: i64, path: &Path) {
    handler(errors, hook, &["exec", "httpGet", "tcpSocket", "sleep"], path);
    let seconds = hook.object("sleep").int("seconds").unwrap_or_default();
    if hook.has("sleep") && !(0..=grace_s).contains(&seconds) {
        let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace_s})");
        errors.push(Error::invalid(&path.child("sleep"), seconds, detail));
    }
}

fn handler(errors: &mut Errors, of: &Map<String, Value>, kinds: &[&str], path: &Path) {
    let mut present = kinds.iter().filter(|kind| of.has(kind));
    let Some(kind) = present.next() else {
        errors.push(Error::required(path, "must specify a handler type"));
        return;
    };
    for other in present {
        errors.push(Error::forbidden(&path.child(other), "may not specify more than 1 handler type"));
    }
    let (action, path) = (of.object(kind), path.child(kind));
    match *kind {
        "exec" if action.list("command").is_empty() => errors.push(Error::required(&path.child("command"), "")),
        "httpGet" => http(errors, action, &path),
        "tcpSocket" => check::port_number_or_name(errors, action.value("port"), &path.child("port")),
        "grpc" => check::port_number(errors, action.int("port").unwrap_or_default(), &path.child("port")),
        _ => {}
    }
}

fn http(errors: &mut Errors, action: &Map<String, Value>, path: &Path) {
    check::required(errors, action, "path", path);
    check::port_number_or_name(errors, action.value("port"), &path.child("port"));
    check::one_of(errors, action, "scheme", &["HTTP", "HTTPS"], path);
    for header in action.list("httpHeaders") {
        let name = header.text("name");
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            errors.push(Error::invalid(&path.child("httpHeaders"), name, HEADER));
        }
    }
}
