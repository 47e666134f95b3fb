//! `AuthorizationConfiguration`: which authorizers there are and in which order; or `--authorization-mode`
//! (upstream: apiserver/pkg/apis/apiserver/v1/types.go, pkg/kubeapiserver/authorizer).

use std::collections::BTreeSet;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::webhook::{Client, Endpoint};
use apimachinery::duration::GoDuration;
use apimachinery::field::{Error, Path};
use apimachinery::validation;
use authn::expression::Compiler;
use serde::Deserialize;

use super::Member;
use super::abac::{AbacError, PolicyList};
use super::webhook::{FailurePolicy, WebhookAuthorizer};

const VERSIONS: [&str; 3] =
    ["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1", "apiserver.config.k8s.io/v1alpha1"];

/// Upstream: `modes.AuthorizationModeChoices`.
const TYPES: [&str; 6] = ["AlwaysAllow", "AlwaysDeny", "ABAC", "Webhook", "RBAC", "Node"];

/// The longest a webhook may take.
const MAX_TIMEOUT_NANOS: i64 = 30_000_000_000;

/// The most conditions of a webhook.
const MAX_CONDITIONS: usize = 64;

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthorizationConfiguration {
    api_version: String,
    kind: String,
    /// The authorizers, in order.
    pub authorizers: Vec<AuthorizerConfiguration>,
}

/// One authorizer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthorizerConfiguration {
    /// `Node`, `RBAC`, `Webhook`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// Its name in metrics and messages.
    pub name: String,
    /// Where the webhook is.
    pub webhook: Option<WebhookConfiguration>,
    /// Where ABAC's policies are: a flag alone says so.
    #[serde(skip)]
    pub policy_file: Option<PathBuf>,
}

/// A webhook.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookConfiguration {
    /// How long a yes holds.
    #[serde(rename = "authorizedTTL")]
    pub authorized_ttl: GoDuration,
    /// Whether a yes is kept at all.
    pub cache_authorized_requests: bool,
    /// How long a no holds.
    #[serde(rename = "unauthorizedTTL")]
    pub unauthorized_ttl: GoDuration,
    /// Whether a no is kept at all.
    pub cache_unauthorized_requests: bool,
    /// A call's deadline.
    pub timeout: GoDuration,
    /// The version of SubjectAccessReview that is sent.
    pub subject_access_review_version: String,
    /// The version that the conditions see.
    pub match_condition_subject_access_review_version: String,
    /// `NoOpinion` or `Deny`.
    pub failure_policy: String,
    /// Where it is.
    pub connection_info: ConnectionInfo,
    /// Which requests it is asked about.
    pub match_conditions: Vec<MatchCondition>,
}

impl Default for WebhookConfiguration {
    fn default() -> Self {
        Self {
            authorized_ttl: GoDuration::from_nanos(300_000_000_000),
            cache_authorized_requests: true,
            unauthorized_ttl: GoDuration::from_nanos(30_000_000_000),
            cache_unauthorized_requests: true,
            timeout: GoDuration::default(),
            subject_access_review_version: String::new(),
            match_condition_subject_access_review_version: String::new(),
            failure_policy: String::new(),
            connection_info: ConnectionInfo::default(),
            match_conditions: Vec::new(),
        }
    }
}

/// Where a webhook is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectionInfo {
    /// `KubeConfigFile`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The file.
    pub kube_config_file: Option<PathBuf>,
}

/// An expression over `request`, the spec of a SubjectAccessReview.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct MatchCondition {
    /// The expression.
    pub expression: String,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// ABAC has nothing to go by.
    #[error("authorization-mode ABAC's authorization policy file not passed")]
    NoPolicyFile,
    /// The policies of ABAC cannot be used.
    #[error(transparent)]
    Abac(#[from] AbacError),
    /// It is no YAML, or has fields that nobody knows.
    #[error("parse the authorization configuration: {0}")]
    Parse(String),
    /// It breaks rules.
    #[error("the authorization configuration is invalid: {}", .0.join(", "))]
    Invalid(Vec<String>),
    /// A webhook's kubeconfig cannot be used.
    #[error("authorizer {name}: {cause}")]
    Webhook {
        /// Which.
        name: String,
        /// Why.
        cause: String,
    },
}

