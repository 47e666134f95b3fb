//! Requests, constraints and configurations of devices: what claims, their templates and classes share.

use std::borrow::Cow;
use std::collections::HashSet;

use apimachinery::field::{Error, Path};
use serde_json::{Map, Value};

use crate::check::{self, Errors, names};
use crate::json::{Read, Write};

/// As many requests, constraints, configurations, tolerations... a claim may have.
const MAX_ITEMS: usize = 32;
const MAX_ALTERNATIVES: usize = 8;
const MAX_EXPRESSION: usize = 10 * 1024;
const MAX_PARAMETERS: usize = 10 * 1024;
const MAX_TOLERATIONS: usize = 16;
const MAX_DRIVER: usize = 63;
const MAX_IDENTIFIER: usize = 32;

/// The defaults of a claim's spec (upstream: `SetDefaults_ExactDeviceRequest`, `SetDefaults_DeviceSubRequest`).
pub(super) fn default_claim(spec: &mut Map<String, Value>) {
    let Some(devices) = spec.object_at("devices") else { return };
    for request in devices.items_mut("requests") {
        if let Some(exactly) = request.object_at("exactly") {
            default_request(exactly);
        }
        request.items_mut("firstAvailable").for_each(default_request);
    }
}

fn default_request(request: &mut Map<String, Value>) {
    request.default_text("allocationMode", "ExactCount");
    if request.text("allocationMode") == "ExactCount" {
        request.default_int("count", 1);
    }
    request.items_mut("tolerations").for_each(|toleration| toleration.default_text("operator", "Equal"));
}

/// Rules of a claim's spec.
pub(super) fn claim(errors: &mut Errors, spec: &Map<String, Value>, path: &Path) {
    let (devices, path) = (spec.object("devices"), path.child("devices"));
    let before = errors.len();
    for list in ["requests", "constraints", "config"] {
        if devices.list(list).len() > MAX_ITEMS {
            errors.push(Error::too_many(&path.child(list), devices.list(list).len(), MAX_ITEMS));
        }
    }
    if errors.len() > before {
        return;
    }
    let mut known = HashSet::new();
    for (index, one) in devices.list("requests").iter().enumerate() {
        request(errors, one, &mut known, &path.child("requests").index(index));
    }
    for (index, constraint) in devices.list("constraints").iter().enumerate() {
        let path = path.child("constraints").index(index);
        references(errors, constraint, &known, &path);
        match (constraint.text("matchAttribute"), constraint.text("distinctAttribute")) {
            ("", "") => {
                let detail = "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set";
                errors.push(Error::required(&path, detail));
            }
            ("", name) => qualified(errors, name, true, &path.child("distinctAttribute")),
            (name, _) => qualified(errors, name, true, &path.child("matchAttribute")),
        }
    }
    for (index, one) in devices.list("config").iter().enumerate() {
        let path = path.child("config").index(index);
        references(errors, one, &known, &path);
        configuration(errors, one, &path);
    }
}

fn request(errors: &mut Errors, request: &Value, known: &mut HashSet<String>, path: &Path) {
    let name = request.text("name");
    if check::required(errors, request.fields(), "name", path) {
        check::named(errors, names::dns1123_label, name, &path.child("name"));
        if !known.insert(name.to_owned()) {
            errors.push(Error::duplicate(&path.child("name"), name));
        }
    }
    let alternatives = request.list("firstAvailable");
    match (request.has("exactly"), alternatives.is_empty()) {
        (false, true) => {
            let detail = "exactly one of `exactly` or `firstAvailable` is required";
            errors.push(Error::required(path, detail));
        }
        (true, false) => {
            let detail = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
            errors.push(Error::invalid_whole(path, detail));
        }
        (true, true) => exact(errors, request.object("exactly"), &path.child("exactly")),
        (false, false) => {
            let path = path.child("firstAvailable");
            if alternatives.len() > MAX_ALTERNATIVES {
                errors.push(Error::too_many(&path, alternatives.len(), MAX_ALTERNATIVES));
            }
            for (index, one) in alternatives.iter().enumerate() {
                let path = path.index(index);
                check::required_name(errors, names::dns1123_label, one.fields(), "name", &path);
                if !known.insert(format!("{name}/{}", one.text("name"))) {
                    errors.push(Error::duplicate(&path.child("name"), one.text("name")));
                }
                exact(errors, one.fields(), &path);
            }
        }
    }
}

