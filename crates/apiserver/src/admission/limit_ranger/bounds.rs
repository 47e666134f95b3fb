//! The bounds of a range: least, most, and the ratio of limit to request
//! (upstream: `PodValidateLimitFunc`, `PersistentVolumeClaimValidateLimitFunc`).

use apimachinery::Object;
use apimachinery::json::Read;
use apimachinery::quantity::Quantity;
use quota::ResourceList;
use quota::resources::{Side, of_containers};
use serde_json::Value;

/// What the containers of a pod, and the pod as a whole, break.
pub(super) fn of_pod(pod: &Object, limits: &[Value]) -> Vec<String> {
    let mut broken = Vec::new();
    for limit in limits {
        match limit.text("type") {
            "Container" => {
                for list in ["containers", "initContainers"] {
                    for container in pod.object("spec").list(list) {
                        let side = |side: &str| ResourceList::read(container.object("resources").object(side));
                        check(&mut broken, limit, &side("requests"), &side("limits"));
                    }
                }
            }
            "Pod" => {
                let side = |side: Side| of_containers(&pod.0, side);
                check(&mut broken, limit, &side(Side::Requests), &side(Side::Limits));
            }
            _ => {}
        }
    }
    broken
}

/// What a claim breaks.
pub(super) fn of_claim(claim: &Object, limits: &[Value]) -> Vec<String> {
    let asked = ResourceList::read(claim.object("spec").object("resources").object("requests"));
    let mut broken = Vec::new();
    for limit in limits.iter().filter(|limit| limit.text("type") == "PersistentVolumeClaim") {
        for (name, least) in bound(limit, "min") {
            broken.extend(at_least(limit, &name, least, asked.get(&name), None));
        }
        for (name, most) in bound(limit, "max") {
            broken.extend(request_at_most(limit, &name, most, asked.get(&name)));
        }
    }
    broken
}

fn bound(limit: &Value, field: &str) -> impl Iterator<Item = (String, Quantity)> + use<> {
    ResourceList::read(limit.object(field)).0.into_iter()
}

fn check(broken: &mut Vec<String>, limit: &Value, requests: &ResourceList, limits: &ResourceList) {
    for (name, least) in bound(limit, "min") {
        broken.extend(at_least(limit, &name, least, requests.get(&name), limits.get(&name)));
    }
    for (name, most) in bound(limit, "max") {
        broken.extend(at_most(limit, &name, most, requests.get(&name), limits.get(&name)));
    }
    for (name, ratio) in bound(limit, "maxLimitRequestRatio") {
        broken.extend(within_ratio(limit, &name, ratio, requests.get(&name), limits.get(&name)));
    }
}

fn at_least(
    limit: &Value,
    name: &str,
    least: Quantity,
    request: Option<Quantity>,
    given: Option<Quantity>,
) -> Option<String> {
    let words = format!("minimum {name} usage per {} is {least}", limit.text("type"));
    match (request, given) {
        (None, _) => Some(format!("{words}.  No request is specified")),
        (Some(request), _) if request < least => Some(format!("{words}, but request is {request}")),
        (_, Some(given)) if given < least => Some(format!("{words}, but limit is {given}")),
        _ => None,
    }
}

fn at_most(
    limit: &Value,
    name: &str,
    most: Quantity,
    request: Option<Quantity>,
    given: Option<Quantity>,
) -> Option<String> {
    let words = format!("maximum {name} usage per {} is {most}", limit.text("type"));
    match (given, request) {
        (None, _) => Some(format!("{words}.  No limit is specified")),
        (Some(given), _) if given > most => Some(format!("{words}, but limit is {given}")),
        (_, Some(request)) if request > most => Some(format!("{words}, but request is {request}")),
        _ => None,
    }
}

fn request_at_most(limit: &Value, name: &str, most: Quantity, request: Option<Quantity>) -> Option<String> {
    let words = format!("maximum {name} usage per {} is {most}", limit.text("type"));
    match request {
        None => Some(format!("{words}.  No request is specified")),
        Some(request) if request > most => Some(format!("{words}, but request is {request}")),
        Some(_) => None,
    }
}

