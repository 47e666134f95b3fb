//! Secrets (upstream: `ValidateSecret`, pkg/apis/core/v1/conversion.go for `stringData`).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::config_map::{MAX_SIZE, decoded_len, keys, sealed};
use crate::check::{self, Errors};
use crate::json::{Read, Write};
use crate::resource::{Generation, Strategy};

/// The strategy of secrets.
pub(crate) struct Secret;

impl Strategy for Secret {
    fn default(&self, object: &mut Object) {
        object.default_text("type", "Opaque");
        // `stringData` is for writing only: it becomes part of `data`.
        if let Some(Value::Object(texts)) = object.0.remove("stringData")
            && !texts.is_empty()
            && let Some(data) = object.object_made("data")
        {
            for (key, text) in texts {
                data.insert(key, STANDARD.encode(text.as_str().unwrap_or_default()).into());
            }
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (data, path) = (object.object("data"), Path::new("data"));
        keys(&mut errors, data, &path);
        if data.values().filter_map(Value::as_str).map(decoded_len).sum::<usize>() > MAX_SIZE {
            errors.push(Error::too_long(&path, MAX_SIZE));
        }
        let mut need = |key: &str| {
            if !data.contains_key(key) {
                errors.push(Error::required(&path.key(key), ""));
            }
        };
        match object.text("type") {
            "kubernetes.io/service-account-token"
                if object
                    .object("metadata")
                    .object("annotations")
                    .text("kubernetes.io/service-account.name")
                    .is_empty() =>
            {
                let path = Path::new("metadata").child("annotations").key("kubernetes.io/service-account.name");
                errors.push(Error::required(&path, ""));
            }
            "kubernetes.io/dockercfg" => {
                need(".dockercfg");
                json_object(&mut errors, object, ".dockercfg");
            }
            "kubernetes.io/dockerconfigjson" => {
                need(".dockerconfigjson");
                json_object(&mut errors, object, ".dockerconfigjson");
            }
            "kubernetes.io/basic-auth" if !data.contains_key("username") && !data.contains_key("password") => {
                need("username");
                need("password");
            }
            "kubernetes.io/ssh-auth" if data.text("ssh-privatekey").is_empty() => {
                errors.push(Error::required(&path.key("ssh-privatekey"), ""));
            }
            "kubernetes.io/tls" => {
                need("tls.crt");
                need("tls.key");
            }
            _ => {}
        }
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        check::immutable(&mut errors, object.value("type"), old.value("type"), &Path::new("type"));
        errors.extend(sealed(object, old, &["data"]));
        errors
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}

fn json_object(errors: &mut Errors, object: &Object, key: &str) {
    let Some(text) = object.object("data").get(key).and_then(Value::as_str) else { return };
    let parsed = STANDARD.decode(text).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    if !parsed.is_some_and(|value| value.is_object()) {
        let detail = "unable to parse as JSON: not an object";
        errors.push(Error::invalid(&Path::new("data").key(key), "<secret contents redacted>", detail));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_become_data() {
        let mut secret = Object::from_value(json!({"data": {"a": "eA==", "b": "eA=="}, "stringData": {"b": "y"}}))
            .expect("an object");
        Secret.default(&mut secret);
        assert_eq!(secret.into_value(), json!({"type": "Opaque", "data": {"a": "eA==", "b": "eQ=="}}));
    }

    #[test]
    fn a_sealed_secret_stays() {
        let old =
            Object::from_value(json!({"type": "Opaque", "immutable": true, "data": {"a": ""}})).expect("an object");
        let new = Object::from_value(json!({"type": "x", "data": {}})).expect("an object");
        let errors: Vec<String> = Secret.validate_update(&new, &old).iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                r#"type: Invalid value: "x": field is immutable"#,
                "immutable: Forbidden: field is immutable when `immutable` is set",
                "data: Forbidden: field is immutable when `immutable` is set",
            ]
        );
    }
}
