//! `AdmissionReview`: the question and the checks of the answer (upstream: webhook/request/admissionreview.go,
//! webhook/errors/statuserror.go).

use std::collections::BTreeMap;

use apimachinery::json::Read;
use apimachinery::{GroupVersionKind, Object, StatusError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::matched::namespace_of;
use super::view::View;
use crate::admission::{Operation, Request};

/// A version of `admission.k8s.io` that a webhook speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReviewVersion {
    V1,
    V1Beta1,
}

impl ReviewVersion {
    /// The first of a webhook's versions that is known here.
    pub(super) fn of(versions: &[String]) -> Option<Self> {
        versions.iter().find_map(|version| match version.as_str() {
            "v1" => Some(Self::V1),
            "v1beta1" => Some(Self::V1Beta1),
            _ => None,
        })
    }

    fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "admission.k8s.io/v1",
            Self::V1Beta1 => "admission.k8s.io/v1beta1",
        }
    }
}

/// What a webhook answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Answer {
    pub(super) allowed: bool,
    pub(super) patch: Vec<u8>,
    pub(super) patch_type: String,
    pub(super) result: Option<Value>,
    pub(super) warnings: Vec<String>,
    pub(super) audit_annotations: BTreeMap<String, String>,
}

/// The question to a webhook.
pub(super) fn question(version: ReviewVersion, uid: &str, request: &Request<'_>, view: &View) -> Value {
    let kind = |gvk: &GroupVersionKind| json!({"group": gvk.group, "version": gvk.version, "kind": gvk.kind});
    let resource =
        |row: &api::Resource| json!({"group": row.gvk.group, "version": row.gvk.version, "resource": row.plural});
    let object =
        |object: &Option<Object>| object.as_ref().map_or(Value::Null, |object| Value::Object(object.0.clone()));
    let user = &request.cx.user;
    let mut user_info = json!({"username": user.username, "groups": user.groups});
    if !user.uid.is_empty() {
        user_info["uid"] = user.uid.as_str().into();
    }
    if !user.extra.is_empty() {
        user_info["extra"] = json!(user.extra);
    }
    let own_kind = if request.subresource == "scale" { view.kind.clone() } else { request.kind() };
    let mut asked = json!({
        "uid": uid, "kind": kind(&view.kind), "resource": resource(&view.row),
        "requestKind": kind(&own_kind), "requestResource": resource(request.row),
        "operation": request.operation.name(), "userInfo": user_info,
        "object": object(&view.object), "oldObject": object(&view.old),
        "dryRun": request.dry_run, "options": options(request),
    });
    let name = match request.name.as_str() {
        "" => &request.cx.info.name,
        name => name,
    };
    for (field, text) in [
        ("name", name),
        ("namespace", namespace_of(request)),
        ("subResource", request.subresource),
        ("requestSubResource", request.subresource),
    ] {
        if !text.is_empty() {
            asked[field] = text.into();
        }
    }
    json!({"kind": "AdmissionReview", "apiVersion": version.api_version(), "request": asked})
}

/// The options of the operation, as `meta.k8s.io/v1`.
fn options(request: &Request<'_>) -> Value {
    let query = &request.cx.query;
    let kind = match (request.operation, request.cx.info.verb.as_str()) {
        (Operation::Connect, _) => return Value::Null,
        (Operation::Delete, _) => "DeleteOptions",
        (Operation::Create, _) => "CreateOptions",
        (Operation::Update, "patch") => "PatchOptions",
        (Operation::Update, _) => "UpdateOptions",
    };
    let mut options = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
    if request.dry_run {
        options["dryRun"] = json!(["All"]);
    }
    for field in ["fieldManager", "fieldValidation"] {
        if let Some(value) = query.get(field).filter(|_| request.operation != Operation::Delete) {
            options[field] = value.into();
        }
    }
    if kind == "PatchOptions" && query.is_true("force") {
        options["force"] = true.into();
    }
    options
}

/// Checks the answer to the question of this uid.
pub(super) fn answer(version: ReviewVersion, uid: &str, mutates: bool, review: &Value) -> Result<Answer, String> {
    let Some(response) = review.value("response") else { return Err("webhook response was absent".into()) };
    let given = response.text("uid");
    let patch = response.value("patch").map(|patch| STANDARD.decode(patch.as_str().unwrap_or_default()));
    let patch = patch.transpose().map_err(|error| error.to_string())?.unwrap_or_default();
    let mut patch_type = response.text("patchType").to_owned();
    if version == ReviewVersion::V1 {
        if given != uid {
            return Err(format!("expected response.uid={uid:?}, got {given:?}"));
        }
        let (api_version, kind) = (review.text("apiVersion"), review.text("kind"));
        if api_version != version.api_version() || kind != "AdmissionReview" {
            let wanted = "admission.k8s.io/v1, Kind=AdmissionReview";
            return Err(format!("expected webhook response of {wanted}, got {api_version}, Kind={kind}"));
        }
        check_patch(response, mutates, &patch, &patch_type)?;
    } else if !patch.is_empty() {
        patch_type = "JSONPatch".into();
    }
    let notes = response.object("auditAnnotations").iter();
    Ok(Answer {
        allowed: response.flag("allowed"),
        patch: if mutates { patch } else { Vec::new() },
        patch_type,
        result: response.value("status").cloned(),
        warnings: response.texts("warnings").map(str::to_owned).collect(),
        audit_annotations: notes.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect(),
    })
}

