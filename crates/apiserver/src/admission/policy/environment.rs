//! What expressions of policies and match conditions may name, and of which type it is
//! (upstream: admission/plugin/cel/compile.go `BuildRequestType`, `BuildNamespaceType`).

use k8s_cel::{Environment, Opaque, Type};

const REQUEST: &str = "kubernetes.AdmissionRequest";
const NAMESPACE: &str = "kubernetes.Namespace";
/// The type of the variable `variables`.
pub(super) const VARIABLES: &str = "kubernetes.variables";

fn message(name: &str) -> Type {
    Type::Message(name.into())
}

fn texts() -> Type {
    Type::list(Type::String)
}

fn labels() -> Type {
    Type::map(Type::String, Type::String)
}

/// The variables of match conditions of webhooks.
pub(super) fn of_conditions() -> Environment {
    let kind = [("group", Type::String), ("version", Type::String), ("kind", Type::String)];
    let resource = [("group", Type::String), ("version", Type::String), ("resource", Type::String)];
    let user = [
        ("username", Type::String),
        ("uid", Type::String),
        ("groups", texts()),
        ("extra", Type::map(Type::String, texts())),
    ];
    let request = [
        ("kind", message("kubernetes.GroupVersionKind")),
        ("resource", message("kubernetes.GroupVersionResource")),
        ("subResource", Type::String),
        ("requestKind", message("kubernetes.GroupVersionKind")),
        ("requestResource", message("kubernetes.GroupVersionResource")),
        ("requestSubResource", Type::String),
        ("name", Type::String),
        ("namespace", Type::String),
        ("operation", Type::String),
        ("userInfo", message("kubernetes.UserInfo")),
        ("dryRun", Type::Bool),
        ("options", Type::Dyn),
    ];
    Environment::new()
        .with_message("kubernetes.GroupVersionKind", &kind)
        .with_message("kubernetes.GroupVersionResource", &resource)
        .with_message("kubernetes.UserInfo", &user)
        .with_message(REQUEST, &request)
        .with("object", Type::Dyn)
        .with("oldObject", Type::Dyn)
        .with("request", message(REQUEST))
        .with("authorizer", Type::Opaque(Opaque::Authorizer))
        .with("authorizer.requestResource", Type::Opaque(Opaque::ResourceCheck))
}

/// The variables of a policy; `params` only where it has a `paramKind`.
pub(super) fn of_policy(has_params: bool) -> Environment {
    let metadata = [
        ("name", Type::String),
        ("generateName", Type::String),
        ("namespace", Type::String),
        ("labels", labels()),
        ("annotations", labels()),
        ("UID", Type::String),
        ("creationTimestamp", Type::Timestamp),
        ("deletionGracePeriodSeconds", Type::Int),
        ("deletionTimestamp", Type::Timestamp),
        ("generation", Type::Int),
        ("resourceVersion", Type::String),
        ("finalizers", texts()),
    ];
    let namespace = [
        ("metadata", message("kubernetes.NamespaceMetadata")),
        ("spec", message("kubernetes.NamespaceSpec")),
        ("status", message("kubernetes.NamespaceStatus")),
    ];
    let environment = of_conditions()
        .with_message("kubernetes.NamespaceMetadata", &metadata)
        .with_message("kubernetes.NamespaceSpec", &[("finalizers", texts())])
        .with_message("kubernetes.NamespaceStatus", &[("phase", Type::String)])
        .with_message(NAMESPACE, &namespace)
        .with("namespaceObject", message(NAMESPACE));
    if has_params { environment.with("params", Type::Dyn) } else { environment }
}

/// The same, with the policy's own variables so far.
pub(super) fn with_variables(environment: &Environment, variables: &[(&str, Type)]) -> Environment {
    environment.clone().with_message(VARIABLES, variables).with("variables", message(VARIABLES))
}