impl AuthorizationConfiguration {
    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let parsed = apimachinery::codec::yaml::decode(text.as_bytes());
        let mut value = parsed.map_err(|cause| ConfigError::Parse(cause.to_string()))?.value;
        apimachinery::json::drop_nulls(&mut value);
        let config: Self = serde_json::from_value(value).map_err(|cause| ConfigError::Parse(cause.to_string()))?;
        if config.kind != "AuthorizationConfiguration" || !VERSIONS.contains(&config.api_version.as_str()) {
            let got = format!("no AuthorizationConfiguration but {} of {}", config.kind, config.api_version);
            return Err(ConfigError::Parse(got));
        }
        Ok(config)
    }

    /// What `--authorization-mode`, `--authorization-policy-file` and the `--authorization-webhook-*` flags mean.
    pub fn from_modes(modes: &[String], webhook: Option<WebhookConfiguration>, policy_file: Option<&FilePath>) -> Self {
        let authorizer = |mode: &String| AuthorizerConfiguration {
            kind: mode.clone(),
            name: if mode == "Webhook" { "default".into() } else { mode.to_lowercase() },
            webhook: webhook.clone().filter(|_| mode == "Webhook"),
            policy_file: policy_file.map(FilePath::to_owned).filter(|_| mode == "ABAC"),
        };
        Self { authorizers: modes.iter().map(authorizer).collect(), ..Self::default() }
    }

    /// The rules it breaks (upstream: `ValidateAuthorizationConfiguration`).
    pub fn validate(&self) -> Vec<Error> {
        let mut errors = Vec::new();
        let path = Path::new("authorizers");
        if self.authorizers.is_empty() {
            errors.push(Error::required(&path, "at least one authorization mode must be defined"));
        }
        let (mut kinds, mut names) = (BTreeSet::new(), BTreeSet::new());
        for (index, authorizer) in self.authorizers.iter().enumerate() {
            let path = path.index(index);
            let kind = authorizer.kind.as_str();
            if kind.is_empty() {
                errors.push(Error::required(&path.child("type"), ""));
                continue;
            }
            if !TYPES.contains(&kind) {
                errors.push(Error::not_supported(&path.child("type"), kind, &TYPES));
                continue;
            }
            if !kinds.insert(kind) && kind != "Webhook" {
                errors.push(Error::duplicate(&path.child("type"), kind));
                continue;
            }
            errors.extend(wrong_name(&authorizer.name, !names.insert(&authorizer.name), &path.child("name")));
            let path = path.child("webhook");
            match (kind, &authorizer.webhook) {
                ("Webhook", None) => errors.push(Error::required(&path, "required when type=Webhook")),
                ("Webhook", Some(webhook)) => errors.extend(webhook.validate(&path)),
                (_, Some(_)) => {
                    errors.push(Error::invalid(&path, "non-null", "may only be specified when type=Webhook"));
                }
                (_, None) => {}
            }
        }
        errors
    }

    /// Makes the authorizers.
    pub fn build(&self, compiler: &dyn Compiler) -> Result<Vec<Member>, ConfigError> {
        let errors = self.validate();
        if !errors.is_empty() {
            let texts = errors.iter().map(|error| format!("{}: {}", error.field, error.body())).collect();
            return Err(ConfigError::Invalid(texts));
        }
        self.authorizers.iter().map(|authorizer| authorizer.build(compiler)).collect()
    }
}

