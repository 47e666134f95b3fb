//! IP addresses of Services and the ranges they come from.

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};

use crate::check::{self, Errors, names};
use crate::json::Read;
use crate::resource::{Generation, Strategy};

/// The strategy of IP addresses.
pub(crate) struct IpAddress;

impl Strategy for IpAddress {
    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let path = Path::new("spec").child("parentRef");
        if !object.object("spec").has("parentRef") {
            errors.push(Error::required(&path, ""));
            return errors;
        }
        let parent = object.object("spec").object("parentRef");
        check::optional_name(&mut errors, names::dns1123_subdomain, parent, "group", &path);
        check::required_name(&mut errors, names::path_segment_name, parent, "resource", &path);
        check::required_name(&mut errors, names::path_segment_name, parent, "name", &path);
        check::optional_name(&mut errors, names::path_segment_name, parent, "namespace", &path);
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let parent = |object: &'_ Object| object.at(&["spec", "parentRef"]).cloned();
        let path = Path::new("spec").child("parentRef");
        check::immutable(&mut errors, parent(object).as_ref(), parent(old).as_ref(), &path);
        errors
    }

    fn judges_updates_alone(&self) -> bool {
        true
    }

    fn name_errors(&self, name: &str, _prefix: bool) -> Vec<String> {
        check::canonical_ip(name)
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}

/// The strategy of service CIDRs.
pub(crate) struct ServiceCidr;

impl Strategy for ServiceCidr {
    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        cidrs(&mut errors, object);
        errors
    }

    /// Ranges stay; a second one, of the other family, may come to the first.
    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let path = Path::new("spec").child("cidrs");
        let new: Vec<&str> = object.object("spec").texts("cidrs").collect();
        let old: Vec<&str> = old.object("spec").texts("cidrs").collect();
        if new.len() != old.len() && (old.len(), new.len()) != (1, 2) {
            errors.push(Error::invalid(&path, new, check::IMMUTABLE));
            return errors;
        }
        for (index, (new, _)) in new.iter().zip(&old).enumerate().filter(|(_, (new, old))| new != old) {
            errors.push(Error::invalid(&path.index(index), *new, check::IMMUTABLE));
        }
        if new.len() > old.len() {
            cidrs(&mut errors, object);
        }
        errors
    }

    fn judges_updates_alone(&self) -> bool {
        true
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}

fn cidrs(errors: &mut Errors, object: &Object) {
    let path = Path::new("spec").child("cidrs");
    let ranges: Vec<&str> = object.object("spec").texts("cidrs").collect();
    match ranges.as_slice() {
        [] => errors.push(Error::required(&path, "at least one CIDR required")),
        [_, _, _, ..] => {
            let spec = object.value("spec").cloned().unwrap_or_default();
            errors.push(Error::invalid(&path, spec, "may only hold up to 2 values"));
        }
        _ => {
            for (index, range) in ranges.iter().enumerate() {
                check::named(errors, check::canonical_cidr, range, &path.index(index));
            }
            if let [first, second] = ranges.as_slice()
                && first.contains(':') == second.contains(':')
            {
                let detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
                errors.push(Error::invalid(&path, ranges, detail));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn object(spec: Value) -> Object {
        Object::from_value(json!({"metadata": {"name": "10.0.0.1"}, "spec": spec})).expect("an object")
    }

    fn lines(errors: &[Error]) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_address_has_one_name() {
        assert!(IpAddress.name_errors("2001:db8::1", false).is_empty());
        assert_eq!(IpAddress.name_errors("2001:db8::0001", false), ["must be in canonical form (\"2001:db8::1\")"]);
        assert_eq!(IpAddress.name_errors("010.0.0.1", false), ["must not have leading 0s"]);
    }

    #[test]
    fn an_address_names_whose_it_is_for_ever() {
        let right = object(json!({"parentRef": {"resource": "services", "namespace": "shop", "name": "web"}}));
        assert!(IpAddress.validate(&right).is_empty());
        assert_eq!(lines(&IpAddress.validate(&object(json!({})))), ["spec.parentRef: Required value"]);
        assert_eq!(
            lines(&IpAddress.validate(&object(json!({"parentRef": {"group": "A", "name": "a/b"}}))))
                .iter()
                .map(|line| line.split(':').next().unwrap_or_default())
                .collect::<Vec<_>>(),
            ["spec.parentRef.group", "spec.parentRef.resource", "spec.parentRef.name"]
        );
        let moved = object(json!({"parentRef": {"resource": "services", "namespace": "shop", "name": "db"}}));
        assert!(lines(&IpAddress.validate_update(&moved, &right))[0].ends_with("field is immutable"));
    }

    #[test]
    fn a_range_stays_and_may_get_another() {
        let of = |ranges: &[&str]| object(json!({"cidrs": ranges}));
        for (ranges, expected) in [
            (vec!["10.0.0.0/24"], None),
            (vec!["10.0.0.0/24", "2001:db8::/64"], None),
            (vec![], Some("at least one CIDR required")),
            (vec!["2001:DB8::/64"], Some("must be in canonical form (\"2001:db8::/64\")")),
            (vec!["10.0.0.0/24", "10.0.1.0/24"], Some("no more than one IP for each IP family")),
            (vec!["10.0.0.0/24", "2001:db8::/64", "10.0.1.0/24"], Some("may only hold up to 2 values")),
        ] {
            let found = lines(&ServiceCidr.validate(&of(&ranges)));
            match expected {
                None => assert!(found.is_empty(), "{found:?}"),
                Some(words) => assert!(found[0].contains(words), "{found:?}"),
            }
        }
        for (new, expected) in [
            (vec!["10.0.0.0/24"], ""),
            (vec!["10.0.0.0/24", "2001:db8::/64"], ""),
            (vec!["10.1.0.0/24"], "spec.cidrs[0]: Invalid value: \"10.1.0.0/24\": field is immutable"),
            (vec![], "spec.cidrs: Invalid value: []: field is immutable"),
        ] {
            assert_eq!(lines(&ServiceCidr.validate_update(&of(&new), &of(&["10.0.0.0/24"]))).join(""), expected);
        }
    }
}
