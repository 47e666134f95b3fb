//! Paths that name no resource: health, version, metrics, discovery, OpenAPI.

use std::sync::Arc;

use apimachinery::StatusError;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use serde_json::json;

use crate::body::{self, Body};
use crate::handler::Document;
use crate::negotiate::negotiate;
use crate::registry::answer;
use crate::request::{Query, RequestInfo};
use crate::server::ApiServer;
use crate::{discovery, health, metrics_page, openapi};

/// The version that is served.
pub const GIT_VERSION: &str = "v1.37.0+kaji";

/// Answers a path outside the resources.
pub async fn answer(
    server: &Arc<ApiServer>,
    parts: &Parts,
    info: &RequestInfo,
    query: &Query,
) -> Result<Response<Body>, StatusError> {
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Err(StatusError::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        ));
    }
    let path = info.path.trim_end_matches('/');
    if let Some(document) = server.handlers.find_document(path) {
        return Ok(self::document(document));
    }
    let steps: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match steps.as_slice() {
        [check @ ("healthz" | "livez" | "readyz")] => Ok(health::all(server, check, query)),
        [check @ ("healthz" | "livez" | "readyz"), name @ ..] => Ok(health::single(server, check, &name.join("/"))),
        ["version"] => {
            let accepted = negotiate(&parts.headers, query, false)?;
            Ok(answer::value(&accepted, StatusCode::OK, &version()))
        }
        ["metrics"] => Ok(metrics_page::answer(server, &parts.headers)),
        ["api"] | ["apis"] | ["api", _] | ["apis", ..] => discovery::answer(server, parts, query, &steps),
        ["debug", "api_priority_and_fairness", what] => {
            let control = server.gate.flow_control().ok_or_else(StatusError::unknown_path)?;
            let details = query.get("includeRequestDetails").is_some_and(|value| !value.is_empty());
            control.dump(what, details).map(|table| text(StatusCode::OK, table)).ok_or_else(StatusError::unknown_path)
        }
        ["openapi", rest @ ..] => openapi::answer(server, parts, query, rest),
        [""] => {
            let accepted = negotiate(&parts.headers, query, false)?;
            Ok(answer::value(&accepted, StatusCode::OK, &json!({ "paths": root_paths(server) })))
        }
        _ => Err(StatusError::unknown_path()),
    }
}

/// `version.Info` (upstream: apimachinery/pkg/version).
fn version() -> serde_json::Value {
    json!({
        "major": "1", "minor": "37", "gitVersion": GIT_VERSION,
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "rustc", "platform": format!("{}/{}", std::env::consts::OS, architecture()),
        "emulationMajor": "1", "emulationMinor": "37", "minCompatibilityMajor": "1", "minCompatibilityMinor": "36",
    })
}

/// The machine as Go names it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn document(document: &Document) -> Response<Body> {
    let mut response = Response::new(body::full(document.text.clone()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(document.media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    response
}

fn root_paths(server: &ApiServer) -> Vec<String> {
    let rows = server.registry.rows();
    let mut paths: Vec<String> = vec!["/api".into(), "/api/v1".into(), "/apis".into()];
    for row in rows.all().iter().filter(|row| !row.gvk.group.is_empty()) {
        paths.push(format!("/apis/{}", row.gvk.group));
        paths.push(format!("/apis/{}/{}", row.gvk.group, row.gvk.version));
    }
    for remote in &server.aggregator.table().remotes {
        paths.push(format!("/apis/{}", remote.group));
        paths.push(format!("/apis/{}/{}", remote.group, remote.version));
    }
    paths.extend(
        ["/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"].map(str::to_owned),
    );
    paths.sort();
    paths.dedup();
    paths
}

/// Plain text.
pub(crate) fn text(code: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(body::full(text));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}