fn exact(errors: &mut Errors, request: &Map<String, Value>, path: &Path) {
    check::required_name(errors, names::dns1123_subdomain, request, "deviceClassName", path);
    selectors(errors, request.list("selectors"), &path.child("selectors"));
    let count = request.int("count").unwrap_or_default();
    match request.text("allocationMode") {
        "All" if count != 0 => {
            let detail = "must not be specified when allocationMode is 'All'";
            errors.push(Error::invalid(&path.child("count"), count, detail));
        }
        "ExactCount" if count <= 0 => {
            errors.push(Error::invalid(&path.child("count"), count, "must be greater than zero"));
        }
        "All" | "ExactCount" => {}
        other => {
            let modes = ["All", "ExactCount"];
            errors.push(Error::not_supported(&path.child("allocationMode"), other, &modes));
        }
    }
    let tolerations = request.list("tolerations");
    if tolerations.len() > MAX_TOLERATIONS {
        errors.push(Error::too_many(&path.child("tolerations"), tolerations.len(), MAX_TOLERATIONS));
        return;
    }
    for (index, toleration) in tolerations.iter().enumerate() {
        self::toleration(errors, toleration, &path.child("tolerations").index(index));
    }
}

/// A toleration of taints of devices.
pub(super) fn toleration(errors: &mut Errors, toleration: &Value, path: &Path) {
    let (key, operator) = (toleration.text("key"), toleration.text("operator"));
    if !key.is_empty() {
        check::named(errors, names::qualified_name, key, &path.child("key"));
    }
    check::required_one_of(errors, toleration.fields(), "operator", &["Equal", "Exists"], path);
    if operator == "Exists" && !toleration.text("value").is_empty() {
        let detail = "must be empty for operator `Exists`";
        errors.push(Error::invalid(&path.child("value"), toleration.text("value"), detail));
    } else if operator == "Equal" {
        check::named(errors, names::label_value, toleration.text("value"), &path.child("value"));
    }
    let effects = ["NoExecute", "NoSchedule", "None"];
    check::one_of(errors, toleration.fields(), "effect", &effects, path);
}

/// CEL selectors of devices; that they compile is the server's to see (`DynamicResources`).
pub(super) fn selectors(errors: &mut Errors, selectors: &[Value], path: &Path) {
    if selectors.len() > MAX_ITEMS {
        errors.push(Error::too_many(path, selectors.len(), MAX_ITEMS));
    }
    for (index, selector) in selectors.iter().enumerate() {
        let path = path.index(index).child("cel");
        if !selector.has("cel") {
            errors.push(Error::required(&path, ""));
            continue;
        }
        let expression = selector.object("cel").text("expression");
        if expression.len() > MAX_EXPRESSION {
            errors.push(Error::too_long(&path.child("expression"), MAX_EXPRESSION));
        }
    }
}

/// What a driver is told.
pub(super) fn configuration(errors: &mut Errors, config: &Value, path: &Path) {
    let path = path.child("opaque");
    if !config.has("opaque") {
        errors.push(Error::required(&path, ""));
        return;
    }
    let opaque = config.object("opaque");
    driver(errors, opaque, "driver", &path);
    let path = path.child("parameters");
    match opaque.value("parameters") {
        None => errors.push(Error::required(&path, "")),
        Some(given) => parameters(errors, given, MAX_PARAMETERS, &path),
    }
}

