//! Leases (upstream: pkg/apis/coordination/validation/validation.go,
//! pkg/registry/coordination/lease/strategy.go).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};

use crate::check::{self, Errors, names};
use crate::json::{Read, Write};
use crate::resource::{Generation, Strategy, WriteContext};

/// The strategy of leases.
pub(crate) struct Lease;

/// How Kubernetes itself chooses a leader (KEP-4355).
const STRATEGIES: &[&str] = &["OldestEmulationVersion"];

impl Strategy for Lease {
    fn prepare_for_create(&self, cx: &WriteContext<'_>, object: &mut Object) {
        self.prepare_for_update(cx, object, &Object::default());
    }

    /// `CoordinatedLeaderElection` is off in 1.37: its fields are dropped unless they are in use.
    fn prepare_for_update(&self, _cx: &WriteContext<'_>, object: &mut Object, old: &Object) {
        let Some(spec) = object.object_at("spec") else { return };
        for field in ["strategy", "preferredHolder"] {
            if !old.object("spec").has(field) {
                spec.remove(field);
            }
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (spec, path) = (object.object("spec"), Path::new("spec"));
        if let Some(seconds) = spec.int("leaseDurationSeconds")
            && seconds <= 0
        {
            errors.push(Error::invalid(&path.child("leaseDurationSeconds"), seconds, "must be greater than 0"));
        }
        check::not_negative(&mut errors, spec, "leaseTransitions", &path);
        let strategy = spec.text("strategy");
        if spec.has("strategy") {
            // Upstream names the field twice.
            let path = path.child("strategy").child("strategy");
            if strategy.contains('/') {
                check::named(&mut errors, names::qualified_name, strategy, &path);
            } else if !STRATEGIES.contains(&strategy) {
                errors.push(Error::not_supported(&path, strategy, STRATEGIES));
            }
        }
        if !spec.text("preferredHolder").is_empty() && strategy.is_empty() {
            let detail = "may only be specified if `strategy` is defined";
            errors.push(Error::forbidden(&path.child("preferredHolder"), detail));
        }
        errors
    }

    fn allow_create_on_update(&self) -> bool {
        true
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apimachinery::UserInfo;
    use serde_json::{Value, json};

    #[test]
    fn leases_are_checked() {
        let check = |spec: Value| {
            let errors = Lease.validate(&Object::from_value(json!({"spec": spec})).expect("an object"));
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        for right in [
            json!({"leaseDurationSeconds": 1, "leaseTransitions": 0}),
            json!({"strategy": "OldestEmulationVersion", "preferredHolder": "a"}),
            json!({"strategy": "example.com/mine"}),
        ] {
            assert!(check(right.clone()).is_empty(), "{right}");
        }
        assert_eq!(
            check(json!({"leaseDurationSeconds": 0, "leaseTransitions": -1, "preferredHolder": "a"})),
            [
                "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
                "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
                "spec.preferredHolder: Forbidden: may only be specified if `strategy` is defined",
            ]
        );
        assert_eq!(
            check(json!({"strategy": "Newest"})),
            [r#"spec.strategy.strategy: Unsupported value: "Newest": supported values: "OldestEmulationVersion""#]
        );
    }

    #[test]
    fn leaders_are_not_chosen_by_the_server() {
        let object = |spec: Value| Object::from_value(json!({"spec": spec})).expect("an object");
        let spec = json!({"holderIdentity": "a", "strategy": "OldestEmulationVersion", "preferredHolder": "b"});
        let user = UserInfo::default();
        let cx = WriteContext { user: &user, now: jiff::Timestamp::UNIX_EPOCH, subresource: "" };
        let mut lease = object(spec.clone());
        Lease.prepare_for_create(&cx, &mut lease);
        assert_eq!(lease.0["spec"], json!({"holderIdentity": "a"}));
        let mut lease = object(spec);
        Lease.prepare_for_update(&cx, &mut lease, &object(json!({"strategy": "example.com/mine"})));
        assert_eq!(lease.0["spec"], json!({"holderIdentity": "a", "strategy": "OldestEmulationVersion"}));
    }
}
