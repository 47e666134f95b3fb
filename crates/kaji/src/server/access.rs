//! The flags about who may do what, into the settings of the API server.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use apimachinery::duration::GoDuration;
use apiserver::access::Options;
use apiserver::authentication::TokenSettings;
use audit::file::{FileConfig, FileSink};
use audit::truncate::{TruncateConfig, Truncating};
use audit::webhook_sink::{BatchConfig, WebhookSink};
use audit::{Audit, AuditMetrics, Policy, Sink};
use authn::config::OidcFlags;
use authn::request_header::RequestHeaderConfig;
use component_base::metrics::Metrics;
use component_base::{FileWatch, Scope};
use encryption::{EncryptedStore, EncryptionConfiguration, Keyring, Opening};
use store::{Embedded, Finish, Store};
use webhook::{Client, Endpoint};

use super::Settings;
use crate::cli::{AuditArgs, EncryptionArgs};

/// How people prove who they are, and who judges them.
pub fn options(settings: &Settings) -> anyhow::Result<Options> {
    let args = settings.args.access.clone();
    let read = |path: &Path| std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()));
    let front_proxy_ca = match &args.requestheader_client_ca_file {
        Some(path) => read(path)?,
        None => settings.pki.front_proxy_ca_pem()?,
    };
    Ok(Options {
        oidc: OidcFlags {
            issuer_url: args.oidc_issuer_url.unwrap_or_default(),
            client_id: args.oidc_client_id.unwrap_or_default(),
            ca_pem: args.oidc_ca_file.as_deref().map(read).transpose()?.unwrap_or_default(),
            username_claim: args.oidc_username_claim,
            username_prefix: args.oidc_username_prefix,
            groups_claim: args.oidc_groups_claim,
            groups_prefix: args.oidc_groups_prefix,
            required_claims: args.oidc_required_claim.into_iter().collect(),
        },
        request_header: Some(RequestHeaderConfig {
            client_ca_pem: front_proxy_ca,
            allowed_names: args.requestheader_allowed_names,
            username_headers: args.requestheader_username_headers,
            uid_headers: args.requestheader_uid_headers,
            group_headers: args.requestheader_group_headers,
            extra_header_prefixes: args.requestheader_extra_headers_prefix,
        }),
        client_ca_pem: settings.pki.ca_pem()?,
        service_account_issuers: args.service_account_issuer,
        service_account_key_files: args.service_account_key_file,
        service_account_tokens: TokenSettings {
            jwks_uri: args.service_account_jwks_uri,
            extend_expiration: args.service_account_extend_token_expiration,
            max_expiration: Some(span(args.service_account_max_token_expiration)).filter(|most| !most.is_zero()),
        },
        api_audiences: args.api_audiences,
        anonymous_auth: args.anonymous_auth,
        token_auth_file: args.token_auth_file,
        enable_bootstrap_token_auth: args.enable_bootstrap_token_auth,
        authentication_config: args.authentication_config,
        oidc_signing_algs: args.oidc_signing_algs,
        authentication_token_webhook_config_file: args.authentication_token_webhook_config_file,
        authentication_token_webhook_version: args.authentication_token_webhook_version,
        authentication_token_webhook_cache_ttl: span(args.authentication_token_webhook_cache_ttl),
        authorization_mode: args.authorization_mode,
        authorization_policy_file: args.authorization_policy_file,
        authorization_config: args.authorization_config,
        authorization_webhook_config_file: args.authorization_webhook_config_file,
        authorization_webhook_version: args.authorization_webhook_version,
        authorization_webhook_cache_authorized_ttl: span(args.authorization_webhook_cache_authorized_ttl),
        authorization_webhook_cache_unauthorized_ttl: span(args.authorization_webhook_cache_unauthorized_ttl),
    })
}

/// A span of a flag; negative ones are none.
pub fn span(duration: GoDuration) -> Duration {
    duration.to_std().unwrap_or_default()
}

