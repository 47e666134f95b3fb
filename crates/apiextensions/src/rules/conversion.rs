//! `spec.conversion` (upstream: validation.go, `validateCustomResourceConversion`; apiserver/pkg/util/webhook).

use apimachinery::field::{Error, Path};
use apimachinery::validation;

use super::options::{Options, is_ca_bundle};
use crate::definition::{Conversion, ServiceReference, WebhookClientConfig};

/// Whether a version of ConversionReview is one that is spoken.
pub(super) fn is_recognized(version: &str) -> bool {
    matches!(version, "v1" | "v1beta1")
}

pub(super) fn validate(conversion: &Conversion, options: &Options, path: &Path, errors: &mut Vec<Error>) {
    match conversion.strategy.as_str() {
        "None" | "Webhook" => {}
        "" => errors.push(Error::required(&path.child("strategy"), "")),
        other => errors.push(Error::not_supported(&path.child("strategy"), other, &["None", "Webhook"])),
    }
    let config = conversion.webhook.as_ref().and_then(|webhook| webhook.client_config.as_ref());
    let versions = conversion.webhook.as_ref().map(|webhook| webhook.conversion_review_versions.as_slice());
    let versions = versions.unwrap_or_default();
    let (config_path, versions_path) = (path.child("webhookClientConfig"), path.child("conversionReviewVersions"));
    if conversion.strategy == "Webhook" {
        match config {
            None => errors.push(Error::required(&config_path, "required when strategy is set to Webhook")),
            Some(config) => client_config(config, options, &config_path, errors),
        }
        review_versions(versions, options, &versions_path, errors);
        return;
    }
    let words = "should not be set when strategy is not set to Webhook";
    if config.is_some() {
        errors.push(Error::forbidden(&config_path, words));
    }
    if !versions.is_empty() {
        errors.push(Error::forbidden(&versions_path, words));
    }
}

fn client_config(config: &WebhookClientConfig, options: &Options, path: &Path, errors: &mut Vec<Error>) {
    match (&config.url, &config.service) {
        (Some(url), None) => address(url, &path.child("url"), errors),
        (None, Some(service)) => reference(service, &path.child("service"), errors),
        _ => errors.push(Error::required(path, "exactly one of url or service is required")),
    }
    if !config.ca_bundle.is_empty() && options.valid_ca_bundle && !is_ca_bundle(&config.ca_bundle) {
        let words = "unable to load root certificates: unable to parse bytes as PEM block";
        errors.push(Error::invalid(&path.child("caBundle"), config.ca_bundle.as_str(), words));
    }
}

fn address(url: &str, path: &Path, errors: &mut Vec<Error>) {
    const FORM: &str = "; desired format: https://host[/path]";
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    if scheme != "https" {
        errors.push(Error::invalid(path, scheme, format!("'https' is the only allowed URL scheme{FORM}")));
    }
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = if scheme.is_empty() { "" } else { rest.split('/').next().unwrap_or_default() };
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    if host.is_empty() {
        errors.push(Error::invalid(path, "", format!("host must be specified{FORM}")));
    }
    if let Some(user) = user {
        errors.push(Error::invalid(path, user, "user information is not permitted in the URL"));
    }
    if !fragment.is_empty() {
        errors.push(Error::invalid(path, fragment, "fragments are not permitted in the URL"));
    }
    if !query.is_empty() {
        errors.push(Error::invalid(path, query, "query parameters are not permitted in the URL"));
    }
}

fn reference(service: &ServiceReference, path: &Path, errors: &mut Vec<Error>) {
    if service.name.is_empty() {
        errors.push(Error::required(&path.child("name"), "service name is required"));
    }
    if service.namespace.is_empty() {
        errors.push(Error::required(&path.child("namespace"), "service namespace is required"));
    }
    let port = service.port.unwrap_or(443);
    let wrong = validation::port_number(port);
    if !wrong.is_empty() {
        errors.push(Error::invalid(&path.child("port"), port, format!("port is not valid: {}", wrong.join(","))));
    }
    let Some(url_path) = service.path.as_deref().filter(|path| *path != "/" && !path.is_empty()) else { return };
    let path = path.child("path");
    let Some(steps) = url_path.strip_prefix('/') else {
        return errors.push(Error::invalid(&path, url_path, "must start with a '/'"));
    };
    for (index, step) in steps.strip_suffix('/').unwrap_or(steps).split('/').enumerate() {
        if step.is_empty() {
            errors.push(Error::invalid(&path, url_path, format!("segment[{index}] may not be empty")));
            continue;
        }
        for wrong in validation::dns1123_subdomain(step) {
            errors.push(Error::invalid(&path, url_path, format!("segment[{index}]: {wrong}")));
        }
    }
}

fn review_versions(versions: &[String], options: &Options, path: &Path, errors: &mut Vec<Error>) {
    if versions.is_empty() {
        return errors.push(Error::required(path, ""));
    }
    for (index, version) in versions.iter().enumerate() {
        if versions[..index].contains(version) {
            errors.push(Error::invalid(&path.index(index), version.as_str(), "duplicate version"));
            continue;
        }
        let wrong = validation::dns1035_label(version);
        errors.extend(wrong.into_iter().map(|words| Error::invalid(&path.index(index), version.as_str(), words)));
    }
    if options.recognized_review_version && !versions.iter().any(|version| is_recognized(version)) {
        errors.push(Error::invalid(path, versions.to_vec(), "must include at least one of v1, v1beta1"));
    }
}
