//! Certificate signing requests (upstream: pkg/registry/certificates/certificates/strategy.go).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::{Value, json};

use super::required;
use crate::check::{self, Errors, names};
use crate::json::{Read, Write};
use crate::resource::{Generation, Strategy, WriteContext};

/// The strategy of certificate signing requests.
pub(crate) struct CertificateSigningRequest;

impl Strategy for CertificateSigningRequest {
    /// The request carries who made it, whatever it claims.
    fn prepare_for_create(&self, cx: &WriteContext<'_>, object: &mut Object) {
        object.0.insert("status".into(), json!({}));
        let Some(spec) = object.object_made("spec") else { return };
        for field in ["username", "uid", "groups", "extra"] {
            spec.remove(field);
        }
        spec.insert("username".into(), cx.user.username.clone().into());
        spec.insert("groups".into(), cx.user.groups.clone().into());
        if !cx.user.uid.is_empty() {
            spec.insert("uid".into(), cx.user.uid.clone().into());
        }
    }

    fn prepare_for_update(&self, cx: &WriteContext<'_>, object: &mut Object, old: &Object) {
        object.0.insert("spec".into(), old.value("spec").cloned().unwrap_or_default());
        if cx.subresource == "approval" {
            // Approving changes the conditions and nothing else.
            let conditions = object.at(&["status", "conditions"]).cloned();
            let mut status = old.value("status").cloned().unwrap_or(json!({}));
            if let Some(fields) = status.as_object_mut() {
                fields.insert("conditions".into(), conditions.unwrap_or(Value::Array(Vec::new())));
            }
            object.0.insert("status".into(), status);
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (spec, path) = (object.object("spec"), Path::new("spec"));
        check::required(&mut errors, spec, "request", &path);
        if spec.list("usages").is_empty() {
            errors.push(Error::required(&path.child("usages"), ""));
        }
        if check::required(&mut errors, spec, "signerName", &path) && !spec.text("signerName").contains('/') {
            let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
            errors.push(Error::invalid(&path.child("signerName"), spec.text("signerName"), detail));
        }
        errors
    }

    fn name_errors(&self, name: &str, prefix: bool) -> Vec<String> {
        names::name_is_path_segment(name, prefix)
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}

/// The strategy of trust bundles, whose names carry their signer's.
pub(crate) struct TrustBundle;

impl Strategy for TrustBundle {
    fn validate(&self, object: &Object) -> Vec<field::Error> {
        required::missing(object, &["spec"])
    }

    fn name_errors(&self, name: &str, prefix: bool) -> Vec<String> {
        names::name_is_path_segment(name, prefix)
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}
