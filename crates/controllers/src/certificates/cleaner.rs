//! Removes requests that nobody needs any more (upstream: pkg/controller/certificates/cleaner/cleaner.go).

use std::time::Duration;

use client::controller::{Requeue, run_workers};
use client::{ApiError, Event, ObjectKey, WorkQueue};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use x509_parser::pem::parse_x509_pem;

use super::{conditions, has_condition, is_issued};
use crate::context::Context;

const DECIDED_STAYS: Duration = Duration::from_secs(3600);
const PENDING_STAYS: Duration = Duration::from_secs(24 * 3600);

/// Why a pass did not complete.
#[derive(Debug, thiserror::Error)]
#[error("delete {name}: {err}")]
struct SyncError {
    name: String,
    err: kube::Error,
}

/// When the request may go; `None` while that depends on something that has not happened.
fn goes_at(csr: &CertificateSigningRequest) -> Option<Timestamp> {
    let decided = |kind: &str| {
        let condition =
            conditions(csr).iter().find(|condition| condition.type_ == kind && condition.status != "False")?;
        condition.last_update_time.as_ref()?.0.checked_add(DECIDED_STAYS).ok()
    };
    let mut times: Vec<Timestamp> = [decided("Denied"), decided("Failed")].into_iter().flatten().collect();
    if is_issued(csr) {
        times.extend(decided("Approved"));
        times.extend(expiry(csr));
    }
    let is_pending = !["Approved", "Denied", "Failed"].iter().any(|kind| has_condition(csr, kind));
    if is_pending {
        times.extend(csr.metadata.creation_timestamp.as_ref().and_then(|at| at.0.checked_add(PENDING_STAYS).ok()));
    }
    times.into_iter().min()
}

/// When the issued certificate ends.
fn expiry(csr: &CertificateSigningRequest) -> Option<Timestamp> {
    let certificate = csr.status.as_ref()?.certificate.as_ref()?;
    let (_, pem) = parse_x509_pem(&certificate.0).ok()?;
    Timestamp::from_second(pem.parse_x509().ok()?.validity().not_after.timestamp()).ok()
}

/// Starts the controller.
pub async fn run(cx: Context) {
    let requests = cx.informer::<CertificateSigningRequest>();
    let queue: WorkQueue<String> = WorkQueue::new();
    let waiting = queue.clone();
    requests.on_event(move |event| {
        if !matches!(event, Event::Deleted(_)) {
            waiting.add(event.object().metadata.name.clone().unwrap_or_default());
        }
    });
    requests.synced().await;
    let lister = requests.lister();
    let client = cx.client.clone();
    run_workers("csr-cleaner", &cx.scope, &queue, 1, move |name: String| {
        let (csr, client) = (lister.get(&ObjectKey::new("", name.clone())), client.clone());
        async move {
            let Some(csr) = csr.filter(|csr| csr.metadata.deletion_timestamp.is_none()) else { return Ok(Requeue::No) };
            let Some(at) = goes_at(&csr) else { return Ok(Requeue::No) };
            let left = Duration::try_from(at.duration_since(component_base::now())).unwrap_or_default();
            if !left.is_zero() {
                return Ok(Requeue::After(left));
            }
            let same = Preconditions { uid: csr.metadata.uid.clone(), resource_version: None };
            let params = DeleteParams { preconditions: Some(same), ..DeleteParams::default() };
            let api: Api<CertificateSigningRequest> = Api::all(client);
            match api.delete(&name, &params).await {
                Err(err) if !err.is_not_found() => Err(SyncError { name, err }),
                _ => Ok(Requeue::No),
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::request::tests::csr;
    use crate::certificates::{KUBELET_CLIENT, add_condition};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    #[test]
    fn requests_stay_as_long_as_somebody_may_want_them() {
        let now = component_base::now();
        let mut request = csr(KUBELET_CLIENT, "a", "b", &[], &[]);
        request.metadata.creation_timestamp = Some(Time(now));
        let stays = |request: &CertificateSigningRequest| {
            goes_at(request).map(|at| (at.duration_since(now).as_secs() + 1) / 3600)
        };
        assert_eq!(stays(&request), Some(24));
        add_condition(&mut request, "Approved", "", "");
        assert_eq!(stays(&request), None, "it waits to be signed");
        request.status.get_or_insert_default().certificate = Some(k8s_openapi::ByteString(b"x".to_vec()));
        assert_eq!(stays(&request), Some(1));
    }
}
