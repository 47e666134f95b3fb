//! Dynamic resource allocation (upstream: pkg/apis/resource/v1/defaults.go, pkg/apis/resource/validation/validation.go).

mod claim;
mod class;
mod request;
mod slice;

pub(crate) use claim::{ResourceClaim, ResourceClaimTemplate};
pub(crate) use class::DeviceClass;
pub(crate) use slice::ResourceSlice;

#[cfg(test)]
mod tests;
