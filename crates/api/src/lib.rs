//! The catalogue of kinds: one row a kind, from which routes, discovery, OpenAPI, storage keys, tables,
//! admission, apply and garbage collection follow.
//!
//! It never knows HTTP, a client or a store. Start reading at [`resource`], then [`catalogue`].

pub mod resource;

pub mod custom;

pub mod catalogue;
mod check;
mod columns;
mod json;
pub mod openapi;
pub mod schemas;
mod strategy;

pub use catalogue::RESOURCES;
pub use columns::human_duration;
pub use custom::{Conversion, Custom};
pub use resource::{
    Column, Generation, GroupVersion, Resource, Scope, Special, Strategy, Subresources, Verbs, WriteContext,
};
pub use schemas::SCHEMAS;
