//! [`Policy`]: which requests are written down, and how much of them: the first rule that matches says so
//! (upstream: apiserver/pkg/audit/policy/{checker,reader}.go, pkg/apis/audit/validation).

use apimachinery::Attributes;
use apimachinery::field::{Error, Path};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::event::Stage;

/// How much of a request is written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// Nothing.
    #[default]
    None,
    /// Who, what, when.
    Metadata,
    /// What it carried, too.
    Request,
    /// What it was answered, too.
    RequestResponse,
}

/// What is written down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    api_version: String,
    kind: String,
    metadata: Value,
    /// The rules, in order.
    pub rules: Vec<Rule>,
    /// Stages that are never written down.
    pub omit_stages: Vec<Stage>,
    /// Whether managed fields are left out.
    pub omit_managed_fields: bool,
}

/// Which requests, and how much of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// How much.
    pub level: Level,
    /// By whom; none means anybody.
    pub users: Vec<String>,
    /// By members of one of these.
    pub user_groups: Vec<String>,
    /// What they want to do.
    pub verbs: Vec<String>,
    /// About which resources.
    pub resources: Vec<GroupResources>,
    /// In which namespaces; the empty one is the cluster's.
    pub namespaces: Vec<String>,
    /// About which paths; `*` at the end is any rest.
    #[serde(rename = "nonResourceURLs")]
    pub non_resource_urls: Vec<String>,
    /// Stages that are not written down.
    pub omit_stages: Vec<Stage>,
    /// Whether managed fields are left out; unset leaves it to the policy.
    pub omit_managed_fields: Option<bool>,
}

/// Resources of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupResources {
    /// The group; empty is the core group.
    pub group: String,
    /// `pods`, `pods/log`, `pods/*`, `*/scale`, `*`; none means all.
    pub resources: Vec<String>,
    /// The names; none means any.
    pub resource_names: Vec<String>,
}

/// What holds for a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How much is written down.
    pub level: Level,
    /// At which stages nothing is.
    pub omit_stages: Vec<Stage>,
    /// Whether managed fields are left out.
    pub omit_managed_fields: bool,
}

/// Why a policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It cannot be read.
    #[error("failed to read file path {path:?}: {cause}")]
    Read {
        /// Which file.
        path: std::path::PathBuf,
        /// What went wrong.
        cause: std::io::Error,
    },
    /// It is no YAML, or has fields that nobody knows.
    #[error("failed decoding: {0}")]
    Parse(String),
    /// It breaks rules.
    #[error("invalid policy: {}", .0.join(", "))]
    Invalid(Vec<String>),
}

impl Policy {
    /// Reads a policy file.
    pub fn load(path: &std::path::Path) -> Result<Self, PolicyError> {
        let text = std::fs::read_to_string(path).map_err(|cause| PolicyError::Read { path: path.to_owned(), cause })?;
        Self::parse(&text)
    }

    /// Reads the text of a policy file.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let parsed = apimachinery::codec::yaml::decode(text.as_bytes());
        let value = parsed.map_err(|cause| PolicyError::Parse(cause.to_string()))?.value;
        let policy: Self = serde_json::from_value(value).map_err(|cause| PolicyError::Parse(cause.to_string()))?;
        if policy.kind != "Policy" || policy.api_version != "audit.k8s.io/v1" {
            let got =
                format!("unknown group version field {:?} in policy of kind {:?}", policy.api_version, policy.kind);
            return Err(PolicyError::Parse(got));
        }
        if policy.rules.is_empty() {
            return Err(PolicyError::Parse("loaded illegal policy with 0 rules".into()));
        }
        let errors = policy.validate();
        if !errors.is_empty() {
            let texts = errors.iter().map(|error| format!("{}: {}", error.field, error.body())).collect();
            return Err(PolicyError::Invalid(texts));
        }
        Ok(policy)
    }

    fn validate(&self) -> Vec<Error> {
        let mut errors = Vec::new();
        for (index, rule) in self.rules.iter().enumerate() {
            let path = Path::new("rules").index(index);
            let about_resources = !rule.resources.is_empty() || !rule.namespaces.is_empty();
            if !rule.non_resource_urls.is_empty() && about_resources {
                let detail = "rules cannot apply to both regular resources and non-resource URLs";
                let given = rule.non_resource_urls.join(",");
                errors.push(Error::invalid(&path.child("nonResourceURLs"), given, detail));
            }
            for (at, url) in rule.non_resource_urls.iter().enumerate() {
                let path = path.child("nonResourceURLs").index(at);
                if url != "*" && !url.starts_with('/') {
                    let detail = "non-resource URL rules must begin with a '/' character";
                    errors.push(Error::invalid(&path, url.clone(), detail));
                }
                if url.trim_end_matches('*').contains('*') || url.ends_with("**") {
                    let detail = "non-resource URL wildcards '*' must be the final character of the rule";
                    errors.push(Error::invalid(&path, url.clone(), detail));
                }
            }
            for (at, resources) in rule.resources.iter().enumerate() {
                if resources.group.contains('/') {
                    let detail = "group and version must not be given together: the group is without version";
                    let path = path.child("resources").index(at).child("group");
                    errors.push(Error::invalid(&path, resources.group.clone(), detail));
                }
                if !resources.resource_names.is_empty() && resources.resources.is_empty() {
                    let detail = "using resourceNames requires at least one resource";
                    let path = path.child("resources").index(at).child("resourceNames");
                    errors.push(Error::invalid(&path, resources.resource_names.join(","), detail));
                }
            }
        }
        errors
    }

    /// What holds for a request.
    pub fn judge(&self, facts: &Attributes<'_>) -> Verdict {
        let Some(rule) = self.rules.iter().find(|rule| rule.matches(facts)) else { return Verdict::default() };
        let mut omit_stages = rule.omit_stages.clone();
        omit_stages.extend(&self.omit_stages);
        let omit_managed_fields = rule.omit_managed_fields.unwrap_or(self.omit_managed_fields);
        Verdict { level: rule.level, omit_stages, omit_managed_fields }
    }
}

