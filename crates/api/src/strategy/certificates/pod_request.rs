//! Requests of certificates for pods (upstream: `ValidatePodCertificateRequestCreate`,
//! `ValidatePodCertificateRequestStatusUpdate`). What is inside of requests and certificates is not looked at here.

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::{is_pem, signer};
use crate::check::{self, Errors, names};
use crate::json::Read;
use crate::resource::{Generation, Strategy, WriteContext};

/// The strategy of requests of pods' certificates.
pub(crate) struct PodCertificateRequest;

const SHORTEST_S: i64 = 3600;
/// The longest life of what Kubernetes' own signers sign, and of what others do.
const LONGEST_S: (i64, i64) = (24 * 3600, 91 * 24 * 3600);
const MAX_UID: usize = 128;
const MAX_REQUEST: usize = 10 * 1024;
const MAX_CHAIN: usize = 100 * 1024;
const OUTCOMES: &[&str] = &["Issued", "Denied", "Failed"];

impl Strategy for PodCertificateRequest {
    fn prepare_for_create(&self, _cx: &WriteContext<'_>, object: &mut Object) {
        object.0.insert("status".into(), json!({}));
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (spec, path) = (object.object("spec"), Path::new("spec"));
        let signer_name = spec.text("signerName");
        if check::required(&mut errors, spec, "signerName", &path) {
            signer(&mut errors, signer_name, &path.child("signerName"));
        }
        for key in spec.object("unverifiedUserAnnotations").keys() {
            check::named(&mut errors, names::qualified_name, key, &path.child("unverifiedUserAnnotations"));
        }
        for (name, uid) in [("podName", "podUID"), ("serviceAccountName", "serviceAccountUID"), ("nodeName", "nodeUID")]
        {
            check::named(&mut errors, names::dns1123_subdomain, spec.text(name), &path.child(name));
            let (text, path) = (spec.text(uid), path.child(uid));
            if text.is_empty() {
                errors.push(Error::invalid(&path, text, "must not be empty"));
            } else if text.len() > MAX_UID {
                errors.push(Error::too_long(&path, MAX_UID));
            }
        }
        let at = path.child("maxExpirationSeconds");
        let Some(seconds) = spec.int("maxExpirationSeconds") else {
            errors.push(Error::required(&at, "must be set"));
            return errors;
        };
        let longest = if is_kubernetes(signer_name) { LONGEST_S.0 } else { LONGEST_S.1 };
        if !(SHORTEST_S..=longest).contains(&seconds) {
            errors.push(Error::invalid(&at, seconds, format!("must be in the range [{SHORTEST_S}, {longest}]")));
        }
        let (request, at) = (spec.text("stubPKCS10Request"), path.child("stubPKCS10Request"));
        if request.is_empty() {
            let detail = "exactly one of (stubPKCS10Request) or (pkixPublicKey, proofOfPossession) must be set";
            errors.push(Error::invalid_whole(&path, detail));
        } else if super::super::config_map::decoded_len(request) > MAX_REQUEST {
            errors.push(Error::too_long(&at, MAX_REQUEST));
        }
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        check::same_spec(object, old)
    }

    fn judges_updates_alone(&self) -> bool {
        true
    }

    fn status_keeps_metadata(&self) -> bool {
        true
    }

    /// A request ends in one of three ways, and stays so.
    fn validate_status_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let (new, was) = (object.object("status"), old.object("status"));
        let mut errors = conditions(new.list("conditions"));
        if !errors.is_empty() {
            return errors;
        }
        let path = Path::new("status");
        let outcome = |status: &'_ Map<String, Value>| {
            OUTCOMES.iter().find(|kind| check::holds(status.list("conditions"), kind)).copied()
        };
        match (outcome(was), outcome(new)) {
            (Some(_), _) if new != was => {
                let detail = "immutable after PodCertificateRequest is issued, denied, or failed";
                errors.push(Error::invalid_whole(&path, detail));
            }
            (Some(_), _) => {}
            (None, Some("Issued")) => issued(&mut errors, new, &path),
            (None, Some(_)) => {
                if new.iter().any(|(field, value)| field != "conditions" && !value.is_null()) {
                    let detail =
                        "non-condition status fields must be empty when denying or failing the PodCertificateRequest";
                    errors.push(Error::invalid_whole(&path, detail));
                }
            }
            (None, None) if new != was => {
                let detail = "status is immutable unless transitioning to \"Issued\", \"Denied\", or \"Failed\"";
                errors.push(Error::invalid_whole(&path, detail));
            }
            (None, None) => {}
        }
        errors
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }
}

/// Whether one of Kubernetes' own signers is asked.
fn is_kubernetes(signer: &str) -> bool {
    let domain = signer.split('/').next().unwrap_or_default();
    domain == "kubernetes.io" || domain.ends_with(".kubernetes.io")
}

fn conditions(conditions: &[Value]) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("status").child("conditions");
    let mut known = 0;
    for (index, condition) in conditions.iter().enumerate() {
        let (kind, path) = (condition.text("type"), path.child(&format!("[{index}]")));
        if !OUTCOMES.contains(&kind) {
            errors.push(Error::not_supported(&path.child("type"), kind, OUTCOMES));
            continue;
        }
        known += 1;
        if known > 1 {
            let detail = "There may be at most one condition with type \"Issued\", \"Denied\", or \"Failed\"";
            errors.push(Error::invalid(&path.child("type"), kind, detail));
        }
        if condition.text("status") != "True" {
            errors.push(Error::not_supported(&path.child("status"), condition.text("status"), &["True"]));
        }
    }
    check::conditions(&mut errors, conditions, &path);
    errors
}

