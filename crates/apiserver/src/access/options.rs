//! [`Options`]: how people prove who they are and who judges them, in the words of kube-apiserver's flags
//! (upstream: pkg/kubeapiserver/options/{authentication,authorization}.go).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use apimachinery::duration::GoDuration;
use arc_swap::ArcSwap;
use authn::config::{AnonymousAuthConfig, AuthenticationConfiguration, OidcFlags, validate};
use authn::expression::Compiler;
use authn::oidc::Oidc;
use authn::request_header::{Authority, AuthorityError, RequestHeader, RequestHeaderConfig, RequestHeaderError};
use authn::token::ForTheApi;
use authn::token_file::{TokenFile, TokenFileError};
use authn::token_webhook::TokenWebhook;
use store::Store;
use webhook::{Client, Endpoint};

use crate::authentication::bootstrap_token::BootstrapTokens;
use crate::authentication::{
    Authentication, KeyError, ServiceAccountTokens, SigningKey, TokenSettings, Tokens, VerifyingKey,
};
use crate::authorization::Member;
use crate::authorization::config::{AuthorizationConfiguration, ConnectionInfo, WebhookConfiguration};

/// See the module. The defaults are upstream's.
#[derive(Clone, Debug)]
pub struct Options {
    /// `--service-account-issuer`: the first signs, all are believed.
    pub service_account_issuers: Vec<String>,
    /// `--service-account-key-file`: public keys beside that of the signing key.
    pub service_account_key_files: Vec<PathBuf>,
    /// `--service-account-jwks-uri`, `--service-account-extend-token-expiration`,
    /// `--service-account-max-token-expiration`.
    pub service_account_tokens: TokenSettings,
    /// `--api-audiences`; none means the issuers.
    pub api_audiences: Vec<String>,
    /// `--anonymous-auth`.
    pub anonymous_auth: bool,
    /// `--token-auth-file`.
    pub token_auth_file: Option<PathBuf>,
    /// `--enable-bootstrap-token-auth`.
    pub enable_bootstrap_token_auth: bool,
    /// `--authentication-config`.
    pub authentication_config: Option<PathBuf>,
    /// `--oidc-*`.
    pub oidc: OidcFlags,
    /// `--oidc-signing-algs`.
    pub oidc_signing_algs: Vec<String>,
    /// `--requestheader-*`.
    pub request_header: Option<RequestHeaderConfig>,
    /// The content of `--client-ca-file`; needed beside the front proxies' CA only.
    pub client_ca_pem: String,
    /// `--authentication-token-webhook-config-file`.
    pub authentication_token_webhook_config_file: Option<PathBuf>,
    /// `--authentication-token-webhook-version`.
    pub authentication_token_webhook_version: String,
    /// `--authentication-token-webhook-cache-ttl`.
    pub authentication_token_webhook_cache_ttl: Duration,
    /// `--authorization-mode`.
    pub authorization_mode: Vec<String>,
    /// `--authorization-policy-file`.
    pub authorization_policy_file: Option<PathBuf>,
    /// `--authorization-config`.
    pub authorization_config: Option<PathBuf>,
    /// `--authorization-webhook-config-file`.
    pub authorization_webhook_config_file: Option<PathBuf>,
    /// `--authorization-webhook-version`.
    pub authorization_webhook_version: String,
    /// `--authorization-webhook-cache-authorized-ttl`.
    pub authorization_webhook_cache_authorized_ttl: Duration,
    /// `--authorization-webhook-cache-unauthorized-ttl`.
    pub authorization_webhook_cache_unauthorized_ttl: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            service_account_issuers: vec!["https://kubernetes.default.svc.cluster.local".into()],
            service_account_key_files: Vec::new(),
            service_account_tokens: TokenSettings::default(),
            api_audiences: Vec::new(),
            anonymous_auth: true,
            token_auth_file: None,
            enable_bootstrap_token_auth: false,
            authentication_config: None,
            oidc: OidcFlags::default(),
            oidc_signing_algs: vec!["RS256".into()],
            request_header: None,
            client_ca_pem: String::new(),
            authentication_token_webhook_config_file: None,
            authentication_token_webhook_version: "v1beta1".into(),
            authentication_token_webhook_cache_ttl: Duration::from_secs(120),
            authorization_mode: vec!["Node".into(), "RBAC".into()],
            authorization_policy_file: None,
            authorization_config: None,
            authorization_webhook_config_file: None,
            authorization_webhook_version: "v1beta1".into(),
            authorization_webhook_cache_authorized_ttl: Duration::from_secs(300),
            authorization_webhook_cache_unauthorized_ttl: Duration::from_secs(30),
        }
    }
}

