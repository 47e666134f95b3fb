//! End-to-end tests: the binary, a stock kubectl, real containers. Each test has a machine and a cluster of its own.

mod bad_input;
mod book;
mod clients;
mod conformance;
mod crash;
mod custom;
mod images;
mod kit;
mod lifecycle;
mod live;
mod rollout;
mod streams;
mod webhooks;
