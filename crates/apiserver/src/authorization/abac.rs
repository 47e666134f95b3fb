//! [`PolicyList`]: a file with a rule a line that says who may do what: authorization mode ABAC
//! (upstream: pkg/auth/authorizer/abac/abac.go, pkg/apis/abac/{v0,v1beta1}/conversion.go).

use std::path::{Path, PathBuf};

use apimachinery::UserInfo;
use serde::Deserialize;

use super::rule::PolicyRule;
use crate::authorizer::{Attributes, Decision};

const AUTHENTICATED: &str = "system:authenticated";

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AbacError {
    /// It cannot be read.
    #[error("error reading policy file {path}: {cause}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// A line is no policy.
    #[error("error reading policy file {path}, line {line}: {text}: {cause}")]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// The line.
        text: String,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
}

/// Whom a policy is about and what they may do: `*` is anything, and nothing is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Policy {
    user: String,
    group: String,
    readonly: bool,
    api_group: String,
    resource: String,
    namespace: String,
    #[serde(rename = "nonResourcePath")]
    path: String,
}

/// A line: `abac.authorization.kubernetes.io/v1beta1 Policy`, or the bare fields of former times.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    spec: Policy,
    #[serde(flatten)]
    bare: Policy,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyList(Vec<Policy>);

impl PolicyList {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, AbacError> {
        let text = std::fs::read_to_string(path).map_err(|cause| AbacError::Read { path: path.to_owned(), cause })?;
        let lines =
            text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.trim().starts_with('#'));
        let read = |(index, line): (usize, &str)| {
            let wrong =
                |cause| AbacError::Line { path: path.to_owned(), line: index + 1, text: line.to_owned(), cause };
            serde_json::from_str::<Line>(line).map(Policy::of).map_err(wrong)
        };
        Ok(Self(lines.map(read).collect::<Result<_, _>>()?))
    }

    /// Whether some policy allows it.
    pub fn authorize(&self, request: &Attributes<'_>) -> Decision {
        let reads = matches!(request.verb, "get" | "list" | "watch");
        let allows =
            |policy: &Policy| policy.is_about(request.user) && (reads || !policy.readonly) && policy.covers(request);
        if self.0.iter().any(allows) { Decision::Allow } else { Decision::NoOpinion("No policy matched.".into()) }
    }

    /// What the policies allow the user in a namespace.
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> Vec<PolicyRule> {
        let holds = |policy: &&Policy| policy.is_about(user) && any(&policy.namespace, namespace);
        self.0.iter().filter(holds).flat_map(Policy::rules).collect()
    }
}

fn any(wanted: &str, given: &str) -> bool {
    wanted == "*" || wanted == given
}

impl Policy {
    fn of(line: Line) -> Self {
        if line.api_version.is_empty() && line.kind.is_empty() {
            return line.bare.of_former_times();
        }
        let mut policy = line.spec;
        if policy.user == "*" || policy.group == "*" {
            (policy.user, policy.group) = (String::new(), AUTHENTICATED.into());
        }
        policy
    }

    /// Then what was left out was everything.
    fn of_former_times(mut self) -> Self {
        let anybody = self.user.is_empty() && self.group.is_empty();
        if anybody || self.user == "*" || self.group == "*" {
            (self.user, self.group) = (String::new(), AUTHENTICATED.into());
        }
        if self.namespace.is_empty() && self.resource.is_empty() {
            self.path = "*".into();
        }
        for field in [&mut self.namespace, &mut self.resource] {
            if field.is_empty() {
                *field = "*".into();
            }
        }
        self.api_group = "*".into();
        self
    }

    fn is_about(&self, user: &UserInfo) -> bool {
        let by_name = self.user.is_empty() || any(&self.user, &user.username);
        let by_group = self.group.is_empty() || self.group == "*" || user.is_in(&self.group);
        by_name && by_group && !(self.user.is_empty() && self.group.is_empty())
    }

    fn covers(&self, request: &Attributes<'_>) -> bool {
        if request.is_resource {
            return any(&self.namespace, request.namespace)
                && any(&self.resource, request.resource)
                && any(&self.api_group, request.group);
        }
        let below = self.path.ends_with('*') && request.path.starts_with(self.path.trim_end_matches('*'));
        any(&self.path, request.path) || below
    }

    fn rules(&self) -> Vec<PolicyRule> {
        let verbs: &[&str] = if self.readonly { &["get", "list", "watch"] } else { &["*"] };
        let verbs: Vec<String> = verbs.iter().map(|verb| (*verb).to_owned()).collect();
        let mut rules = Vec::new();
        if !self.resource.is_empty() {
            rules.push(PolicyRule {
                verbs: verbs.clone(),
                api_groups: vec![self.api_group.clone()],
                resources: vec![self.resource.clone()],
                ..PolicyRule::default()
            });
        }
        if !self.path.is_empty() {
            rules.push(PolicyRule { verbs, non_resource_urls: vec![self.path.clone()], ..PolicyRule::default() });
        }
        rules
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Result<PolicyList, AbacError> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("policies");
        std::fs::write(&path, text).expect("written");
        PolicyList::load(&path)
    }

    #[test]
    fn lines_allow_what_they_say() {
        let policies = list(
            r##"# people
{"apiVersion":"abac.authorization.kubernetes.io/v1beta1","kind":"Policy","spec":{"user":"ann","namespace":"shop","resource":"*","apiGroup":"*"}}
{"apiVersion":"abac.authorization.kubernetes.io/v1beta1","kind":"Policy","spec":{"group":"*","readonly":true,"nonResourcePath":"/version*"}}

{"user":"old","readonly":true,"resource":"pods"}
"##,
        )
        .expect("policies");
        let may = |user: &str, verb: &str, resource: &str, namespace: &str, path: &str| {
            let user = UserInfo::new(user, [AUTHENTICATED]);
            let request = Attributes {
                user: &user,
                verb,
                group: "",
                version: "v1",
                resource,
                subresource: "",
                namespace,
                name: "",
                is_resource: path.is_empty(),
                path,
                selectors: None,
            };
            policies.authorize(&request) == Decision::Allow
        };
        assert!(may("ann", "delete", "pods", "shop", "") && !may("ann", "delete", "pods", "vault", ""));
        assert!(!may("bob", "get", "pods", "shop", "") && !may("ann", "get", "", "", "/metrics"));
        assert!(may("bob", "get", "", "", "/version/x") && !may("bob", "post", "", "", "/version"));
        assert!(may("old", "list", "pods", "any", "") && !may("old", "create", "pods", "any", ""));
        assert!(!may("old", "list", "secrets", "any", ""));
        let rules = policies.rules_for(&UserInfo::new("old", [AUTHENTICATED]), "any");
        assert_eq!((rules.len(), rules[0].verbs.len()), (1, 3), "of the other policy only paths without a namespace");
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        let error = list("\n{x\n").expect_err("no policy").to_string();
        assert!(error.contains("line 2: {x: "), "{error}");
    }
}
