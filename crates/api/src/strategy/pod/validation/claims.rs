//! Resource claims: what a pod claims, and which container uses it (upstream: `validatePodResourceClaims`,
//! `validateResourceClaimNames`).

use std::collections::{BTreeSet, HashSet};

use apimachinery::field::{Error, Path};
use serde_json::{Map, Value};

use crate::check::{self, Errors, names};
use crate::json::Read;

/// `spec.resourceClaims` and their uses.
pub(super) fn claims(errors: &mut Errors, spec: &Map<String, Value>, path: &Path) {
    let mut known = HashSet::new();
    for (index, claim) in spec.list("resourceClaims").iter().enumerate() {
        let path = path.child("resourceClaims").index(index);
        let name = claim.text("name");
        if check::required(errors, claim.fields(), "name", &path) {
            check::named(errors, names::dns1123_label, name, &path.child("name"));
            if !known.insert(name) {
                errors.push(Error::duplicate(&path.child("name"), name));
            }
        }
        let sources = ["resourceClaimName", "resourceClaimTemplateName"];
        let given: Vec<&str> = sources.into_iter().filter(|field| claim.has(field)).collect();
        if given.len() == 1 {
            check::named(errors, names::dns1123_subdomain, claim.text(given[0]), &path.child(given[0]));
        } else {
            let detail = if given.is_empty() {
                "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            } else {
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            };
            errors.push(Error::invalid(&path, claim.clone(), detail));
        }
    }
    uses(errors, spec.object("resources"), &known, &path.child("resources"));
    for list in ["containers", "initContainers"] {
        for (index, container) in spec.list(list).iter().enumerate() {
            let path = path.child(list).index(index).child("resources");
            uses(errors, container.object("resources"), &known, &path);
        }
    }
}

fn uses(errors: &mut Errors, resources: &Map<String, Value>, known: &HashSet<&str>, path: &Path) {
    let mut seen = HashSet::new();
    for (index, one) in resources.list("claims").iter().enumerate() {
        let path = path.child("claims").index(index);
        let (name, request) = (one.text("name"), one.text("request"));
        if name.is_empty() {
            errors.push(Error::required(&path, ""));
            continue;
        }
        if seen.contains(&(name, "")) {
            errors.push(Error::duplicate(&path, name));
        } else {
            if !request.is_empty() {
                check::named(errors, names::dns1123_label, request, &path.child("request"));
            }
            if seen.contains(&(name, request)) {
                errors.push(Error::duplicate(&path, format!("{name}/{request}")));
            } else if request.is_empty() && seen.iter().any(|(other, _)| *other == name) {
                errors.push(Error::duplicate(&path, name));
            }
            seen.insert((name, request));
        }
        if !known.contains(name) {
            let mut error = Error::not_found(&path, name);
            error.detail = match known.is_empty() {
                true => "must be one of the names in pod.spec.resourceClaims which is empty".into(),
                false => {
                    let known: BTreeSet<&str> = known.iter().copied().collect();
                    let known: Vec<&str> = known.into_iter().collect();
                    format!("must be one of the names in pod.spec.resourceClaims: {}", known.join(", "))
                }
            };
            errors.push(error);
        }
    }
}
