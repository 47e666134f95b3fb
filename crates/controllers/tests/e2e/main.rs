//! The controllers and the scheduler against a real API server in process, with upstream's roles enforced; only the
//! kubelet is imitated.

mod budgets;
mod conformance;
mod daemons;
mod deployments;
mod garbage;
mod harness;
mod jobs;
mod namespaces;
mod nodes;
mod quotas;
mod scheduling;
mod services;
mod stateful;
