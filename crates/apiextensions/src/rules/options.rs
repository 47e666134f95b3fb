//! What a definition may keep although no new one may have it: rules that came later spare what is stored
//! (upstream: validation.go, `validationOptions`).

use std::collections::HashSet;

use apimachinery::Object;
use x509_parser::pem::Pem;

use super::schemas::map_list_errors;
use super::structural;
use crate::conditions;
use crate::definition::Definition;
use crate::schema::Schema;

/// Which rules hold.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) recognized_review_version: bool,
    pub(super) immutable_names: bool,
    pub(super) schema: bool,
    pub(super) valid_types: bool,
    pub(super) structural: bool,
    pub(super) pruned_defaults: bool,
    pub(super) atomic_sets: bool,
    pub(super) map_list_keys: bool,
    pub(super) valid_ca_bundle: bool,
    /// Versions with more selectable fields than may be, unchanged.
    pub(super) many_selectable_fields: HashSet<String>,
}

impl Default for Options {
    /// What holds for a new definition. A bad CA bundle is tolerated until the definition is established.
    fn default() -> Self {
        Self {
            recognized_review_version: true,
            immutable_names: false,
            schema: true,
            valid_types: true,
            structural: true,
            pruned_defaults: true,
            atomic_sets: true,
            map_list_keys: true,
            valid_ca_bundle: false,
            many_selectable_fields: HashSet::new(),
        }
    }
}

impl Options {
    /// What holds for an update of this definition.
    pub(super) fn of(old: &Definition, object: &Object) -> Self {
        let roots: Vec<&Schema> =
            old.spec.versions.iter().filter_map(|version| version.root()).map(|root| &**root).collect();
        let none = |broken: &dyn Fn(&Schema) -> bool| !roots.iter().any(|root| root.has(broken));
        let established = conditions::holds(object, "Established");
        let webhook = old.spec.conversion.as_ref().and_then(|conversion| conversion.webhook.as_ref());
        let review_versions = webhook.map(|webhook| webhook.conversion_review_versions.as_slice()).unwrap_or_default();
        let bundle = webhook.and_then(|webhook| webhook.client_config.as_ref()).map(|config| config.ca_bundle.as_str());
        let bundle_is_bad = bundle.is_some_and(|bundle| !bundle.is_empty() && !is_ca_bundle(bundle));
        Self {
            recognized_review_version: review_versions.is_empty()
                || review_versions.iter().any(|version| super::conversion::is_recognized(version)),
            immutable_names: established,
            schema: old.spec.versions.iter().all(|version| version.root().is_some()),
            valid_types: none(&|schema| {
                !schema.kind.is_empty() && !super::schemas::TYPES.contains(&schema.kind.as_str())
            }),
            structural: roots.iter().all(|root| structural::violations(root).is_empty()),
            pruned_defaults: roots.iter().all(|root| super::defaults::are_pruned(root)),
            atomic_sets: none(&super::schemas::has_granular_set),
            map_list_keys: none(&|schema| !map_list_errors(schema, &apimachinery::field::Path::default()).is_empty()),
            valid_ca_bundle: established && !bundle_is_bad,
            many_selectable_fields: old
                .spec
                .versions
                .iter()
                .filter(|version| version.selectable_fields.len() > super::versions::MOST_SELECTABLE_FIELDS)
                .map(|version| version.name.clone())
                .collect(),
        }
    }
}

/// Whether base64 holds certificates in PEM.
pub(super) fn is_ca_bundle(base64: &str) -> bool {
    use base64::Engine as _;
    let Ok(pem) = base64::engine::general_purpose::STANDARD.decode(base64) else { return false };
    let mut found = false;
    for block in Pem::iter_from_buffer(&pem) {
        match block {
            Ok(block) if block.label == "CERTIFICATE" => {
                if block.parse_x509().is_err() {
                    return false;
                }
                found = true;
            }
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    found
}
