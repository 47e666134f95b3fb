//! Who asks, and whether they may (upstream: pkg/kubelet/server/auth.go). Nobody is served without an identity.

use std::fmt;

use client::Client;
use http::header::AUTHORIZATION;
use http::{Method, Request};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;
use rustls_pki_types::CertificateDer;
use streaming::upgrade;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The group that may do everything.
const MASTERS: &str = "system:masters";

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// User name.
    pub user: String,
    /// Groups.
    pub groups: Vec<String>,
}

/// The identity in a client certificate (which TLS has verified): common name and organizations.
pub fn of_certificate(certificate: &CertificateDer<'_>) -> Option<Identity> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let subject = parsed.subject();
    let user = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = subject.iter_organization().filter_map(|name| name.as_str().ok().map(str::to_owned)).collect();
    (!user.is_empty()).then_some(Identity { user, groups })
}

/// The identity of a request: its certificate, or its token by TokenReview.
pub async fn authenticate<B>(
    client: &Client,
    request: &Request<B>,
    certificate: Option<Identity>,
) -> Result<Option<Identity>, kube::Error> {
    if certificate.is_some() {
        return Ok(certificate);
    }
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(token) = header.and_then(|value| value.strip_prefix("Bearer ")) else { return Ok(None) };
    let spec = TokenReviewSpec { token: token.trim().to_owned(), ..TokenReviewSpec::default() };
    let review = TokenReview { spec, ..TokenReview::default() };
    let review = Api::all(client.clone()).create(&PostParams::default(), &review).await?;
    let status = review.status.filter(|status| status.authenticated == Some(true));
    let user = status.and_then(|status| status.user);
    Ok(user.map(|user| Identity { user: user.username.unwrap_or_default(), groups: user.groups.unwrap_or_default() }))
}

/// What a request needs the right to: a verb on a part of this Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    verb: &'static str,
    node: String,
    /// From the narrowest right to the widest; one is enough.
    subresources: Vec<&'static str>,
}

impl Wanted {
    /// The rights for a request (upstream: NodeRequestAttributes, with fine-grained authorization).
    pub fn of<B>(request: &Request<B>, node: &str) -> Self {
        let verb = match *request.method() {
            // Opening a session is creating one, whatever the transport's method.
            _ if upgrade::requested(request).is_some() => "create",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "get",
        };
        let first = request.uri().path().trim_start_matches('/').split('/').next().unwrap_or_default();
        let subresources = match first {
            "stats" => vec!["stats"],
            "metrics" => vec!["metrics"],
            "logs" => vec!["log"],
            "pods" | "runningpods" => vec!["pods", "proxy"],
            "healthz" => vec!["healthz", "proxy"],
            _ => vec!["proxy"],
        };
        Self { verb, node: node.to_owned(), subresources }
    }

    /// The answer to who may not.
    pub fn refusal(&self, identity: &Identity) -> String {
        format!("Forbidden (user={}, {self})", identity.user)
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "verb={}, resource=nodes, subresource(s)=[{}]", self.verb, self.subresources.join(" "))
    }
}

/// Whether the API server lets `identity` do what is wanted.
pub async fn authorize(client: &Client, identity: &Identity, wanted: &Wanted) -> Result<bool, kube::Error> {
    if identity.groups.iter().any(|group| group == MASTERS) {
        return Ok(true);
    }
    for subresource in &wanted.subresources {
        let attributes = ResourceAttributes {
            verb: Some(wanted.verb.to_owned()),
            version: Some("v1".to_owned()),
            resource: Some("nodes".to_owned()),
            subresource: Some((*subresource).to_owned()),
            name: Some(wanted.node.clone()),
            ..ResourceAttributes::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: Some(identity.user.clone()),
            groups: Some(identity.groups.clone()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let review = Api::all(client.clone()).create(&PostParams::default(), &review).await?;
        if review.status.is_some_and(|status| status.allowed) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_name_user_and_groups() {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "kube-apiserver");
        params.distinguished_name.push(rcgen::DnType::OrganizationName, MASTERS);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let identity = of_certificate(certificate.der()).expect("an identity");
        assert_eq!(identity, Identity { user: "kube-apiserver".into(), groups: vec![MASTERS.into()] });
    }

    #[test]
    fn rights_by_request() {
        for (method, path, expected) in [
            ("GET", "/pods", "verb=get, resource=nodes, subresource(s)=[pods proxy]"),
            ("POST", "/exec/n/p/c", "verb=create, resource=nodes, subresource(s)=[proxy]"),
            ("GET", "/stats/summary", "verb=get, resource=nodes, subresource(s)=[stats]"),
        ] {
            let request = Request::builder().method(method).uri(path).body(()).expect("a request");
            assert_eq!(Wanted::of(&request, "node").to_string(), expected);
        }
    }
}
