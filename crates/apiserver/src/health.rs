//! `/livez`, `/readyz`, `/healthz`: named checks, all together or one by its path
//! (upstream: apiserver/pkg/server/healthz/healthz.go).

use http::{Response, StatusCode};

use crate::body::Body;
use crate::nonresource::text;
use crate::request::Query;
use crate::server::ApiServer;

/// The check that fails while the server drains; readiness alone asks for it.
const SHUTDOWN: &str = "shutdown";

/// The store's check here, and what tools know it by.
const STORE: (&str, &str) = ("store", "etcd");

type Check = (String, Result<(), String>);

/// The checks behind one of the three paths, in order.
fn checks(server: &ApiServer, path: &str) -> Vec<Check> {
    named(path, server.health.checks())
}

fn named(path: &str, declared: Vec<Check>) -> Vec<Check> {
    let store = declared.iter().find(|(name, _)| name == STORE.0).map_or(Ok(()), |(_, state)| state.clone());
    let mut checks = vec![("ping".into(), Ok(())), ("log".into(), Ok(())), (STORE.1.to_owned(), store)];
    let is_ready = path == "readyz";
    checks.extend(declared.into_iter().filter(|(name, _)| name != STORE.0 && (is_ready || name != SHUTDOWN)));
    if is_ready && !checks.iter().any(|(name, _)| name == SHUTDOWN) {
        checks.push((SHUTDOWN.into(), Ok(())));
    }
    checks
}

/// All checks of a path, without those that the query excludes.
pub(crate) fn all(server: &ApiServer, path: &str, query: &Query) -> Response<Body> {
    let excluded: Vec<&str> = query.all("exclude").collect();
    let (code, words) = report(path, &checks(server, path), &excluded, query.has("verbose"));
    text(code, words)
}

fn report(path: &str, checks: &[Check], excluded: &[&str], verbose: bool) -> (StatusCode, String) {
    let mut lines = String::new();
    let mut failed = false;
    for (name, state) in checks {
        lines.push_str(&match state {
            _ if excluded.contains(&name.as_str()) => format!("[+]{name} excluded: ok\n"),
            Ok(()) => format!("[+]{name} ok\n"),
            Err(reason) => {
                failed = true;
                tracing::debug!(check = name, reason, "{path} fails");
                format!("[-]{name} failed: reason withheld\n")
            }
        });
    }
    let unknown: Vec<String> = excluded
        .iter()
        .filter(|name| !checks.iter().any(|(known, _)| known == *name))
        .map(|name| format!("{name:?}"))
        .collect();
    if !unknown.is_empty() {
        let names = unknown.join(", ");
        lines.push_str(&format!("warn: some health checks cannot be excluded: no matches for {names}\n"));
    }
    if failed {
        return (StatusCode::INTERNAL_SERVER_ERROR, format!("{lines}{path} check failed\n"));
    }
    (StatusCode::OK, if verbose { format!("{lines}{path} check passed\n") } else { "ok".into() })
}

/// One check of a path.
pub(crate) fn single(server: &ApiServer, path: &str, name: &str) -> Response<Body> {
    match checks(server, path).into_iter().find(|(known, _)| known == name) {
        Some((_, Ok(()))) => text(StatusCode::OK, "ok".into()),
        Some((_, Err(reason))) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("internal server error: {reason}\n")),
        None => text(StatusCode::NOT_FOUND, "404 page not found\n".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a good server says, up to where readiness goes on.
    const ALIVE: &str = "[+]ping ok\n[+]log ok\n[+]etcd ok\n[+]poststarthook/bootstrap ok\n";

    #[test]
    fn a_draining_server_lives_but_is_not_ready() {
        let declared = [
            ("poststarthook/bootstrap", Ok(())),
            ("shutdown", Err("process is shutting down".to_owned())),
            ("store", Ok(())),
        ];
        let declared = declared.map(|(name, state)| (name.to_owned(), state)).to_vec();
        let unknown = "warn: some health checks cannot be excluded: no matches for \"nothing\"\n";
        for (path, excluded, code, rest) in [
            ("livez", [].as_slice(), 200, "livez check passed\n".to_owned()),
            ("readyz", &[], 500, "[-]shutdown failed: reason withheld\nreadyz check failed\n".to_owned()),
            (
                "readyz",
                &["shutdown", "nothing"],
                200,
                format!("[+]shutdown excluded: ok\n{unknown}readyz check passed\n"),
            ),
        ] {
            let (found, words) = report(path, &named(path, declared.clone()), excluded, true);
            assert_eq!((found.as_u16(), words), (code, format!("{ALIVE}{rest}")), "{path} without {excluded:?}");
        }
    }
}
