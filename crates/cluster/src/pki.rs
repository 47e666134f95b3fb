//! The cluster's keys and certificates, made at first start and kept in one directory (files 0600).
//!
//! The layout and the subjects are those of kubeadm (upstream: cmd/kubeadm/app/phases/certs), with ECDSA P-256 keys.

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use component_base::now;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

/// Days a certificate of the authority is valid for.
const CA_DAYS: i64 = 3650;
/// Days an issued certificate is valid for; a start with less than a third left issues it anew.
const LEAF_DAYS: i64 = 365;

/// Why the keys could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot use {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        err: std::io::Error,
    },
    /// A key or certificate cannot be read or made.
    #[error("cannot make or read the certificate {path}; move it away to have it made anew")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        err: rcgen::Error,
    },
}

/// A certificate chain and its key, PEM.
#[derive(Clone)]
pub struct KeyCert {
    /// The certificate.
    pub cert_pem: String,
    /// The key.
    pub key_pem: String,
}

impl std::fmt::Debug for KeyCert {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyCert").finish_non_exhaustive()
    }
}

/// What a certificate is for.
#[derive(Clone, Debug)]
pub struct Leaf<'a> {
    /// File name without ending, as `apiserver`.
    pub file: &'a str,
    /// The common name: a user name for clients.
    pub common_name: &'a str,
    /// The organization: a group for clients; "" for none.
    pub organization: &'a str,
    /// DNS names a server answers to.
    pub dns_names: Vec<String>,
    /// Addresses a server answers to.
    pub addresses: Vec<IpAddr>,
}

impl<'a> Leaf<'a> {
    /// A client certificate for a user in a group.
    pub fn client(file: &'a str, user: &'a str, group: &'a str) -> Self {
        Self { file, common_name: user, organization: group, dns_names: Vec::new(), addresses: Vec::new() }
    }

    fn is_server(&self) -> bool {
        !self.dns_names.is_empty() || !self.addresses.is_empty()
    }
}

/// The directory that holds a cluster's keys.
#[derive(Clone, Debug)]
pub struct Pki {
    dir: PathBuf,
}

impl Pki {
    /// Opens the directory, making it (0700) and the authorities when they are missing.
    pub fn ensure(dir: &Path) -> Result<Self, Error> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|err| Error::File { path: dir.to_owned(), err })?;
        let pki = Self { dir: dir.to_owned() };
        pki.ensure_authority("ca", "kubernetes")?;
        pki.ensure_authority("front-proxy-ca", "front-proxy-ca")?;
        pki.ensure_key("sa.key")?;
        Ok(pki)
    }

    /// The cluster's certificate authority, PEM.
    pub fn ca_pem(&self) -> Result<String, Error> {
        self.read("ca.crt")
    }

    /// The key of the cluster's certificate authority, with which it signs certificates that are asked for, PEM.
    pub fn ca_key_pem(&self) -> Result<String, Error> {
        self.read("ca.key")
    }

    /// Where a file of the directory lies.
    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    /// The authority that signs front proxies' certificates, PEM.
    pub fn front_proxy_ca_pem(&self) -> Result<String, Error> {
        self.read("front-proxy-ca.crt")
    }

    /// The key that signs service account tokens (ECDSA P-256, PKCS#8), PEM.
    pub fn service_account_key_pem(&self) -> Result<String, Error> {
        self.read("sa.key")
    }

    /// The certificate of `leaf`, signed by the cluster's authority: read when it still serves, else issued.
    pub fn ensure_leaf(&self, leaf: &Leaf<'_>) -> Result<KeyCert, Error> {
        self.ensure_signed("ca", leaf)
    }

    /// The certificate of a front proxy, signed by the authority of front proxies.
    pub fn ensure_front_proxy_leaf(&self, leaf: &Leaf<'_>) -> Result<KeyCert, Error> {
        self.ensure_signed("front-proxy-ca", leaf)
    }

    fn ensure_signed(&self, authority: &str, leaf: &Leaf<'_>) -> Result<KeyCert, Error> {
        let (cert_file, key_file) = (format!("{}.crt", leaf.file), format!("{}.key", leaf.file));
        if let (Ok(cert_pem), Ok(key_pem)) = (self.read(&cert_file), self.read(&key_file))
            && still_serves(&cert_pem, leaf)
        {
            return Ok(KeyCert { cert_pem, key_pem });
        }
        let issued = self.issue(authority, leaf)?;
        self.write(&key_file, &issued.key_pem)?;
        self.write(&cert_file, &issued.cert_pem)?;
        Ok(issued)
    }

    fn issue(&self, authority: &str, leaf: &Leaf<'_>) -> Result<KeyCert, Error> {
        let fail = |err| Error::Certificate { path: self.dir.join(leaf.file), err };
        let ca_key = KeyPair::from_pem(&self.read(&format!("{authority}.key"))?).map_err(fail)?;
        let ca_pem = self.read(&format!("{authority}.crt"))?;
        let issuer = Issuer::from_ca_cert_pem(&ca_pem, ca_key).map_err(fail)?;
        let key = KeyPair::generate().map_err(fail)?;
        let mut params = params(leaf.common_name, leaf.organization, LEAF_DAYS);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![if leaf.is_server() {
            ExtendedKeyUsagePurpose::ServerAuth
        } else {
            ExtendedKeyUsagePurpose::ClientAuth
        }];
        for name in &leaf.dns_names {
            let name = name.as_str().try_into().map_err(fail)?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        params.subject_alt_names.extend(leaf.addresses.iter().copied().map(SanType::IpAddress));
        let cert = params.signed_by(&key, &issuer).map_err(fail)?;
        Ok(KeyCert { cert_pem: cert.pem(), key_pem: key.serialize_pem() })
    }

    fn ensure_authority(&self, file: &str, common_name: &str) -> Result<(), Error> {
        let (cert_file, key_file) = (format!("{file}.crt"), format!("{file}.key"));
        if self.dir.join(&cert_file).exists() && self.dir.join(&key_file).exists() {
            return Ok(());
        }
        let fail = |err| Error::Certificate { path: self.dir.join(&cert_file), err };
        let key = KeyPair::generate().map_err(fail)?;
        let mut params = params(common_name, "", CA_DAYS);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let cert = params.self_signed(&key).map_err(fail)?;
        self.write(&key_file, &key.serialize_pem())?;
        self.write(&cert_file, &cert.pem())
    }

    fn ensure_key(&self, file: &str) -> Result<(), Error> {
        if self.dir.join(file).exists() {
            return Ok(());
        }
        let fail = |err| Error::Certificate { path: self.dir.join(file), err };
        let key = KeyPair::generate().map_err(fail)?;
        self.write(file, &key.serialize_pem())
    }

    fn read(&self, file: &str) -> Result<String, Error> {
        let path = self.dir.join(file);
        fs::read_to_string(&path).map_err(|err| Error::File { path, err })
    }

    /// Writes whole or not at all, durably, readable by the owner alone.
    fn write(&self, file: &str, text: &str) -> Result<(), Error> {
        let path = self.dir.join(file);
        let new = self.dir.join(format!("{file}.new"));
        let written = (|| {
            let mut out = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            out.write_all(text.as_bytes())?;
            out.sync_all()?;
            fs::rename(&new, &path)
        })();
        written.map_err(|err| Error::File { path, err })
    }
}

