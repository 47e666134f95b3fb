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
use crate::{discovery, openapi};

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
        [check @ ("healthz" | "livez" | "readyz")] => Ok(health(server, check, None, query)),
        [check @ ("healthz" | "livez" | "readyz"), name @ ..] => {
            Ok(health(server, check, Some(&name.join("/")), query))
        }
        ["version"] => {
            let accepted = negotiate(&parts.headers, query, false)?;
            Ok(answer::value(&accepted, StatusCode::OK, &version()))
        }
        ["metrics"] => Ok(metrics(server)),
        ["api"] | ["apis"] | ["api", _] | ["apis", ..] => discovery::answer(server, parts, query, &steps),
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

/// Upstream: apiserver/pkg/server/healthz/healthz.go.
fn health(server: &ApiServer, check: &str, name: Option<&str>, query: &Query) -> Response<Body> {
    let mut checks = vec![("ping".to_owned(), Ok(()))];
    if check != "livez" {
        checks.extend(server.health.checks());
    }
    checks.retain(|(known, _)| !query.all("exclude").any(|excluded| excluded == known));
    if let Some(name) = name {
        return match checks.into_iter().find(|(known, _)| known == name) {
            Some((_, Ok(()))) => text(StatusCode::OK, "ok".into()),
            Some((_, Err(reason))) => {
                text(StatusCode::INTERNAL_SERVER_ERROR, format!("internal server error: {reason}\n"))
            }
            None => text(StatusCode::NOT_FOUND, "404 page not found\n".into()),
        };
    }
    let failed = checks.iter().any(|(_, state)| state.is_err());
    if !failed && !query.has("verbose") {
        return text(StatusCode::OK, "ok".into());
    }
    let mut lines = String::new();
    for (known, state) in &checks {
        match state {
            Ok(()) => lines.push_str(&format!("[+]{known} ok\n")),
            Err(_) => lines.push_str(&format!("[-]{known} failed: reason withheld\n")),
        }
    }
    lines.push_str(&format!("{check} check {}\n", if failed { "failed" } else { "passed" }));
    text(if failed { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }, lines)
}

fn metrics(server: &ApiServer) -> Response<Body> {
    let mut response = text(StatusCode::OK, server.metrics.encode());
    let media_type = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    response
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
    paths.extend(
        ["/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"].map(str::to_owned),
    );
    paths.sort();
    paths.dedup();
    paths
}

fn text(code: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(body::full(text));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}
