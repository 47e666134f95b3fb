//! The API server's behaviour, driven in process through its service.

mod admission;
mod aggregation;
mod cbor;
mod custom;
mod details;
mod discovery;
mod flow;
mod harness;
mod lifecycle;
mod lists;
mod patches;
mod pods;
mod policies;
mod protobuf;
mod services;
mod streams;
mod watches;
mod webhooks;
mod who;
