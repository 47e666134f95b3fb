//! The quality-of-service class of a pod (upstream: pkg/apis/core/v1/helper/qos/qos.go).

use serde_json::{Map, Value};

use crate::check::quantity;
use crate::json::Read;

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub(super) fn class(spec: &Map<String, Value>) -> &'static str {
    if spec.has("resources") {
        let whole = Value::Object(spec.clone());
        return of([&whole].into_iter());
    }
    of(["containers", "initContainers"].iter().flat_map(|list| spec.list(list)))
}

fn of<'a>(owners: impl Iterator<Item = &'a Value>) -> &'static str {
    let (mut any, mut guaranteed) = (false, true);
    for owner in owners {
        let resources = owner.object("resources");
        for name in ["cpu", "memory"] {
            let amount = |part: &str| resources.object(part).get(name).map(quantity).filter(|amount| !amount.is_zero());
            let (request, limit) = (amount("requests"), amount("limits"));
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_class_follows_requests_and_limits() {
        let full = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1Gi"}});
        let some = json!({"requests": {"cpu": "1"}});
        for (resources, class_is) in [
            (vec![], "BestEffort"),
            (vec![json!({})], "BestEffort"),
            (vec![json!({"requests": {"cpu": "0"}})], "BestEffort"),
            (vec![full.clone()], "Guaranteed"),
            (vec![full.clone(), full.clone()], "Guaranteed"),
            (vec![full, json!({})], "Burstable"),
            (vec![some], "Burstable"),
        ] {
            let containers: Vec<Value> =
                resources.into_iter().map(|resources| json!({"resources": resources})).collect();
            let spec = json!({"containers": containers});
            assert_eq!(class(spec.as_object().expect("a spec")), class_is, "{spec}");
        }
    }
}
