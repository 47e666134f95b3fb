//! The files of configMap, secret, downwardAPI and projected volumes.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapVolumeSource, DownwardAPIVolumeFile, DownwardAPIVolumeSource, KeyToPath, Pod, Secret,
    SecretVolumeSource,
};

use super::atomic_writer::{File, Payload};
use crate::container::env::Objects;
use crate::container::fields::{self, FieldError, NodeFacts};

/// Why a volume has no files; shown in the FailedMount event.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// No such ConfigMap.
    #[error("configmap {0:?} not found")]
    ConfigMap(String),
    /// No such Secret.
    #[error("secret {0:?} not found")]
    Secret(String),
    /// No such key.
    #[error("{kind} references non-existent {what} key: {key}")]
    Key {
        /// `configmap` or `secret`... as upstream words it.
        kind: &'static str,
        /// `config` or `secret`.
        what: &'static str,
        /// The key.
        key: String,
    },
    /// A downward API reference without a value.
    #[error(transparent)]
    Field(#[from] FieldError),
}

/// A payload under construction, with the defaults of its volume.
pub struct Builder<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Where ConfigMaps and Secrets come from.
    pub objects: &'a dyn Objects,
    /// For the downward API.
    pub facts: &'a NodeFacts,
    /// `defaultMode`.
    pub mode: i32,
    /// `defaultUser`.
    pub user: Option<i64>,
    /// The files so far.
    pub files: Payload,
}

impl Builder<'_> {
    /// Adds a file.
    pub fn add(&mut self, path: &str, content: Vec<u8>, mode: Option<i32>, user: Option<i64>) {
        let mode = u32::try_from(mode.unwrap_or(self.mode)).unwrap_or(0o644) & 0o777;
        let user = user.or(self.user).and_then(|user| u32::try_from(user).ok());
        self.files.insert(PathBuf::from(path), File { content, mode, user });
    }

    /// Adds the keys of a ConfigMap.
    pub fn config_map(&mut self, name: &str, items: Option<&[KeyToPath]>, optional: bool) -> Result<(), PayloadError> {
        let Some(found) = self.objects.config_map(name) else {
            return if optional { Ok(()) } else { Err(PayloadError::ConfigMap(name.to_owned())) };
        };
        let missing = |key: &str| PayloadError::Key { kind: "configmap", what: "config", key: key.to_owned() };
        self.keys(&config_map_keys(&found), items, optional, missing)
    }

    /// Adds the keys of a Secret.
    pub fn secret(&mut self, name: &str, items: Option<&[KeyToPath]>, optional: bool) -> Result<(), PayloadError> {
        let Some(found) = self.objects.secret(name) else {
            return if optional { Ok(()) } else { Err(PayloadError::Secret(name.to_owned())) };
        };
        let missing = |key: &str| PayloadError::Key { kind: "references", what: "secret", key: key.to_owned() };
        self.keys(&secret_keys(&found), items, optional, missing)
    }

    fn keys(
        &mut self,
        data: &[(&str, &[u8])],
        items: Option<&[KeyToPath]>,
        optional: bool,
        missing: impl Fn(&str) -> PayloadError,
    ) -> Result<(), PayloadError> {
        let Some(items) = items.filter(|items| !items.is_empty()) else {
            for (key, content) in data {
                self.add(key, content.to_vec(), None, None);
            }
            return Ok(());
        };
        for item in items {
            match data.iter().find(|(key, _)| *key == item.key) {
                Some((_, content)) => self.add(&item.path, content.to_vec(), item.mode, item.user),
                None if optional => {}
                None => return Err(missing(&item.key)),
            }
        }
        Ok(())
    }

    /// Adds fields of the pod.
    pub fn downward(&mut self, items: Option<&[DownwardAPIVolumeFile]>) -> Result<(), PayloadError> {
        for item in items.unwrap_or_default() {
            let value = if let Some(reference) = &item.field_ref {
                fields::field(self.pod, &reference.field_path, self.facts)?
            } else if let Some(reference) = &item.resource_field_ref {
                fields::resource(self.pod, None, reference, self.facts)?
            } else {
                continue;
            };
            self.add(&item.path, value.into_bytes(), item.mode, item.user);
        }
        Ok(())
    }
}