fn wrong_name(name: &str, is_taken: bool, path: &Path) -> Option<Error> {
    if name.is_empty() {
        return Some(Error::required(path, ""));
    }
    if is_taken {
        return Some(Error::duplicate(path, name));
    }
    let wrong = validation::dns1123_subdomain(name);
    (!wrong.is_empty()).then(|| Error::invalid(path, name, format!("authorizer name is invalid: {}", wrong.join(", "))))
}

impl AuthorizerConfiguration {
    fn build(&self, compiler: &dyn Compiler) -> Result<Member, ConfigError> {
        let webhook = match (self.kind.as_str(), &self.webhook) {
            ("Node", _) => return Ok(Member::Node),
            ("RBAC", _) => return Ok(Member::Rbac),
            ("AlwaysAllow", _) => return Ok(Member::AlwaysAllow),
            ("ABAC", _) => {
                let path = self.policy_file.as_deref().ok_or(ConfigError::NoPolicyFile)?;
                return Ok(Member::Abac(Arc::new(PolicyList::load(path)?)));
            }
            ("Webhook", Some(webhook)) => webhook,
            _ => return Ok(Member::AlwaysDeny),
        };
        let failed =
            |cause: &dyn std::fmt::Display| ConfigError::Webhook { name: self.name.clone(), cause: cause.to_string() };
        let file = webhook.connection_info.kube_config_file.as_deref().unwrap_or(FilePath::new(""));
        let endpoint = Endpoint::load(file).map_err(|cause| failed(&cause))?;
        let client = Client::new(&endpoint).map_err(|cause| failed(&cause))?;
        let compile = |condition: &MatchCondition| {
            let program = compiler.compile(&condition.expression, "request").map_err(|cause| failed(&cause))?;
            Ok((condition.expression.clone(), program))
        };
        let conditions = webhook.match_conditions.iter().map(compile).collect::<Result<Vec<_>, ConfigError>>()?;
        let ttl =
            |caches: bool, ttl: GoDuration| if caches { ttl.to_std().unwrap_or_default() } else { Duration::ZERO };
        Ok(Member::Webhook(Arc::new(WebhookAuthorizer::new(
            client,
            super::webhook::Settings {
                version: webhook.subject_access_review_version.clone(),
                timeout: webhook.timeout.to_std().unwrap_or_default(),
                authorized_ttl: ttl(webhook.cache_authorized_requests, webhook.authorized_ttl),
                unauthorized_ttl: ttl(webhook.cache_unauthorized_requests, webhook.unauthorized_ttl),
                failure_policy: match webhook.failure_policy.as_str() {
                    "Deny" => FailurePolicy::Deny,
                    _ => FailurePolicy::NoOpinion,
                },
                conditions,
            },
        ))))
    }
}

impl WebhookConfiguration {
    fn validate(&self, path: &Path) -> Vec<Error> {
        let mut errors = Vec::new();
        match self.timeout.as_nanos() {
            0 => errors.push(Error::required(&path.child("timeout"), "")),
            1..=MAX_TIMEOUT_NANOS => {}
            _ => {
                let given = self.timeout.to_string();
                errors.push(Error::invalid(&path.child("timeout"), given, "must be > 0s and <= 30s"));
            }
        }
        for (name, ttl) in [("authorizedTTL", self.authorized_ttl), ("unauthorizedTTL", self.unauthorized_ttl)] {
            match ttl.as_nanos() {
                0 => errors.push(Error::required(&path.child(name), "")),
                ..0 => errors.push(Error::invalid(&path.child(name), ttl.to_string(), "must be > 0s")),
                _ => {}
            }
        }
        let mut one_of = |name: &str, given: &str, choices: &[&str]| match given {
            "" => errors.push(Error::required(&path.child(name), "")),
            given if choices.contains(&given) => {}
            given => errors.push(Error::not_supported(&path.child(name), given, choices)),
        };
        one_of("subjectAccessReviewVersion", &self.subject_access_review_version, &["v1", "v1beta1"]);
        one_of("failurePolicy", &self.failure_policy, &["NoOpinion", "Deny"]);
        let conditions = &self.match_conditions;
        let version = self.match_condition_subject_access_review_version.as_str();
        if !version.is_empty() {
            one_of("matchConditionSubjectAccessReviewVersion", version, &["v1"]);
        } else if !conditions.is_empty() {
            let detail = "required if match conditions are specified";
            errors.push(Error::required(&path.child("matchConditionSubjectAccessReviewVersion"), detail));
        }
        if conditions.len() > MAX_CONDITIONS {
            errors.push(Error::too_many(&path.child("matchConditions"), conditions.len(), MAX_CONDITIONS));
        }
        for (index, condition) in conditions.iter().enumerate() {
            if condition.expression.trim().is_empty() {
                errors.push(Error::required(&path.child("matchConditions").index(index).child("expression"), ""));
            }
        }
        errors.extend(self.connection_info.validate(&path.child("connectionInfo")));
        errors
    }
}

