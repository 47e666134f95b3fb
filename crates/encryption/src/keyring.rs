//! [`Keyring`]: the keys of every resource, replaceable while the server runs.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::config::{ConfigError, EncryptionConfiguration};
use crate::metrics::{EncryptionMetrics, Way};
use crate::provider::{Provider, SEALED, SealError};

/// See the module.
#[derive(Debug)]
pub struct Keyring {
    entries: ArcSwap<Vec<Entry>>,
    /// With what each stored key was sealed, as its prefix: what another key should seal now is stale.
    sealed_with: Mutex<HashMap<Box<str>, Arc<[u8]>>>,
    metrics: EncryptionMetrics,
}

#[derive(Debug)]
struct Entry {
    patterns: Vec<Pattern>,
    providers: Vec<Provider>,
}

/// `secrets`, `deployments.apps`, `*.apps`, `*.`, `*.*`.
#[derive(Debug, PartialEq, Eq)]
struct Pattern {
    resource: String,
    group: String,
}

impl Pattern {
    fn parse(text: &str) -> Self {
        let (resource, group) = text.split_once('.').unwrap_or((text, ""));
        Self { resource: resource.to_owned(), group: group.to_owned() }
    }

    fn matches(&self, group: &str, resource: &str) -> bool {
        let is = |pattern: &str, word: &str| pattern == "*" || pattern == word;
        is(&self.resource, resource) && is(&self.group, group)
    }
}

/// Group and resource of a store's key, `/registry/<group>/<resource>/...`.
fn resource_of(key: &str) -> Option<(&str, &str)> {
    let (group, rest) = key.strip_prefix("/registry/")?.split_once('/')?;
    let (resource, _) = rest.split_once('/')?;
    Some((if group == "core" { "" } else { group }, resource))
}

fn entries(config: &EncryptionConfiguration, metrics: &EncryptionMetrics) -> Result<Vec<Entry>, ConfigError> {
    let entry = |resource: &crate::config::ResourceConfiguration| {
        let providers = resource.providers.iter().map(|provider| Provider::of(provider, &metrics.envelope));
        let providers = providers.collect::<Result<Vec<_>, _>>()?;
        let patterns = resource.resources.iter().map(|text| Pattern::parse(text)).collect();
        Ok(Entry { patterns, providers: providers.into_iter().flatten().collect() })
    };
    config.resources.iter().map(entry).collect()
}

impl Keyring {
    /// The keys of a configuration. KMS plugins are asked whether they are there.
    pub fn new(config: &EncryptionConfiguration) -> Result<Self, ConfigError> {
        let metrics = EncryptionMetrics::default();
        let entries = ArcSwap::from_pointee(entries(config, &metrics)?);
        Ok(Self { entries, sealed_with: Mutex::default(), metrics })
    }

    /// Uses the keys of another configuration from now on.
    pub fn replace(&self, config: &EncryptionConfiguration) -> Result<(), ConfigError> {
        self.entries.store(Arc::new(entries(config, &self.metrics)?));
        Ok(())
    }

    /// What sealing and opening came to.
    pub fn metrics(&self) -> &EncryptionMetrics {
        &self.metrics
    }

    /// What is handed to the store in place of `plain`; `None` when the key's resource is not sealed.
    pub async fn seal(&self, key: &str, plain: &[u8]) -> Result<Option<Vec<u8>>, SealError> {
        let Some((group, resource)) = resource_of(key) else { return Ok(None) };
        let entries = self.entries.load_full();
        let Some(writer) =
            entries.iter().find(|entry| entry.covers(group, resource)).and_then(|entry| entry.providers.first())
        else {
            return Ok(None);
        };
        let began = component_base::now();
        let sealed = match writer.refresh().await {
            Ok(()) => writer.seal(key, plain),
            Err(cause) => Err(cause),
        };
        let outcome = sealed.as_ref().map(|_| ());
        self.metrics.observe(Way::ToStorage, (group, resource), writer.prefix(), outcome, began);
        sealed.map(Some)
    }

    /// The plain bytes of what the store holds; `None` when they are plain already.
    pub fn open(&self, key: &str, stored: &[u8]) -> Result<Option<Vec<u8>>, SealError> {
        let entries = self.entries.load();
        let found = resource_of(key).and_then(|(group, resource)| {
            let entry = entries.iter().find(|entry| entry.covers(group, resource))?;
            Some(((group, resource), entry))
        });
        let Some((resource, entry)) = found else {
            return if stored.starts_with(SEALED) { Err(SealError::NoKey) } else { Ok(None) };
        };
        let began = component_base::now();
        let observe = |prefix: &[u8], outcome: Result<(), &SealError>| {
            self.metrics.observe(Way::FromStorage, resource, prefix, outcome, began);
        };
        let Some(provider) = entry.providers.iter().find(|provider| provider.fits(stored)) else {
            observe(b"unknown", Err(&SealError::NoKey));
            return Err(SealError::NoKey);
        };
        self.sealed_with.lock().insert(key.into(), provider.prefix().clone());
        let opened = if stored.starts_with(SEALED) { provider.open(key, stored).map(Some) } else { Ok(None) };
        observe(provider.prefix(), opened.as_ref().map(|_| ()));
        opened
    }

    /// Whether a stored value should be written again: another key than the one that would seal it now did.
    pub fn is_stale(&self, key: &str) -> bool {
        let Some((group, resource)) = resource_of(key) else { return false };
        let entries = self.entries.load();
        let entry = entries.iter().find(|entry| entry.covers(group, resource));
        let Some(writer) = entry.and_then(|entry| entry.providers.first()) else { return false };
        self.sealed_with.lock().get(key).is_some_and(|prefix| prefix != writer.prefix())
    }
}

impl Entry {
    fn covers(&self, group: &str, resource: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(group, resource))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_name_their_resource() {
        for (key, pattern, expected) in [
            ("/registry/core/secrets/shop/a", "secrets", true),
            ("/registry/core/secrets/shop/a", "secrets.", true),
            ("/registry/core/secrets/shop/a", "*.", true),
            ("/registry/core/secrets/shop/a", "*.*", true),
            ("/registry/core/secrets/shop/a", "*.apps", false),
            ("/registry/apps/deployments/shop/a", "deployments.apps", true),
            ("/registry/apps/deployments/shop/a", "deployments", false),
            ("/registry/rbac.authorization.k8s.io/roles/shop/a", "*.rbac.authorization.k8s.io", true),
        ] {
            let (group, resource) = resource_of(key).expect("a resource");
            assert_eq!(Pattern::parse(pattern).matches(group, resource), expected, "{key} {pattern}");
        }
        assert_eq!(resource_of("/other"), None);
    }
}
