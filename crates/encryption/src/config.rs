//! `EncryptionConfiguration`: which resources are sealed, with which keys
//! (upstream: apiserver/pkg/apis/apiserver/v1/types_encryption.go, validation_encryption.go).

use std::collections::BTreeSet;

use apimachinery::duration::GoDuration;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;

/// What the file says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct EncryptionConfiguration {
    api_version: String,
    kind: String,
    /// In order: the first entry that names a resource holds for it.
    pub resources: Vec<ResourceConfiguration>,
}

/// Resources and their keys.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourceConfiguration {
    /// `secrets`, `deployments.apps`, `*.apps`, `*.` for the core group, `*.*`.
    pub resources: Vec<String>,
    /// The first writes, all read.
    pub providers: Vec<ProviderConfiguration>,
}

/// One way to seal; exactly one of its fields is set.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ProviderConfiguration {
    /// AES in Galois counter mode.
    pub aesgcm: Option<Keys>,
    /// AES in cipher block chaining with PKCS #7 padding.
    pub aescbc: Option<Keys>,
    /// XSalsa20 and Poly1305.
    pub secretbox: Option<Keys>,
    /// Nothing is sealed.
    pub identity: Option<Identity>,
    /// Keys that another program keeps.
    pub kms: Option<KmsConfiguration>,
}

/// Keys; the first of the first provider writes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Keys {
    /// The keys.
    pub keys: Vec<Key>,
}

/// Nothing.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {}

/// A key.
#[derive(Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Key {
    /// Its name, kept with what it seals.
    pub name: String,
    /// The key in base64.
    pub secret: String,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Key {
    /// The key's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        BASE64.decode(&self.secret).unwrap_or_default()
    }
}

/// A program that keeps keys.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct KmsConfiguration {
    /// `v2`.
    pub api_version: String,
    /// Its name, kept with what it seals.
    pub name: String,
    /// Of version 1, without effect.
    pub cachesize: Option<i32>,
    /// `unix:///path/to/socket`; `unix:///@name` is an abstract one.
    pub endpoint: String,
    /// A call's deadline, 3 s by default.
    pub timeout: Option<GoDuration>,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is no YAML, or has fields that nobody knows.
    #[error("parse the encryption configuration: {0}")]
    Parse(String),
    /// It breaks rules.
    #[error("the encryption configuration is invalid: {}", .0.join(", "))]
    Invalid(Vec<String>),
    /// A KMS plugin cannot be used.
    #[error("kms plugin {name}: {cause}")]
    Kms {
        /// Which.
        name: String,
        /// Why.
        cause: crate::kms::KmsError,
    },
}

impl EncryptionConfiguration {
    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let parsed = apimachinery::codec::yaml::decode(text.as_bytes());
        let value = parsed.map_err(|cause| ConfigError::Parse(cause.to_string()))?.value;
        let config: Self = serde_json::from_value(value).map_err(|cause| ConfigError::Parse(cause.to_string()))?;
        if config.kind != "EncryptionConfiguration" || config.api_version != "apiserver.config.k8s.io/v1" {
            let got = format!("no EncryptionConfiguration but {} of {}", config.kind, config.api_version);
            return Err(ConfigError::Parse(got));
        }
        let errors = config.validate();
        if errors.is_empty() { Ok(config) } else { Err(ConfigError::Invalid(errors)) }
    }

    fn validate(&self) -> Vec<String> {
        let mut errors = Vec::new();
        if self.resources.is_empty() {
            errors.push("resources: Required value: at least one resources is required".to_owned());
        }
        let mut kms_names = BTreeSet::new();
        for (index, resource) in self.resources.iter().enumerate() {
            let at = format!("resources[{index}]");
            if resource.resources.is_empty() {
                errors.push(format!(
                    "{at}.resources: Required value: at least one resources[{index}].resources is required"
                ));
            }
            for name in &resource.resources {
                errors.extend(
                    wrong_resource(name).map(|detail| format!("{at}.resources: Invalid value: {name:?}: {detail}")),
                );
            }
            if resource.providers.is_empty() {
                errors.push(format!("{at}.providers: Required value: at least one provider is required"));
            }
            for (number, provider) in resource.providers.iter().enumerate() {
                let at = format!("{at}.providers[{number}]");
                errors.extend(provider.validate().into_iter().map(|detail| format!("{at}{detail}")));
                if let Some(kms) = &provider.kms
                    && !kms_names.insert(&kms.name)
                {
                    errors.push(format!("{at}.kms.name: Invalid value: {:?}: duplicate kms provider name", kms.name));
                }
            }
        }
        errors
    }
}

fn wrong_resource(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("resource name should not be empty");
    }
    if name == "*" || name.starts_with("*/") {
        return Some("use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources");
    }
    if name != name.to_lowercase() {
        return Some("resource name should not contain capital letters");
    }
    if name.contains('/') {
        return Some("resource name should not contain a subresource");
    }
    let (resource, group) = name.split_once('.').unwrap_or((name, ""));
    if resource == "*" && group == "extensions" {
        return Some("'extensions' group has been removed and cannot be used for encryption");
    }
    if resource != "*" && resource.contains('*') || group != "*" && group.contains('*') {
        return Some("resource name cannot contain '*' beside a whole name or group");
    }
    if group == "*" && resource != "*" {
        return Some("use '*.*' to encrypt all resources");
    }
    None
}

