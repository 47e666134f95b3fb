//! CustomResourceDefinitions: kinds that are defined while the server runs.
//!
//! A definition is judged ([`rules`]), its names are settled among the others ([`names`]), and it becomes rows of
//! the catalogue ([`kind`]) with a schema to prune, default, validate and publish by. It never knows HTTP, a store or a
//! webhook: all of it is pure. Start reading at [`definition`], then [`kind`].

pub mod definition;
pub mod schema;

pub mod rules;

pub mod conditions;
pub mod names;

pub mod kind;

mod columns;
pub mod json_path;
mod metadata;
mod openapi;
mod structure;
mod values;
mod version;

pub mod expressions;

pub use definition::Definition;
pub use kind::rows;
pub use rules::DefinitionRules;
pub use schema::Schema;
pub use version::compare as compare_versions;
