//! Cluster trust bundles (upstream: `ValidateClusterTrustBundle`).

use std::collections::BTreeMap;

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};

use super::signer;
use crate::check::{self, Errors, names, pem, x509};
use crate::json::Read;
use crate::resource::{Generation, Strategy};

/// The strategy of trust bundles, whose names carry their signer's.
pub(crate) struct TrustBundle;

/// The largest bundle.
const MAX_BYTES: usize = 1024 * 1024;

impl Strategy for TrustBundle {
    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = of_signer(object);
        content(&mut errors, object);
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = of_signer(object);
        let (new, old) = (object.object("spec"), old.object("spec"));
        if new.text("trustBundle") != old.text("trustBundle") {
            content(&mut errors, object);
        }
        let path = Path::new("spec").child("signerName");
        check::immutable(&mut errors, new.value("signerName"), old.value("signerName"), &path);
        errors
    }

    /// A bundle that stays is not read again: what reads it may have become stricter.
    fn judges_updates_alone(&self) -> bool {
        true
    }

    fn name_errors(&self, name: &str, prefix: bool) -> Vec<String> {
        names::name_is_path_segment(name, prefix)
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }
}

/// Whose bundle it is, and whether its name says so.
fn of_signer(object: &Object) -> Errors {
    let mut errors = Errors::new();
    let signer_name = object.object("spec").text("signerName");
    name(&mut errors, object.name(), signer_name);
    if !signer_name.is_empty() {
        signer(&mut errors, signer_name, &Path::new("spec").child("signerName"));
    }
    errors
}

fn content(errors: &mut Errors, object: &Object) {
    let (bundle, path) = (object.object("spec").text("trustBundle"), Path::new("spec").child("trustBundle"));
    if bundle.len() > MAX_BYTES {
        errors.push(Error::too_long(&path, MAX_BYTES));
    } else {
        anchors(errors, bundle, &path);
    }
}

fn name(errors: &mut Errors, name: &str, signer: &str) {
    let path = Path::new("metadata").child("name");
    let prefix = format!("{}:", signer.replace('/', ":"));
    let rest = match signer {
        "" if name.contains(':') => {
            let detail = "ClusterTrustBundle without signer name must not have \":\" in its name";
            errors.push(Error::invalid(&path, name, detail));
            return;
        }
        "" => name,
        _ => match name.strip_prefix(&prefix) {
            Some(rest) => rest,
            None => {
                let detail = format!("ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}");
                errors.push(Error::invalid(&path, name, detail));
                return;
            }
        },
    };
    check::named(errors, names::dns1123_subdomain, rest, &path);
}

/// Certificates of authorities, each there once (upstream: `validateTrustBundle`).
fn anchors(errors: &mut Errors, bundle: &str, path: &Path) {
    let before = errors.len();
    let mut wrong = |detail: String| errors.push(Error::invalid(path, "<value omitted>", detail));
    let mut anchors: Vec<Vec<u8>> = Vec::new();
    for (index, block) in pem::blocks(bundle.as_bytes()).enumerate() {
        if block.label != "CERTIFICATE" {
            wrong(format!("entry {index} has bad block type: {}", block.label));
        } else if block.has_headers {
            wrong(format!("entry {index} has PEM block headers"));
        } else {
            match x509::certificate(&block.contents).map(|certificate| certificate.is_ca()) {
                Err(_) => wrong(format!("entry {index} does not parse as X.509")),
                Ok(false) => wrong(format!("entry {index} does not have the CA bit set")),
                Ok(true) => {}
            }
        }
        anchors.push(block.contents);
    }
    if anchors.is_empty() {
        wrong("at least one trust anchor must be provided".to_owned());
    }
    if errors.len() > before {
        return;
    }
    let mut places: BTreeMap<&[u8], Vec<String>> = BTreeMap::new();
    for (index, anchor) in anchors.iter().enumerate() {
        places.entry(anchor).or_default().push(index.to_string());
    }
    for indices in places.into_values().filter(|indices| indices.len() > 1) {
        let detail = format!("duplicate trust anchor (indices [{}])", indices.join(" "));
        errors.push(Error::invalid(path, "<value omitted>", detail));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn bundle(name: &str, signer: &str, bundle: &str) -> Object {
        let text = json!({"metadata": {"name": name}, "spec": {"signerName": signer, "trustBundle": bundle}});
        Object::from_value(text).expect("an object")
    }

    fn lines(errors: Vec<Error>) -> String {
        errors.iter().map(|error| format!("{error}\n")).collect()
    }

    fn authority(is_ca: bool) -> String {
        let mut params = rcgen::CertificateParams::default();
        if is_ca {
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        }
        params.self_signed(&rcgen::KeyPair::generate().expect("a key")).expect("a certificate").pem()
    }

    #[test]
    fn bundles_are_named_by_their_signer() {
        let pem = authority(true);
        let check = |name: &str, signer: &str| lines(TrustBundle.validate(&bundle(name, signer, &pem)));
        assert_eq!(check("a.b:c:one", "a.b/c"), "");
        assert_eq!(check("one", ""), "");
        assert_eq!(
            check("one", "a.b/c"),
            "metadata.name: Invalid value: \"one\": ClusterTrustBundle for signerName a.b/c must be named with prefix a.b:c:\n"
        );
        assert_eq!(
            check("a:b", ""),
            "metadata.name: Invalid value: \"a:b\": ClusterTrustBundle without signer name must not have \":\" in its name\n"
        );
    }

    #[test]
    fn bundles_hold_authorities_once_each() {
        let (one, other) = (authority(true), authority(true));
        let check = |text: &str| {
            let errors = TrustBundle.validate(&bundle("one", "", text));
            errors.into_iter().map(|error| error.detail).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(check(&format!("{one}what this is\n{other}")), "");
        assert_eq!(check(""), "at least one trust anchor must be provided");
        assert_eq!(check(&format!("{one}{other}{one}")), "duplicate trust anchor (indices [0 2])");
        assert_eq!(check(&authority(false)), "entry 0 does not have the CA bit set");
        let headed = other.replace("CERTIFICATE-----\nM", "CERTIFICATE-----\na: b\n\nM");
        let odd = "-----BEGIN ODD-----\nAAAA\n-----END ODD-----\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(
            check(&format!("{one}{headed}{odd}")),
            "entry 1 has PEM block headers\nentry 2 has bad block type: ODD\nentry 3 does not parse as X.509"
        );
    }

    #[test]
    fn what_stays_is_not_read_again() {
        let old = bundle("one", "", "nonsense");
        assert_eq!(lines(TrustBundle.validate_update(&old, &old)), "");
        let other = bundle("one", "", "other nonsense");
        assert_eq!(
            lines(TrustBundle.validate_update(&other, &old)),
            "spec.trustBundle: Invalid value: \"<value omitted>\": at least one trust anchor must be provided\n"
        );
    }
}