/// Why the options cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// Two flags exclude each other.
    #[error("{0}")]
    Contradiction(&'static str),
    /// `--oidc-signing-algs` names one that cannot be verified.
    #[error("{0}")]
    SigningAlgorithm(String),
    /// A file cannot be read.
    #[error("read {path}: {cause}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What went wrong.
        cause: std::io::Error,
    },
    /// A file with public keys cannot be used.
    #[error("--service-account-key-file {path}: {cause}")]
    Key {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: KeyError,
    },
    /// The token file cannot be used.
    #[error(transparent)]
    TokenFile(#[from] TokenFileError),
    /// The front proxies' settings cannot be used.
    #[error(transparent)]
    RequestHeader(#[from] RequestHeaderError),
    /// The client CA cannot be used.
    #[error("the client CA: {0}")]
    ClientCa(#[from] AuthorityError),
    /// The authentication configuration cannot be used.
    #[error(transparent)]
    Authentication(#[from] authn::config::ConfigError),
    /// An identity provider cannot be set up.
    #[error("issuer {issuer}: {cause}")]
    Issuer {
        /// Which.
        issuer: String,
        /// Why.
        cause: authn::BoxError,
    },
    /// The authorization configuration cannot be used.
    #[error(transparent)]
    Authorization(#[from] crate::authorization::config::ConfigError),
    /// A webhook's kubeconfig cannot be used.
    #[error("the token webhook: {0}")]
    Webhook(authn::BoxError),
}

/// What an authentication configuration turns into.
pub(super) struct Providers {
    pub anonymous: AnonymousAuthConfig,
    pub oidc: Vec<ForTheApi<Oidc>>,
}

impl Options {
    /// The tokens of service accounts.
    pub(super) fn accounts(
        &self,
        key: SigningKey,
        store: &Arc<dyn Store>,
    ) -> Result<ServiceAccountTokens, OptionsError> {
        let [issuer, former @ ..] = self.service_account_issuers.as_slice() else {
            return Err(OptionsError::Contradiction("service-account-issuer is a required flag"));
        };
        let settings = &self.service_account_tokens;
        if settings.jwks_uri.as_ref().is_some_and(|uri| !uri.starts_with("https://")) {
            return Err(OptionsError::Contradiction("service-account-jwks-uri requires https scheme"));
        }
        let longest = Duration::from_secs(1 << 32);
        if settings.max_expiration.is_some_and(|most| most < Duration::from_secs(3600) || most > longest) {
            let cause = "the service-account-max-token-expiration must be between 1 hour and 2^32 seconds";
            return Err(OptionsError::Contradiction(cause));
        }
        let mut further = Vec::new();
        for path in &self.service_account_key_files {
            let wrong = |cause| OptionsError::Key { path: path.clone(), cause };
            further.extend(VerifyingKey::all_from_pem(&read(path)?).map_err(wrong)?);
        }
        let accounts = ServiceAccountTokens::new(issuer, key, store.clone()).with(settings.clone()).verifying(further);
        Ok(accounts.accepting(former.to_vec(), self.api_audiences.clone()))
    }

    /// The ways to prove an identity.
    pub(super) fn authentication(
        &self,
        accounts: &Arc<ServiceAccountTokens>,
        store: &Arc<dyn Store>,
        compiler: &dyn Compiler,
    ) -> Result<Authentication, OptionsError> {
        let audiences: Arc<[String]> = accounts.api_audiences().into();
        let mut tokens = Tokens::new(accounts.clone());
        if let Some(path) = &self.token_auth_file {
            tokens.file = Some(ForTheApi::new(TokenFile::load(path)?, audiences.clone()));
        }
        if self.enable_bootstrap_token_auth {
            tokens.bootstrap = Some(ForTheApi::new(BootstrapTokens::new(store.clone()), audiences));
        }
        if let Some(path) = &self.authentication_token_webhook_config_file {
            let endpoint = Endpoint::load(path).map_err(|cause| OptionsError::Webhook(cause.into()))?;
            let client = Client::new(&endpoint).map_err(|cause| OptionsError::Webhook(cause.into()))?;
            let ttl = self.authentication_token_webhook_cache_ttl;
            tokens.webhook = Some(TokenWebhook::new(client, &self.authentication_token_webhook_version, ttl));
        }
        let providers = self.providers(self.read_authentication_config()?.as_deref(), accounts, compiler)?;
        tokens.providers.store(Arc::new(providers.oidc));
        let front_proxies = self.request_header.as_ref().map(RequestHeader::new).transpose()?;
        // TLS lets in whom either CA vouches for; a front proxy's certificate must not pass as a person's.
        let client_ca = front_proxies.is_some().then(|| Authority::new(&self.client_ca_pem)).transpose()?;
        let anonymous = Arc::new(ArcSwap::from_pointee(providers.anonymous));
        Ok(Authentication { front_proxies, client_ca, tokens: Arc::new(tokens), anonymous })
    }

    fn read_authentication_config(&self) -> Result<Option<String>, OptionsError> {
        if self.authentication_config.is_some() && !self.oidc.issuer_url.is_empty() {
            return Err(OptionsError::Contradiction(
                "authentication-config file and oidc-* flags are mutually exclusive",
            ));
        }
        self.authentication_config.as_deref().map(read).transpose()
    }

    /// Identity providers and anonymous access, as the text of a file or the flags have it.
    pub(super) fn providers(
        &self,
        text: Option<&str>,
        accounts: &ServiceAccountTokens,
        compiler: &dyn Compiler,
    ) -> Result<Providers, OptionsError> {
        let (config, algorithms) = match text {
            Some(text) => (AuthenticationConfiguration::parse(text)?, None),
            None => {
                let wrong = self.oidc_signing_algs.iter().find_map(|algorithm| authn::jose::unsupported(algorithm));
                if let Some(words) = wrong.filter(|_| !self.oidc.issuer_url.is_empty()) {
                    return Err(OptionsError::SigningAlgorithm(words));
                }
                let config = AuthenticationConfiguration::from_flags(&self.oidc).unwrap_or_default();
                (config, Some(self.oidc_signing_algs.clone()))
            }
        };
        let errors = validate::validate(&config, &accounts.issuers());
        if !errors.is_empty() {
            let texts = errors.iter().map(|error| format!("{}: {}", error.field, error.body())).collect();
            return Err(authn::config::ConfigError::Invalid(texts).into());
        }
        let audiences: Arc<[String]> = accounts.api_audiences().into();
        let provider = |jwt: &authn::config::JwtAuthenticator| {
            let oidc = Oidc::new(jwt, compiler)
                .map_err(|cause| OptionsError::Issuer { issuer: jwt.issuer.url.clone(), cause })?;
            let oidc = match &algorithms {
                Some(algorithms) => oidc.with_algorithms(algorithms.clone()),
                None => oidc,
            };
            Ok(ForTheApi::new(oidc, audiences.clone()))
        };
        let oidc = config.jwt.iter().map(provider).collect::<Result<_, OptionsError>>()?;
        let by_flag = AnonymousAuthConfig { enabled: self.anonymous_auth, conditions: Vec::new() };
        Ok(Providers { anonymous: config.anonymous.unwrap_or(by_flag), oidc })
    }

    /// The authorizers, as the file or the flags have them.
    pub(super) fn authorizers(&self, compiler: &dyn Compiler) -> Result<Vec<Member>, OptionsError> {
        let policies = self.authorization_policy_file.as_deref();
        if policies.is_some() && !self.authorization_mode.iter().any(|mode| mode == "ABAC") {
            let cause = "cannot specify --authorization-policy-file without mode ABAC";
            return Err(OptionsError::Contradiction(cause));
        }
        if let Some(path) = &self.authorization_config {
            return Ok(AuthorizationConfiguration::parse(&read(path)?)?.build(compiler)?);
        }
        let nanos = |ttl: Duration| GoDuration::from_nanos(i64::try_from(ttl.as_nanos()).unwrap_or(i64::MAX));
        let (yes, no) =
            (self.authorization_webhook_cache_authorized_ttl, self.authorization_webhook_cache_unauthorized_ttl);
        let webhook = self.authorization_webhook_config_file.as_ref().map(|path| WebhookConfiguration {
            // A flag of 0 means that nothing is kept, where the file says so in a field of its own.
            authorized_ttl: nanos(if yes.is_zero() { Duration::from_secs(1) } else { yes }),
            cache_authorized_requests: !yes.is_zero(),
            unauthorized_ttl: nanos(if no.is_zero() { Duration::from_secs(1) } else { no }),
            cache_unauthorized_requests: !no.is_zero(),
            timeout: nanos(Duration::from_secs(30)),
            subject_access_review_version: self.authorization_webhook_version.clone(),
            failure_policy: "NoOpinion".into(),
            connection_info: ConnectionInfo {
                kind: "KubeConfigFile".into(),
                kube_config_file: Some(std::path::absolute(path).unwrap_or_else(|_| path.clone())),
            },
            ..WebhookConfiguration::default()
        });
        Ok(AuthorizationConfiguration::from_modes(&self.authorization_mode, webhook, policies).build(compiler)?)
    }
}

fn read(path: &Path) -> Result<String, OptionsError> {
    std::fs::read_to_string(path).map_err(|cause| OptionsError::Read { path: path.to_owned(), cause })
}