/// What comes with a certificate.
fn issued(errors: &mut Errors, status: &Map<String, Value>, path: &Path) {
    let (chain, at) = (status.text("certificateChain"), path.child("certificateChain"));
    if chain.len() > MAX_CHAIN {
        errors.push(Error::too_long(&at, MAX_CHAIN));
        return;
    }
    if !chain.contains("-----BEGIN ") {
        errors.push(Error::invalid(&at, chain, "issued certificate chain must contain at least one certificate"));
        return;
    }
    let foreign = chain.split("-----BEGIN ").skip(1).any(|block| !block.starts_with("CERTIFICATE-----"));
    if foreign || !is_pem(chain, "CERTIFICATE") {
        let detail = "issued certificate chain must consist entirely of CERTIFICATE PEM blocks";
        errors.push(Error::invalid(&at, chain, detail));
        return;
    }
    let consistent = "must be present and consistent with the issued certificate";
    for (field, detail) in [
        ("notBefore", consistent),
        ("notAfter", consistent),
        ("beginRefreshAt", "must be present and in the range [notbefore+10min, notafter-10min]"),
    ] {
        if !status.has(field) {
            errors.push(Error::required(&path.child(field), detail));
        }
    }
    let time = |field: &str| status.text(field).parse::<Timestamp>().ok();
    let (Some(from), Some(to), Some(refresh)) = (time("notBefore"), time("notAfter"), time("beginRefreshAt")) else {
        return;
    };
    let (margin, at) = (SignedDuration::from_mins(10), path.child("beginRefreshAt"));
    let shown = status.text("beginRefreshAt");
    if refresh.duration_since(from) < margin {
        errors.push(Error::invalid(&at, shown, "must be at least 10 minutes after status.notBefore"));
    } else if to.duration_since(refresh) < margin {
        errors.push(Error::invalid(&at, shown, "must be at least 10 minutes before status.notAfter"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn request(spec: Value, status: Value) -> Object {
        Object::from_value(json!({"metadata": {"name": "r"}, "spec": spec, "status": status})).expect("an object")
    }

    fn check(errors: Vec<Error>, expected: &Expect) {
        expected.assert_eq(&errors.iter().map(|error| format!("{error}\n")).collect::<String>());
    }

    #[test]
    fn requests_are_checked() {
        let right = json!({
            "signerName": "example.com/signer", "podName": "web", "podUID": "u", "serviceAccountName": "robot",
            "serviceAccountUID": "u", "nodeName": "n1", "nodeUID": "u", "maxExpirationSeconds": 86400, "stubPKCS10Request": "AAAA",
        });
        check(PodCertificateRequest.validate(&request(right.clone(), json!({}))), &expect![[""]]);
        let mut wrong = right.clone();
        for (field, value) in [
            ("signerName", json!("kubernetes.io/x")),
            ("podUID", json!("")),
            ("nodeUID", json!("u".repeat(129))),
            ("maxExpirationSeconds", json!(86401)),
            ("stubPKCS10Request", json!("")),
        ] {
            wrong[field] = value;
        }
        check(
            PodCertificateRequest.validate(&request(wrong, json!({}))),
            &expect![[r#"
            spec.podUID: Invalid value: "": must not be empty
            spec.nodeUID: Too long: may not be more than 128 bytes
            spec.maxExpirationSeconds: Invalid value: 86401: must be in the range [3600, 86400]
            spec: Invalid value: exactly one of (stubPKCS10Request) or (pkixPublicKey, proofOfPossession) must be set
        "#]],
        );
    }

    #[test]
    fn a_request_ends_once() {
        let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": "R", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let of = |status: Value| request(json!({}), status);
        let update = |new: Value, old: Value| {
            let errors = PodCertificateRequest.validate_status_update(&of(new), &of(old));
            errors.iter().map(|error| format!("{}: {}", error.field, error.detail)).collect::<Vec<_>>()
        };
        let chain = "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n";
        let denied = json!({"conditions": [condition("Denied", "True")]});
        assert!(update(denied.clone(), json!({})).is_empty());
        assert_eq!(
            update(json!({"conditions": [condition("Issued", "True")]}), denied.clone()),
            ["status: immutable after PodCertificateRequest is issued, denied, or failed"]
        );
        assert_eq!(
            update(json!({"conditions": [condition("Failed", "True")], "certificateChain": chain}), json!({})),
            ["status: non-condition status fields must be empty when denying or failing the PodCertificateRequest"]
        );
        assert_eq!(
            update(json!({"certificateChain": chain}), json!({})),
            ["status: status is immutable unless transitioning to \"Issued\", \"Denied\", or \"Failed\""]
        );
        assert_eq!(
            update(json!({"conditions": [condition("Odd", "True"), condition("Denied", "False")]}), json!({})).len(),
            2
        );
        let issued = |refresh: &str| {
            json!({
                "conditions": [condition("Issued", "True")], "certificateChain": chain, "beginRefreshAt": refresh,
                "notBefore": "2026-01-01T00:00:00Z", "notAfter": "2026-01-02T00:00:00Z",
            })
        };
        assert!(update(issued("2026-01-01T12:00:00Z"), json!({})).is_empty());
        assert_eq!(
            update(issued("2026-01-01T00:05:00Z"), json!({})),
            ["status.beginRefreshAt: must be at least 10 minutes after status.notBefore"]
        );
    }
}
