//! A container's environment (upstream: pkg/kubelet/kubelet_pods.go makeEnvironmentVariables).

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVarSource, Pod, Secret};
use kube::ResourceExt;

use super::expansion::expand;
use super::fields::{self, FieldError, NodeFacts};

/// ConfigMaps and Secrets of the pod's namespace.
pub trait Objects: Send + Sync {
    /// The ConfigMap of a name.
    fn config_map(&self, name: &str) -> Option<Arc<ConfigMap>>;
    /// The Secret of a name.
    fn secret(&self, name: &str) -> Option<Arc<Secret>>;
}

/// Why there is no environment; shown as the message of `CreateContainerConfigError`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// No such ConfigMap.
    #[error("configmap {0:?} not found")]
    ConfigMap(String),
    /// No such Secret.
    #[error("secret {0:?} not found")]
    Secret(String),
    /// No such key in it.
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    Key {
        /// `ConfigMap` or `Secret`.
        kind: &'static str,
        /// The pod's namespace.
        namespace: String,
        /// The object.
        name: String,
        /// The key.
        key: String,
    },
    /// A fieldRef or resourceFieldRef without a value.
    #[error(transparent)]
    Field(#[from] FieldError),
}

/// The environment in the order in which the variables were first set.
#[derive(Default)]
struct Environment {
    list: Vec<(String, String)>,
    index: HashMap<String, usize>,
}

impl Environment {
    fn set(&mut self, name: String, value: String) {
        match self.index.get(&name) {
            Some(at) => self.list[*at].1 = value,
            None => {
                self.index.insert(name.clone(), self.list.len());
                self.list.push((name, value));
            }
        }
    }

    fn get(&self, name: &str) -> Option<&String> {
        self.index.get(name).map(|at| &self.list[*at].1)
    }
}

/// The variables of `container`: envFrom, then env (which may refer to earlier ones), then those of Services.
pub fn environment(
    pod: &Pod,
    container: &Container,
    services: Vec<(String, String)>,
    objects: &dyn Objects,
    facts: &NodeFacts,
) -> Result<Vec<(String, String)>, EnvError> {
    let mut env = Environment::default();
    env_from(container, objects, &mut env)?;
    let of_services: HashMap<&str, &str> = services.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(value), _) if !value.is_empty() => expand(value, |name| {
                env.get(name).cloned().or_else(|| of_services.get(name).map(|value| (*value).to_owned()))
            }),
            (_, Some(source)) => match value_from(pod, container, source, objects, facts)? {
                Some(value) => value,
                None => continue,
            },
            _ => String::new(),
        };
        env.set(variable.name.clone(), value);
    }
    for (name, value) in services {
        if env.get(&name).is_none() {
            env.set(name, value);
        }
    }
    Ok(env.list)
}

fn env_from(container: &Container, objects: &dyn Objects, env: &mut Environment) -> Result<(), EnvError> {
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &source.config_map_ref {
            match objects.config_map(&reference.name) {
                Some(found) => {
                    for (key, value) in found.data.iter().flatten() {
                        env.set(format!("{prefix}{key}"), value.clone());
                    }
                }
                None if reference.optional == Some(true) => {}
                None => return Err(EnvError::ConfigMap(reference.name.clone())),
            }
        } else if let Some(reference) = &source.secret_ref {
            match objects.secret(&reference.name) {
                Some(found) => {
                    for (key, value) in found.data.iter().flatten() {
                        env.set(format!("{prefix}{key}"), String::from_utf8_lossy(&value.0).into_owned());
                    }
                }
                None if reference.optional == Some(true) => {}
                None => return Err(EnvError::Secret(reference.name.clone())),
            }
        }
    }
    Ok(())
}

