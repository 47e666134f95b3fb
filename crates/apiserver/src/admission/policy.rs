//! Admission policies: what the cluster's administrators want of writes, in CEL
//! (upstream: apiserver/pkg/admission/plugin/policy).
//!
//! ```text
//! store watch > Policies (compiled when they change) > hooks: policy x bindings
//! request > hook matches? > binding matches? > params > match conditions > validations | mutations
//! ```
//!
//! Policies are as new as the store: a binding that was written a moment ago holds for the very next request. Without
//! policies a request pays for a look at an empty list.

mod activation;
mod binding;
pub mod conditions;
mod definition;
mod environment;
mod expression;
mod judge;
mod metrics;
mod mutating;
mod params;
mod questions;
pub(crate) mod type_checking;
mod validating;

use std::collections::BTreeMap;
use std::sync::Arc;

use component_base::metrics::Metrics;
use serde_json::Value;
use store::{Entry, Store};

use super::Plugin;
use crate::authorization::follow::{Follower, Projection};
use binding::Binding;
use definition::Definition;
pub use expression::Expression;

/// Where policies, bindings and webhook configurations are stored.
const PREFIX: &str = "/registry/admissionregistration.k8s.io/";

/// The plugins that hold writes against the policies in `store`.
pub fn plugins(store: &Arc<dyn Store>, metrics: &Metrics) -> Vec<Box<dyn Plugin>> {
    let policies = Arc::new(Follower::<Policies>::new(store.clone(), PREFIX));
    let metrics = metrics::PolicyMetrics::register(metrics);
    vec![
        Box::new(mutating::MutatingAdmissionPolicy::new(policies.clone(), metrics.clone())),
        Box::new(validating::ValidatingAdmissionPolicy::new(policies, metrics)),
    ]
}

/// A policy with its bindings.
#[derive(Debug)]
struct Hook {
    definition: Arc<Definition>,
    bindings: Vec<Arc<Binding>>,
}

/// The policies of both kinds.
#[derive(Default)]
struct Policies {
    validating: Kind,
    mutating: Kind,
}

/// The policies of one kind, by name, and their bindings.
#[derive(Default)]
struct Kind {
    definitions: BTreeMap<String, Arc<Definition>>,
    bindings: BTreeMap<String, Arc<Binding>>,
    /// Policies that have bindings, in the order of their names.
    hooks: Arc<[Hook]>,
}

impl Kind {
    fn rebuild(&mut self) {
        let hooks = self.definitions.values().map(|definition| {
            let own = self.bindings.values().filter(|binding| binding.policy == definition.name);
            Hook { definition: definition.clone(), bindings: own.cloned().collect() }
        });
        self.hooks = hooks.filter(|hook| !hook.bindings.is_empty()).collect();
    }
}

/// The kind of a key, whether it is a binding, and the object's name.
fn place<'p, 'k>(policies: &'p mut Policies, key: &'k str) -> Option<(&'p mut Kind, bool, &'k str)> {
    let (resource, name) = key.strip_prefix(PREFIX)?.split_once('/')?;
    Some(match resource {
        "validatingadmissionpolicies" => (&mut policies.validating, false, name),
        "validatingadmissionpolicybindings" => (&mut policies.validating, true, name),
        "mutatingadmissionpolicies" => (&mut policies.mutating, false, name),
        "mutatingadmissionpolicybindings" => (&mut policies.mutating, true, name),
        _ => return None,
    })
}

impl Projection for Policies {
    fn put(&mut self, entry: &Entry) {
        let Some((kind, is_binding, name)) = place(self, &entry.key) else { return };
        let object: Value = match serde_json::from_slice(&entry.finished.value) {
            Ok(object) => object,
            Err(error) => {
                tracing::error!(key = %entry.key, %error, "a stored policy cannot be read");
                return;
            }
        };
        if is_binding {
            kind.bindings.insert(name.to_owned(), Arc::new(Binding::read(name, &object)));
        } else {
            let generation = object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
            let known = kind.definitions.get(name);
            let uid = object.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
            // A write of the status changes nothing that was compiled.
            if known.is_some_and(|known| known.generation == generation && generation > 0 && known.uid == uid) {
                return;
            }
            kind.definitions.insert(name.to_owned(), Arc::new(Definition::read(name, &object)));
        }
        kind.rebuild();
    }

    fn delete(&mut self, key: &str) {
        let Some((kind, is_binding, name)) = place(self, key) else { return };
        if is_binding {
            kind.bindings.remove(name);
        } else {
            kind.definitions.remove(name);
        }
        kind.rebuild();
    }
}