/// Whether a list names the word, or nothing at all.
fn names(list: &[String], word: &str) -> bool {
    list.is_empty() || list.iter().any(|one| one == word)
}

impl Rule {
    fn matches(&self, facts: &Attributes<'_>) -> bool {
        let in_group = || facts.user.groups.iter().any(|group| self.user_groups.contains(group));
        if !names(&self.users, &facts.user.username)
            || !(self.user_groups.is_empty() || in_group())
            || !names(&self.verbs, facts.verb)
        {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return facts.is_resource
                && names(&self.namespaces, facts.namespace)
                && (self.resources.is_empty() || self.resources.iter().any(|resources| resources.matches(facts)));
        }
        if !self.non_resource_urls.is_empty() {
            return !facts.is_resource && self.non_resource_urls.iter().any(|url| path_matches(url, facts.path));
        }
        true
    }
}

fn path_matches(url: &str, path: &str) -> bool {
    match url.strip_suffix('*') {
        Some(start) => path.starts_with(start),
        None => path == url,
    }
}

impl GroupResources {
    fn matches(&self, facts: &Attributes<'_>) -> bool {
        if self.group != facts.group {
            return false;
        }
        if self.resources.is_empty() {
            return true;
        }
        names(&self.resource_names, facts.name) && self.resources.iter().any(|named| resource_matches(named, facts))
    }
}

fn resource_matches(named: &str, facts: &Attributes<'_>) -> bool {
    match named.split_once('/') {
        // A `*` is all resources and subresources; any other word only the resource itself.
        None => named == "*" || (named == facts.resource && facts.subresource.is_empty()),
        Some(("*", part)) => !part.is_empty() && part == facts.subresource,
        Some((resource, "*")) => resource == facts.resource,
        Some((resource, part)) => resource == facts.resource && part == facts.subresource,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apimachinery::UserInfo;

    const POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- {level: None, users: ['system:kube-proxy'], verbs: [watch]}
- {level: RequestResponse, resources: [{group: '', resources: [pods]}]}
- {level: Request, resources: [{group: '', resources: ['pods/*', '*/scale']}], omitManagedFields: false}
- {level: None, userGroups: ['system:authenticated'], nonResourceURLs: ['/api*', /version]}
- {level: Request, namespaces: [kube-system], resources: [{group: '', resources: [configmaps], resourceNames: [cfg]}]}
- {level: Metadata, namespaces: [''], omitStages: [ResponseStarted]}
";

    fn check(user: &str, verb: &str, thing: &str) -> Verdict {
        let policy = Policy::parse(POLICY).expect("a policy");
        let user = UserInfo::new(user, ["dev"]);
        let parts: Vec<&str> = thing.split(' ').collect();
        let facts = match parts.as_slice() {
            [path] => Attributes { verb, path, ..Attributes::by(&user) },
            [namespace, resource, name] => {
                let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
                Attributes {
                    verb,
                    version: "v1",
                    resource,
                    subresource,
                    namespace: namespace.trim_matches('-'),
                    name,
                    ..Attributes::on_resource(&user)
                }
            }
            _ => panic!("{thing}"),
        };
        policy.judge(&facts)
    }

    #[test]
    fn the_first_rule_that_matches_says_how_much() {
        for (user, verb, thing, level) in [
            ("system:kube-proxy", "watch", "shop pods x", Level::None),
            ("ann", "watch", "shop pods x", Level::RequestResponse),
            ("ann", "get", "shop pods/log x", Level::Request),
            ("ann", "update", "shop replicationcontrollers/scale x", Level::Request),
            ("ann", "get", "/version", Level::None),
            ("ann", "get", "/apis/apps", Level::None),
            ("ann", "get", "/healthz", Level::None),
            ("ann", "get", "kube-system configmaps cfg", Level::Request),
            ("ann", "get", "kube-system configmaps other", Level::None),
            ("ann", "get", "- nodes a", Level::Metadata),
        ] {
            assert_eq!(check(user, verb, thing).level, level, "{user} {verb} {thing}");
        }
        assert_eq!(check("ann", "get", "- nodes a").omit_stages, [Stage::ResponseStarted, Stage::RequestReceived]);
        assert!(check("ann", "get", "- nodes a").omit_managed_fields);
        assert!(!check("ann", "get", "shop pods/log x").omit_managed_fields);
    }

    #[test]
    fn policies_that_make_no_sense_are_refused() {
        let head = "apiVersion: audit.k8s.io/v1\nkind: Policy\n";
        for (text, expected) in [
            ("rules: []", "loaded illegal policy with 0 rules"),
            ("rules: [{level: Loud}]", "unknown variant `Loud`"),
            ("rules: [{level: None, nonResourceURLs: [a]}]", "must begin with a '/' character"),
            ("rules: [{level: None, nonResourceURLs: ['/a*b']}]", "must be the final character"),
            ("rules: [{level: None, nonResourceURLs: [/a], namespaces: [b]}]", "both regular resources and"),
            ("rulez: []", "unknown field `rulez`"),
        ] {
            let error = Policy::parse(&format!("{head}{text}")).expect_err("refused").to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