/// The value a reference stands for; `None` when it is optional and missing.
fn value_from(
    pod: &Pod,
    container: &Container,
    source: &EnvVarSource,
    objects: &dyn Objects,
    facts: &NodeFacts,
) -> Result<Option<String>, EnvError> {
    if let Some(reference) = &source.field_ref {
        return Ok(Some(fields::field(pod, &reference.field_path, facts)?));
    }
    if let Some(reference) = &source.resource_field_ref {
        return Ok(Some(fields::resource(pod, Some(container), reference, facts)?));
    }
    let missing = |kind, name: &str, key: &str, optional: Option<bool>| {
        if optional == Some(true) {
            return Ok(None);
        }
        let namespace = pod.namespace().unwrap_or_default();
        Err(EnvError::Key { kind, namespace, name: name.to_owned(), key: key.to_owned() })
    };
    if let Some(reference) = &source.config_map_key_ref {
        let Some(found) = objects.config_map(&reference.name) else {
            let optional = reference.optional == Some(true);
            return if optional { Ok(None) } else { Err(EnvError::ConfigMap(reference.name.clone())) };
        };
        return match found.data.as_ref().and_then(|data| data.get(&reference.key)) {
            Some(value) => Ok(Some(value.clone())),
            None => missing("ConfigMap", &reference.name, &reference.key, reference.optional),
        };
    }
    if let Some(reference) = &source.secret_key_ref {
        let Some(found) = objects.secret(&reference.name) else {
            let optional = reference.optional == Some(true);
            return if optional { Ok(None) } else { Err(EnvError::Secret(reference.name.clone())) };
        };
        return match found.data.as_ref().and_then(|data| data.get(&reference.key)) {
            Some(value) => Ok(Some(String::from_utf8_lossy(&value.0).into_owned())),
            None => missing("Secret", &reference.name, &reference.key, reference.optional),
        };
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    struct Fixed;

    impl Objects for Fixed {
        fn config_map(&self, name: &str) -> Option<Arc<ConfigMap>> {
            let value = json!({"data": {"k": "from-config", "A": "config-a"}});
            (name == "cm").then(|| Arc::new(serde_json::from_value(value).expect("a ConfigMap")))
        }
        fn secret(&self, name: &str) -> Option<Arc<Secret>> {
            let value = json!({"data": {"s": "c2VjcmV0"}});
            (name == "sec").then(|| Arc::new(serde_json::from_value(value).expect("a Secret")))
        }
    }

    fn check(container: Value, expected: Result<&str, &str>) {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n"}})).expect("a pod");
        let mut container = container;
        container["name"] = json!("c");
        let container: Container = serde_json::from_value(container).expect("a container");
        let services = vec![("SVC_SERVICE_HOST".to_owned(), "10.96.0.1".to_owned())];
        let result = environment(&pod, &container, services, &Fixed, &NodeFacts::default());
        let text = result.map(|env| env.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" "));
        assert_eq!(text.as_deref().map_err(ToString::to_string), expected.map_err(str::to_owned));
    }

    #[test]
    fn later_wins_and_references_see_what_came_before() {
        check(
            json!({"envFrom": [{"prefix": "P_", "configMapRef": {"name": "cm"}}, {"secretRef": {"name": "sec"}}],
                "env": [
                    {"name": "LATE", "value": "$(EARLY)"}, {"name": "EARLY", "value": "1"},
                    {"name": "SUM", "value": "$(P_k)-$(EARLY)-$(SVC_SERVICE_HOST)"}, {"name": "P_A", "value": "mine"},
                    {"name": "F", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}),
            Ok("P_A=mine P_k=from-config s=secret LATE=$(EARLY) EARLY=1 SUM=from-config-1-10.96.0.1 F=p \
                SVC_SERVICE_HOST=10.96.0.1"),
        );
    }

    #[test]
    fn what_is_missing_is_named_unless_optional() {
        let env = |source: Value| json!({"env": [{"name": "X", "valueFrom": source}]});
        check(
            env(json!({"configMapKeyRef": {"name": "cm", "key": "nope"}})),
            Err("couldn't find key nope in ConfigMap n/cm"),
        );
        check(env(json!({"configMapKeyRef": {"name": "none", "key": "k"}})), Err("configmap \"none\" not found"));
        check(env(json!({"secretKeyRef": {"name": "none", "key": "k"}})), Err("secret \"none\" not found"));
        check(
            env(json!({"secretKeyRef": {"name": "none", "key": "k", "optional": true}})),
            Ok("SVC_SERVICE_HOST=10.96.0.1"),
        );
    }
}
