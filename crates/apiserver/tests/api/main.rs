//! The API server's behaviour, driven in process through its service.

mod admission;
mod discovery;
mod harness;
mod lifecycle;
mod lists;
mod patches;
mod pods;
mod services;
mod streams;
mod watches;
mod webhooks;
