//! Image references, normalised as containerd does. Upstream: github.com/distribution/reference.

use std::fmt;

use super::digest::Digest;
use crate::runtime::Error;

const DEFAULT_HOST: &str = "docker.io";

/// A whole name: `busybox` becomes `docker.io/library/busybox:latest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Registry, as `docker.io` or `127.0.0.1:5000`.
    pub host: String,
    /// Path of the repository, as `library/busybox`.
    pub repository: String,
    /// Tag; none when a digest was given.
    pub tag: Option<String>,
    /// Digest, as `sha256:...`.
    pub digest: Option<String>,
}

impl Reference {
    /// Reads a reference as users write it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        parse(text).map_err(|cause| Error::InvalidImageName { reference: text.to_owned(), cause: cause.to_owned() })
    }

    /// Registry and repository without tag or digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.host, self.repository)
    }

    /// What a registry is asked for: the digest where there is one, else the tag.
    pub fn selector(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        match (&self.digest, &self.tag) {
            (Some(digest), _) => write!(f, "@{digest}"),
            (None, Some(tag)) => write!(f, ":{tag}"),
            (None, None) => Ok(()),
        }
    }
}

fn parse(text: &str) -> Result<Reference, &'static str> {
    if text.is_empty() {
        return Err("invalid reference format: repository name must have at least one component");
    }
    if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("invalid reference format: a repository name cannot be 64 hexadecimal digits");
    }
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(Digest::parse(digest).ok_or("invalid reference format: bad digest")?)),
        None => (text, None),
    };
    // A colon after the last slash starts the tag; one before it belongs to the port.
    let (name, tag) = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (name, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err("invalid reference format: bad tag");
    }
    let (host, path) = match name.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
        _ => (DEFAULT_HOST, name),
    };
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("invalid reference format: repository name must be lowercase");
    }
    if !is_host(host) || path.is_empty() || !path.split('/').all(is_component) {
        return Err("invalid reference format");
    }
    let host = if host == "index.docker.io" { DEFAULT_HOST } else { host };
    let repository =
        if host == DEFAULT_HOST && !path.contains('/') { format!("library/{path}") } else { path.to_owned() };
    if repository.len() > 255 {
        return Err("invalid reference format: repository name must not be more than 255 characters");
    }
    let tag = if digest.is_some() { None } else { Some(tag.unwrap_or("latest").to_owned()) };
    Ok(Reference { host: host.to_owned(), repository, tag, digest: digest.map(|digest| digest.to_string()) })
}

fn is_tag(tag: &str) -> bool {
    let first = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&tag.len())
        && first(tag.as_bytes()[0])
        && tag.bytes().all(|b| first(b) || b == b'.' || b == b'-')
}

/// A name or address, and perhaps a port.
fn is_host(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        let port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return port && address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    let label = |label: &str| {
        let plain = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        plain && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    };
    port.is_none_or(is_port) && name.split('.').all(label)
}

fn is_port(port: &str) -> bool {
    port.parse::<u16>().is_ok()
}

/// Lower-case letters and digits, joined by one dot, one or two underscores, or dashes.
fn is_component(part: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends = bytes.first().copied().is_some_and(word) && bytes.last().copied().is_some_and(word);
    ends && bytes.iter().all(|b| word(*b) || b"._-".contains(b))
        && bytes.split(|b| word(*b)).all(|joint| {
            joint.is_empty() || joint == b"." || joint == b"_" || joint == b"__" || joint.iter().all(|b| *b == b'-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_whole() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (given, whole) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("busybox:1.36", "docker.io/library/busybox:1.36"),
            ("me/app", "docker.io/me/app:latest"),
            ("docker.io/busybox", "docker.io/library/busybox:latest"),
            ("index.docker.io/a/b:c", "docker.io/a/b:c"),
            ("localhost/app", "localhost/app:latest"),
            ("[::1]:5000/app", "[::1]:5000/app:latest"),
            ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b:latest"),
            ("kaji.local/hello-server:1.0", "kaji.local/hello-server:1.0"),
            ("registry.k8s.io/e2e-test-images/agnhost:2.53", "registry.k8s.io/e2e-test-images/agnhost:2.53"),
            (&format!("busybox@{digest}"), &format!("docker.io/library/busybox@{digest}")),
            (&format!("busybox:1@{digest}"), &format!("docker.io/library/busybox@{digest}")),
        ] {
            assert_eq!(Reference::parse(given).expect(given).to_string(), whole);
        }
    }

    #[test]
    fn bad_names_are_refused() {
        for bad in ["", "UPPER", "a b", "a:", "a:b:c", "-a", "a..b", "a@sha256:12", "a//b", "x/", "../etc"] {
            assert!(Reference::parse(bad).is_err(), "{bad:?} was taken");
        }
    }
}