fn params(common_name: &str, organization: &str, days: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    if !organization.is_empty() {
        name.push(DnType::OrganizationName, organization);
    }
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    // An hour of slack for clocks that are behind.
    let start = now().as_second() - 3600;
    params.not_before = at(start);
    params.not_after = at(start + days * 86_400);
    params
}

fn at(unix_s: i64) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(unix_s).unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
}

/// Whether a certificate has a third of its days left and names everything `leaf` asks for.
fn still_serves(cert_pem: &str, leaf: &Leaf<'_>) -> bool {
    let Ok((_, pem)) = x509_parser::pem::parse_x509_pem(cert_pem.as_bytes()) else { return false };
    let Ok(cert) = pem.parse_x509() else { return false };
    let left_s = cert.validity().not_after.timestamp() - now().as_second();
    if left_s < LEAF_DAYS * 86_400 / 3 {
        return false;
    }
    let names: Vec<String> = match cert.subject_alternative_name() {
        Ok(Some(names)) => names.value.general_names.iter().map(text_of).collect(),
        _ => Vec::new(),
    };
    let wanted = leaf.dns_names.iter().cloned().chain(leaf.addresses.iter().map(IpAddr::to_string));
    wanted.into_iter().all(|name| names.contains(&name))
}

fn text_of(name: &x509_parser::extensions::GeneralName<'_>) -> String {
    use x509_parser::extensions::GeneralName;
    match name {
        GeneralName::DNSName(name) => (*name).to_owned(),
        GeneralName::IPAddress(octets) => match octets.len() {
            4 => <[u8; 4]>::try_from(*octets).map(|octets| IpAddr::from(octets).to_string()).unwrap_or_default(),
            16 => <[u8; 16]>::try_from(*octets).map(|octets| IpAddr::from(octets).to_string()).unwrap_or_default(),
            _ => String::new(),
        },
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn server(address: &str) -> Leaf<'static> {
        Leaf {
            file: "apiserver",
            common_name: "kube-apiserver",
            organization: "",
            dns_names: vec!["kubernetes".into()],
            addresses: vec![address.parse().expect("an address")],
        }
    }

    #[test]
    fn keys_are_made_once_and_readable_by_the_owner_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let pki = Pki::ensure(dir.path()).expect("keys");
        let first = (pki.ca_pem().expect("ca"), pki.ensure_leaf(&server("10.96.0.1")).expect("leaf").cert_pem);
        let again = Pki::ensure(dir.path()).expect("keys");
        let second = (again.ca_pem().expect("ca"), again.ensure_leaf(&server("10.96.0.1")).expect("leaf").cert_pem);
        assert_eq!(first, second);
        for entry in fs::read_dir(dir.path()).expect("the directory") {
            let entry = entry.expect("an entry");
            assert_eq!(entry.metadata().expect("metadata").permissions().mode() & 0o077, 0, "{entry:?}");
        }
    }

    #[test]
    fn a_new_address_has_the_certificate_issued_anew() {
        let dir = tempfile::tempdir().expect("a directory");
        let pki = Pki::ensure(dir.path()).expect("keys");
        let first = pki.ensure_leaf(&server("10.96.0.1")).expect("leaf");
        let second = pki.ensure_leaf(&server("172.30.0.2")).expect("leaf");
        assert_ne!(first.cert_pem, second.cert_pem);
        assert!(still_serves(&second.cert_pem, &server("172.30.0.2")));
    }

    #[test]
    fn a_damaged_authority_is_a_clear_error() {
        let dir = tempfile::tempdir().expect("a directory");
        let pki = Pki::ensure(dir.path()).expect("keys");
        fs::write(dir.path().join("ca.key"), "garbage").expect("written");
        let err = pki.ensure_leaf(&server("10.96.0.1")).expect_err("no key to sign with");
        assert!(err.to_string().contains("move it away"), "{err}");
    }
}
