//! [`Asked`]: what a PKCS #10 request asks for, and which kubelets' requests are in order
//! (upstream: pkg/apis/certificates/helpers.go).

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use rcgen::{CertificateSigningRequestParams, DnType, DnValue, SanType};
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;

/// Why a request cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It is no PEM.
    #[error("PEM block type must be CERTIFICATE REQUEST")]
    Pem,
    /// It is no request, or its signature is wrong.
    #[error("unable to parse csr: {0}")]
    Unreadable(rcgen::Error),
}

/// Why a request is not what its signer signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Nodes are in one group.
    #[error("subject organization is not system:nodes")]
    Organization,
    /// Nodes have a name.
    #[error("subject common name does not begin with system:node:")]
    CommonName,
    /// Not for these certificates.
    #[error("DNS subjectAltNames are not allowed")]
    DnsNames,
    /// Not for these certificates.
    #[error("email subjectAltNames are not allowed")]
    Emails,
    /// Not for these certificates.
    #[error("IP subjectAltNames are not allowed")]
    Addresses,
    /// Not for these certificates.
    #[error("URI subjectAltNames are not allowed")]
    Uris,
    /// A server has a name.
    #[error("DNS or IP subjectAltName is required")]
    NoNames,
    /// A kubelet's client certificate is for this.
    #[error(
        "usages did not match [key encipherment, digital signature, client auth] or [digital signature, client auth]"
    )]
    ClientUsages,
    /// A kubelet's serving certificate is for this.
    #[error(
        "usages did not match [key encipherment, digital signature, server auth] or [digital signature, server auth]"
    )]
    ServerUsages,
    /// A client certificate is for clients.
    #[error("usages did not contain \"client auth\"")]
    NoClientAuth,
    /// A client certificate is for nothing else.
    #[error("invalid usages for client certificate")]
    OtherUsages,
}

/// What is asked for, with its signature verified.
pub struct Asked {
    /// Subject, names and key.
    pub params: CertificateSigningRequestParams,
    /// What the certificate is to be used for.
    pub usages: Vec<String>,
}

impl Asked {
    /// Reads the request in a CertificateSigningRequest.
    pub fn of(csr: &CertificateSigningRequest) -> Result<Self, RequestError> {
        let der = CertificateSigningRequestDer::from_pem_slice(&csr.spec.request.0).map_err(|_| RequestError::Pem)?;
        let params = CertificateSigningRequestParams::from_der(&der).map_err(RequestError::Unreadable)?;
        Ok(Self { params, usages: csr.spec.usages.clone().unwrap_or_default() })
    }

    /// The common name.
    pub fn common_name(&self) -> String {
        self.subject(&DnType::CommonName).into_iter().next().unwrap_or_default()
    }

    fn subject(&self, kind: &DnType) -> Vec<String> {
        let entries = self.params.params.distinguished_name.iter().filter(|(known, _)| *known == kind);
        entries.map(|(_, value)| text(value)).collect()
    }

    fn has_name(&self, is: fn(&SanType) -> bool) -> bool {
        self.params.params.subject_alt_names.iter().any(is)
    }

    /// Whether exactly these usages are asked for, with or without key encipherment.
    fn is_for(&self, required: [&str; 2]) -> bool {
        required.iter().all(|usage| self.usages.iter().any(|known| known == usage))
            && self.usages.iter().all(|usage| usage == "key encipherment" || required.contains(&usage.as_str()))
    }

    fn check_node(&self) -> Result<(), Mismatch> {
        if self.subject(&DnType::OrganizationName) != ["system:nodes"] {
            return Err(Mismatch::Organization);
        }
        Ok(())
    }

    /// Whether it is a kubelet's request for a client certificate (upstream: `ValidateKubeletClientCSR`).
    pub fn check_kubelet_client(&self) -> Result<(), Mismatch> {
        self.check_node()?;
        for (has, mismatch) in [
            (self.has_name(|name| matches!(name, SanType::DnsName(_))), Mismatch::DnsNames),
            (self.has_name(|name| matches!(name, SanType::Rfc822Name(_))), Mismatch::Emails),
            (self.has_name(|name| matches!(name, SanType::IpAddress(_))), Mismatch::Addresses),
            (self.has_name(|name| matches!(name, SanType::URI(_))), Mismatch::Uris),
            (!self.common_name().starts_with("system:node:"), Mismatch::CommonName),
            (!self.is_for(["digital signature", "client auth"]), Mismatch::ClientUsages),
        ] {
            if has {
                return Err(mismatch);
            }
        }
        Ok(())
    }

