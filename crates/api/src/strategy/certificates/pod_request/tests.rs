//! Requests as they are made, and as they end.

use apimachinery::UserInfo;
use apimachinery::field;
use expect_test::{Expect, expect};
use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateParams, KeyPair};

use super::*;

fn request(spec: Value, status: Value) -> Object {
    Object::from_value(json!({"metadata": {"name": "r"}, "spec": spec, "status": status})).expect("an object")
}

fn check(errors: Vec<field::Error>, expected: &Expect) {
    expected.assert_eq(&errors.iter().map(|error| format!("{error}\n")).collect::<String>());
}

fn key() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key")
}

fn asking_for(key: &KeyPair) -> String {
    STANDARD.encode(CertificateParams::default().serialize_request(key).expect("a request").der())
}

fn spec(request: &str) -> Value {
    json!({
        "signerName": "example.com/signer", "podName": "web", "podUID": "u", "serviceAccountName": "robot",
        "serviceAccountUID": "u", "nodeName": "n1", "nodeUID": "u", "maxExpirationSeconds": 86400,
        "stubPKCS10Request": request,
    })
}

#[test]
fn requests_are_checked() {
    let right = spec(&asking_for(&key()));
    check(PodCertificateRequest.validate(&request(right.clone(), json!({}))), &expect![[""]]);
    let mut wrong = right.clone();
    for (field, value) in [
        ("signerName", json!("kubernetes.io/x")),
        ("podUID", json!("")),
        ("nodeUID", json!("u".repeat(129))),
        ("maxExpirationSeconds", json!(86401)),
        ("stubPKCS10Request", json!("")),
        ("unverifiedUserAnnotations", json!({"Acme.io/foo": "x", "foo": "x"})),
    ] {
        wrong[field] = value;
    }
    check(
        PodCertificateRequest.validate(&request(wrong, json!({}))),
        &expect![[r#"
            spec.unverifiedUserAnnotations: Invalid value: "foo": must be a domain-prefixed key (such as "acme.io/foo")
            spec.podUID: Invalid value: "": must not be empty
            spec.nodeUID: Too long: may not be more than 128 bytes
            spec.maxExpirationSeconds: Invalid value: 86401: must be in the range [3600, 86400]
            spec: Invalid value: exactly one of (stubPKCS10Request) or (pkixPublicKey, proofOfPossession) must be set
        "#]],
    );
}

#[test]
fn keys_are_of_known_kinds_and_held() {
    let detail = |request: &str| held(request).err().unwrap_or_default().1;
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        assert_eq!(detail(&asking_for(&KeyPair::generate_for(algorithm).expect("a key"))), "");
    }
    let mut der = STANDARD.decode(asking_for(&key())).expect("base64");
    *der.last_mut().expect("bytes") ^= 1;
    let broken = STANDARD.encode(&der);
    assert_eq!(detail(&broken), "invalid signature");
    assert_eq!(detail("AAAA"), "must be a valid PKCS#10 CSR");
    for (request, shown, words) in [
        (RSA_2048, Some("2048-bit modulus"), "RSA keys must have modulus size 3072 or 4096"),
        (P224, Some("curve P-224"), "elliptic public keys must use curve P256, P384, or P521"),
        (SECP256K1, None, "must be a valid PKCS#10 CSR"),
        (P521, None, "x509: cannot verify signature: algorithm unimplemented: ECDSA keys on the curve P-521"),
    ] {
        let (value, detail) = held(request).expect_err("refused");
        assert!(value.as_deref() == shown && detail.starts_with(words), "{value:?}: {detail}");
    }
}

/// Requests without a name, for keys that nobody has any more.
const RSA_2048: &str = "MIICRTCCAS0CAQAwADCCASIwDQYJKoZIhvcNAQEBBQADggEPADCCAQoCggEBAIbBEHeBDl3InqTTjl/OzRp8P29eQQOHQ7SPF73mCs4x63g2BAltD/Z0Js4tzpqAQblpMYJzVQ/5NmYlzDCMN2UA25RRo65w8cPshpQoUl9U71q0zrxfZx3puKFYKa1DQ0TWSNC0Csr+6cTHFWDrSZNjdwQW0llFU8SP1a/8kNU1YG7qGIinwaEBwz502dROzZVfU6RhKS97/qV2jobk1UdtnOnDfIwH8XbFNcVbu8ssu5JWvETo+oq58pnG4UIGDjqgx85yCa3kjCkfF/57F6kLSd/nRjt69Fi0zezgO1NzejEFwKAlsAIsT5PNebXGlD2d+850ep2obU6YMAut72MCAwEAAaAAMA0GCSqGSIb3DQEBCwUAA4IBAQBBccpzlfC1gWi8WZyb4BHMvAejSX3HRNVtUqPYwdjUm+FKfXuDm0r3AwSISDYw66N79wAzJD/AhYtoeHYv37CA/cjkDQwfW5xTAmuKG9D74KB57eQ+lb7b2vAFiE/NAUMk9qPSsdkSX9ETb80kCOuFDH6w4vgUUU0Mv6rwIYcxO4GV2kxAcDPgcdA2jSu5hAkHPoW0FIzH8Tg5RRlbaiazYqHRnCqJairiuuAErDCNQVscl2oantgsx4+V9vsG2+Ua2Q8EfzJVEvZzfdp+euEnmQ5Y7VSOf7vRcl+G3JyrNI3MMTeK/CRdKjoxi49ckzGwpZq90TUbPU8SB6hhSD1R";
const P224: &str = "MIGnMFcCAQAwADBOMBAGByqGSM49AgEGBSuBBAAhAzoABEDoSI2ipCRpAaQPBYA5n9v4JsnX+YdQKG3TFo5hj5BOLfNATtQidLxs9ySjGV9HDs3up6GboSRWoAAwCgYIKoZIzj0EAwIDQAAwPQIcfS6bNx+KWH6wAeBrw0JOTzZGiXFGVdTd0cAwdQIdAPId/ota5jxz6d8T8rL/CTDd/w9MZw9CIjz1YPY=";
const SECP256K1: &str = "MIG2MF8CAQAwADBWMBAGByqGSM49AgEGBSuBBAAKA0IABCVjJhxiW5hFfgRfpTz9NY7btXtWQ1uRFXxTOodOqsHcgzBfZ8RIdsZLINmZRGgxY/tvB6KMww8luN1EMV8yDxqgADAKBggqhkjOPQQDAgNHADBEAiB4m0+pWyUYNxPZmMs0FqyTmUqtROyMXH0FoI+LuvJDnQIga3dgSQd/2pA2bZ3Ur/X4P1G21QQqbZHeIwcCtGusQos=";
const P521: &str = "MIIBQjCBpQIBADAAMIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQAg/4CF8S4LT9XFDaXk2PFYII8eZmXxEKaijdT9R/C6Opi501Dxoqpw0ZXw++yKnQl+UCrQ6WBDEdYAcx0TFdPC3QBynpdekyl/S8w5uWF2jiQ2/1rtAy5kLzF02YouG3w93Mp4wYWODoyd9fHeP259nEqPzIyMSrUQ7BzwSdeaeVulzKgADAKBggqhkjOPQQDAgOBiwAwgYcCQVNT+xvklH6CzV7O/SoVv5Y2zU6+n52wgg0YBRdW1Qd+Z3Jx85NlCknaCPhWw22qc2VnAcdGGX0XZQrGlp1+8pLrAkIB/iPVT/Z88OBPjwigPKlI7VDqjBZJ39PPdjkIRQbjqIKrPyxIwAEyuVIJfua0mnoXsdTUwZ/XtXa7A5FkEMaiqqo=";

fn condition(kind: &str, status: &str) -> Value {
    json!({"type": kind, "status": status, "reason": "R", "lastTransitionTime": "2026-01-01T00:00:00Z"})
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().expect("a time")
}

/// What is wrong with an update of the status.
fn update(new: Value, old: Value, spec: &Value) -> Vec<String> {
    let user = UserInfo::default();
    let cx = WriteContext { user: &user, now: now(), subresource: "status" };
    let of = |status: Value| request(spec.clone(), status);
    let (errors, _) = PodCertificateRequest.judge_status_update(&cx, &of(new), &of(old));
    errors.iter().map(|error| format!("{}: {}", error.field, error.detail)).collect()
}

#[test]
fn a_request_ends_once() {
    let update = |new, old| update(new, old, &json!({}));
    let denied = json!({"conditions": [condition("Denied", "True")]});
    assert!(update(denied.clone(), json!({})).is_empty());
    assert_eq!(
        update(json!({"conditions": [condition("Issued", "True")]}), denied.clone()),
        ["status: immutable after PodCertificateRequest is issued, denied, or failed"]
    );
    assert_eq!(
        update(json!({"conditions": [condition("Failed", "True")], "certificateChain": "x"}), json!({})),
        ["status: non-condition status fields must be empty when denying or failing the PodCertificateRequest"]
    );
    assert_eq!(
        update(json!({"certificateChain": "x"}), json!({})),
        ["status: status is immutable unless transitioning to \"Issued\", \"Denied\", or \"Failed\""]
    );
    assert_eq!(
        update(json!({"conditions": [condition("Odd", "True"), condition("Denied", "False")]}), json!({})).len(),
        2
    );
}

/// A certificate for the key that begins and ends so many minutes from now.
fn certificate(key: &KeyPair, names: &[&str], from: i64, to: i64) -> String {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    let time =
        |minutes: i64| time::OffsetDateTime::from_unix_timestamp(now().as_second() + minutes * 60).expect("a time");
    (params.not_before, params.not_after) = (time(from), time(to));
    params.self_signed(key).expect("a certificate").pem()
}

#[test]
fn what_is_issued_is_what_was_asked_for() {
    let key = key();
    let spec = spec(&asking_for(&key));
    let at = |minutes: i64| (now() + SignedDuration::from_mins(minutes)).to_string();
    let issued = |chain: &str, from: i64, refresh: i64, to: i64| {
        let status = json!({
            "conditions": [condition("Issued", "True")], "certificateChain": chain,
            "notBefore": at(from), "beginRefreshAt": at(refresh), "notAfter": at(to),
        });
        update(status, json!({}), &spec).join("\n")
    };
    let day = 24 * 60;
    let leaf = |from, to| certificate(&key, &["web.example"], from, to);
    assert_eq!(issued(&leaf(0, day), 0, 60, day), "");
    assert_eq!(issued(&(leaf(0, day) + &leaf(0, 1)), 0, 60, day), "");
    let no_certificate = key.serialize_pem();
    let wrong = [
        ("", (0, 60, day), "status.certificateChain: issued certificate chain must contain at least one certificate"),
        (
            no_certificate.as_str(),
            (0, 60, day),
            "status.certificateChain: issued certificate chain must consist entirely of CERTIFICATE PEM blocks",
        ),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
            (0, 60, day),
            "status.certificateChain: leaf certificate does not parse as valid X.509",
        ),
        (
            &certificate(&self::key(), &[], 0, day),
            (0, 60, day),
            "status.certificateChain: leaf certificate was not issued to the requested public key",
        ),
        (
            &certificate(&key, &["a..b", "c."], 0, day),
            (0, 60, day),
            "status.certificateChain: leaf certificate's DNSName should not contain '..'\n\
             status.certificateChain: leaf certificate's DNSName should not start or end with '.'",
        ),
        (
            &leaf(1, day),
            (0, 60, day),
            "status.notBefore: must be set to the NotBefore time encoded in the leaf certificate",
        ),
        (
            &leaf(-5, day - 5),
            (-5, 60, day - 5),
            "status.notBefore: must be set to within 5 minutes of kube-apiserver's current time",
        ),
        (
            &leaf(0, day),
            (0, 60, day - 1),
            "status.notAfter: must be set to the NotAfter time encoded in the leaf certificate",
        ),
        (&leaf(0, 59), (0, 30, 59), "status.certificateChain: leaf certificate lifetime must be >= 1 hour"),
        (
            &leaf(0, day + 1),
            (0, 30, day + 1),
            "status.certificateChain: leaf certificate lifetime must be <= spec.maxExpirationSeconds (86400)",
        ),
        (&leaf(0, day), (0, 9, day), "status.beginRefreshAt: must be at least 10 minutes after status.notBefore"),
        (&leaf(0, day), (0, day - 9, day), "status.beginRefreshAt: must be at least 10 minutes before status.notAfter"),
        (
            &(leaf(0, day) + &no_certificate),
            (0, 60, day),
            "status.certificateChain: issued certificate chain must consist entirely of CERTFICATE PEM blocks",
        ),
    ];
    for (chain, (from, refresh, to), expected) in wrong {
        assert_eq!(issued(chain, from, refresh, to), expected);
    }
}
