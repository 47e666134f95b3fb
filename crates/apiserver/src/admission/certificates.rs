//! Who may approve and sign certificates, and which nobody gets
//! (upstream: plugin/pkg/admission/certificates/{approval,signing,subjectrestriction,ctbattest}).

use apimachinery::field::{self, Path};
use apimachinery::{GroupKind, Object, StatusError};
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use super::{Handles, Operation, Plugin, Request};
use crate::authorizer::{Attributes, Decision};

const GROUP: &str = "certificates.k8s.io";
const API_CLIENT: &str = "kubernetes.io/kube-apiserver-client";
const PRIVILEGED_GROUP: &str = "system:masters";

/// Whoever approves must be allowed to approve for the signer.
#[derive(Clone, Copy, Debug, Default)]
pub struct CertificateApproval;

/// Whoever signs must be allowed to sign for the signer.
#[derive(Clone, Copy, Debug, Default)]
pub struct CertificateSigning;

/// Nobody becomes an administrator by a certificate.
#[derive(Clone, Copy, Debug, Default)]
pub struct CertificateSubjectRestriction;

/// Whoever publishes a signer's trust bundle must be allowed to attest for the signer.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClusterTrustBundleAttest;

/// Whether the user may do this for the signer, or for all signers of its domain
/// (upstream: pkg/certauthorization `IsAuthorizedForSignerName`).
async fn may(request: &Request<'_>, verb: &str, signer: &str) -> bool {
    let domain = signer.split('/').next().unwrap_or_default();
    for name in [signer, &format!("{domain}/*")] {
        let asked = Attributes {
            verb,
            group: GROUP,
            version: "*",
            resource: "signers",
            name,
            ..Attributes::on_resource(&request.cx.user)
        };
        if request.cx.server.authorizer.judge(&asked).await.decision == Decision::Allow {
            return true;
        }
    }
    false
}

fn signer_of(object: Option<&Object>) -> &str {
    object.and_then(|object| object.str_at(&["spec", "signerName"])).unwrap_or_default()
}

fn is_request(request: &Request<'_>, operation: Operation, subresource: &str) -> bool {
    request.operation == operation
        && request.row.gvk.group == GROUP
        && request.row.gvk.kind == "CertificateSigningRequest"
        && request.subresource == subresource
}

#[async_trait]
impl Plugin for CertificateApproval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.validates(Handles::UPDATES)
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), StatusError> {
        if !is_request(request, Operation::Update, "approval") {
            return Ok(());
        }
        // The old object counts: the request's own spec is not stored.
        let signer = signer_of(request.old.as_ref());
        if may(request, "approve", signer).await {
            return Ok(());
        }
        Err(request.forbidden(format!("user not permitted to approve requests with signerName {signer:?}")))
    }
}

#[async_trait]
impl Plugin for CertificateSigning {
    fn name(&self) -> &'static str {
        "CertificateSigning"
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.validates(Handles::UPDATES)
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), StatusError> {
        if is_pod_status(request) {
            return may_sign_for_pod(request).await;
        }
        if !is_request(request, Operation::Update, "status") {
            return Ok(());
        }
        let field = |object: &Option<Object>, name: &str| -> Value {
            object.as_ref().and_then(|object| object.at(&["status", name])).cloned().unwrap_or_default()
        };
        let same = |name| field(&request.object, name) == field(&request.old, name);
        if same("certificate") && same("conditions") {
            return Ok(());
        }
        let signer = signer_of(request.old.as_ref());
        if may(request, "sign", signer).await {
            return Ok(());
        }
        Err(request.forbidden(format!("user not permitted to sign requests with signerName {signer:?}")))
    }
}

fn is_pod_status(request: &Request<'_>) -> bool {
    request.operation == Operation::Update
        && request.subresource == "status"
        && request.row.gvk.group == GROUP
        && request.row.gvk.kind == "PodCertificateRequest"
}

/// Whoever answers a pod's request signs for its signer
/// (upstream: pkg/registry/certificates/podcertificaterequest/strategy.go `StatusStrategy.ValidateUpdate`).
async fn may_sign_for_pod(request: &Request<'_>) -> Result<(), StatusError> {
    let status = |object: &Option<Object>| object.as_ref().and_then(|object| object.0.get("status")).cloned();
    let signer = signer_of(request.old.as_ref());
    if status(&request.object) == status(&request.old) || may(request, "sign", signer).await {
        return Ok(());
    }
    let user = &request.cx.user.username;
    let cause = format!("User {user:?} is not permitted to \"sign\" for signer {signer:?}");
    let error = field::Error::forbidden(&Path::new("spec").child("signerName"), cause);
    let kind = GroupKind::new(GROUP, "PodCertificateRequest");
    Err(StatusError::invalid(&kind, &request.name, &[error]))
}

#[async_trait]
impl Plugin for CertificateSubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.validates(Handles::CREATES)
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), StatusError> {
        if !is_request(request, Operation::Create, "") || signer_of(request.object.as_ref()) != API_CLIENT {
            return Ok(());
        }
        let text = request.object.as_ref().and_then(|object| object.str_at(&["spec", "request"])).unwrap_or_default();
        let Some(organizations) = organizations(text) else {
            return Err(request.forbidden("unable to parse the certificate signing request"));
        };
        if organizations.iter().any(|organization| organization == PRIVILEGED_GROUP) {
            return Err(
                request.forbidden(format!("use of {API_CLIENT} signer with {PRIVILEGED_GROUP} group is not allowed"))
            );
        }
        Ok(())
    }
}

/// What is read of the subject of a request in base64 of PEM.
fn of_subject<T>(request: &str, read: impl FnOnce(&X509Name<'_>) -> T) -> Option<T> {
    let pem = BASE64.decode(request).ok()?;
    let pem = Pem::iter_from_buffer(&pem).flatten().find(|block| block.label == "CERTIFICATE REQUEST")?;
    let (_, parsed) = X509CertificationRequest::from_der(&pem.contents).ok()?;
    Some(read(&parsed.certification_request_info.subject))
}

/// The organizations that a request asks for.
fn organizations(request: &str) -> Option<Vec<String>> {
    of_subject(request, |subject| {
        subject.iter_organization().filter_map(|name| name.as_str().ok()).map(str::to_owned).collect()
    })
}

/// The name that a request asks for; empty where it names nobody.
pub(super) fn common_name(request: &str) -> Option<String> {
    of_subject(request, |subject| {
        let name = subject.iter_common_name().next().and_then(|name| name.as_str().ok());
        name.unwrap_or_default().to_owned()
    })
}

#[async_trait]
impl Plugin for ClusterTrustBundleAttest {
    fn name(&self) -> &'static str {
        "ClusterTrustBundleAttest"
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.validates(Handles::WRITES)
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), StatusError> {
        let writes = matches!(request.operation, Operation::Create | Operation::Update);
        if !writes || !request.is_main(GROUP, "ClusterTrustBundle") {
            return Ok(());
        }
        // Changing only who owns it is not attesting.
        let spec = |object: &Option<Object>| object.as_ref().and_then(|object| object.0.get("spec")).cloned();
        if request.operation == Operation::Update && spec(&request.object) == spec(&request.old) {
            return Ok(());
        }
        let signer = signer_of(request.object.as_ref());
        if signer.is_empty() || may(request, "attest", signer).await {
            return Ok(());
        }
        Err(request.forbidden(format!("user not permitted to attest for signerName {signer:?}")))
    }
}