/// An object that is not too long.
pub(super) fn parameters(errors: &mut Errors, given: &Value, most: usize, path: &Path) {
    if given.to_string().len() > most {
        errors.push(Error::too_long(path, most));
    } else if !given.is_object() {
        errors.push(Error::invalid(path, "<value omitted>", "must be a valid JSON object"));
    }
}

/// A driver's name: short and a subdomain.
pub(super) fn driver(errors: &mut Errors, of: &Map<String, Value>, field: &str, path: &Path) {
    if check::required(errors, of, field, path) {
        driver_name(errors, of.text(field), &path.child(field));
    }
}

fn driver_name(errors: &mut Errors, name: &str, path: &Path) {
    if name.len() > MAX_DRIVER {
        errors.push(Error::too_long(path, MAX_DRIVER));
    }
    check::named(errors, names::dns1123_subdomain, name, path);
}

/// The names of a claim's requests, and of their alternatives.
pub(super) fn names_of(spec: &Map<String, Value>) -> HashSet<String> {
    let mut known = HashSet::new();
    for request in spec.object("devices").list("requests") {
        let name = request.text("name");
        known.insert(name.to_owned());
        known.extend(request.list("firstAvailable").iter().map(|one| format!("{name}/{}", one.text("name"))));
    }
    known
}

/// The names of requests that something is about, each once.
pub(super) fn references(errors: &mut Errors, of: &Value, known: &HashSet<String>, path: &Path) {
    let mut seen = HashSet::new();
    for (index, name) in of.texts("requests").enumerate() {
        let path = path.child("requests").index(index);
        if !seen.insert(name) {
            errors.push(Error::duplicate(&path, name));
        }
        reference(errors, name, known, &path);
    }
}

/// The name of one request, or of an alternative of one.
pub(super) fn reference(errors: &mut Errors, name: &str, known: &HashSet<String>, path: &Path) {
    let segments: Vec<&str> = name.split('/').collect();
    for segment in segments.iter().filter(|_| segments.len() <= 2) {
        check::named(errors, names::dns1123_label, segment, path);
    }
    if !known.contains(name) {
        let detail = "must be the name of a request in the claim or the name of a request and a subrequest \
            separated by '/'";
        errors.push(Error::invalid(path, name, detail));
    }
}

/// A C identifier, maybe within a domain (upstream: `validateQualifiedName`, `validateFullyQualifiedName`).
pub(super) fn qualified(errors: &mut Errors, name: &str, needs_domain: bool, path: &Path) {
    let parts: Vec<&str> = name.split('/').collect();
    let identifier = |errors: &mut Errors, identifier: &str| {
        if identifier.len() > MAX_IDENTIFIER {
            errors.push(Error::too_long(path, MAX_IDENTIFIER));
        }
        check::named(errors, names::c_identifier, identifier, path);
    };
    match parts[..] {
        [name] => identifier(errors, name),
        [domain, name] => {
            if domain.is_empty() {
                errors.push(Error::invalid(path, "", "the domain must not be empty"));
            } else {
                driver_name(errors, domain, path);
            }
            if name.is_empty() {
                errors.push(Error::invalid(path, "", "the name must not be empty"));
            } else {
                identifier(errors, name);
            }
        }
        _ => errors.push(Error::invalid(path, name, "must not contain more than one slash")),
    }
    if needs_domain && parts.len() == 1 {
        let detail = "a fully qualified name must be a domain and a name separated by a slash";
        errors.push(Error::invalid(path, name, detail));
    }
}

/// A key as paths show it: of one that is too long, the beginning and the end (upstream: `truncateIfTooLong`).
pub(super) fn key_too_long(key: &str) -> Cow<'_, str> {
    const DOTS: &str = "...";
    let most = MAX_DRIVER + 1 + MAX_IDENTIFIER;
    let rest = most - DOTS.len();
    match (key.get(..rest.div_ceil(2)), key.get(key.len().saturating_sub(rest / 2)..)) {
        (Some(begin), Some(end)) if key.len() > most => format!("{begin}{DOTS}{end}").into(),
        _ => key.into(),
    }
}
