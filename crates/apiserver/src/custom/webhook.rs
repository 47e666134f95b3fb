//! Conversion by a webhook (upstream: apiextensions-apiserver/pkg/apiserver/conversion/webhook_converter.go).

use std::time::Duration;

use api::Resource;
use api::custom::ConversionWebhook;
use apimachinery::{GroupVersionKind, Object, field, labels, meta};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::metrics::Asked;
use crate::server::ApiServer;
use crate::webhook_client::HookError;

/// How long a conversion may take (upstream: the client's default).
const PATIENCE: Duration = Duration::from_secs(30);

/// Why objects could not be converted; the words are upstream's.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConversionError {
    /// The webhook understands no version of ConversionReview that is spoken here.
    #[error("no supported conversion review versions")]
    Versions,
    /// It could not be asked.
    #[error("conversion webhook for {kind} failed: {cause}")]
    Call {
        /// The kind, as Go spells it.
        kind: String,
        /// What went wrong.
        #[source]
        cause: HookError,
    },
    /// It said no, or something that is no answer.
    #[error("conversion webhook for {kind} failed: {cause}")]
    Answer {
        /// The kind, as Go spells it.
        kind: String,
        /// What is wrong.
        cause: String,
    },
    /// It answered another number of objects.
    #[error("conversion webhook for {kind} returned {found} objects, expected {expected}")]
    Number {
        /// The kind, as Go spells it.
        kind: String,
        /// How many came.
        found: usize,
        /// How many were sent.
        expected: usize,
    },
    /// One of the objects is not what was asked for.
    #[error("conversion webhook for {kind} returned invalid converted object at index {index}: {cause}")]
    Object {
        /// The kind, as Go spells it.
        kind: String,
        /// Which.
        index: usize,
        /// What is wrong.
        cause: String,
    },
}

/// Asks the webhook for these objects in another version; they come back in order.
pub(super) async fn convert(
    server: &ApiServer,
    hook: &ConversionWebhook,
    row: &Resource,
    to: &GroupVersionKind,
    objects: Vec<Object>,
) -> Result<Vec<Object>, ConversionError> {
    let from = objects.first().map(|object| GroupVersionKind::from_api_version(object.api_version(), ""));
    let (from, definition) = (from.unwrap_or_default().version, row.group_resource().to_string());
    let began = Instant::now();
    let outcome = ask(server, hook, row, to, objects).await;
    let asked = Asked { definition: &definition, from: &from, to: &to.version };
    server.definitions.metrics.observe(asked, &outcome, began.elapsed());
    outcome
}

async fn ask(
    server: &ApiServer,
    hook: &ConversionWebhook,
    row: &Resource,
    to: &GroupVersionKind,
    objects: Vec<Object>,
) -> Result<Vec<Object>, ConversionError> {
    let from = objects.first().map(Object::api_version).unwrap_or_default();
    let kind = format!("{from}, Kind={}", row.gvk.kind);
    let known = |version: &&String| matches!(version.as_str(), "v1" | "v1beta1");
    let version = hook.review_versions.iter().find(known).ok_or(ConversionError::Versions)?;
    let uid = uuid::Uuid::new_v4().to_string();
    let review = json!({
        "kind": "ConversionReview", "apiVersion": format!("apiextensions.k8s.io/{version}"),
        "request": { "uid": uid, "desiredAPIVersion": to.api_version(), "objects": objects },
    });
    let client = server.definitions.clients.of(row, hook);
    let answer = client.post(server, review.to_string().into(), PATIENCE).await;
    let answer = answer.map_err(|cause| ConversionError::Call { kind: kind.clone(), cause })?;
    let converted =
        read(answer, version, &uid).map_err(|cause| ConversionError::Answer { kind: kind.clone(), cause })?;
    if converted.len() != objects.len() {
        let (found, expected) = (converted.len(), objects.len());
        return Err(ConversionError::Number { kind, found, expected });
    }
    let pairs = objects.iter().zip(converted).enumerate();
    let judged = pairs.map(|(index, (original, converted))| {
        take(original, converted, to).map_err(|cause| ConversionError::Object { kind: kind.clone(), index, cause })
    });
    judged.collect()
}

/// The objects in an answer (upstream: `getConvertedObjectsFromResponse`).
fn read(mut answer: Value, version: &str, uid: &str) -> Result<Vec<Value>, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if version == "v1" {
        let (found_version, found_kind) = (text(&answer["apiVersion"]), text(&answer["kind"]));
        if found_version != "apiextensions.k8s.io/v1" || found_kind != "ConversionReview" {
            return Err(format!(
                "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got {found_version}, \
                 Kind={found_kind}"
            ));
        }
    }
    let response = answer.get_mut("response").filter(|response| response.is_object()).ok_or("no response provided")?;
    let found = text(&response["uid"]);
    if version == "v1" && found != uid {
        return Err(format!("expected response.uid={uid:?}, got {found:?}"));
    }
    let status = text(&response["result"]["status"]);
    if status != "Success" {
        let message = text(&response["result"]["message"]);
        return Err(if message.is_empty() {
            format!("response.result.status was '{status}', not 'Success'")
        } else {
            message
        });
    }
    match response["convertedObjects"].take() {
        Value::Array(objects) => Ok(objects),
        _ => Ok(Vec::new()),
    }
}

