//! The user's kubeconfig: a cluster, a user and a context are merged in and taken out again; the rest is untouched.
//!
//! As kubectl does it (client-go `tools/clientcmd`): `$KUBECONFIG`'s first file or `~/.kube/config`, guarded by a
//! `.lock` file beside it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use crate::pki::KeyCert;

/// Why a kubeconfig could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read or written.
    #[error("cannot use the kubeconfig {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        err: std::io::Error,
    },
    /// The file is there but is no kubeconfig; it is left as it is.
    #[error("the kubeconfig {path} cannot be understood ({cause}); mend it, or choose another with --kubeconfig")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// Another program is writing the file.
    #[error("{path} exists: another program is writing the kubeconfig; remove the lock file if none is")]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
}

/// What a context needs.
#[derive(Clone, Debug)]
pub struct Access<'a> {
    /// Name of cluster, user and context.
    pub context: &'a str,
    /// `https://127.0.0.1:6443`.
    pub server: &'a str,
    /// The cluster's authority, PEM.
    pub ca_pem: &'a str,
    /// The user's certificate and key.
    pub user: &'a KeyCert,
}

/// The kubeconfig that kubectl would write to.
pub fn default_path() -> PathBuf {
    if let Some(list) = std::env::var_os("KUBECONFIG")
        && let Some(first) = std::env::split_paths(&list).find(|path| !path.as_os_str().is_empty())
    {
        return first;
    }
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from);
    home.join(".kube/config")
}

/// Adds (or replaces) the context and makes it the current one.
pub fn merge(path: &Path, access: &Access<'_>) -> Result<(), Error> {
    edit(path, |config| {
        let data = |pem: &str| BASE64.encode(pem);
        let name = access.context;
        put(
            config,
            "clusters",
            name,
            "cluster",
            json!({
                "server": access.server, "certificate-authority-data": data(access.ca_pem),
            }),
        );
        put(
            config,
            "users",
            name,
            "user",
            json!({
                "client-certificate-data": data(&access.user.cert_pem), "client-key-data": data(&access.user.key_pem),
            }),
        );
        put(config, "contexts", name, "context", json!({"cluster": name, "user": name}));
        config.insert("current-context".into(), name.into());
    })
}

/// Takes the context out again; a file that holds nothing else afterwards is removed.
pub fn remove(path: &Path, context: &str) -> Result<(), Error> {
    if !path.exists() {
        return Ok(());
    }
    let mut empty = false;
    edit(path, |config| {
        for list in ["clusters", "users", "contexts"] {
            entries(config, list).retain(|entry| entry["name"] != context);
        }
        if config.get("current-context").and_then(Value::as_str) == Some(context) {
            config.insert("current-context".into(), "".into());
        }
        empty = ["clusters", "users", "contexts"].iter().all(|list| entries(config, list).is_empty());
    })?;
    if empty {
        fs::remove_file(path).map_err(|err| Error::File { path: path.to_owned(), err })?;
    }
    Ok(())
}

fn entries<'a>(config: &'a mut Map<String, Value>, list: &str) -> &'a mut Vec<Value> {
    let value = config.entry(list).or_insert_with(|| json!([]));
    if !value.is_array() {
        *value = json!([]);
    }
    value.as_array_mut().expect("made an array above")
}

fn put(config: &mut Map<String, Value>, list: &str, name: &str, field: &str, value: Value) {
    let entries = entries(config, list);
    entries.retain(|entry| entry["name"] != name);
    let mut entry = Map::new();
    entry.insert("name".into(), name.into());
    entry.insert(field.into(), value);
    entries.push(Value::Object(entry));
}

fn edit(path: &Path, change: impl FnOnce(&mut Map<String, Value>)) -> Result<(), Error> {
    let file_error = |err| Error::File { path: path.to_owned(), err };
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o750).create(dir).map_err(file_error)?;
    }
    let _lock = Lock::take(path)?;
    let mut config = read(path)?;
    change(&mut config);
    let text = serde_saphyr::to_string(&Value::Object(config))
        .map_err(|err| Error::Malformed { path: path.to_owned(), cause: err.to_string() })?;
    let new = path.with_extension("kaji-new");
    let written = (|| {
        let mut out = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        fs::rename(&new, path)
    })();
    written.map_err(file_error)
}

fn read(path: &Path) -> Result<Map<String, Value>, Error> {
    let malformed = |cause: String| Error::Malformed { path: path.to_owned(), cause };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(err) => return Err(Error::File { path: path.to_owned(), err }),
    };
    if text.trim().is_empty() {
        return Ok(Map::from_iter([("apiVersion".into(), "v1".into()), ("kind".into(), "Config".into())]));
    }
    match serde_saphyr::from_str(&text).map_err(|err| malformed(err.to_string()))? {
        Value::Object(config) => Ok(config),
        _ => Err(malformed("it is no mapping".into())),
    }
}

struct Lock(PathBuf);

impl Lock {
    fn take(path: &Path) -> Result<Self, Error> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let path = PathBuf::from(name);
        match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(_) => Ok(Self(path)),
            Err(err) if err.kind() == std::io::ErrorKind::AlreadyExists => Err(Error::Locked { path }),
            Err(err) => Err(Error::File { path, err }),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(user: &KeyCert) -> Access<'_> {
        Access { context: "kaji-a", server: "https://127.0.0.1:1", ca_pem: "ca", user }
    }

    fn user() -> KeyCert {
        KeyCert { cert_pem: "cert".into(), key_pem: "key".into() }
    }

    #[test]
    fn a_context_comes_and_goes_and_leaves_the_rest() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("config");
        let before = "apiVersion: v1\nkind: Config\npreferences: {colors: true}\nclusters:\n- name: other\n  cluster: {server: 'https://x'}\ncontexts: []\nusers: []\ncurrent-context: other\n";
        fs::write(&path, before).expect("written");
        merge(&path, &access(&user())).expect("merged");
        merge(&path, &access(&user())).expect("merged twice is merged once");
        let config = read(&path).expect("readable");
        assert_eq!(config["current-context"], "kaji-a");
        assert_eq!(config["clusters"].as_array().map(Vec::len), Some(2));
        remove(&path, "kaji-a").expect("removed");
        let config = read(&path).expect("readable");
        assert_eq!(config["clusters"], json!([{"name": "other", "cluster": {"server": "https://x"}}]));
        assert_eq!(config["preferences"], json!({"colors": true}));
    }

    #[test]
    fn a_file_of_our_own_making_is_removed_with_its_last_context() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("kube/config");
        merge(&path, &access(&user())).expect("merged");
        remove(&path, "kaji-a").expect("removed");
        assert!(!path.exists());
        assert_eq!(fs::read_dir(path.parent().expect("a parent")).expect("listed").count(), 0);
    }

    #[test]
    fn a_file_that_is_no_kubeconfig_is_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("config");
        for text in ["- a list\n", "a: [unclosed\n"] {
            fs::write(&path, text).expect("written");
            let err = merge(&path, &access(&user())).expect_err("refused");
            assert!(matches!(err, Error::Malformed { .. }), "{err}");
            assert_eq!(fs::read_to_string(&path).expect("read"), text);
        }
    }
}
