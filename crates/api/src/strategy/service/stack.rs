//! The addresses of a Service and their families: one, or one of each
//! (upstream: `ValidateServiceClusterIPsRelatedFields`, `validateUpgradeDowngradeClusterIPs`).

use std::collections::HashSet;

use apimachinery::field::{Error, Path};
use serde_json::{Map, Value};

use crate::check::{self, Errors};
use crate::json::Read;

const STAYS: &str = "may not change once set";

/// All addresses: `clusterIPs`, or `clusterIP` while the list is not there yet.
fn ips(spec: &Map<String, Value>) -> Vec<&str> {
    let all: Vec<&str> = spec.texts("clusterIPs").collect();
    match spec.text("clusterIP") {
        ip if all.is_empty() && !ip.is_empty() => vec![ip],
        _ => all,
    }
}

fn is_headless(spec: &Map<String, Value>) -> bool {
    ips(spec) == ["None"]
}

/// Addresses, families and the policy for themselves.
pub(super) fn check(errors: &mut Errors, spec: &Map<String, Value>, known: &[&str], path: &Path) {
    let all: Vec<&str> = spec.texts("clusterIPs").collect();
    let (first, at) = (spec.text("clusterIP"), path.child("clusterIPs"));
    match all.first() {
        Some(_) if first.is_empty() => {
            errors.push(Error::invalid(&at, all.clone(), "must be empty when `clusterIP` is not specified"));
        }
        Some(ip) if *ip != first => {
            errors.push(Error::invalid(&at, all.clone(), "first value must match `clusterIP`"));
        }
        _ => {}
    }
    let mut seen = HashSet::new();
    for (index, family) in spec.texts("ipFamilies").enumerate() {
        let path = path.child("ipFamilies").index(index);
        if !matches!(family, "IPv4" | "IPv6") {
            errors.push(Error::not_supported(&path, family, &["IPv4", "IPv6"]));
        }
        if !seen.insert(family) {
            errors.push(Error::duplicate(&path, family));
        }
    }
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    check::one_of(errors, spec, "ipFamilyPolicy", &policies, path);
    each(errors, spec, known, path);
}

/// Each address is one, or was there before, and is of its family.
fn each(errors: &mut Errors, spec: &Map<String, Value>, known: &[&str], path: &Path) {
    let (all, list) = (ips(spec), path.child("clusterIPs"));
    let before = errors.len();
    for (index, ip) in all.iter().enumerate() {
        if index == 0 && *ip == "None" {
            if all.len() > 1 {
                errors.push(Error::invalid(&list, all.clone(), "'None' must be the first and only value"));
            }
            continue;
        }
        check::ip_address_or_known(errors, ip, known, &list.index(index));
    }
    let is_wrong = errors.len() > before;
    if all.len() > 2 {
        errors.push(Error::invalid(&list, all.clone(), "may only hold up to 2 values"));
    }
    if is_wrong {
        return;
    }
    let is_v6 = |ip: &str| ip.contains(':');
    if all.len() > 1 && (all.len() > 2 || is_v6(all[0]) == is_v6(all[1])) {
        errors.push(Error::invalid(&list, all.clone(), "may specify no more than one IP for each IP family"));
    }
    if is_headless(spec) {
        return;
    }
    for (index, (ip, family)) in all.iter().zip(spec.texts("ipFamilies")).enumerate() {
        if matches!(family, "IPv4" | "IPv6") && is_v6(ip) != (family == "IPv6") {
            let detail = format!("expected an {family} value as indicated by `ipFamilies[{index}]`");
            errors.push(Error::invalid(&list.index(index), *ip, detail));
        }
    }
}

/// The first address stays; a second may come, and go when the Service becomes one of a single stack.
pub(super) fn cluster_ips(errors: &mut Errors, new: &Map<String, Value>, old: &Map<String, Value>, path: &Path) {
    if is_headless(new) && is_headless(old) {
        return;
    }
    let (now, was) = (ips(new), ips(old));
    let list = path.child("clusterIPs");
    if now.len() == was.len() {
        for (index, _) in now.iter().zip(&was).enumerate().filter(|(_, (now, was))| now != was) {
            errors.push(Error::invalid(&list.index(index), now.clone(), STAYS));
        }
        return;
    }
    match (now.first(), was.first()) {
        (None, _) => errors.push(Error::invalid(&list.index(0), now.clone(), "primary clusterIP can not be unset")),
        (Some(now_first), Some(was_first)) if now_first != was_first => {
            errors.push(Error::invalid(&list.index(0), now.clone(), STAYS));
        }
        _ => {}
    }
    if now.len() == 1 && was.len() > 1 {
        single(errors, new, "clusterIP", path);
    }
}

