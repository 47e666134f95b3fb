//! Options of the verbs, read from the query or a body: list, delete, dry run, field validation
//! (upstream: apimachinery/pkg/apis/meta/v1/types.go and meta/internalversion/validation).

use apimachinery::{GroupKind, StatusError, field};
use serde::Deserialize;

use crate::request::Query;

/// Which state a list or watch starts from (upstream: `ResourceVersionMatch` with its documented defaults).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFrom {
    /// The newest state.
    Newest,
    /// Any state; the newest is as good as any.
    Any,
    /// Not older than a revision.
    NotOlderThan(u64),
    /// Exactly a revision.
    Exact(u64),
}

/// The options of get, list, watch and deletecollection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListOptions {
    /// `labelSelector`, unparsed.
    pub label_selector: String,
    /// `fieldSelector`, unparsed.
    pub field_selector: String,
    /// The state to read.
    pub start: StartFrom,
    /// At most this many; 0 for all.
    pub limit: usize,
    /// The continue token.
    pub continue_token: String,
    /// When to end a watch or a wait.
    pub timeout_s: Option<u64>,
    /// Whether bookmarks are wanted.
    pub allow_bookmarks: bool,
    /// Whether a watch begins with the current state and marks its end.
    pub send_initial_events: Option<bool>,
}

impl ListOptions {
    /// Reads the query; `watching` says for which verb.
    pub fn parse(query: &Query, watching: bool) -> Result<Self, StatusError> {
        let version = query.get("resourceVersion").unwrap_or_default();
        let matching = query.get("resourceVersionMatch");
        let send_initial_events = query.has("sendInitialEvents").then(|| query.is_true("sendInitialEvents"));
        let limit = number(query, "limit")?.unwrap_or(0);
        let continue_token = query.get("continue").unwrap_or_default().to_owned();
        check_match(version, matching, send_initial_events, watching, &continue_token)?;
        let start = match (revision(version)?, matching) {
            (None, _) => StartFrom::Newest,
            (Some(0), _) => StartFrom::Any,
            (Some(revision), Some("Exact")) => StartFrom::Exact(revision),
            (Some(revision), None) if limit > 0 && !watching => StartFrom::Exact(revision),
            (Some(revision), _) => StartFrom::NotOlderThan(revision),
        };
        Ok(Self {
            label_selector: query.get("labelSelector").unwrap_or_default().to_owned(),
            field_selector: query.get("fieldSelector").unwrap_or_default().to_owned(),
            start,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            continue_token,
            timeout_s: number(query, "timeoutSeconds")?,
            allow_bookmarks: query.is_true("allowWatchBookmarks"),
            send_initial_events,
        })
    }
}

fn check_match(
    version: &str,
    matching: Option<&str>,
    initial_events: Option<bool>,
    watching: bool,
    continue_token: &str,
) -> Result<(), StatusError> {
    let path = field::Path::new("resourceVersionMatch");
    let mut errors = Vec::new();
    if let Some(initial_events) = initial_events {
        if !watching {
            errors.push(field::Error::forbidden(
                &field::Path::new("sendInitialEvents"),
                "sendInitialEvents is forbidden for list",
            ));
        } else if matching != Some("NotOlderThan") {
            errors.push(field::Error::forbidden(
                &path,
                format!("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan (sendInitialEvents={initial_events})"),
            ));
        }
    } else if let Some(matching) = matching {
        if watching {
            errors.push(field::Error::forbidden(
                &path,
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ));
        } else if version.is_empty() {
            errors.push(field::Error::forbidden(
                &path,
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            ));
        } else if !continue_token.is_empty() {
            errors.push(field::Error::forbidden(&path, "resourceVersionMatch is forbidden when continue is provided"));
        } else if !matches!(matching, "Exact" | "NotOlderThan") {
            errors.push(field::Error::not_supported(&path, matching, &["Exact", "NotOlderThan", ""]));
        } else if matching == "Exact" && version == "0" {
            errors.push(field::Error::forbidden(
                &path,
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            ));
        }
    }
    if !errors.is_empty() {
        return Err(StatusError::invalid(&GroupKind::new("meta.k8s.io", "ListOptions"), "", &errors));
    }
    if !continue_token.is_empty() && !version.is_empty() && version != "0" {
        return Err(StatusError::bad_request("specifying resource version is not allowed when using continue"));
    }
    Ok(())
}

/// A resourceVersion as a revision; the empty one is none.
pub fn revision(text: &str) -> Result<Option<u64>, StatusError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        StatusError::bad_request(format!(
            "invalid resource version {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
        ))
    })
}

fn number(query: &Query, name: &str) -> Result<Option<u64>, StatusError> {
    let Some(text) = query.get(name) else { return Ok(None) };
    match text.parse::<i64>() {
        Ok(number) => Ok(Some(u64::try_from(number).unwrap_or(0))),
        Err(_) => Err(StatusError::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))),
    }
}

/// Whether `dryRun` values ask for a dry run (upstream: `ValidateDryRun`).
pub fn dry_run<'a>(values: impl Iterator<Item = &'a str>) -> Result<bool, StatusError> {
    let mut asked = false;
    for value in values {
        match value {
            "All" => asked = true,
            other => {
                let error = field::Error::not_supported(&field::Path::new("dryRun"), other, &["All"]);
                return Err(StatusError::invalid(&GroupKind::new("meta.k8s.io", "CreateOptions"), "", &[error]));
            }
        }
    }
    Ok(asked)
}

