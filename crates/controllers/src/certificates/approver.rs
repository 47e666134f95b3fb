//! Approves kubelets' client certificates when whoever asks may have one
//! (upstream: pkg/controller/certificates/approver/sarapprove.go).

use client::controller::{Requeue, run_workers};
use client::{Event, ObjectKey, WorkQueue};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::Api;
use kube::api::PostParams;

use super::request::Asked;
use super::{KUBELET_CLIENT, add_condition, has_condition, is_issued};
use crate::context::Context;

/// Why a pass did not complete.
#[derive(Debug, thiserror::Error)]
#[error("approve {name}: {err}")]
struct SyncError {
    name: String,
    err: kube::Error,
}

/// Who may have which certificate: the permission that is asked for, and what is said when it is there.
struct Recognized {
    subresource: &'static str,
    message: &'static str,
}

const SELF_NODE: Recognized = Recognized {
    subresource: "selfnodeclient",
    message: "Auto approving self kubelet client certificate after SubjectAccessReview.",
};
const NODE: Recognized = Recognized {
    subresource: "nodeclient",
    message: "Auto approving kubelet client certificate after SubjectAccessReview.",
};

/// What the request may be approved as.
fn recognize(csr: &CertificateSigningRequest) -> Vec<Recognized> {
    if csr.spec.signer_name != KUBELET_CLIENT {
        return Vec::new();
    }
    let Ok(asked) = Asked::of(csr) else { return Vec::new() };
    if asked.check_kubelet_client().is_err() {
        return Vec::new();
    }
    let is_self = csr.spec.username.as_deref() == Some(&asked.common_name());
    if is_self { vec![SELF_NODE, NODE] } else { vec![NODE] }
}

fn is_open(csr: &CertificateSigningRequest) -> bool {
    !is_issued(csr) && !has_condition(csr, "Approved") && !has_condition(csr, "Denied")
}

/// Starts the controller.
pub async fn run(cx: Context) {
    let requests = cx.informer::<CertificateSigningRequest>();
    let queue: WorkQueue<String> = WorkQueue::new();
    let waiting = queue.clone();
    requests.on_event(move |event| {
        if !matches!(event, Event::Deleted(_)) && is_open(event.object()) {
            waiting.add(event.object().metadata.name.clone().unwrap_or_default());
        }
    });
    requests.synced().await;
    let lister = requests.lister();
    let client = cx.client.clone();
    run_workers("csr-approver", &cx.scope, &queue, 1, move |name: String| {
        let (csr, client) = (lister.get(&ObjectKey::new("", name.clone())), client.clone());
        async move {
            let Some(csr) = csr.filter(|csr| is_open(csr)) else { return Ok(Requeue::No) };
            approve(&client, &csr).await.map(|()| Requeue::No).map_err(|err| SyncError { name, err })
        }
    });
}

async fn approve(client: &client::Client, csr: &CertificateSigningRequest) -> Result<(), kube::Error> {
    for recognized in recognize(csr) {
        let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
        let answer = reviews.create(&PostParams::default(), &review(csr, recognized.subresource)).await?;
        if !answer.status.is_some_and(|status| status.allowed) {
            continue;
        }
        let mut approved = csr.clone();
        add_condition(&mut approved, "Approved", "AutoApproved", recognized.message);
        let requests: Api<CertificateSigningRequest> = Api::all(client.clone());
        let name = csr.metadata.name.as_deref().unwrap_or_default();
        requests.replace_subresource("approval", name, &PostParams::default(), &approved).await?;
        return Ok(());
    }
    Ok(())
}

fn review(csr: &CertificateSigningRequest, subresource: &str) -> SubjectAccessReview {
    let attributes = ResourceAttributes {
        group: Some("certificates.k8s.io".into()),
        resource: Some("certificatesigningrequests".into()),
        subresource: Some(subresource.into()),
        verb: Some("create".into()),
        version: Some("*".into()),
        ..ResourceAttributes::default()
    };
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: csr.spec.username.clone(),
            uid: csr.spec.uid.clone(),
            groups: csr.spec.groups.clone(),
            extra: csr.spec.extra.clone(),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::request::tests::csr;

    #[test]
    fn only_kubelets_client_certificates_are_recognized() {
        let usages = &["digital signature", "client auth"][..];
        let check = |signer: &str, name: &str, user: &str| -> Vec<&str> {
            let mut request = csr(signer, name, "system:nodes", &[], usages);
            request.spec.username = Some(user.to_owned());
            recognize(&request).iter().map(|recognized| recognized.subresource).collect()
        };
        assert_eq!(check(KUBELET_CLIENT, "system:node:a", "system:node:a"), ["selfnodeclient", "nodeclient"]);
        assert_eq!(check(KUBELET_CLIENT, "system:node:a", "system:bootstrap:abcdef"), ["nodeclient"]);
        assert!(check("kubernetes.io/kube-apiserver-client", "system:node:a", "system:node:a").is_empty());
        assert!(check(KUBELET_CLIENT, "ann", "ann").is_empty());
    }
}