/// The same for families; headless Services may change theirs.
pub(super) fn families(errors: &mut Errors, new: &Map<String, Value>, old: &Map<String, Value>, path: &Path) {
    if is_headless(new) || is_headless(old) {
        return;
    }
    let now: Vec<&str> = new.texts("ipFamilies").collect();
    let was: Vec<&str> = old.texts("ipFamilies").collect();
    let first = path.child("ipFamilies").index(0);
    if now.len() == was.len() {
        for _ in now.iter().zip(&was).filter(|(now, was)| now != was) {
            errors.push(Error::invalid(&first, now.clone(), STAYS));
        }
        return;
    }
    if now.len() < was.len() && ips(new).is_empty() {
        errors.push(Error::invalid(&first, now.clone(), "primary ipFamily can not be unset"));
    }
    if let (Some(now_first), Some(was_first)) = (now.first(), was.first())
        && now_first != was_first
    {
        errors.push(Error::invalid(&first, ips(new), STAYS));
    }
    if now.len() == 1 && was.len() > 1 {
        single(errors, new, "ipFamily", path);
    }
}

fn single(errors: &mut Errors, spec: &Map<String, Value>, released: &str, path: &Path) {
    if spec.text("ipFamilyPolicy") != "SingleStack" {
        let policy = spec.value("ipFamilyPolicy").cloned().unwrap_or_default();
        let detail = format!("must be set to 'SingleStack' when releasing the secondary {released}");
        errors.push(Error::invalid(&path.child("ipFamilyPolicy"), policy, detail));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lines(errors: &[Error]) -> Vec<String> {
        errors.iter().map(|error| format!("{}: {}", error.field, error.detail)).collect()
    }

    #[test]
    fn one_address_of_each_family() {
        for (spec, expected) in [
            (json!({}), None),
            (json!({"clusterIP": "None", "clusterIPs": ["None"]}), None),
            (
                json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "2001:db8::1"], "ipFamilies": ["IPv4", "IPv6"]}),
                None,
            ),
            (
                json!({"clusterIPs": ["10.0.0.1"]}),
                Some("spec.clusterIPs: must be empty when `clusterIP` is not specified"),
            ),
            (
                json!({"clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.1"]}),
                Some("spec.clusterIPs: first value must match `clusterIP`"),
            ),
            (
                json!({"clusterIP": "None", "clusterIPs": ["None", "10.0.0.1"]}),
                Some("spec.clusterIPs: 'None' must be the first and only value"),
            ),
            (
                json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "10.0.0.2"]}),
                Some("spec.clusterIPs: may specify no more than one IP for each IP family"),
            ),
            (
                json!({"clusterIP": "10.0.0.1", "ipFamilies": ["IPv6"]}),
                Some("spec.clusterIPs[0]: expected an IPv6 value as indicated by `ipFamilies[0]`"),
            ),
            (json!({"ipFamilies": ["IPv4", "IPv4"]}), Some("spec.ipFamilies[1]: ")),
        ] {
            let mut errors = Errors::new();
            check(&mut errors, spec.fields(), &[], &Path::new("spec"));
            assert_eq!(lines(&errors).first().map(String::as_str), expected, "{spec}");
        }
    }

    #[test]
    fn a_second_stack_comes_and_goes() {
        let one = json!({"clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"});
        let two = json!({"clusterIPs": ["10.0.0.1", "2001:db8::1"], "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "PreferDualStack"});
        let mut half = one.clone();
        half["ipFamilyPolicy"] = json!("PreferDualStack");
        let mut moved = one.clone();
        moved["clusterIPs"] = json!(["10.0.0.2"]);
        let released = |what: &str| {
            format!("spec.ipFamilyPolicy: must be set to 'SingleStack' when releasing the secondary {what}")
        };
        for (new, old, expected) in [
            (&two, &one, vec![]),
            (&one, &two, vec![]),
            (&half, &two, vec![released("clusterIP"), released("ipFamily")]),
            (&moved, &one, vec![format!("spec.clusterIPs[0]: {STAYS}")]),
            (
                &json!({}),
                &one,
                vec![
                    "spec.clusterIPs[0]: primary clusterIP can not be unset".into(),
                    "spec.ipFamilies[0]: primary ipFamily can not be unset".into(),
                ],
            ),
        ] {
            let mut errors = Errors::new();
            cluster_ips(&mut errors, new.fields(), old.fields(), &Path::new("spec"));
            families(&mut errors, new.fields(), old.fields(), &Path::new("spec"));
            assert_eq!(lines(&errors), expected, "{new}");
        }
    }
}