fn config_map_keys(object: &ConfigMap) -> Vec<(&str, &[u8])> {
    let text = object.data.iter().flatten().map(|(key, value)| (key.as_str(), value.as_bytes()));
    let binary = object.binary_data.iter().flatten().map(|(key, value)| (key.as_str(), value.0.as_slice()));
    text.chain(binary).collect()
}

fn secret_keys(object: &Secret) -> Vec<(&str, &[u8])> {
    object.data.iter().flatten().map(|(key, value)| (key.as_str(), value.0.as_slice())).collect()
}

/// The files of a configMap volume.
pub fn of_config_map(source: &ConfigMapVolumeSource, mut builder: Builder<'_>) -> Result<Payload, PayloadError> {
    builder.mode = source.default_mode.unwrap_or(0o644);
    builder.user = source.default_user;
    builder.config_map(&source.name, source.items.as_deref(), source.optional == Some(true))?;
    Ok(builder.files)
}

/// The files of a secret volume.
pub fn of_secret(source: &SecretVolumeSource, mut builder: Builder<'_>) -> Result<Payload, PayloadError> {
    builder.mode = source.default_mode.unwrap_or(0o644);
    builder.user = source.default_user;
    let name = source.secret_name.as_deref().unwrap_or_default();
    builder.secret(name, source.items.as_deref(), source.optional == Some(true))?;
    Ok(builder.files)
}

/// The files of a downwardAPI volume.
pub fn of_downward(source: &DownwardAPIVolumeSource, mut builder: Builder<'_>) -> Result<Payload, PayloadError> {
    builder.mode = source.default_mode.unwrap_or(0o644);
    builder.user = source.default_user;
    builder.downward(source.items.as_deref())?;
    Ok(builder.files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::sync::Arc;

    struct Fixed;

    impl Objects for Fixed {
        fn config_map(&self, name: &str) -> Option<Arc<ConfigMap>> {
            let value = json!({"data": {"k": "v"}, "binaryData": {"b": "AAE="}});
            (name == "cm").then(|| Arc::new(serde_json::from_value(value).expect("a ConfigMap")))
        }
        fn secret(&self, _: &str) -> Option<Arc<Secret>> {
            None
        }
    }

    fn check(source: Value, expected: Result<&[(&str, &[u8], u32)], &str>) {
        let pod = Pod::default();
        let facts = NodeFacts::default();
        let builder =
            Builder { pod: &pod, objects: &Fixed, facts: &facts, mode: 0, user: None, files: Payload::default() };
        let source: ConfigMapVolumeSource = serde_json::from_value(source).expect("a source");
        let result = of_config_map(&source, builder).map_err(|err| err.to_string());
        let files = |payload: Payload| -> Vec<(String, Vec<u8>, u32)> {
            payload.into_iter().map(|(p, f)| (p.display().to_string(), f.content, f.mode)).collect()
        };
        let expected = expected.map_err(str::to_owned);
        let expected = expected.map(|list| list.iter().map(|(p, c, m)| ((*p).to_owned(), c.to_vec(), *m)).collect());
        assert_eq!(result.map(files), expected);
    }

    #[test]
    fn keys_items_and_modes() {
        check(json!({"name": "cm"}), Ok(&[("b", &[0, 1], 0o644), ("k", b"v", 0o644)]));
        check(
            json!({"name": "cm", "defaultMode": 256, "items": [{"key": "k", "path": "d/f"}, {"key": "b", "path": "x", "mode": 511}]}),
            Ok(&[("d/f", b"v", 0o400), ("x", &[0, 1], 0o777)]),
        );
        check(json!({"name": "no"}), Err("configmap \"no\" not found"));
        check(json!({"name": "no", "optional": true}), Ok(&[]));
        let items = json!([{"key": "zz", "path": "f"}]);
        check(json!({"name": "cm", "items": items}), Err("configmap references non-existent config key: zz"));
        check(json!({"name": "cm", "items": items, "optional": true}), Ok(&[]));
    }
}
