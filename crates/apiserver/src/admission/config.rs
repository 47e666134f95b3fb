//! [`Config`]: which plugins run and how, from the command line and an `AdmissionConfiguration` file
//! (upstream: apiserver/pkg/server/options/admission.go, apiserver/pkg/admission/config.go).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Which admission plugins run, and their own configurations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// `--enable-admission-plugins`: these as well as those that are on by default.
    pub enable_admission_plugins: Vec<String>,
    /// `--disable-admission-plugins`: not these.
    pub disable_admission_plugins: Vec<String>,
    /// What `--admission-control-config-file` says, by the name of the plugin.
    pub plugins: BTreeMap<String, Value>,
}

/// What is wrong with a configuration of admission.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A plugin that does not exist cannot be turned on or off.
    #[error("{option} plugin {name:?} is unknown")]
    Unknown {
        /// The option.
        option: &'static str,
        /// The name given.
        name: String,
    },
    /// A plugin is on and off at once.
    #[error("[{0}] in enable-admission-plugins and disable-admission-plugins overlapped")]
    Overlap(String),
    /// A file cannot be read.
    #[error("unable to read admission control configuration from {path:?} [{cause}]")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// A file is no YAML or JSON.
    #[error("unable to decode {path:?}: {cause}")]
    Decode {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
    /// A plugin does not understand its configuration.
    #[error("the configuration of the admission plugin {plugin} is not valid: {cause}")]
    Plugin {
        /// The plugin.
        plugin: &'static str,
        /// Why not.
        cause: String,
    },
}

/// The file, `apiserver.config.k8s.io/v1 AdmissionConfiguration`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct AdmissionConfiguration {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    plugins: Vec<PluginConfiguration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PluginConfiguration {
    name: String,
    #[serde(default)]
    path: PathBuf,
    #[serde(default)]
    configuration: Option<Value>,
}

impl Config {
    /// Reads an `AdmissionConfiguration` file and the files that it names, which lie beside it.
    pub fn load(&mut self, path: &Path) -> Result<(), ConfigError> {
        let decode = |cause: String| ConfigError::Decode { path: path.to_owned(), cause };
        let file: AdmissionConfiguration =
            serde_json::from_value(read_yaml(path)?).map_err(|e| decode(e.to_string()))?;
        let versions = ["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1alpha1", "apiserver.k8s.io/v1alpha1"];
        if file.kind != "AdmissionConfiguration" || !versions.contains(&file.api_version.as_str()) {
            let (version, kind) = (&file.api_version, &file.kind);
            return Err(decode(format!("no kind {kind:?} is registered for version {version:?}")));
        }
        for plugin in file.plugins {
            let configuration = match plugin.configuration {
                Some(configuration) => configuration,
                None if plugin.path.as_os_str().is_empty() => continue,
                None => read_yaml(&path.parent().unwrap_or(Path::new("")).join(&plugin.path))?,
            };
            self.plugins.insert(plugin.name, configuration);
        }
        Ok(())
    }
}

fn read_yaml(path: &Path) -> Result<Value, ConfigError> {
    let bytes = std::fs::read(path).map_err(|cause| ConfigError::Read { path: path.to_owned(), cause })?;
    let parsed = apimachinery::codec::yaml::decode(&bytes);
    Ok(parsed.map_err(|cause| ConfigError::Decode { path: path.to_owned(), cause: cause.to_string() })?.value)
}

/// A plugin's own configuration, of one of `versions` of `kind`; the default where none is given.
pub(super) fn own<T: DeserializeOwned + Default>(
    plugin: &'static str,
    given: Option<&Value>,
    kind: &str,
    versions: &[&str],
) -> Result<T, ConfigError> {
    let Some(given) = given else { return Ok(T::default()) };
    let wrong = |cause: String| ConfigError::Plugin { plugin, cause };
    let mut fields = given.as_object().cloned().ok_or_else(|| wrong("it is not an object".into()))?;
    let mut text = |name: &str| match fields.remove(name) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    let (version, found) = (text("apiVersion"), text("kind"));
    if found != kind || !versions.contains(&version.as_str()) {
        return Err(wrong(format!("no kind {found:?} is registered for version {version:?}")));
    }
    serde_json::from_value(Value::Object(fields)).map_err(|error| wrong(error.to_string()))
}
