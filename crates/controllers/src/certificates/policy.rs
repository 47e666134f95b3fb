//! [`Authority`]: the CA, and how long and for what its certificates are good
//! (upstream: pkg/controller/certificates/authority).

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SerialNumber};
use x509_parser::pem::parse_x509_pem;

use super::request::Asked;

/// Certificates begin a little earlier, for clocks that are behind (upstream: `Backdate`).
const BACKDATE: Duration = Duration::from_secs(300);

/// Shorter ones keep their whole time (upstream: `Short`).
const SHORT: Duration = Duration::from_secs(8 * 3600);

/// The shortest that can be asked for.
const SHORTEST: Duration = Duration::from_secs(600);

/// Why the CA cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The certificate or key cannot be read.
    #[error("read the cluster's signing certificate and key: {0}")]
    Unusable(#[from] rcgen::Error),
    /// The certificate cannot be read.
    #[error("read the cluster's signing certificate")]
    Certificate,
}

/// What signs.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// When the CA itself ends.
    ends: Timestamp,
    duration: Duration,
}

impl Authority {
    /// A CA in PEM; its certificates are good for `duration` (`--cluster-signing-duration`).
    pub fn new(ca_pem: &str, key_pem: &str, duration: Duration) -> Result<Self, AuthorityError> {
        let (_, pem) = parse_x509_pem(ca_pem.as_bytes()).map_err(|_| AuthorityError::Certificate)?;
        let certificate = pem.parse_x509().map_err(|_| AuthorityError::Certificate)?;
        let ends = Timestamp::from_second(certificate.validity().not_after.timestamp());
        let issuer = Issuer::from_ca_cert_pem(ca_pem, KeyPair::from_pem(key_pem)?)?;
        Ok(Self { issuer, ends: ends.map_err(|_| AuthorityError::Certificate)?, duration })
    }

    /// Signs; the certificate in PEM.
    pub fn sign(&self, mut asked: Asked, seconds: Option<i32>, now: Timestamp) -> Result<String, rcgen::Error> {
        let (begins, ends) = self.validity(seconds, now);
        let params = &mut asked.params.params;
        params.not_before = at(begins);
        params.not_after = at(ends);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial());
        set_usages(params, &asked.usages);
        Ok(asked.params.signed_by(&self.issuer)?.pem())
    }

    /// Upstream: `duration`, `PermissiveSigningPolicy.apply`.
    fn validity(&self, seconds: Option<i32>, now: Timestamp) -> (Timestamp, Timestamp) {
        let asked = seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
        let duration = asked.map_or(self.duration, |asked| asked.clamp(SHORTEST, self.duration.max(SHORTEST)));
        let stays = if duration < SHORT { duration } else { duration - BACKDATE };
        let ends = now.checked_add(stays).unwrap_or(self.ends).min(self.ends);
        (now.checked_sub(BACKDATE).unwrap_or(now), ends)
    }
}

fn at(time: Timestamp) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(time.as_second()).unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
}

/// 127 random bits: positive, and never seen before.
fn serial() -> SerialNumber {
    let mut bytes: [u8; 16] = rand::random();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

/// Upstream: authority/policies.go `keyUsagesFromStrings`.
fn set_usages(params: &mut CertificateParams, usages: &[String]) {
    params.key_usages.clear();
    params.extended_key_usages.clear();
    for usage in usages {
        match usage.as_str() {
            "signing" | "digital signature" => params.key_usages.push(KeyUsagePurpose::DigitalSignature),
            "content commitment" => params.key_usages.push(KeyUsagePurpose::ContentCommitment),
            "key encipherment" => params.key_usages.push(KeyUsagePurpose::KeyEncipherment),
            "key agreement" => params.key_usages.push(KeyUsagePurpose::KeyAgreement),
            "data encipherment" => params.key_usages.push(KeyUsagePurpose::DataEncipherment),
            "cert sign" => params.key_usages.push(KeyUsagePurpose::KeyCertSign),
            "crl sign" => params.key_usages.push(KeyUsagePurpose::CrlSign),
            "encipher only" => params.key_usages.push(KeyUsagePurpose::EncipherOnly),
            "decipher only" => params.key_usages.push(KeyUsagePurpose::DecipherOnly),
            "any" => params.extended_key_usages.push(ExtendedKeyUsagePurpose::Any),
            "server auth" => params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth),
            "client auth" => params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth),
            "code signing" => params.extended_key_usages.push(ExtendedKeyUsagePurpose::CodeSigning),
            "email protection" | "s/mime" => {
                params.extended_key_usages.push(ExtendedKeyUsagePurpose::EmailProtection);
            }
            "timestamping" => params.extended_key_usages.push(ExtendedKeyUsagePurpose::TimeStamping),
            "ocsp signing" => params.extended_key_usages.push(ExtendedKeyUsagePurpose::OcspSigning),
            // The rest are for protocols that have gone.
            _ => {}
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::certificates::request::tests::csr;
    use rcgen::BasicConstraints;

    pub(crate) fn authority() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Authority::new(&pem, &key.serialize_pem(), Duration::from_secs(365 * 24 * 3600)).expect("a CA")
    }

    #[test]
    fn certificates_say_what_was_asked_for() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let request = csr("", "ann", "devs", &["a.example"], &["digital signature", "client auth"]);
        let sign = |seconds, now| {
            let pem = authority().sign(Asked::of(&request).expect("a request"), seconds, now).expect("signed");
            let (_, pem) = parse_x509_pem(pem.as_bytes()).expect("PEM");
            let certificate = pem.parse_x509().expect("a certificate");
            let usage = certificate.extended_key_usage().expect("parsed").expect("there").value.clone();
            assert!(usage.client_auth && !usage.server_auth);
            assert!(!certificate.is_ca());
            let validity = certificate.validity();
            (validity.not_before.timestamp() - now.as_second(), validity.not_after.timestamp() - now.as_second())
        };
        assert_eq!(sign(None, now), (-300, 365 * 24 * 3600 - 300));
        assert_eq!(sign(Some(3600), now), (-300, 3600));
        assert_eq!(sign(Some(60), now), (-300, 600), "ten minutes at least");
        assert_eq!(sign(Some(i32::MAX), now), (-300, 365 * 24 * 3600 - 300), "no longer than configured");
        let late: Timestamp = "2029-12-31T00:00:00Z".parse().expect("a time");
        assert_eq!(sign(None, late).1, 24 * 3600, "no longer than the CA");
    }
}
