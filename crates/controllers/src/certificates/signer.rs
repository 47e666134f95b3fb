//! Signs approved requests for the signers that the cluster itself is
//! (upstream: pkg/controller/certificates/signer/signer.go).

use std::sync::Arc;

use client::controller::{Requeue, run_workers};
use client::{Event, ObjectKey, WorkQueue};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;

use super::policy::Authority;
use super::request::{Asked, Mismatch};
use super::{API_CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY_UNKNOWN, add_condition, has_condition, is_issued};
use crate::context::Context;

/// Why a pass did not complete.
#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("write {name}: {err}")]
    Write { name: String, err: kube::Error },
    #[error("sign {name}: {err}")]
    Sign { name: String, err: rcgen::Error },
}

fn is_waiting(csr: &CertificateSigningRequest) -> bool {
    let ours = [API_CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY_UNKNOWN];
    ours.contains(&csr.spec.signer_name.as_str())
        && has_condition(csr, "Approved")
        && !has_condition(csr, "Denied")
        && !has_condition(csr, "Failed")
        && !is_issued(csr)
}

/// Whether the request is of the sort that its signer signs.
fn check(signer: &str, asked: &Asked) -> Result<(), Mismatch> {
    match signer {
        API_CLIENT => asked.check_api_client(),
        KUBELET_CLIENT => asked.check_kubelet_client(),
        KUBELET_SERVING => asked.check_kubelet_serving(),
        _ => Ok(()),
    }
}

/// Starts the controller.
pub async fn run(cx: Context, authority: Arc<Authority>) {
    let requests = cx.informer::<CertificateSigningRequest>();
    let queue: WorkQueue<String> = WorkQueue::new();
    let waiting = queue.clone();
    requests.on_event(move |event| {
        if !matches!(event, Event::Deleted(_)) && is_waiting(event.object()) {
            waiting.add(event.object().metadata.name.clone().unwrap_or_default());
        }
    });
    requests.synced().await;
    let lister = requests.lister();
    let client = cx.client.clone();
    run_workers("csr-signer", &cx.scope, &queue, 1, move |name: String| {
        let csr = lister.get(&ObjectKey::new("", name.clone()));
        let (client, authority) = (client.clone(), authority.clone());
        async move {
            let Some(csr) = csr.filter(|csr| is_waiting(csr)) else { return Ok(Requeue::No) };
            let Some(answered) = answer(&csr, &authority, component_base::now())
                .map_err(|err| SyncError::Sign { name: name.clone(), err })?
            else {
                return Ok(Requeue::No);
            };
            let api: Api<CertificateSigningRequest> = Api::all(client);
            let written = api.replace_status(&name, &PostParams::default(), &answered).await;
            written.map(|_| Requeue::No).map_err(|err| SyncError::Write { name, err })
        }
    });
}

/// The request with its certificate, or with why it gets none.
fn answer(
    csr: &CertificateSigningRequest,
    authority: &Authority,
    now: Timestamp,
) -> Result<Option<CertificateSigningRequest>, rcgen::Error> {
    let mut answered = csr.clone();
    let asked = match Asked::of(csr) {
        Ok(asked) => asked,
        Err(err) => {
            add_condition(&mut answered, "Failed", "SignerValidationFailure", &err.to_string());
            return Ok(Some(answered));
        }
    };
    if let Err(mismatch) = check(&csr.spec.signer_name, &asked) {
        add_condition(&mut answered, "Failed", "SignerValidationFailure", &mismatch.to_string());
        return Ok(Some(answered));
    }
    let pem = authority.sign(asked, csr.spec.expiration_seconds, now)?;
    answered.status.get_or_insert_default().certificate = Some(ByteString(pem.into_bytes()));
    Ok(Some(answered))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::policy::tests::authority;
    use crate::certificates::request::tests::csr;

    #[test]
    fn approved_requests_get_a_certificate_or_a_reason() {
        let now = component_base::now();
        let check = |signer: &str, name: &str, usages: &[&str]| {
            let mut request = csr(signer, name, "system:nodes", &[], usages);
            assert!(!is_waiting(&request), "not approved");
            add_condition(&mut request, "Approved", "", "");
            assert!(is_waiting(&request));
            let answered = answer(&request, &authority(), now).expect("signed").expect("answered");
            let failed = super::super::conditions(&answered).iter().find(|one| one.type_ == "Failed").cloned();
            assert_ne!(is_issued(&answered), failed.is_some());
            failed.and_then(|failed| failed.message).unwrap_or_default()
        };
        assert_eq!(check(KUBELET_CLIENT, "system:node:a", &["digital signature", "client auth"]), "");
        assert_eq!(
            check(KUBELET_CLIENT, "ann", &["client auth"]),
            "subject common name does not begin with system:node:"
        );
        assert_eq!(check(API_CLIENT, "ann", &["client auth"]), "");
        assert_eq!(check(API_CLIENT, "ann", &["server auth"]), "usages did not contain \"client auth\"");
        assert_eq!(check(LEGACY_UNKNOWN, "ann", &["server auth"]), "");
    }
}
