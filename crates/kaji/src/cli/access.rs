//! The flags of `kaji server` about who may do what, in kube-apiserver's words.

use std::path::PathBuf;

use apimachinery::duration::GoDuration;
use clap::Args;

/// Authentication and authorization.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Authentication and authorization")]
pub struct AccessArgs {
    /// Issuer of service account tokens; may be given several times: the first signs, all are believed
    #[arg(long, value_name = "URL", default_value = "https://kubernetes.default.svc.cluster.local")]
    pub service_account_issuer: Vec<String>,
    /// PEM file with further public keys of service account tokens; may be given several times
    #[arg(long, value_name = "FILE")]
    pub service_account_key_file: Vec<PathBuf>,
    /// Where others find the keys of service account tokens [default: below the issuer]
    #[arg(long, value_name = "URL")]
    pub service_account_jwks_uri: Option<String>,
    /// Let the tokens that pods get live for a year, and warn of those that should have been renewed
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub service_account_extend_token_expiration: bool,
    /// Longest life of a token that is asked for; 0 for any
    #[arg(long, default_value = "0s")]
    pub service_account_max_token_expiration: GoDuration,
    /// Audiences of the API [default: the issuers]
    #[arg(long, value_delimiter = ',')]
    pub api_audiences: Vec<String>,
    /// Serve requests without credentials as system:anonymous
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub anonymous_auth: bool,
    /// File with static tokens: token,user,uid,"group1,group2"
    #[arg(long, value_name = "FILE")]
    pub token_auth_file: Option<PathBuf>,
    /// Believe tokens in Secrets of type bootstrap.kubernetes.io/token in kube-system
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub enable_bootstrap_token_auth: bool,
    /// File with an AuthenticationConfiguration; followed while the server runs
    #[arg(long, value_name = "FILE", conflicts_with = "oidc_issuer_url")]
    pub authentication_config: Option<PathBuf>,
    /// URL of an OpenID issuer
    #[arg(long, value_name = "URL", requires = "oidc_client_id")]
    pub oidc_issuer_url: Option<String>,
    /// Client ID that its tokens must be meant for
    #[arg(long)]
    pub oidc_client_id: Option<String>,
    /// PEM file with its CA
    #[arg(long, value_name = "FILE")]
    pub oidc_ca_file: Option<PathBuf>,
    /// Claim with the user name
    #[arg(long, default_value = "sub")]
    pub oidc_username_claim: String,
    /// Prefix of user names; '-' for none
    #[arg(long, default_value = "")]
    pub oidc_username_prefix: String,
    /// Claim with the groups
    #[arg(long, default_value = "")]
    pub oidc_groups_claim: String,
    /// Prefix of groups
    #[arg(long, default_value = "")]
    pub oidc_groups_prefix: String,
    /// A claim that must have a value, as key=value; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair, value_delimiter = ',')]
    pub oidc_required_claim: Vec<(String, String)>,
    /// Algorithms of its signatures
    #[arg(long, value_delimiter = ',', default_value = "RS256")]
    pub oidc_signing_algs: Vec<String>,
    /// PEM file with the CA of front proxies [default: the cluster's own front-proxy CA]
    #[arg(long, value_name = "FILE")]
    pub requestheader_client_ca_file: Option<PathBuf>,
    /// Common names that front proxies may have [default: any]
    #[arg(long, value_delimiter = ',')]
    pub requestheader_allowed_names: Vec<String>,
    /// Headers with the user name
    #[arg(long, value_delimiter = ',', default_value = "X-Remote-User")]
    pub requestheader_username_headers: Vec<String>,
    /// Headers with the uid
    #[arg(long, value_delimiter = ',', default_value = "X-Remote-Uid")]
    pub requestheader_uid_headers: Vec<String>,
    /// Headers with the groups
    #[arg(long, value_delimiter = ',', default_value = "X-Remote-Group")]
    pub requestheader_group_headers: Vec<String>,
    /// Prefixes of headers with further facts
    #[arg(long, value_delimiter = ',', default_value = "X-Remote-Extra-")]
    pub requestheader_extra_headers_prefix: Vec<String>,
    /// Kubeconfig file of a server that reviews tokens
    #[arg(long, value_name = "FILE")]
    pub authentication_token_webhook_config_file: Option<PathBuf>,
    /// Version of TokenReview that it is sent
    #[arg(long, default_value = "v1beta1")]
    pub authentication_token_webhook_version: String,
    /// How long its answers hold
    #[arg(long, default_value = "2m")]
    pub authentication_token_webhook_cache_ttl: GoDuration,
    /// Who judges requests, in order: Node, RBAC, ABAC, Webhook, AlwaysAllow, AlwaysDeny
    #[arg(long, value_delimiter = ',', default_value = "Node,RBAC")]
    pub authorization_mode: Vec<String>,
    /// File with the policies of ABAC, one a line
    #[arg(long, value_name = "FILE")]
    pub authorization_policy_file: Option<PathBuf>,
    /// File with an AuthorizationConfiguration; followed while the server runs
    #[arg(long, value_name = "FILE")]
    pub authorization_config: Option<PathBuf>,
    /// Kubeconfig file of a server that judges requests
    #[arg(long, value_name = "FILE")]
    pub authorization_webhook_config_file: Option<PathBuf>,
    /// Version of SubjectAccessReview that it is sent
    #[arg(long, default_value = "v1beta1")]
    pub authorization_webhook_version: String,
    /// How long its yes holds
    #[arg(long, default_value = "5m")]
    pub authorization_webhook_cache_authorized_ttl: GoDuration,
    /// How long its no holds
    #[arg(long, default_value = "30s")]
    pub authorization_webhook_cache_unauthorized_ttl: GoDuration,
    /// How long certificates are good that the cluster signs
    #[arg(long, default_value = "8760h")]
    pub cluster_signing_duration: GoDuration,
}

