//! Client certificates: the common name is the user, the organizations are the groups
//! (upstream: apiserver/pkg/authentication/request/x509 `CommonNameUserConversion`).

use std::ops::RangeInclusive;

use apimachinery::UserInfo;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::CREDENTIAL_ID;

/// Why a verified certificate identifies nobody.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CertificateError {
    /// It cannot be read.
    #[error("read the client certificate: {0}")]
    Unreadable(String),
    /// A connection outlives its certificate.
    #[error("the client certificate is not valid at this time")]
    Expired,
}

/// What a certificate, verified by TLS, says.
#[derive(Debug)]
pub struct Identity {
    user: Option<UserInfo>,
    /// Seconds since the epoch.
    valid: RangeInclusive<i64>,
}

impl Identity {
    /// Reads a certificate.
    pub fn read(certificate: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let (_, parsed) =
            X509Certificate::from_der(certificate).map_err(|err| CertificateError::Unreadable(err.to_string()))?;
        let validity = parsed.validity();
        let valid = validity.not_before.timestamp()..=validity.not_after.timestamp();
        let subject = parsed.subject();
        let text = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            attribute.as_str().unwrap_or_default().to_owned()
        };
        let name = subject.iter_common_name().map(text).find(|name| !name.is_empty());
        let user = name.map(|name| {
            let mut user = UserInfo::new(name, subject.iter_organization().map(text));
            let id = format!("X509SHA256={}", hex::encode(Sha256::digest(certificate)));
            user.extra.insert(CREDENTIAL_ID.into(), vec![id]);
            user
        });
        Ok(Self { user, valid })
    }

    /// The user that the certificate speaks for at this time; `None` when it names nobody.
    pub fn user(&self, now: Timestamp) -> Result<Option<&UserInfo>, CertificateError> {
        if self.valid.contains(&now.as_second()) { Ok(self.user.as_ref()) } else { Err(CertificateError::Expired) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    fn certificate(names: &[(DnType, &str)]) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, name) in names {
            params.distinguished_name.push(kind.clone(), *name);
        }
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().clone()
    }

    #[test]
    fn the_subject_says_who_it_is() {
        let leaf = certificate(&[(DnType::CommonName, "ann"), (DnType::OrganizationName, "system:masters")]);
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let identity = Identity::read(&leaf).expect("readable");
        let user = identity.user(now).expect("valid").expect("somebody");
        assert_eq!(user.username, "ann");
        assert_eq!(user.groups, ["system:masters", "system:authenticated"]);
        assert!(user.extra[CREDENTIAL_ID][0].starts_with("X509SHA256="));
    }

    #[test]
    fn a_nameless_or_old_certificate_is_nobody() {
        let leaf = certificate(&[(DnType::OrganizationName, "system:masters")]);
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let identity = Identity::read(&leaf).expect("readable");
        assert!(identity.user(now).expect("valid").is_none());
        let late: Timestamp = "9000-01-01T00:00:00Z".parse().expect("a time");
        assert!(matches!(identity.user(late), Err(CertificateError::Expired)));
        assert!(Identity::read(&CertificateDer::from(vec![1, 2, 3])).is_err());
    }
}
