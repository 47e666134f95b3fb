//! What an object counts against a ResourceQuota, and whether it still fits
//! (upstream: apiserver/pkg/quota/v1, pkg/quota/v1/evaluator/core).
//!
//! Pure: objects in, numbers out. The API server's ResourceQuota plugin and the quota controller both reckon with it,
//! so that what one charges is what the other counts. It never knows a store or a client.
//! Start reading at [`charge`], then [`evaluator`].

pub mod resources;

pub mod evaluator;
mod pods;
mod scopes;

pub mod charge;

pub use charge::{Change, Item, LimitedResource, charge};
pub use evaluator::Evaluator;
pub use pods::is_best_effort;
pub use resources::ResourceList;
pub use scopes::{Selector, selectors_of};
