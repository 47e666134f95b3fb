//! Nodes (upstream: pkg/registry/core/node/strategy.go, `ValidateNode`, `ValidateNodeUpdate`).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::Value;

use super::pod::quantity_of;
use crate::check::{self, Errors, names, spelling};
use crate::json::{Read, Write};
use crate::resource::{Generation, Strategy};

/// The strategy of nodes.
pub(crate) struct Node;

impl Strategy for Node {
    fn default(&self, object: &mut Object) {
        if let Some(spec) = object.object_made("spec") {
            let cidr = spec.text("podCIDR").to_owned();
            if !cidr.is_empty() && spec.list("podCIDRs").is_empty() {
                spec.insert("podCIDRs".into(), vec![cidr].into());
            }
        }
        if let Some(status) = object.object_at("status")
            && let Some(capacity) = status.get("capacity").cloned()
        {
            status.default_to("allocatable", capacity);
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let spec = object.object("spec");
        // Upstream looks for taints below the metadata.
        taints(&mut errors, spec.list("taints"), &Path::new("metadata").child("taints"));
        resources(&mut errors, object);
        declared_features(&mut errors, object);
        let (cidrs, path) = (spec.texts("podCIDRs").collect::<Vec<_>>(), Path::new("spec").child("podCIDRs"));
        for (index, cidr) in cidrs.iter().enumerate() {
            check::cidr(&mut errors, cidr, &path.index(index));
        }
        let of_one_family = cidrs.len() == 2 && cidrs[0].contains(':') == cidrs[1].contains(':');
        if cidrs.len() > 2 || of_one_family {
            errors.push(Error::invalid(&path, cidrs, "may specify no more than one CIDR for each IP family"));
        }
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = self.validate_status_update(object, old);
        let (new, old, path) = (object.object("spec"), old.object("spec"), Path::new("spec"));
        taints(&mut errors, new.list("taints"), &Path::new("metadata").child("taints"));
        if !old.list("podCIDRs").is_empty() && new.list("podCIDRs") != old.list("podCIDRs") {
            let detail = "node updates may not change podCIDR except from \"\" to valid";
            errors.push(Error::forbidden(&path.child("podCIDRs"), detail));
        }
        let (provider, was) = (new.text("providerID"), old.text("providerID"));
        if !was.is_empty() && provider != was {
            let done = if provider.is_empty() { "cleared" } else { "modified" };
            let detail = format!("field cannot be {done} once set");
            errors.push(Error::invalid(&path.child("providerID"), Value::Null, detail));
        }
        if new.text("externalID") != old.text("externalID") {
            errors.push(Error::forbidden(&path.child("externalID"), "may not be updated"));
        }
        errors
    }

    fn judges_updates_alone(&self) -> bool {
        true
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        let (mut found, spec) = (Vec::new(), object.object("spec"));
        if spec.has("configSource") {
            found.push("spec.configSource: the feature is removed".to_owned());
        }
        if !spec.text("externalID").is_empty() {
            found.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned());
        }
        for (index, cidr) in spec.texts("podCIDRs").enumerate() {
            spelling::of_cidr(&mut found, cidr, &Path::new("spec").child("podCIDRs").index(index));
        }
        found
    }

    fn validate_status_update(&self, object: &Object, _old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        resources(&mut errors, object);
        declared_features(&mut errors, object);
        let (addresses, path) = (object.object("status").list("addresses"), Path::new("status").child("addresses"));
        for (index, address) in addresses.iter().enumerate() {
            if addresses[..index].contains(address) {
                errors.push(Error::duplicate(&path.index(index), address.clone()));
            }
        }
        errors
    }

