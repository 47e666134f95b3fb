//! `AuthenticationConfiguration`: anonymous requests and identity providers, from a file or from the `--oidc-*` flags
//! (upstream: apiserver/pkg/apis/apiserver/v1/types.go, pkg/kubeapiserver/options/authentication.go).

use std::collections::BTreeMap;

use serde::Deserialize;

pub mod validate;

/// The versions of the file that are read.
const VERSIONS: [&str; 3] =
    ["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1", "apiserver.config.k8s.io/v1alpha1"];

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthenticationConfiguration {
    api_version: String,
    kind: String,
    /// Identity providers.
    pub jwt: Vec<JwtAuthenticator>,
    /// Requests without credentials; unset leaves it to `--anonymous-auth`.
    pub anonymous: Option<AnonymousAuthConfig>,
}

/// Requests without credentials.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct AnonymousAuthConfig {
    /// Whether they are served as `system:anonymous`.
    pub enabled: bool,
    /// Where; none means everywhere.
    pub conditions: Vec<AnonymousAuthCondition>,
}

impl Default for AnonymousAuthConfig {
    fn default() -> Self {
        Self { enabled: true, conditions: Vec::new() }
    }
}

impl AnonymousAuthConfig {
    /// Whether a request for `path` may come without credentials.
    pub fn allows(&self, path: &str) -> bool {
        self.enabled && (self.conditions.is_empty() || self.conditions.iter().any(|allowed| allowed.path == path))
    }
}

/// Where requests may come without credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct AnonymousAuthCondition {
    /// The exact path.
    pub path: String,
}

/// An identity provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct JwtAuthenticator {
    /// Who signs the tokens.
    pub issuer: Issuer,
    /// What a token must claim.
    pub claim_validation_rules: Vec<ClaimValidationRule>,
    /// What makes the user out of the claims.
    pub claim_mappings: ClaimMappings,
    /// What must hold for the user.
    pub user_validation_rules: Vec<UserValidationRule>,
}

/// Who signs tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Issuer {
    /// The issuer, as its tokens name it.
    pub url: String,
    /// Where its discovery document is, when it is not below `url`.
    #[serde(rename = "discoveryURL")]
    pub discovery_url: Option<String>,
    /// Its CA in PEM; the system's without it.
    pub certificate_authority: String,
    /// Whom its tokens must be meant for, one of them.
    pub audiences: Vec<String>,
    /// `MatchAny`, or empty for one audience.
    pub audience_match_policy: String,
    /// Accepted and without effect: there is no egress selector.
    pub egress_selector_type: String,
}

/// What a token must claim: a value, or an expression that is true.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimValidationRule {
    /// The claim.
    pub claim: String,
    /// Its value.
    pub required_value: String,
    /// An expression over `claims`.
    pub expression: String,
    /// What to say when it is false.
    pub message: String,
}

/// What makes the user out of the claims.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimMappings {
    /// The user name.
    pub username: PrefixedClaimOrExpression,
    /// The groups.
    pub groups: PrefixedClaimOrExpression,
    /// The uid.
    pub uid: ClaimOrExpression,
    /// Further facts.
    pub extra: Vec<ExtraMapping>,
}

/// A claim with a prefix, or an expression.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct PrefixedClaimOrExpression {
    /// The claim.
    pub claim: String,
    /// What is put before its value.
    pub prefix: Option<String>,
    /// An expression over `claims`.
    pub expression: String,
}

/// A claim, or an expression.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimOrExpression {
    /// The claim.
    pub claim: String,
    /// An expression over `claims`.
    pub expression: String,
}

/// A further fact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ExtraMapping {
    /// Its key, a path below a domain.
    pub key: String,
    /// An expression over `claims`.
    pub value_expression: String,
}

/// What must hold for the user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct UserValidationRule {
    /// An expression over `user`.
    pub expression: String,
    /// What to say when it is false.
    pub message: String,
}

/// The `--oidc-*` flags.
#[derive(Clone, Debug, Default)]
pub struct OidcFlags {
    /// `--oidc-issuer-url`.
    pub issuer_url: String,
    /// `--oidc-client-id`.
    pub client_id: String,
    /// The content of `--oidc-ca-file`.
    pub ca_pem: String,
    /// `--oidc-username-claim`, `sub` by default.
    pub username_claim: String,
    /// `--oidc-username-prefix`; `-` means none.
    pub username_prefix: String,
    /// `--oidc-groups-claim`.
    pub groups_claim: String,
    /// `--oidc-groups-prefix`.
    pub groups_prefix: String,
    /// `--oidc-required-claim`.
    pub required_claims: BTreeMap<String, String>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is no YAML, or has fields that nobody knows.
    #[error("parse the authentication configuration: {0}")]
    Parse(String),
    /// It is something else.
    #[error("expected an AuthenticationConfiguration of apiserver.config.k8s.io/v1, got {kind} of {api_version}")]
    Kind {
        /// Its version.
        api_version: String,
        /// Its kind.
        kind: String,
    },
    /// It breaks rules.
    #[error("the authentication configuration is invalid: {}", .0.join(", "))]
    Invalid(Vec<String>),
}

