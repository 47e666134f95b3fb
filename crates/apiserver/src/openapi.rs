//! OpenAPI: the schemas that clients validate and explain with.

use std::sync::Arc;

use apimachinery::StatusError;
use http::Response;
use http::request::Parts;

use crate::body::Body;
use crate::request::Query;
use crate::server::ApiServer;

/// Answers a path below `/openapi`.
pub fn answer(
    _server: &Arc<ApiServer>,
    _parts: &Parts,
    _query: &Query,
    _steps: &[&str],
) -> Result<Response<Body>, StatusError> {
    Err(StatusError::unknown_path())
}
