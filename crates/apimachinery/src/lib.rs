//! How any Kubernetes object behaves, whatever its kind: metadata, selectors, quantities, patches,
//! server-side apply, codecs, schemas, `Status`.
//!
//! Values only: no I/O, no async, no clock. It never knows a kind by name. Start reading at [`object`].

pub mod apply;
pub mod attributes;
pub mod codec;
pub mod duration;
pub mod field;
pub mod fields;
pub mod go;
pub mod intstr;
pub mod json;
pub mod labels;
pub mod meta;
pub mod names;
pub mod object;
pub mod patch;
pub mod quantity;
pub mod resources;
pub mod schema;
pub mod status;
pub mod user;
pub mod validation;

pub use attributes::{Attributes, Selectors};
pub use object::{GroupKind, GroupResource, GroupVersionKind, GroupVersionResource, Object};
pub use status::StatusError;
pub use user::UserInfo;
