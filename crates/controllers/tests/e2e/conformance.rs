//! What the official conformance suite asks of sig-api-machinery where controllers have to act.
//!
//! The doc comment of a test begins with `Conformance:` and the name its specification has in Kubernetes v1.20's
//! conformance.yaml; a test of the `testkit` crate sees to it that every name has its test.

mod garbage_collector;
mod namespaces;
mod resource_quota;
