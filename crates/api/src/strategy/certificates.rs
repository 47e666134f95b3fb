//! Certificate signing requests (upstream: pkg/registry/certificates/certificates/strategy.go).

use std::collections::HashSet;

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::check::{self, Errors, names, pem, x509};
use crate::json::{Read, Write};
use crate::resource::{Generation, Strategy, WriteContext};

mod bundle;
mod pod_request;

pub(crate) use bundle::TrustBundle;
pub(crate) use pod_request::PodCertificateRequest;

/// The strategy of certificate signing requests.
pub(crate) struct CertificateSigningRequest;

impl Strategy for CertificateSigningRequest {
    /// The request carries who made it, whatever it claims.
    fn prepare_for_create(&self, cx: &WriteContext<'_>, object: &mut Object) {
        object.0.insert("status".into(), json!({}));
        let Some(spec) = object.object_made("spec") else { return };
        for field in ["username", "uid", "groups", "extra"] {
            spec.remove(field);
        }
        spec.insert("username".into(), cx.user.username.clone().into());
        spec.insert("groups".into(), cx.user.groups.clone().into());
        if !cx.user.uid.is_empty() {
            spec.insert("uid".into(), cx.user.uid.clone().into());
        }
        if !cx.user.extra.is_empty() {
            spec.insert("extra".into(), json!(cx.user.extra));
        }
    }

    fn prepare_for_update(&self, cx: &WriteContext<'_>, object: &mut Object, old: &Object) {
        object.0.insert("spec".into(), old.value("spec").cloned().unwrap_or_default());
        if cx.subresource == "approval" {
            // Approving changes the conditions and nothing else.
            let conditions = object.at(&["status", "conditions"]).cloned();
            let conditions = conditions.map(|conditions| stamped(conditions, old, cx.now));
            let mut status = old.value("status").cloned().unwrap_or(json!({}));
            if let Some(fields) = status.as_object_mut() {
                fields.insert("conditions".into(), conditions.unwrap_or(Value::Array(Vec::new())));
            }
            object.0.insert("status".into(), status);
        }
    }

    /// Signers report failures: such conditions get their times too.
    fn prepare_for_status_update(&self, cx: &WriteContext<'_>, object: &mut Object, old: &Object) {
        if let Some(status) = object.object_at("status")
            && let Some(conditions) = status.remove("conditions")
        {
            status.insert("conditions".into(), stamped(conditions, old, cx.now));
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (spec, path) = (object.object("spec"), Path::new("spec"));
        request(&mut errors, spec.text("request"), &path.child("request"));
        usages(&mut errors, spec, &path.child("usages"));
        if check::required(&mut errors, spec, "signerName", &path) {
            let (name, path) = (spec.text("signerName"), path.child("signerName"));
            if name == "kubernetes.io/legacy-unknown" {
                errors.push(Error::invalid(&path, name, "the legacy signerName is not allowed via this API version"));
            } else {
                signer(&mut errors, name, &path);
            }
        }
        if let Some(seconds) = spec.int("expirationSeconds").filter(|seconds| *seconds < SHORTEST_LIFE_S) {
            let detail = "may not specify a duration less than 600 seconds (10 minutes)";
            errors.push(Error::invalid(&path.child("expirationSeconds"), seconds, detail));
        }
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = conditions(object, old);
        decisions_stay(&mut errors, object, old);
        errors
    }

    /// The spec stays what it was when it was judged.
    fn judges_updates_alone(&self) -> bool {
        true
    }

    fn validate_subresource_update(&self, _subresource: &str, object: &Object, old: &Object) -> Vec<field::Error> {
        conditions(object, old)
    }

    fn validate_status_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = self.validate_update(object, old);
        let (new, old) = (object.object("status").text("certificate"), old.object("status").text("certificate"));
        let path = Path::new("status").child("certificate");
        if new == old {
            return errors;
        }
        // What was wrong already may stay wrong.
        if certificate(old).is_ok()
            && let Err(detail) = certificate(new)
        {
            errors.push(Error::invalid(&path, "<certificate data>", detail));
        }
        if !old.is_empty() {
            errors.push(Error::forbidden(&path, "updates may not modify existing certificate content"));
        }
        errors
    }