/// One converted object, with the metadata that a webhook may not change as it was.
fn take(original: &Object, converted: Value, to: &GroupVersionKind) -> Result<Object, String> {
    let mut converted = Object::from_value(converted).ok_or("it is no object")?;
    if converted.api_version() != to.api_version() {
        let (expected, received) = (to.api_version(), converted.api_version());
        return Err(format!("invalid groupVersion (expected {expected}, received {received})"));
    }
    if converted.kind() != original.kind() {
        return Err(format!("invalid kind (expected {}, received {})", original.kind(), converted.kind()));
    }
    for (words, field) in [("name", "name"), ("namespace", "namespace"), ("UID", "uid")] {
        let (before, after) = (original.meta_str(field), converted.meta_str(field));
        if before != after {
            return Err(format!("must have the same {words}: {before} != {after}"));
        }
    }
    let Some(answered) = converted.0.get("metadata") else { return Err("missing metadata in converted object".into()) };
    let answered = answered.as_object().ok_or("invalid metadata of type string in converted object")?.clone();
    let mut metadata = original.metadata().cloned().unwrap_or_default();
    for name in ["labels", "annotations"] {
        match answered.get(name) {
            None | Some(Value::Null) => drop(metadata.remove(name)),
            Some(Value::Object(texts)) => {
                judge_texts(name, texts)?;
                metadata.insert(name.into(), Value::Object(texts.clone()));
            }
            Some(_) => return Err(format!("invalid metadata.{name} of type string in converted object")),
        }
    }
    converted.0.insert("metadata".into(), Value::Object(metadata));
    Ok(converted)
}

fn judge_texts(name: &str, texts: &Map<String, Value>) -> Result<(), String> {
    if let Some((key, _)) = texts.iter().find(|(_, value)| !value.is_string()) {
        return Err(format!("metadata.{name}[{key}] must be a string, but is no string in converted object"));
    }
    let path = field::Path::new("metadata").child(name);
    let errors = if name == "labels" {
        labels::validate_labels(texts, &path)
    } else {
        let pairs = texts.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)));
        meta::validate_annotations(pairs, &path)
    };
    match errors.as_slice() {
        [] => Ok(()),
        [one] => Err(one.to_string()),
        many => Err(format!("[{}]", many.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_an_answer_to_the_question() {
        let review = |response: Value| json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response});
        let good = json!({"uid": "u", "result": {"status": "Success"}, "convertedObjects": [{}]});
        assert_eq!(read(review(good), "v1", "u").map(|objects| objects.len()), Ok(1));
        for (answer, words) in [
            (json!({}), "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got , Kind="),
            (review(Value::Null), "no response provided"),
            (review(json!({"uid": "x"})), r#"expected response.uid="u", got "x""#),
            (
                review(json!({"uid": "u", "result": {"status": "Failure"}})),
                "response.result.status was 'Failure', not 'Success'",
            ),
            (review(json!({"uid": "u", "result": {"status": "Failure", "message": "no"}})), "no"),
        ] {
            assert_eq!(read(answer, "v1", "u"), Err(words.to_owned()));
        }
    }

    #[test]
    fn metadata_stays_but_for_labels_and_annotations() {
        let to = GroupVersionKind::new("example.com", "v2", "Thing");
        let object = |value: Value| Object::from_value(value).expect("an object");
        let original = object(json!({"apiVersion": "example.com/v1", "kind": "Thing",
            "metadata": {"name": "a", "uid": "u", "finalizers": ["x/y"], "labels": {"old": "1"}}}));
        let answer = json!({"apiVersion": "example.com/v2", "kind": "Thing",
            "metadata": {"name": "a", "uid": "u", "labels": {"new": "1"}, "generation": 7}, "spec": {}});
        let converted = take(&original, answer, &to).expect("taken");
        assert_eq!(
            converted.0["metadata"],
            json!({"name": "a", "uid": "u", "finalizers": ["x/y"], "labels": {"new": "1"}})
        );
        for (answer, words) in [
            (
                json!({"apiVersion": "example.com/v1", "kind": "Thing"}),
                "invalid groupVersion (expected example.com/v2, received example.com/v1)",
            ),
            (json!({"apiVersion": "example.com/v2", "kind": "Other"}), "invalid kind (expected Thing, received Other)"),
            (
                json!({"apiVersion": "example.com/v2", "kind": "Thing", "metadata": {"name": "b"}}),
                "must have the same name: a != b",
            ),
            (
                json!({"apiVersion": "example.com/v2", "kind": "Thing", "metadata": {"name": "a", "uid": "u", "labels": {"a": 1}}}),
                "metadata.labels[a] must be a string, but is no string in converted object",
            ),
        ] {
            assert_eq!(take(&original, answer, &to), Err(words.to_owned()));
        }
    }
}
