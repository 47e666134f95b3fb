//! PodNodeSelector: pods of a namespace run on the nodes that its annotation selects, or that the configuration names
//! (upstream: plugin/pkg/admission/podnodeselector/admission.go). Off by default.

use std::collections::BTreeMap;

use apimachinery::StatusError;
use apimachinery::json::{Read, Write};
use async_trait::async_trait;
use serde_json::{Map, Value};

use super::{ConfigError, Handles, Plugin, Request, matching};

const NAME: &str = "PodNodeSelector";

/// The nodes of a namespace's pods.
const ANNOTATION: &str = "scheduler.alpha.kubernetes.io/node-selector";

/// The key of the configuration for namespaces without the annotation.
const DEFAULT: &str = "clusterDefaultNodeSelector";

type Labels = BTreeMap<String, String>;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct PodNodeSelector {
    /// The default, and by namespace what its pods may select.
    selectors: BTreeMap<String, String>,
}

impl PodNodeSelector {
    /// As `podNodeSelectorPluginConfig` says.
    pub fn new(given: Option<&Value>) -> Result<Self, ConfigError> {
        let wrong = |cause: serde_json::Error| ConfigError::Plugin { plugin: NAME, cause: cause.to_string() };
        let config = given.and_then(|given| given.value("podNodeSelectorPluginConfig")).cloned();
        let selectors = config.map(serde_json::from_value).transpose().map_err(wrong)?.unwrap_or_default();
        Ok(Self { selectors })
    }

    fn configured(&self, key: &str) -> Result<Labels, String> {
        parse(self.selectors.get(key).map_or("", String::as_str))
    }
}

/// `a=b,c=d` (upstream: `labels.ConvertSelectorToLabelsMap`).
fn parse(selector: &str) -> Result<Labels, String> {
    let mut labels = Labels::new();
    for part in selector.split(',').filter(|part| !part.is_empty()) {
        let (key, value) = part
            .split_once('=')
            .filter(|(_, value)| !value.contains('='))
            .ok_or_else(|| format!("invalid selector: {part}"))?;
        let (key, value) = (key.trim(), value.trim());
        let mut wrong = apimachinery::validation::qualified_name(key);
        wrong.extend(apimachinery::validation::label_value(value));
        if !wrong.is_empty() {
            return Err(format!("invalid selector: {part}: {}", wrong.join("; ")));
        }
        labels.insert(key.to_owned(), value.to_owned());
    }
    Ok(labels)
}

fn read(labels: &Map<String, Value>) -> Labels {
    labels.iter().map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

#[async_trait]
impl Plugin for PodNodeSelector {
    fn name(&self) -> &'static str {
        NAME
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.admits(Handles::CREATES).validates(Handles::CREATES)
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), StatusError> {
        if !request.creates("", "Pod") {
            return Ok(());
        }
        let namespace = matching::namespace(request, request.namespace).await?;
        let annotation = namespace.annotations().find(|(key, _)| *key == ANNOTATION).map(|(_, text)| parse(text));
        let wanted = annotation.unwrap_or_else(|| self.configured(DEFAULT)).map_err(StatusError::internal)?;
        let Some(spec) = request.object.as_mut().and_then(|pod| pod.object_at("spec")) else { return Ok(()) };
        let mut selector = read(spec.object("nodeSelector"));
        let conflicts = wanted.iter().any(|(key, value)| selector.get(key).is_some_and(|own| own != value));
        if conflicts {
            return Err(request.forbidden("pod node label selector conflicts with its namespace node label selector"));
        }
        if !wanted.is_empty() {
            selector.extend(wanted);
            let merged: Map<String, Value> = selector.into_iter().map(|(key, value)| (key, value.into())).collect();
            spec.insert("nodeSelector".into(), merged.into());
        }
        Ok(())
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), StatusError> {
        let Some(pod) = request.object.as_ref().filter(|_| request.creates("", "Pod")) else { return Ok(()) };
        let allowed = self.configured(request.namespace).map_err(StatusError::internal)?;
        let selector = read(pod.object("spec").object("nodeSelector"));
        if allowed.is_empty() || selector.iter().all(|(key, value)| allowed.get(key) == Some(value)) {
            return Ok(());
        }
        Err(request.forbidden("pod node label selector labels conflict with its namespace whitelist"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_lists_of_labels() {
        let labels = |pairs: &[(&str, &str)]| -> Labels {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        assert_eq!(parse("a=b, c = d"), Ok(labels(&[("a", "b"), ("c", "d")])));
        assert_eq!(parse(""), Ok(Labels::new()));
        assert!(parse("a").is_err() && parse("a=b=c").is_err() && parse("a b=c").is_err());
    }
}
