//! Requests of certificates for pods (upstream: `ValidatePodCertificateRequestCreate`,
//! `ValidatePodCertificateRequestStatusUpdate`).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::signer;
use crate::check::x509::{self, Curve, Key, Wrong};
use crate::check::{self, Errors, names};
use crate::json::Read;
use crate::resource::{Generation, Strategy, WriteContext};

mod issued;

/// The strategy of requests of pods' certificates.
pub(crate) struct PodCertificateRequest;

const SHORTEST_S: i64 = 3600;
/// The longest life of what Kubernetes' own signers sign, and of what others do.
const LONGEST_S: (i64, i64) = (24 * 3600, 91 * 24 * 3600);
const MAX_UID: usize = 128;
const MAX_REQUEST: usize = 10 * 1024;
/// The annotations of an object may have as much (upstream: `TotalAnnotationSizeLimitB`).
const MAX_ANNOTATIONS: usize = 256 * 1024;
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
        user_annotations(
            &mut errors,
            spec.object("unverifiedUserAnnotations"),
            &path.child("unverifiedUserAnnotations"),
        );
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
        } else if let Err((shown, detail)) = held(request) {
            errors.push(match shown {
                Some(shown) => Error::invalid(&at, shown, detail),
                None => Error::invalid_whole(&at, detail),
            });
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
    fn judge_status_update(
        &self,
        cx: &WriteContext<'_>,
        object: &Object,
        old: &Object,
    ) -> (Vec<field::Error>, Vec<String>) {
        let (new, was) = (object.object("status"), old.object("status"));
        let mut errors = conditions(new.list("conditions"));
        if !errors.is_empty() {
            return (errors, Vec::new());
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
            (None, Some("Issued")) => errors.extend(issued::judge(new, old.object("spec"), cx.now)),
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
        (errors, Vec::new())
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

/// Annotations whose keys name the domain they mean something to (upstream: `ValidateUserAnnotations`).
fn user_annotations(errors: &mut Errors, annotations: &Map<String, Value>, path: &Path) {
    let mut size = 0;
    for (key, value) in annotations {
        check::named(errors, names::domain_prefixed_key, &key.to_lowercase(), path);
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > MAX_ANNOTATIONS {
        errors.push(Error::too_long(path, MAX_ANNOTATIONS));
    }
}

/// Whether a request (DER, in base64) asks for a key of a known kind and is signed with it; else what there is to show,
/// and what is wrong with it (upstream: `validateStubPKCS10Request`).
fn held(base64: &str) -> Result<(), (Option<String>, String)> {
    let wrong = |detail: &str| (None, detail.to_owned());
    let der = STANDARD.decode(base64).unwrap_or_default();
    let request = x509::request(&der).map_err(|_| wrong("must be a valid PKCS#10 CSR"))?;
    match Key::of(&request.certification_request_info.subject_pki) {
        Some(Key::Ed25519 | Key::Ec(Curve::P256 | Curve::P384 | Curve::P521) | Key::Rsa(3072 | 4096)) => {}
        Some(Key::Ec(Curve::P224)) => {
            let detail = "elliptic public keys must use curve P256, P384, or P521";
            return Err((Some("curve P-224".to_owned()), detail.to_owned()));
        }
        Some(Key::Ec(Curve::Other)) => return Err(wrong("must be a valid PKCS#10 CSR")),
        Some(Key::Rsa(bits)) => {
            let detail = "RSA keys must have modulus size 3072 or 4096";
            return Err((Some(format!("{bits}-bit modulus")), detail.to_owned()));
        }
        None => return Err(wrong("unknown public key type; supported types are Ed25519, ECDSA, and RSA")),
    }
    x509::check_signature(&request).map_err(|error| match error {
        Wrong::P521 => wrong(&error.to_string()),
        _ => wrong("invalid signature"),
    })
}

#[cfg(test)]
mod tests;