    fn keeps_status_at_create(&self) -> bool {
        true
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}

/// Amounts are not negative, and whole where things are counted (upstream: `ValidateNodeResources`).
fn resources(errors: &mut Errors, object: &Object) {
    for list in ["capacity", "allocatable"] {
        for (name, value) in object.object("status").object(list) {
            let path = Path::new("status").child(list).child(name);
            quantity_of(errors, name, value, &path);
        }
    }
}

/// What a kubelet says it can: names in order, each once (upstream: `validateNodeDeclaredFeatures`).
fn declared_features(errors: &mut Errors, object: &Object) {
    let features: Vec<&str> = object.object("status").texts("declaredFeatures").collect();
    let path = Path::new("status").child("declaredFeatures");
    for (index, feature) in features.iter().enumerate() {
        if let Some(detail) = wrong_feature(feature) {
            errors.push(Error::invalid(&path.index(index), *feature, detail));
        }
        let Some(next) = features.get(index + 1) else { continue };
        if next == feature {
            errors.push(Error::duplicate(&path.index(index + 1), *next));
        } else if next < feature {
            errors.push(Error::invalid(&path.index(index + 1), *next, "list must be sorted alphabetically"));
        }
    }
}

fn wrong_feature(feature: &str) -> Option<String> {
    const LONGEST: usize = 253;
    if feature.len() > LONGEST {
        return Some(format!("invalid feature name {feature:?}: must be no more than {LONGEST} characters"));
    }
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let good = feature.starts_with(|first: char| first.is_ascii_uppercase()) && feature.split('/').all(plain);
    (!good).then(|| {
        format!(
            "invalid feature name {feature:?}: must start with an UpperCamelCase segment, with subsequent segments \
             separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters \
             and slashes"
        )
    })
}

fn taints(errors: &mut Errors, taints: &[Value], path: &Path) {
    let mut seen = std::collections::HashSet::new();
    for (index, taint) in taints.iter().enumerate() {
        let path = path.index(index);
        check::named(errors, names::qualified_name, taint.text("key"), &path.child("key"));
        let wrong = names::label_value(taint.text("value"));
        if !wrong.is_empty() {
            errors.push(Error::invalid(&path.child("value"), taint.text("value"), wrong.join(";")));
        }
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        check::required_one_of(errors, taint.fields(), "effect", &effects, &path);
        if !seen.insert((taint.text("key"), taint.text("effect"))) {
            let mut error = Error::duplicate(&path, taint.clone());
            error.detail = "taints must be unique by key and effect pair".into();
            errors.push(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn node(mut value: Value) -> Object {
        value["metadata"] = json!({"name": "n1"});
        Object::from_value(value).expect("an object")
    }

    fn check(errors: Vec<Error>, expected: &Expect) {
        expected.assert_eq(&errors.iter().map(|error| format!("{error}\n")).collect::<String>());
    }

    #[test]
    fn nodes_are_checked() {
        check(
            Node.validate(&node(json!({
                "spec": {"taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}, {"key": "b"}], "podCIDRs": ["10.0.0.0/24", "10.0.1.0/24"]},
                "status": {"capacity": {"pods": "1500m", "cpu": "-1"}, "declaredFeatures": ["B", "A", "A", "x"]},
            }))),
            &expect![[r#"
                metadata.taints[1]: Duplicate value: {"effect":"NoSchedule","key":"a"}: taints must be unique by key and effect pair
                metadata.taints[2].effect: Required value
                status.capacity.cpu: Invalid value: "-1": must be greater than or equal to 0
                status.capacity.pods: Invalid value: "1500m": must be an integer
                status.declaredFeatures[1]: Invalid value: "A": list must be sorted alphabetically
                status.declaredFeatures[2]: Duplicate value: "A"
                status.declaredFeatures[3]: Invalid value: "x": invalid feature name "x": must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes
                spec.podCIDRs: Invalid value: ["10.0.0.0/24","10.0.1.0/24"]: may specify no more than one CIDR for each IP family
            "#]],
        );
    }

    #[test]
    fn what_a_node_got_once_stays() {
        let old = node(json!({"spec": {"podCIDRs": ["10.0.0.0/24"], "providerID": "a", "externalID": "x"}}));
        let new = node(json!({
            "spec": {"podCIDRs": ["10.0.1.0/24"], "providerID": "b", "unschedulable": true},
            "status": {"addresses": [{"type": "InternalIP", "address": "1"}, {"type": "InternalIP", "address": "1"}]},
        }));
        check(
            Node.validate_update(&new, &old),
            &expect![[r#"
                status.addresses[1]: Duplicate value: {"address":"1","type":"InternalIP"}
                spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid
                spec.providerID: Invalid value: null: field cannot be modified once set
                spec.externalID: Forbidden: may not be updated
            "#]],
        );
        let free = node(json!({"spec": {}}));
        check(
            Node.validate_update(&node(json!({"spec": {"podCIDRs": ["10.0.1.0/24"], "providerID": "b"}})), &free),
            &expect![[""]],
        );
    }
}
