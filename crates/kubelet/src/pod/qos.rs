//! Quality of service: which pods the kernel keeps when memory runs out.

use client::quantity;
use k8s_openapi::api::core::v1::{Container, Pod};

use super::spec::spec;

/// The classes (upstream: pkg/apis/core/v1/helper/qos).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QosClass {
    /// Every container has equal requests and limits for cpu and memory.
    Guaranteed,
    /// Some container has a request or limit.
    Burstable,
    /// Nothing is asked for.
    BestEffort,
}

impl QosClass {
    /// The word in `status.qosClass`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// The class of a pod: what its status says (set once, at creation), else computed.
pub fn qos_class(pod: &Pod) -> QosClass {
    match pod.status.as_ref().and_then(|status| status.qos_class.as_deref()) {
        Some("Guaranteed") => QosClass::Guaranteed,
        Some("Burstable") => QosClass::Burstable,
        Some("BestEffort") => QosClass::BestEffort,
        _ => compute(pod),
    }
}

fn compute(pod: &Pod) -> QosClass {
    let spec = spec(pod);
    let all: Vec<&Container> = spec.init_containers.iter().flatten().chain(&spec.containers).collect();
    let amount = |container: &Container, of_limits: bool, name: &str| {
        let resources = container.resources.as_ref()?;
        let map = if of_limits { &resources.limits } else { &resources.requests };
        map.as_ref()?.get(name).map(quantity::milli_value).filter(|milli| *milli != 0)
    };
    let kinds = ["cpu", "memory"];
    let asks = |c: &Container| kinds.iter().any(|k| amount(c, true, k).is_some() || amount(c, false, k).is_some());
    let fixed = |c: &Container| {
        kinds.iter().all(|kind| {
            let limit = amount(c, true, kind);
            limit.is_some() && amount(c, false, kind).is_none_or(|request| Some(request) == limit)
        })
    };
    if !all.iter().any(|container| asks(container)) {
        QosClass::BestEffort
    } else if all.iter().all(|container| fixed(container)) {
        QosClass::Guaranteed
    } else {
        QosClass::Burstable
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn classes() {
        let full = json!({"cpu": "1", "memory": "1Gi"});
        for (resources, expected) in [
            (json!({}), QosClass::BestEffort),
            (json!({"limits": full, "requests": full}), QosClass::Guaranteed),
            (json!({"limits": full}), QosClass::Guaranteed),
            (json!({"requests": full}), QosClass::Burstable),
            (json!({"limits": full, "requests": {"cpu": "500m"}}), QosClass::Burstable),
            (json!({"limits": {"memory": "1Gi"}}), QosClass::Burstable),
        ] {
            let pod = serde_json::from_value(json!({"spec": {"containers": [{"name": "a", "resources": resources}]}}));
            assert_eq!(qos_class(&pod.expect("a pod")), expected, "{resources}");
        }
    }
}