    /// Whether it is a kubelet's request for a serving certificate (upstream: `ValidateKubeletServingCSR`).
    pub fn check_kubelet_serving(&self) -> Result<(), Mismatch> {
        self.check_node()?;
        let named = self.has_name(|name| matches!(name, SanType::DnsName(_) | SanType::IpAddress(_)));
        for (has, mismatch) in [
            (!named, Mismatch::NoNames),
            (self.has_name(|name| matches!(name, SanType::Rfc822Name(_))), Mismatch::Emails),
            (self.has_name(|name| matches!(name, SanType::URI(_))), Mismatch::Uris),
            (!self.is_for(["digital signature", "server auth"]), Mismatch::ServerUsages),
            (!self.common_name().starts_with("system:node:"), Mismatch::CommonName),
        ] {
            if has {
                return Err(mismatch);
            }
        }
        Ok(())
    }

    /// Whether it is a request for a client certificate (upstream: `validAPIServerClientUsages`).
    pub fn check_api_client(&self) -> Result<(), Mismatch> {
        if !self.usages.iter().any(|usage| usage == "client auth") {
            return Err(Mismatch::NoClientAuth);
        }
        let allowed = ["client auth", "digital signature", "key encipherment"];
        if self.usages.iter().all(|usage| allowed.contains(&usage.as_str())) {
            Ok(())
        } else {
            Err(Mismatch::OtherUsages)
        }
    }
}

fn text(value: &DnValue) -> String {
    match value {
        DnValue::Utf8String(text) => text.clone(),
        DnValue::PrintableString(text) => text.as_str().to_owned(),
        DnValue::Ia5String(text) => text.as_str().to_owned(),
        DnValue::TeletexString(text) => text.as_str().to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use k8s_openapi::ByteString;
    use rcgen::{CertificateParams, KeyPair};

    /// A CertificateSigningRequest of a signer.
    pub(crate) fn csr(
        signer: &str,
        name: &str,
        group: &str,
        names: &[&str],
        usages: &[&str],
    ) -> CertificateSigningRequest {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, group);
        let key = KeyPair::generate().expect("a key");
        let pem = params.serialize_request(&key).expect("a request").pem().expect("text");
        let mut csr = CertificateSigningRequest::default();
        csr.metadata.name = Some("csr".into());
        csr.spec.request = ByteString(pem.into_bytes());
        csr.spec.signer_name = signer.to_owned();
        csr.spec.usages = Some(usages.iter().map(|usage| (*usage).to_owned()).collect());
        csr.spec.username = Some(name.to_owned());
        csr
    }

    #[test]
    fn kubelets_requests_are_recognized() {
        let client = &["digital signature", "key encipherment", "client auth"][..];
        let server = &["digital signature", "server auth"][..];
        let check = |name: &str, group: &str, names: &[&str], usages: &[&str]| {
            let asked = Asked::of(&csr("", name, group, names, usages)).expect("a request");
            (asked.check_kubelet_client().err(), asked.check_kubelet_serving().err())
        };
        let (node, group) = ("system:node:a", "system:nodes");
        assert_eq!(check(node, group, &[], client).0, None);
        assert_eq!(check(node, group, &[], &client[..2]).0, Some(Mismatch::ClientUsages));
        assert_eq!(check(node, "system:masters", &[], client).0, Some(Mismatch::Organization));
        assert_eq!(check("ann", group, &[], client).0, Some(Mismatch::CommonName));
        assert_eq!(check(node, group, &["a.example"], client).0, Some(Mismatch::DnsNames));
        assert_eq!(check(node, group, &["a.example", "192.0.2.1"], server).1, None);
        assert_eq!(check(node, group, &[], server).1, Some(Mismatch::NoNames));
        assert_eq!(check(node, group, &["a.example"], client).1, Some(Mismatch::ServerUsages));
    }

    #[test]
    fn nonsense_is_refused() {
        let mut request = csr("", "a", "b", &[], &[]);
        request.spec.request = ByteString(b"hello".to_vec());
        assert!(matches!(Asked::of(&request), Err(RequestError::Pem)));
    }
}
