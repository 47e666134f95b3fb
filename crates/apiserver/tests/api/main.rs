//! The API server's behaviour, driven in process through its service.

mod admission;
mod aggregation;
mod cbor;
mod conformance;
mod custom;
mod details;
mod discovery;
mod every_kind;
mod flow;
mod harness;
mod lifecycle;
mod lists;
mod patches;
mod pods;
mod policies;
mod protobuf;
mod proxies;
mod revisions;
mod rules;
mod services;
mod statuses;
mod streams;
mod watches;
mod webhooks;
mod who;
mod zeros;