    fn name_errors(&self, name: &str, prefix: bool) -> Vec<String> {
        names::name_is_path_segment(name, prefix)
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}

/// New conditions get their times (upstream: `populateConditionTimestamps`).
fn stamped(mut conditions: Value, old: &Object, now: jiff::Timestamp) -> Value {
    let now = jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string();
    let before = old.object("status").list("conditions");
    for condition in conditions.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        condition.default_text("lastUpdateTime", &now);
        let same = before
            .iter()
            .find(|old| old.text("type") == condition.text("type") && old.text("status") == condition.text("status"));
        let since = same.map(|old| old.text("lastTransitionTime")).filter(|time| !time.is_empty());
        condition.default_text("lastTransitionTime", since.unwrap_or(&now));
    }
    conditions
}

/// The shortest life of a certificate that may be asked for.
const SHORTEST_LIFE_S: i64 = 600;

const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// What is wrong with an issued certificate, in base64 (upstream: `validateCertificate`).
fn certificate(base64: &str) -> Result<(), String> {
    if base64.is_empty() {
        return Ok(());
    }
    let text = STANDARD.decode(base64).unwrap_or_default();
    let mut blocks = pem::blocks(&text).peekable();
    if blocks.peek().is_none() {
        return Err("must contain at least one CERTIFICATE PEM block".to_owned());
    }
    for block in blocks {
        if block.label != "CERTIFICATE" {
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.label));
        }
        if block.has_headers {
            return Err("no PEM block headers are permitted".to_owned());
        }
        x509::certificate(&block.contents).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// A request that can be read and is signed by the key it names (upstream: `validateCSR`).
fn request(errors: &mut Errors, base64: &str, path: &Path) {
    let text = STANDARD.decode(base64).unwrap_or_default();
    let wrong = match pem::blocks(&text).next().filter(|block| block.label == "CERTIFICATE REQUEST") {
        None => "PEM block type must be CERTIFICATE REQUEST".to_owned(),
        Some(block) => match x509::request(&block.contents).and_then(|request| x509::check_signature(&request)) {
            Ok(()) => return,
            Err(error) => error.to_string(),
        },
    };
    let shown = if base64.is_empty() { Value::Null } else { base64.into() };
    errors.push(Error::invalid(path, shown, wrong));
}

fn usages(errors: &mut Errors, spec: &Map<String, Value>, path: &Path) {
    if spec.list("usages").is_empty() {
        errors.push(Error::required(path, ""));
    }
    let mut seen = HashSet::new();
    for (index, usage) in spec.texts("usages").enumerate() {
        if !USAGES.contains(&usage) {
            errors.push(Error::not_supported(&path.index(index), usage, USAGES));
        }
        if !seen.insert(usage) {
            errors.push(Error::duplicate(&path.index(index), usage));
        }
    }
}

/// A signer: a domain and a path (upstream: `ValidateSignerName`).
fn signer(errors: &mut Errors, name: &str, path: &Path) {
    const LONGEST: usize = 253 + 1 + 63 + 1 + 253;
    if name.len() > LONGEST {
        errors.push(Error::too_long(path, LONGEST));
    }
    let Some((domain, rest)) = name.split_once('/').filter(|(_, rest)| !rest.contains('/')) else {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        errors.push(Error::invalid(path, name, detail));
        return;
    };
    check::named(errors, names::dns1123_subdomain, domain, path);
    if !domain.contains('.') {
        errors.push(Error::invalid(path, domain, "should be a domain with at least two segments separated by dots"));
    }
    if rest.is_empty() {
        let detail = "path element may not be empty: 'example.com/signer-name'";
        errors.push(Error::invalid(path, rest, detail));
    } else {
        check::named(errors, names::dns1123_subdomain, rest, path);
    }
}

