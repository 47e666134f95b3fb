//! Dynamic resource allocation (upstream: pkg/apis/resource/v1/defaults.go, pkg/apis/resource/validation/validation.go).

mod allocation;
mod claim;
mod class;
mod disabled;
mod request;
mod slice;
mod taint_rule;

pub(crate) use claim::{ResourceClaim, ResourceClaimTemplate};
pub(crate) use class::DeviceClass;
pub(crate) use slice::ResourceSlice;
pub(crate) use taint_rule::DeviceTaintRule;

#[cfg(test)]
mod tests;
