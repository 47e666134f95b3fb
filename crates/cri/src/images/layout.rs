//! The JSON of images: descriptors, indexes, manifests, configs, and the `manifest.json` of `docker save`.
//! Upstream: github.com/opencontainers/image-spec.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::digest::Digest;
use crate::runtime::Error;

pub(super) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(super) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Points at a blob.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: Digest,
    #[serde(default)]
    pub(super) size: u64,
    #[serde(default)]
    pub(super) platform: Option<Platform>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Platform {
    #[serde(default)]
    pub(super) architecture: String,
    #[serde(default)]
    pub(super) os: String,
}

/// An index or a manifest: told apart by which list it has.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Document {
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) manifests: Vec<Descriptor>,
    #[serde(default)]
    pub(super) config: Option<Descriptor>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) layers: Vec<Descriptor>,
}

/// One image of a `docker save` archive.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SavedImage {
    pub(super) config: String,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) layers: Vec<String>,
}

/// The config blob, whose digest is the image's id.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct ImageConfig {
    #[serde(default)]
    pub(super) architecture: String,
    #[serde(default)]
    pub(super) os: String,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) config: ImageDefaults,
    #[serde(default)]
    pub(super) rootfs: RootFs,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct RootFs {
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) diff_ids: Vec<Digest>,
}

/// What an image says of the processes made from it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageDefaults {
    /// User and perhaps group, by name or number.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Ports, as `8080/tcp`.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, serde_json::Value>,
    /// `NAME=value`.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The program.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Its arguments.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// Where it starts.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// The signal that stops it.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
}

/// Go writes an empty slice, map or pointer as `null`.
fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Reads a JSON document of an image.
pub(super) fn decode<T: for<'de> Deserialize<'de>>(what: &str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|err| Error::Archive(format!("{what} is not valid: {err}")))
}

/// This machine, in image words.
pub(super) fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The manifest for this machine: the first whose platform fits, or that names none.
pub(super) fn choose_platform(manifests: &[Descriptor]) -> Result<&Descriptor, Error> {
    let fits = |platform: &Platform| {
        (platform.os.is_empty() || platform.os == "linux")
            && (platform.architecture.is_empty() || platform.architecture == host_architecture())
    };
    let exact = |d: &&Descriptor| d.platform.as_ref().is_some_and(|p| !p.architecture.is_empty() && fits(p));
    let unnamed = |d: &&Descriptor| d.platform.as_ref().is_none_or(fits);
    manifests
        .iter()
        .find(exact)
        .or_else(|| manifests.iter().find(unnamed))
        .ok_or_else(|| Error::Archive(format!("no match for platform in manifest: linux/{}", host_architecture())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_platform_is_chosen() {
        let of = |arch: &str, os: &str, digit: char| Descriptor {
            media_type: OCI_MANIFEST.to_owned(),
            digest: Digest::parse(&format!("sha256:{}", digit.to_string().repeat(64))).expect("a digest"),
            size: 0,
            platform: Some(Platform { architecture: arch.to_owned(), os: os.to_owned() }),
            annotations: BTreeMap::new(),
        };
        let list = [of("s390x", "linux", 'a'), of(host_architecture(), "linux", 'b'), of("unknown", "unknown", 'c')];
        assert!(choose_platform(&list).expect("one fits").digest.hex().starts_with('b'));
        assert!(choose_platform(&list[..1]).is_err());
    }

    #[test]
    fn nulls_of_go_are_empty() {
        let config: ImageConfig = decode(
            "config",
            br#"{"architecture":"amd64","config":{"Env":null,"Cmd":["sh"],"User":"1000"},"rootfs":{"diff_ids":null}}"#,
        )
        .expect("a config");
        assert_eq!(config.config.cmd, ["sh"]);
        assert!(config.config.env.is_empty());
    }
}