/// Audit.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Audit")]
pub struct AuditArgs {
    /// File with the audit policy; without it nothing is written down
    #[arg(long, value_name = "FILE")]
    pub audit_policy_file: Option<PathBuf>,
    /// File that events are written to; '-' for standard output
    #[arg(long, value_name = "FILE")]
    pub audit_log_path: Option<PathBuf>,
    /// Megabytes of the file before it is put aside
    #[arg(long, default_value_t = 100)]
    pub audit_log_maxsize: u64,
    /// How many old files are kept; 0 for all
    #[arg(long, default_value_t = 0)]
    pub audit_log_maxbackup: usize,
    /// How many days old files are kept; 0 for ever
    #[arg(long, default_value_t = 0)]
    pub audit_log_maxage: u64,
    /// Compress files that are put aside
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub audit_log_compress: bool,
    /// Cut events that are too large for the log
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub audit_log_truncate_enabled: bool,
    /// Largest batch for the log, in bytes
    #[arg(long, default_value_t = 10 * 1024 * 1024)]
    pub audit_log_truncate_max_batch_size: usize,
    /// Largest event for the log, in bytes
    #[arg(long, default_value_t = 100 * 1024)]
    pub audit_log_truncate_max_event_size: usize,
    /// Kubeconfig file of a server that events are sent to
    #[arg(long, value_name = "FILE")]
    pub audit_webhook_config_file: Option<PathBuf>,
    /// Events that wait to be sent; more are dropped
    #[arg(long, default_value_t = 10_000)]
    pub audit_webhook_batch_buffer_size: usize,
    /// Events in a batch
    #[arg(long, default_value_t = 400)]
    pub audit_webhook_batch_max_size: usize,
    /// Time after which a batch is sent though it is not full
    #[arg(long, default_value = "30s")]
    pub audit_webhook_batch_max_wait: GoDuration,
    /// Batches a second
    #[arg(long, default_value_t = 10.0)]
    pub audit_webhook_batch_throttle_qps: f64,
    /// Cut events that are too large for the webhook
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub audit_webhook_truncate_enabled: bool,
    /// Largest batch for the webhook, in bytes
    #[arg(long, default_value_t = 10 * 1024 * 1024)]
    pub audit_webhook_truncate_max_batch_size: usize,
    /// Largest event for the webhook, in bytes
    #[arg(long, default_value_t = 100 * 1024)]
    pub audit_webhook_truncate_max_event_size: usize,
}

/// Encryption at rest.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Encryption at rest")]
pub struct EncryptionArgs {
    /// File with an EncryptionConfiguration
    #[arg(long, value_name = "FILE")]
    pub encryption_provider_config: Option<PathBuf>,
    /// Follow the file while the server runs
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub encryption_provider_config_automatic_reload: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be key=value")?;
    Ok((key.to_owned(), value.to_owned()))
}
