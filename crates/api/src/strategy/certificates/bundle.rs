//! Cluster trust bundles (upstream: `ValidateClusterTrustBundle`).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};

use super::signer;
use crate::check::{self, Errors, names};
use crate::json::Read;
use crate::resource::{Generation, Strategy};

/// The strategy of trust bundles, whose names carry their signer's.
pub(crate) struct TrustBundle;

/// The largest bundle.
const MAX_BYTES: usize = 1024 * 1024;

impl Strategy for TrustBundle {
    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (spec, path) = (object.object("spec"), Path::new("spec"));
        let signer_name = spec.text("signerName");
        name(&mut errors, object.name(), signer_name);
        if !signer_name.is_empty() {
            signer(&mut errors, signer_name, &path.child("signerName"));
        }
        let (bundle, path) = (spec.text("trustBundle"), path.child("trustBundle"));
        if bundle.len() > MAX_BYTES {
            errors.push(Error::too_long(&path, MAX_BYTES));
        } else if let Err(detail) = anchors(bundle) {
            errors.push(Error::invalid(&path, "<value omitted>", detail));
        }
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (new, old) = (object.object("spec").value("signerName"), old.object("spec").value("signerName"));
        check::immutable(&mut errors, new, old, &Path::new("spec").child("signerName"));
        errors
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

/// PEM blocks of certificates, each there once.
fn anchors(bundle: &str) -> Result<(), String> {
    let blocks: Vec<&str> = bundle.split("-----BEGIN ").skip(1).collect();
    if blocks.is_empty() {
        return Err("at least one trust anchor must be provided".to_owned());
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, block) in blocks.iter().enumerate() {
        let kind = block.split("-----").next().unwrap_or_default();
        if kind != "CERTIFICATE" {
            return Err(format!("entry {index} has bad block type: {kind}"));
        }
        let Some(body) = block.split_once("-----END CERTIFICATE-----").map(|(body, _)| body.trim()) else {
            return Err("non-block data in trust bundle".to_owned());
        };
        if body.contains(':') {
            return Err(format!("entry {index} has PEM block headers"));
        }
        if let Some(first) = seen.iter().position(|other| *other == body) {
            return Err(format!("duplicate trust anchor (indices {first} and {index})"));
        }
        seen.push(body);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bundles_are_named_by_their_signer_and_hold_certificates() {
        let pem = |body: &str| format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        let lines = |name: &str, signer: &str, bundle: String| {
            let text = json!({"metadata": {"name": name}, "spec": {"signerName": signer, "trustBundle": bundle}});
            let object = Object::from_value(text).expect("an object");
            TrustBundle.validate(&object).iter().map(|error| format!("{error}\n")).collect::<String>()
        };
        assert_eq!(lines("a.b:c:one", "a.b/c", pem("AA") + &pem("BB")), "");
        assert_eq!(lines("one", "", pem("AA")), "");
        for (name, signer, bundle, expected) in [
            (
                "one",
                "a.b/c",
                pem("AA"),
                "metadata.name: Invalid value: \"one\": ClusterTrustBundle for signerName a.b/c must be named with prefix a.b:c:\n",
            ),
            (
                "a:b",
                "",
                pem("AA"),
                "metadata.name: Invalid value: \"a:b\": ClusterTrustBundle without signer name must not have \":\" in its name\n",
            ),
            (
                "one",
                "",
                String::new(),
                "spec.trustBundle: Invalid value: \"<value omitted>\": at least one trust anchor must be provided\n",
            ),
            (
                "one",
                "",
                pem("AA") + &pem("AA"),
                "spec.trustBundle: Invalid value: \"<value omitted>\": duplicate trust anchor (indices 0 and 1)\n",
            ),
        ] {
            assert_eq!(lines(name, signer, bundle), expected);
        }
    }
}
