//! [`Endpoint`]: a server and how to speak to it, read from a kubeconfig file
//! (upstream: client-go/tools/clientcmd, as apiserver/pkg/util/webhook loads it).

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::trust::Trust;

/// A server and how to speak to it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its URL.
    pub server: String,
    /// Its certificates and ours.
    pub trust: Trust,
    /// The name its certificate must have, where that is not the host.
    pub server_name: Option<String>,
    /// The `Authorization` header, whole.
    pub authorization: Option<String>,
}

/// Why a kubeconfig cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// A file is not there, or may not be read.
    #[error("read {path}: {cause}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What went wrong.
        cause: std::io::Error,
    },
    /// It is no YAML, or not of the shape of a kubeconfig.
    #[error("parse {path}: {cause}")]
    Parse {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// It names something that it does not hold.
    #[error("{path}: {what} {name:?} is not there")]
    Missing {
        /// Which file.
        path: PathBuf,
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Data is not base64.
    #[error("{path}: {field} is not base64")]
    Base64 {
        /// Which file.
        path: PathBuf,
        /// Which field.
        field: &'static str,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    clusters: Vec<Value>,
    users: Vec<Value>,
    contexts: Vec<Value>,
    #[serde(rename = "current-context")]
    current_context: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Context {
    cluster: String,
    user: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
    insecure_skip_tls_verify: bool,
    tls_server_name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct User {
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<String>,
    client_key: Option<PathBuf>,
    client_key_data: Option<String>,
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    username: Option<String>,
    password: Option<String>,
}

impl Endpoint {
    /// Reads a kubeconfig file; relative paths in it are relative to it.
    pub fn load(path: &Path) -> Result<Self, KubeconfigError> {
        let text = read(path)?;
        let parse = |cause: String| KubeconfigError::Parse { path: path.to_owned(), cause };
        let parsed = apimachinery::codec::yaml::decode(text.as_bytes()).map_err(|cause| parse(cause.to_string()))?;
        let file: File = serde_json::from_value(parsed.value).map_err(|cause| parse(cause.to_string()))?;
        let context: Context = match file.current_context.as_str() {
            // A file for a webhook often names one cluster and one user, and no context.
            "" => Context { cluster: only_name(&file.clusters), user: only_name(&file.users) },
            name => named(path, "context", &file.contexts, name)?,
        };
        let cluster: Cluster = named(path, "cluster", &file.clusters, &context.cluster)?;
        let user: User = if context.user.is_empty() && file.users.is_empty() {
            User::default()
        } else {
            named(path, "user", &file.users, &context.user)?
        };
        Self::of(path, cluster, user)
    }

    fn of(path: &Path, cluster: Cluster, user: User) -> Result<Self, KubeconfigError> {
        let pem =
            |field, file: &Option<PathBuf>, data: &Option<String>| pem(path, field, file.as_deref(), data.as_deref());
        let ca_pem =
            pem("certificate-authority-data", &cluster.certificate_authority, &cluster.certificate_authority_data)?;
        let chain = pem("client-certificate-data", &user.client_certificate, &user.client_certificate_data)?;
        let key = pem("client-key-data", &user.client_key, &user.client_key_data)?;
        let token = match (user.token.filter(|token| !token.is_empty()), user.token_file) {
            (None, Some(file)) => Some(read(&beside(path, &file))?.trim().to_owned()),
            (token, _) => token,
        };
        let authorization = match (token, user.username) {
            (Some(token), _) => Some(format!("Bearer {token}")),
            (None, Some(name)) => {
                let pair = format!("{name}:{}", user.password.unwrap_or_default());
                Some(format!("Basic {}", BASE64.encode(pair)))
            }
            (None, None) => None,
        };
        Ok(Self {
            server: cluster.server,
            trust: Trust { ca_pem, insecure: cluster.insecure_skip_tls_verify, identity: chain.zip(key) },
            server_name: cluster.tls_server_name.filter(|name| !name.is_empty()),
            authorization,
        })
    }
}

fn only_name(list: &[Value]) -> String {
    match list {
        [one] => one["name"].as_str().unwrap_or_default().to_owned(),
        _ => String::new(),
    }
}

/// The entry `{name: <name>, <what>: {...}}` of a list.
fn named<T: DeserializeOwned>(
    path: &Path,
    what: &'static str,
    list: &[Value],
    name: &str,
) -> Result<T, KubeconfigError> {
    let missing = || KubeconfigError::Missing { path: path.to_owned(), what, name: name.to_owned() };
    let entry = list.iter().find(|entry| entry["name"] == name).ok_or_else(missing)?;
    serde_json::from_value(entry[what].clone())
        .map_err(|cause| KubeconfigError::Parse { path: path.to_owned(), cause: format!("{what} {name}: {cause}") })
}

fn pem(
    path: &Path,
    field: &'static str,
    file: Option<&Path>,
    data: Option<&str>,
) -> Result<Option<String>, KubeconfigError> {
    let broken = || KubeconfigError::Base64 { path: path.to_owned(), field };
    match (data.filter(|data| !data.is_empty()), file.filter(|file| !file.as_os_str().is_empty())) {
        (Some(data), _) => {
            let bytes = BASE64.decode(data).map_err(|_| broken())?;
            String::from_utf8(bytes).map(Some).map_err(|_| broken())
        }
        (None, Some(file)) => read(&beside(path, file)).map(Some),
        (None, None) => Ok(None),
    }
}

fn beside(path: &Path, file: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).join(file)
}

fn read(path: &Path) -> Result<String, KubeconfigError> {
    std::fs::read_to_string(path).map_err(|cause| KubeconfigError::Read { path: path.to_owned(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Endpoint, String> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        Endpoint::load(file.path()).map_err(|err| err.to_string().replace(&file.path().display().to_string(), "FILE"))
    }

    #[test]
    fn the_current_context_says_who_speaks_to_whom() {
        let text = "
clusters:
- {name: other, cluster: {server: 'https://other'}}
- {name: hook, cluster: {server: 'https://hook/authn', certificate-authority-data: 'Q0E=', tls-server-name: real}}
users:
- {name: api, user: {token: secret}}
contexts:
- {name: c, context: {cluster: hook, user: api}}
current-context: c
";
        let endpoint = load(text).expect("a kubeconfig");
        assert_eq!(endpoint.server, "https://hook/authn");
        assert_eq!(endpoint.trust.ca_pem.as_deref(), Some("CA"));
        assert_eq!(endpoint.server_name.as_deref(), Some("real"));
        assert_eq!(endpoint.authorization.as_deref(), Some("Bearer secret"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let endpoint = load("clusters: [{name: a, cluster: {server: 'http://a'}}]").expect("needs no more");
        assert_eq!((endpoint.server.as_str(), endpoint.authorization), ("http://a", None));
        for (text, expected) in [
            ("current-context: x", r#"FILE: context "x" is not there"#),
            ("clusters: []", r#"FILE: cluster "" is not there"#),
            (
                "clusters: [{name: a, cluster: {server: b, certificate-authority-data: '!'}}]",
                "FILE: certificate-authority-data is not base64",
            ),
        ] {
            assert_eq!(load(text).expect_err("refused"), expected, "{text}");
        }
    }
}