impl ConnectionInfo {
    fn validate(&self, path: &Path) -> Option<Error> {
        match (self.kind.as_str(), &self.kube_config_file) {
            ("", _) => Some(Error::required(&path.child("type"), "")),
            ("KubeConfigFile", Some(file)) if file.is_absolute() => None,
            ("KubeConfigFile", Some(file)) if !file.as_os_str().is_empty() => {
                let given = file.display().to_string();
                Some(Error::invalid(&path.child("kubeConfigFile"), given, "must be an absolute path"))
            }
            ("KubeConfigFile", _) => Some(Error::required(&path.child("kubeConfigFile"), "")),
            // Upstream knows InClusterConfig for other servers and refuses it for this one.
            (kind, _) => Some(Error::not_supported(&path.child("type"), kind, &["KubeConfigFile"])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(authorizers: &str) -> Vec<String> {
        let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers: ";
        let config = AuthorizationConfiguration::parse(&format!("{head}{authorizers}")).expect("a file");
        config.validate().iter().map(|error| format!("{}: {}", error.field, error.body())).collect()
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        assert_eq!(check("[{type: Node, name: node}, {type: RBAC, name: rbac}]"), [""; 0]);
        let hook = "{type: Webhook, name: a, webhook: {timeout: 3s, subjectAccessReviewVersion: v1, failurePolicy: Deny, connectionInfo: {type: KubeConfigFile, kubeConfigFile: /x}}}";
        assert_eq!(check(&format!("[{hook}]")), [""; 0]);
        for (authorizers, expected) in [
            ("[]", "authorizers: Required value: at least one authorization mode must be defined"),
            ("[{type: RBAC, name: a}, {type: RBAC, name: b}]", r#"authorizers[1].type: Duplicate value: "RBAC""#),
            ("[{type: RBAC, name: a}, {type: Node, name: a}]", r#"authorizers[1].name: Duplicate value: "a""#),
            ("[{type: Webhook, name: a}]", "authorizers[0].webhook: Required value: required when type=Webhook"),
            (
                &hook.replace("3s", "31s").replace("{type: Webhook", "[{type: Webhook").replace("/x}}}", "/x}}}]"),
                r#"authorizers[0].webhook.timeout: Invalid value: "31s": must be > 0s and <= 30s"#,
            ),
        ] {
            assert_eq!(check(authorizers), [expected], "{authorizers}");
        }
    }

    #[test]
    fn modes_are_authorizers() {
        let modes = ["Node".to_owned(), "RBAC".to_owned(), "AlwaysDeny".to_owned()];
        let members =
            AuthorizationConfiguration::from_modes(&modes, None, None).build(&authn::expression::NoExpressions);
        assert!(matches!(members.expect("built").as_slice(), [Member::Node, Member::Rbac, Member::AlwaysDeny]));
        assert!(
            AuthorizationConfiguration::from_modes(&["ABAC".to_owned()], None, None)
                .build(&authn::expression::NoExpressions)
                .is_err()
        );
    }
}
