//! What upstream's strategies of `resource.k8s.io` judge with more than the object at hand: selectors are compiled,
//! administrators' access needs a namespace for administrators, and who writes a claim's status must be allowed to
//! write that part of it (upstream: pkg/registry/resource/utils.go, pkg/apis/resource/validation).

use apimachinery::field::{self, Path};
use apimachinery::json::Read;
use apimachinery::{Object, StatusError};
use async_trait::async_trait;
use k8s_cel::devices;
use serde_json::{Map, Value};

use super::{Handles, Operation, Plugin, Request, matching};
use crate::registry::write;

mod status;

/// Namespaces with this label set to "true" are for administrators.
const ADMIN: &str = "resource.kubernetes.io/admin-access";

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct DynamicResources;

#[async_trait]
impl Plugin for DynamicResources {
    fn name(&self) -> &'static str {
        "DynamicResources"
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.admits(Handles::UPDATES).validates(Handles::WRITES)
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), StatusError> {
        if is_status_of_claim(request)
            && let (Some(claim), Some(old)) = (request.object.as_mut(), &request.old)
        {
            status::forget_given_back(claim, old);
        }
        Ok(())
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), StatusError> {
        if request.row.gvk.group != "resource.k8s.io" || !request.writes() {
            return Ok(());
        }
        let Some(object) = &request.object else { return Ok(()) };
        let errors = match (request.row.gvk.kind.as_str(), request.subresource) {
            ("DeviceClass", "") => of_class(object, request.old.as_ref()),
            ("ResourceClaim", "") if request.operation == Operation::Create => {
                of_claim(request, object.object("spec"), &Path::new("spec")).await?
            }
            ("ResourceClaimTemplate", "") if request.operation == Operation::Create => {
                let path = Path::new("spec").child("spec");
                of_claim(request, object.object("spec").object("spec"), &path).await?
            }
            ("ResourceClaim", "status") => status::judge(request, object).await?,
            _ => return Ok(()),
        };
        write::refuse_if_invalid(request.row, object.name(), &errors)
    }
}

fn is_status_of_claim(request: &Request<'_>) -> bool {
    request.subresource == "status" && request.is_resource("resource.k8s.io", "resourceclaims") && request.writes()
}

/// Selectors that stay as they are were judged before.
fn of_class(class: &Object, old: Option<&Object>) -> Vec<field::Error> {
    let mut errors = Vec::new();
    let selectors = class.object("spec").list("selectors");
    if old.is_none_or(|old| old.object("spec").list("selectors") != selectors) {
        compile(&mut errors, selectors, &Path::new("spec").child("selectors"));
    }
    errors
}

async fn of_claim(
    request: &Request<'_>,
    spec: &Map<String, Value>,
    path: &Path,
) -> Result<Vec<field::Error>, StatusError> {
    let mut errors = Vec::new();
    let path = path.child("devices").child("requests");
    let mut privileged = None;
    for (index, one) in spec.object("devices").list("requests").iter().enumerate() {
        let path = path.index(index);
        let exactly = one.object("exactly");
        if exactly.flag("adminAccess") {
            privileged.get_or_insert_with(|| path.child("adminAccess"));
        }
        compile(&mut errors, exactly.list("selectors"), &path.child("exactly").child("selectors"));
        for (index, alternative) in one.list("firstAvailable").iter().enumerate() {
            let path = path.child("firstAvailable").index(index).child("selectors");
            compile(&mut errors, alternative.list("selectors"), &path);
        }
    }
    if let Some(path) = privileged {
        errors.extend(not_for_administrators(request, &path).await?);
    }
    Ok(errors)
}

/// Upstream: `validateCELExpression`.
fn compile(errors: &mut Vec<field::Error>, selectors: &[Value], path: &Path) {
    for (index, selector) in selectors.iter().enumerate() {
        let expression = selector.object("cel").text("expression");
        let path = || path.index(index).child("cel").child("expression");
        match devices::compile(expression) {
            Err(problem) => errors.push(field::Error::invalid(&path(), expression, problem)),
            Ok(program) if program.max_cost() > devices::MAX_COST => {
                errors.push(field::Error::forbidden(&path(), "too complex, exceeds cost limit"));
            }
            Ok(_) => {}
        }
    }
}

/// Upstream: `AuthorizedForAdmin`, `AuthorizedForAdminStatus`.
async fn not_for_administrators(request: &Request<'_>, path: &Path) -> Result<Option<field::Error>, StatusError> {
    let namespace = matching::namespace(request, request.namespace).await?;
    if namespace.labels().any(|label| label == (ADMIN, "true")) {
        return Ok(None);
    }
    let detail = format!("admin access to devices requires the `{ADMIN}: true` label on the containing namespace");
    Ok(Some(field::Error::forbidden(path, detail)))
}
