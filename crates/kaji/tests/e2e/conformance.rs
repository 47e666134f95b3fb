//! What the official conformance suite asks of sig-api-machinery and sig-auth where it takes kubectl or real pods.
//!
//! The doc comment of a test begins with `Conformance:` and the name its specification has in Kubernetes v1.20's
//! conformance.yaml; a test of the `testkit` crate sees to it that every name has its test.

mod publish_openapi;
mod secrets;
mod service_accounts;