impl ProviderConfiguration {
    fn validate(&self) -> Vec<String> {
        let set = [
            self.aesgcm.is_some(),
            self.aescbc.is_some(),
            self.secretbox.is_some(),
            self.identity.is_some(),
            self.kms.is_some(),
        ];
        match set.into_iter().filter(|is_set| *is_set).count() {
            0 => return vec![": Required value: provider does not contain any of the expected providers".into()],
            1 => {}
            _ => return vec![": Invalid value: more than one provider specified in a single element, should split into different list elements".into()],
        }
        let mut errors = Vec::new();
        for (name, keys, sizes) in [
            ("aesgcm", &self.aesgcm, &[16, 24, 32][..]),
            ("aescbc", &self.aescbc, &[16, 24, 32][..]),
            ("secretbox", &self.secretbox, &[32][..]),
        ] {
            if let Some(keys) = keys {
                errors.extend(keys.validate(sizes).into_iter().map(|detail| format!(".{name}.keys{detail}")));
            }
        }
        if let Some(kms) = &self.kms {
            errors.extend(kms.validate().into_iter().map(|detail| format!(".kms.{detail}")));
        }
        errors
    }
}

impl Keys {
    fn validate(&self, sizes: &[usize]) -> Vec<String> {
        let mut errors = Vec::new();
        if self.keys.is_empty() {
            errors.push(": Required value: at least one key is required".to_owned());
        }
        let mut names = BTreeSet::new();
        for (index, key) in self.keys.iter().enumerate() {
            if key.name.is_empty() || key.name.contains(':') {
                errors.push(format!("[{index}].name: Invalid value: {:?}: a name without ':' is required", key.name));
            }
            if !names.insert(&key.name) {
                errors.push(format!("[{index}].name: Invalid value: {:?}: key names must be unique", key.name));
            }
            match BASE64.decode(&key.secret) {
                _ if key.secret.is_empty() => errors.push(format!("[{index}].secret: Required value: secret must be specified")),
                Err(_) => errors.push(format!("[{index}].secret: Invalid value: \"REDACTED\": secret must be base64 encoded")),
                Ok(bytes) if !sizes.contains(&bytes.len()) => errors.push(format!(
                    "[{index}].secret: Invalid value: \"REDACTED\": secret is not of the expected length, got {}, expected one of {sizes:?}",
                    bytes.len()
                )),
                Ok(_) => {}
            }
        }
        errors
    }
}

impl KmsConfiguration {
    fn validate(&self) -> Vec<String> {
        let mut errors = Vec::new();
        if self.api_version != "v2" {
            errors
                .push(format!("apiVersion: Invalid value: {:?}: unsupported apiVersion, only v2 is", self.api_version));
        }
        if self.name.is_empty() || self.name.contains(':') {
            errors.push(format!("name: Invalid value: {:?}: a name without ':' is required", self.name));
        }
        if !self.endpoint.starts_with("unix:///") {
            errors.push(format!("endpoint: Invalid value: {:?}: unsupported scheme, only unix is", self.endpoint));
        }
        if self.timeout.is_some_and(|timeout| timeout.as_nanos() <= 0) {
            errors.push("timeout: Invalid value: should be a positive value".to_owned());
        }
        errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(resources: &str) -> String {
        let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources: ";
        match EncryptionConfiguration::parse(&format!("{head}{resources}")) {
            Ok(_) => String::new(),
            Err(ConfigError::Invalid(errors)) => errors.join("\n"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let key = "MDEyMzQ1Njc4OWFiY2RlZg==";
        assert_eq!(
            check(&format!(
                "[{{resources: [secrets, '*.apps', '*.'], providers: [{{aesgcm: {{keys: [{{name: a, secret: {key}}}]}}}}, {{identity: {{}}}}]}}]"
            )),
            ""
        );
        for (resources, expected) in [
            ("[]", "resources: Required value: at least one resources is required"),
            (
                "[{resources: [secrets], providers: [{}]}]",
                "resources[0].providers[0]: Required value: provider does not contain any of the expected providers",
            ),
            (
                "[{resources: ['*'], providers: [{identity: {}}]}]",
                "resources[0].resources: Invalid value: \"*\": use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources",
            ),
            (
                "[{resources: [secrets], providers: [{aescbc: {keys: [{name: a, secret: QQ==}]}}]}]",
                "resources[0].providers[0].aescbc.keys[0].secret: Invalid value: \"REDACTED\": secret is not of the expected length, got 1, expected one of [16, 24, 32]",
            ),
            (
                "[{resources: [secrets], providers: [{kms: {apiVersion: v1, name: a, endpoint: 'unix:///x'}}]}]",
                "resources[0].providers[0].kms.apiVersion: Invalid value: \"v1\": unsupported apiVersion, only v2 is",
            ),
        ] {
            assert_eq!(check(resources), expected, "{resources}");
        }
    }
}
