//! The API server's behaviour, driven in process through its service.

mod aggregation;
mod discovery;
mod flow;
mod harness;
mod lifecycle;
mod lists;
mod patches;
mod pods;
mod services;
mod streams;
mod watches;