/// How an object's dependents are treated when it is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They stay, without their owner.
    Orphan,
    /// They go afterwards.
    Background,
    /// They go first; the owner waits.
    Foreground,
}

/// `v1.DeleteOptions`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Seconds until removal; `None` takes the object's own.
    pub grace_s: Option<i64>,
    /// The uid the object must have.
    pub uid: Option<String>,
    /// The resourceVersion the object must have.
    pub resource_version: Option<String>,
    /// What becomes of dependents; `None` takes the kind's default.
    pub propagation: Option<Propagation>,
    /// Nothing is written.
    pub dry_run: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct DeleteBody {
    grace_period_seconds: Option<i64>,
    preconditions: Option<Preconditions>,
    orphan_dependents: Option<bool>,
    propagation_policy: Option<String>,
    dry_run: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

impl DeleteOptions {
    /// Reads the body, or the query where there is none.
    pub fn parse(body: Option<serde_json::Value>, query: &Query) -> Result<Self, StatusError> {
        let body = match body {
            Some(value) => serde_json::from_value(value)
                .map_err(|error| StatusError::bad_request(format!("couldn't decode DeleteOptions: {error}")))?,
            None => DeleteBody {
                grace_period_seconds: signed(query, "gracePeriodSeconds")?,
                preconditions: None,
                orphan_dependents: query.has("orphanDependents").then(|| query.is_true("orphanDependents")),
                propagation_policy: query.get("propagationPolicy").map(str::to_owned),
                dry_run: None,
            },
        };
        let preconditions = body.preconditions.unwrap_or_default();
        let dry_run_in_body = dry_run(body.dry_run.iter().flatten().map(String::as_str))?;
        Ok(Self {
            grace_s: body.grace_period_seconds,
            uid: preconditions.uid.filter(|uid| !uid.is_empty()),
            resource_version: preconditions.resource_version.filter(|version| !version.is_empty()),
            propagation: propagation(body.orphan_dependents, body.propagation_policy.as_deref())?,
            dry_run: dry_run_in_body || dry_run(query.all("dryRun"))?,
        })
    }
}

fn propagation(orphan: Option<bool>, policy: Option<&str>) -> Result<Option<Propagation>, StatusError> {
    let invalid = |error| Err(StatusError::invalid(&GroupKind::new("meta.k8s.io", "DeleteOptions"), "", &[error]));
    let path = field::Path::new("propagationPolicy");
    match (orphan, policy.filter(|policy| !policy.is_empty())) {
        (Some(_), Some(policy)) => {
            invalid(field::Error::invalid(&path, policy, "orphanDependents and deletionPropagation cannot be both set"))
        }
        (Some(true), None) | (None, Some("Orphan")) => Ok(Some(Propagation::Orphan)),
        (Some(false), None) | (None, Some("Background")) => Ok(Some(Propagation::Background)),
        (None, Some("Foreground")) => Ok(Some(Propagation::Foreground)),
        (None, Some(other)) => {
            invalid(field::Error::not_supported(&path, other, &["Background", "Foreground", "Orphan", "nil"]))
        }
        (None, None) => Ok(None),
    }
}

fn signed(query: &Query, name: &str) -> Result<Option<i64>, StatusError> {
    let parse = |text: &str| {
        text.parse()
            .map_err(|_| StatusError::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")))
    };
    query.get(name).map(parse).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(query: &str, watching: bool) -> String {
        match ListOptions::parse(&Query::parse(Some(query)), watching) {
            Ok(options) => format!("{:?}", options.start),
            Err(error) => format!("{} {}", error.code, error.message),
        }
    }

    #[test]
    fn resource_versions_mean_what_upstream_documents() {
        for (query, watching, expected) in [
            ("", false, "Newest"),
            ("resourceVersion=0", false, "Any"),
            ("resourceVersion=5", false, "NotOlderThan(5)"),
            ("resourceVersion=5&limit=2", false, "Exact(5)"),
            ("resourceVersion=5&resourceVersionMatch=Exact", false, "Exact(5)"),
            ("resourceVersion=5", true, "NotOlderThan(5)"),
            (
                "resourceVersion=x",
                false,
                "400 invalid resource version \"x\": strconv.ParseUint: parsing \"x\": invalid syntax",
            ),
            (
                "resourceVersionMatch=Exact",
                false,
                "422 ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
            ),
        ] {
            assert_eq!(start(query, watching), expected, "{query}");
        }
    }

    #[test]
    fn delete_options_come_from_body_or_query() {
        let body = serde_json::json!({"gracePeriodSeconds": 0, "propagationPolicy": "Foreground", "preconditions": {"uid": "u"}});
        let options = DeleteOptions::parse(Some(body), &Query::default()).expect("good options");
        assert_eq!(
            (options.grace_s, options.propagation, options.uid.as_deref()),
            (Some(0), Some(Propagation::Foreground), Some("u"))
        );
        let options =
            DeleteOptions::parse(None, &Query::parse(Some("gracePeriodSeconds=5&dryRun=All"))).expect("good options");
        assert_eq!((options.grace_s, options.dry_run), (Some(5), true));
    }
}