fn within_ratio(
    limit: &Value,
    name: &str,
    ratio: Quantity,
    request: Option<Quantity>,
    given: Option<Quantity>,
) -> Option<String> {
    let words = format!("{name} max limit to request ratio per {} is {ratio}", limit.text("type"));
    let Some(request) = request.filter(|request| !request.is_zero()) else {
        return Some(format!("{words}, but no request is specified or request is 0"));
    };
    let Some(given) = given.filter(|given| !given.is_zero()) else {
        return Some(format!("{words}, but no limit is specified or limit is 0"));
    };
    let observed = given.as_f64() / request.as_f64();
    (observed > ratio.as_f64()).then(|| format!("{words}, but provided ratio is {observed:.6}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn check_pod(kind: &str, limit: Value, containers: Value, expected: Expect) {
        let mut limit = limit;
        limit["type"] = kind.into();
        let pod = Object::from_value(json!({"spec": {"containers": containers}})).expect("an object");
        expected.assert_eq(&of_pod(&pod, &[limit]).join("\n"));
    }

    fn container(request: &str, limit: &str) -> Value {
        let mut resources = json!({});
        if !request.is_empty() {
            resources["requests"] = json!({"cpu": request});
        }
        if !limit.is_empty() {
            resources["limits"] = json!({"cpu": limit});
        }
        json!({"name": "c", "resources": resources})
    }

    #[test]
    fn containers_keep_to_the_bounds() {
        let min = json!({"min": {"cpu": "100m"}});
        check_pod("Container", min.clone(), json!([container("100m", "1")]), expect![""]);
        check_pod(
            "Container",
            min.clone(),
            json!([container("", "1")]),
            expect!["minimum cpu usage per Container is 100m.  No request is specified"],
        );
        check_pod(
            "Container",
            min.clone(),
            json!([container("50m", "1")]),
            expect!["minimum cpu usage per Container is 100m, but request is 50m"],
        );
        check_pod(
            "Container",
            min,
            json!([container("100m", "50m")]),
            expect!["minimum cpu usage per Container is 100m, but limit is 50m"],
        );
        let max = json!({"max": {"cpu": "1"}});
        check_pod(
            "Container",
            max.clone(),
            json!([container("1", "")]),
            expect!["maximum cpu usage per Container is 1.  No limit is specified"],
        );
        check_pod(
            "Container",
            max.clone(),
            json!([container("1", "2")]),
            expect!["maximum cpu usage per Container is 1, but limit is 2"],
        );
        check_pod(
            "Container",
            max,
            json!([container("2", "1")]),
            expect!["maximum cpu usage per Container is 1, but request is 2"],
        );
        let ratio = json!({"maxLimitRequestRatio": {"cpu": "2"}});
        check_pod(
            "Container",
            ratio.clone(),
            json!([container("", "1")]),
            expect!["cpu max limit to request ratio per Container is 2, but no request is specified or request is 0"],
        );
        check_pod(
            "Container",
            ratio.clone(),
            json!([container("1", "")]),
            expect!["cpu max limit to request ratio per Container is 2, but no limit is specified or limit is 0"],
        );
        check_pod(
            "Container",
            ratio,
            json!([container("1", "2500m")]),
            expect!["cpu max limit to request ratio per Container is 2, but provided ratio is 2.500000"],
        );
    }

    #[test]
    fn a_pod_is_judged_as_a_whole() {
        let max = json!({"max": {"cpu": "1"}});
        let two = json!([container("500m", "500m"), container("600m", "600m")]);
        check_pod("Pod", max, two, expect!["maximum cpu usage per Pod is 1, but limit is 1100m"]);
    }

    #[test]
    fn a_claim_is_judged_by_its_request() {
        let limit = json!({"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "5Gi"}});
        let broken = |storage: &str| {
            let claim = json!({"spec": {"resources": {"requests": {"storage": storage}}}});
            of_claim(&Object::from_value(claim).expect("an object"), std::slice::from_ref(&limit)).join("; ")
        };
        assert_eq!(broken("2Gi"), "");
        assert_eq!(broken("1Mi"), "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi");
        assert_eq!(broken("6Gi"), "maximum storage usage per PersistentVolumeClaim is 5Gi, but request is 6Gi");
    }
}