impl AuthenticationConfiguration {
    /// Reads the text of a file. Whether it makes sense is for [`validate::validate`].
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let parsed = apimachinery::codec::yaml::decode(text.as_bytes());
        let mut value = parsed.map_err(|cause| ConfigError::Parse(cause.to_string()))?.value;
        apimachinery::json::drop_nulls(&mut value);
        let config: Self = serde_json::from_value(value).map_err(|cause| ConfigError::Parse(cause.to_string()))?;
        if config.kind != "AuthenticationConfiguration" || !VERSIONS.contains(&config.api_version.as_str()) {
            return Err(ConfigError::Kind { api_version: config.api_version, kind: config.kind });
        }
        Ok(config)
    }

    /// What the flags mean; `None` without an issuer.
    pub fn from_flags(flags: &OidcFlags) -> Option<Self> {
        if flags.issuer_url.is_empty() {
            return None;
        }
        let username_claim = if flags.username_claim.is_empty() { "sub" } else { &flags.username_claim };
        let prefix = match flags.username_prefix.as_str() {
            "-" => String::new(),
            // A name that is not unique among issuers gets the issuer's.
            "" if username_claim != "email" => format!("{}#", flags.issuer_url),
            prefix => prefix.to_owned(),
        };
        let mut jwt = JwtAuthenticator {
            issuer: Issuer {
                url: flags.issuer_url.clone(),
                audiences: vec![flags.client_id.clone()],
                certificate_authority: flags.ca_pem.clone(),
                ..Issuer::default()
            },
            ..JwtAuthenticator::default()
        };
        let claim = |claim: &str, prefix: String| PrefixedClaimOrExpression {
            claim: claim.to_owned(),
            prefix: Some(prefix),
            expression: String::new(),
        };
        jwt.claim_mappings.username = claim(username_claim, prefix);
        if !flags.groups_claim.is_empty() {
            jwt.claim_mappings.groups = claim(&flags.groups_claim, flags.groups_prefix.clone());
        }
        let required = |(claim, value): (&String, &String)| ClaimValidationRule {
            claim: claim.clone(),
            required_value: value.clone(),
            ..ClaimValidationRule::default()
        };
        jwt.claim_validation_rules = flags.required_claims.iter().map(required).collect();
        Some(Self { jwt: vec![jwt], ..Self::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_strictly() {
        let config = AuthenticationConfiguration::parse(
            "
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
anonymous: {enabled: true, conditions: [{path: /livez}]}
jwt:
- issuer: {url: 'https://id.example', discoveryURL: 'https://in.example/x', audiences: [a, b], audienceMatchPolicy: MatchAny}
  claimMappings: {username: {claim: sub, prefix: ''}, groups: null}
",
        )
        .expect("a file");
        assert_eq!(config.jwt[0].issuer.discovery_url.as_deref(), Some("https://in.example/x"));
        let anonymous = config.anonymous.expect("set");
        assert!(anonymous.allows("/livez") && !anonymous.allows("/livez/ping"));
        for text in ["a", "kind: AuthenticationConfiguration", "{kind: AuthenticationConfiguration, apiVersion: v1}"] {
            assert!(AuthenticationConfiguration::parse(text).is_err(), "{text}");
        }
        let unknown = "{apiVersion: apiserver.config.k8s.io/v1, kind: AuthenticationConfiguration, jwtt: []}";
        assert!(matches!(AuthenticationConfiguration::parse(unknown), Err(ConfigError::Parse(_))));
    }

    #[test]
    fn flags_mean_what_they_meant() {
        let prefix = |claim: &str, prefix: &str| {
            let flags = OidcFlags {
                issuer_url: "https://id".into(),
                client_id: "kube".into(),
                username_claim: claim.into(),
                username_prefix: prefix.into(),
                ..OidcFlags::default()
            };
            let username =
                AuthenticationConfiguration::from_flags(&flags).expect("set").jwt[0].claim_mappings.username.clone();
            (username.claim, username.prefix.unwrap_or_default())
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(prefix("", ""), pair("sub", "https://id#"));
        assert_eq!(prefix("email", ""), pair("email", ""));
        assert_eq!(prefix("sub", "-"), pair("sub", ""));
        assert_eq!(prefix("sub", "id:"), pair("sub", "id:"));
        assert_eq!(AuthenticationConfiguration::from_flags(&OidcFlags::default()), None);
    }
}