/// What is written down about requests; nothing without a policy.
pub fn audit(args: &AuditArgs, scope: &Scope) -> anyhow::Result<Option<Arc<Audit>>> {
    let Some(policy) = &args.audit_policy_file else { return Ok(None) };
    let policy = Policy::load(policy).context("--audit-policy-file")?;
    let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
    let metrics = AuditMetrics::default();
    if let Some(path) = &args.audit_log_path {
        let config = FileConfig {
            path: path.clone(),
            max_size_mb: args.audit_log_maxsize,
            max_backups: args.audit_log_maxbackup,
            max_age_days: args.audit_log_maxage,
            compress: args.audit_log_compress,
        };
        let sink = FileSink::open(config, &metrics, scope).with_context(|| format!("open {}", path.display()))?;
        let limits = (args.audit_log_truncate_max_batch_size, args.audit_log_truncate_max_event_size);
        let truncate = truncate(args.audit_log_truncate_enabled, limits, "log")?;
        sinks.push(cut(Box::new(sink), truncate, &metrics));
    }
    if let Some(path) = &args.audit_webhook_config_file {
        let client = Client::new(&Endpoint::load(path)?).context("--audit-webhook-config-file")?;
        let limits = (args.audit_webhook_truncate_max_batch_size, args.audit_webhook_truncate_max_event_size);
        let truncate = truncate(args.audit_webhook_truncate_enabled, limits, "webhook")?;
        let config = BatchConfig {
            max_batch_bytes: truncate.map(|limits| limits.max_batch_size),
            buffer_size: args.audit_webhook_batch_buffer_size,
            max_batch_size: args.audit_webhook_batch_max_size,
            max_batch_wait: span(args.audit_webhook_batch_max_wait),
            min_interval: Duration::try_from_secs_f64(args.audit_webhook_batch_throttle_qps.recip())
                .unwrap_or_default(),
        };
        sinks.push(cut(Box::new(WebhookSink::start(client, config, &metrics, scope)), truncate, &metrics));
    }
    Ok(Some(Audit::counting(policy, sinks, metrics)))
}

/// How large batches and events may be (upstream: `AuditTruncateOptions.Validate`).
fn truncate(enabled: bool, limits: (usize, usize), plugin: &str) -> anyhow::Result<Option<TruncateConfig>> {
    let (max_batch_size, max_event_size) = limits;
    anyhow::ensure!(
        !enabled || (max_event_size > 0 && max_batch_size >= max_event_size),
        "invalid audit {plugin} truncate: max event size must be positive and no larger than max batch size"
    );
    Ok(enabled.then_some(TruncateConfig { max_batch_size, max_event_size }))
}

fn cut(sink: Box<dyn Sink>, limits: Option<TruncateConfig>, metrics: &AuditMetrics) -> Box<dyn Sink> {
    match limits {
        Some(limits) => Box::new(Truncating::new(sink, limits, metrics.clone())),
        None => sink,
    }
}

/// Opens the database, whose values are sealed where the configuration says so.
pub fn open_store(
    directory: &Path,
    args: &EncryptionArgs,
    options: store::Options,
    finish: impl Finish + std::fmt::Debug,
    scope: &Scope,
) -> anyhow::Result<Arc<dyn Store>> {
    let Some(path) = &args.encryption_provider_config else {
        let options = store::Options { finish: Arc::new(finish), ..options };
        return Ok(Embedded::open(directory, options, scope)?);
    };
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let keyring = Arc::new(Keyring::new(&EncryptionConfiguration::parse(&text)?)?);
    keyring.metrics().register(Metrics::global());
    keyring.metrics().applied(text.as_bytes());
    let options = store::Options { finish: Arc::new(Opening::new(finish, keyring.clone())), ..options };
    let store = Embedded::open(directory, options, scope)?;
    if args.encryption_provider_config_automatic_reload {
        scope.spawn("encryption-config", follow(FileWatch::new(path)?, keyring.clone()));
    }
    Ok(Arc::new(EncryptedStore::new(store, keyring)))
}

/// Takes in new keys when the file changes; what cannot be used changes nothing.
async fn follow(mut watch: FileWatch, keyring: Arc<Keyring>) {
    loop {
        let text = match watch.changed().await {
            Ok(text) => text,
            Err(err) => return tracing::error!(%err, "the encryption configuration can no longer be followed"),
        };
        let taken =
            EncryptionConfiguration::parse(&String::from_utf8_lossy(&text)).and_then(|config| keyring.replace(&config));
        keyring.metrics().reloaded(taken.is_ok());
        match taken {
            Ok(()) => {
                keyring.metrics().applied(&text);
                tracing::info!("the encryption configuration was reloaded");
            }
            Err(err) => tracing::error!(%err, "the encryption configuration was not reloaded: the former one stays"),
        }
    }
}