/// Only `/approval` decides.
fn decisions_stay(errors: &mut Errors, object: &Object, old: &Object) {
    let path = Path::new("status").child("conditions");
    let of = |object: &'_ Object, kind: &str| -> Option<Value> {
        let list = object.object("status").list("conditions");
        list.iter().find(|condition| condition.text("type") == kind).cloned()
    };
    for kind in ["Approved", "Denied"] {
        let done = match (of(object, kind), of(old, kind)) {
            (Some(_), None) => "add",
            (Some(new), Some(old)) if new != old => "modify",
            _ => continue,
        };
        errors.push(Error::forbidden(&path, format!("updates may not {done} a condition of type {kind:?}")));
    }
}

/// Conditions: typed, once each, approved or denied but not both, and final.
fn conditions(object: &Object, old: &Object) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("status").child("conditions");
    let (new, old) = (object.object("status").list("conditions"), old.object("status").list("conditions"));
    let has = |list: &[Value], kind: &str| list.iter().any(|condition| condition.text("type") == kind);
    let mut seen = HashSet::new();
    for (index, condition) in new.iter().enumerate() {
        let (path, kind, status) = (path.index(index), condition.text("type"), condition.text("status"));
        check::required(&mut errors, condition.fields(), "type", &path);
        let is_final = matches!(kind, "Approved" | "Denied" | "Failed");
        let allowed: &[&str] = if is_final { &["True"] } else { &["True", "False", "Unknown"] };
        if status.is_empty() {
            errors.push(Error::required(&path.child("status"), ""));
        } else if !allowed.contains(&status) {
            errors.push(Error::not_supported(&path.child("status"), status, allowed));
        }
        if !seen.insert(kind) {
            errors.push(Error::duplicate(&path.child("type"), kind));
        }
    }
    if has(new, "Approved") && has(new, "Denied") {
        let last = new.iter().map(|one| one.text("type")).rfind(|kind| matches!(*kind, "Approved" | "Denied"));
        let detail = "Approved and Denied conditions are mutually exclusive";
        errors.push(Error::invalid(&path, last.unwrap_or_default(), detail));
    }
    for kind in ["Approved", "Denied", "Failed"].iter().filter(|kind| has(old, kind) && !has(new, kind)) {
        let detail = format!("updates may not remove a condition of type {kind:?}");
        errors.push(Error::forbidden(&path, detail));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_get_their_times_with_a_status_as_with_an_approval() {
        let user = apimachinery::UserInfo::new("signer", ["system:authenticated"]);
        let now: jiff::Timestamp = "2026-01-02T03:04:05.678Z".parse().expect("a time");
        let old = json!({"spec": {}, "status": {"conditions": [
            {"type": "Approved", "status": "True", "lastUpdateTime": "2026-01-01T00:00:00Z",
                "lastTransitionTime": "2026-01-01T00:00:00Z"},
        ]}});
        let old = Object::from_value(old).expect("an object");
        for subresource in ["status", "approval"] {
            let new = json!({"spec": {}, "status": {"conditions": [
                {"type": "Approved", "status": "True"}, {"type": "Failed", "status": "True"},
            ]}});
            let mut new = Object::from_value(new).expect("an object");
            let cx = WriteContext { user: &user, now, subresource };
            match subresource {
                "status" => CertificateSigningRequest.prepare_for_status_update(&cx, &mut new, &old),
                _ => CertificateSigningRequest.prepare_for_update(&cx, &mut new, &old),
            }
            let times = |index: usize| {
                let condition = &new.object("status").list("conditions")[index];
                (condition.text("lastUpdateTime").to_owned(), condition.text("lastTransitionTime").to_owned())
            };
            let now = "2026-01-02T03:04:05Z".to_owned();
            assert_eq!(times(0), (now.clone(), "2026-01-01T00:00:00Z".to_owned()), "{subresource}");
            assert_eq!(times(1), (now.clone(), now), "{subresource}");
        }
    }

    #[test]
    fn only_approval_decides() {
        let of = |kinds: &[&str]| {
            let conditions: Vec<Value> = kinds.iter().map(|kind| json!({"type": kind, "status": "True"})).collect();
            Object::from_value(json!({"status": {"conditions": conditions}})).expect("an object")
        };
        let lines = |errors: Vec<Error>| errors.into_iter().map(|error| error.detail).collect::<Vec<_>>();
        let approve = |new: &[&str], old: &[&str]| {
            lines(CertificateSigningRequest.validate_subresource_update("approval", &of(new), &of(old)))
        };
        let status =
            |new: &[&str], old: &[&str]| lines(CertificateSigningRequest.validate_status_update(&of(new), &of(old)));
        assert!(approve(&["Approved"], &[]).is_empty());
        assert_eq!(approve(&["Approved", "Denied"], &[]), ["Approved and Denied conditions are mutually exclusive"]);
        assert_eq!(approve(&[], &["Approved"]), ["updates may not remove a condition of type \"Approved\""]);
        assert_eq!(status(&["Approved"], &[]), ["updates may not add a condition of type \"Approved\""]);
        assert!(status(&["Approved", "Failed"], &["Approved"]).is_empty());
    }

    /// A request of a key for a name, in base64 of PEM.
    fn of_key(algorithm: &'static rcgen::SignatureAlgorithm) -> String {
        let key = rcgen::KeyPair::generate_for(algorithm).expect("a key");
        let request = rcgen::CertificateParams::default().serialize_request(&key).expect("a request");
        STANDARD.encode(request.pem().expect("PEM"))
    }

    #[test]
    fn requests_are_signed_by_their_key() {
        let detail = |base64: &str| {
            let mut errors = Errors::new();
            request(&mut errors, base64, &Path::new("spec").child("request"));
            errors.pop().map_or(String::new(), |error| error.detail)
        };
        for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
            assert_eq!(detail(&of_key(algorithm)), "");
        }
        // A byte of the signature, which is what comes last, is another.
        let pem = STANDARD.decode(of_key(&rcgen::PKCS_ED25519)).expect("base64");
        let mut der = pem::blocks(&pem).next().expect("a block").contents;
        *der.last_mut().expect("bytes") ^= 1;
        let text = |label: &str, der: &[u8]| {
            STANDARD.encode(format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der)))
        };
        assert_eq!(detail(&text("CERTIFICATE REQUEST", &der)), "x509: Ed25519 verification failure");
        assert_eq!(detail(&text("CERTIFICATE", &der)), "PEM block type must be CERTIFICATE REQUEST");
        assert_eq!(detail(""), "PEM block type must be CERTIFICATE REQUEST");
        assert_eq!(detail(&text("CERTIFICATE REQUEST", &der[1..])), "x509: malformed certificate request");
        der.push(0);
        assert_eq!(detail(&text("CERTIFICATE REQUEST", &der)), "asn1: syntax error: trailing data");
    }

    #[test]
    fn what_is_issued_is_certificates() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let pem = rcgen::CertificateParams::default().self_signed(&key).expect("a certificate").pem();
        let detail = |text: &str| certificate(&STANDARD.encode(text)).err().unwrap_or_default();
        assert_eq!(detail(&pem), "");
        assert_eq!(detail(&format!("before\n{pem}between\n{pem}")), "");
        assert_eq!(detail("hello"), "must contain at least one CERTIFICATE PEM block");
        assert_eq!(detail(&key.serialize_pem()), "only CERTIFICATE PEM blocks are allowed, found \"PRIVATE KEY\"");
        assert_eq!(
            detail(&pem.replace("CERTIFICATE-----\nM", "CERTIFICATE-----\na: b\n\nM")),
            "no PEM block headers are permitted"
        );
        assert_eq!(
            detail("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"),
            "x509: malformed certificate"
        );
    }
}