fn check_patch(response: &Value, mutates: bool, patch: &[u8], patch_type: &str) -> Result<(), String> {
    let has_type = response.has("patchType");
    let wrong = match (mutates, patch.is_empty(), has_type) {
        (true, false, false) => "webhook returned response.patch but not response.patchType",
        (true, true, true) => "webhook returned response.patchType but not response.patch",
        (true, false, true) if patch_type.is_empty() => {
            return Err(format!("webhook returned invalid response.patchType of {patch_type:?}"));
        }
        (false, false, _) => "validating webhook may not return response.patch",
        (false, true, true) => "validating webhook may not return response.patchType",
        _ => return Ok(()),
    };
    Err(wrong.into())
}

/// Reasons that a Status may have (upstream: metav1.StatusReason).
const REASONS: [&str; 19] = [
    "Unauthorized",
    "Forbidden",
    "NotFound",
    "AlreadyExists",
    "Conflict",
    "Gone",
    "Invalid",
    "ServerTimeout",
    "StoreReadError",
    "Timeout",
    "TooManyRequests",
    "BadRequest",
    "MethodNotAllowed",
    "NotAcceptable",
    "RequestEntityTooLarge",
    "UnsupportedMediaType",
    "InternalError",
    "Expired",
    "ServiceUnavailable",
];

/// A webhook's refusal (upstream: `ToStatusErr`).
pub(super) fn refusal(hook: &str, result: Option<&Value>) -> StatusError {
    let empty = Value::Object(Map::new());
    let result = result.unwrap_or(&empty);
    let code = result.int("code").and_then(|code| u16::try_from(code).ok()).filter(|code| *code >= 400).unwrap_or(400);
    let (message, given) = (result.text("message"), result.text("reason"));
    let denied = format!("admission webhook {hook:?} denied the request");
    let message = match (message, given) {
        ("", "") => format!("{denied} without explanation"),
        ("", reason) => format!("{denied}: {reason}"),
        (message, _) => format!("{denied}: {message}"),
    };
    let reason = REASONS.into_iter().find(|reason| *reason == given).unwrap_or_default();
    let mut error = StatusError::new(code, reason, message);
    error.details = result.value("details").cloned();
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(mutates: bool, response: Value) -> String {
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
        match answer(ReviewVersion::V1, "u", mutates, &review) {
            Ok(answer) => format!("allowed={} patch={}", answer.allowed, String::from_utf8_lossy(&answer.patch)),
            Err(error) => error,
        }
    }

    #[test]
    fn answers_are_checked() {
        for (mutates, response, expected) in [
            (false, json!({"uid": "u", "allowed": true}), "allowed=true patch="),
            (false, json!({"uid": "v", "allowed": true}), r#"expected response.uid="u", got "v""#),
            (
                true,
                json!({"uid": "u", "allowed": true, "patch": "W10=", "patchType": "JSONPatch"}),
                "allowed=true patch=[]",
            ),
            (true, json!({"uid": "u", "patch": "W10="}), "webhook returned response.patch but not response.patchType"),
            (
                true,
                json!({"uid": "u", "patchType": "JSONPatch"}),
                "webhook returned response.patchType but not response.patch",
            ),
            (false, json!({"uid": "u", "patch": "W10="}), "validating webhook may not return response.patch"),
            (false, Value::Null, "webhook response was absent"),
        ] {
            assert_eq!(judged(mutates, response.clone()), expected, "{response}");
        }
        let other = json!({"apiVersion": "v1", "kind": "Pod", "response": {"uid": "u"}});
        let error = answer(ReviewVersion::V1, "u", false, &other).expect_err("another kind");
        assert_eq!(error, "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got v1, Kind=Pod");
    }

    #[test]
    fn refusals_say_who_refused() {
        for (result, expected) in [
            (json!({}), r#"400  admission webhook "h" denied the request without explanation"#),
            (
                json!({"message": "no", "code": 403, "reason": "Forbidden"}),
                r#"403 Forbidden admission webhook "h" denied the request: no"#,
            ),
            (json!({"reason": "Because"}), r#"400  admission webhook "h" denied the request: Because"#),
            (json!({"code": 200}), r#"400  admission webhook "h" denied the request without explanation"#),
        ] {
            let error = refusal("h", Some(&result));
            assert_eq!(format!("{} {} {}", error.code, error.reason, error.message), expected);
        }
    }
}
