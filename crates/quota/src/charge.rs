//! [`charge`]: what quotas stand at once an object is written, or why it does not fit
//! (upstream: apiserver/pkg/admission/plugin/resourcequota/controller.go `CheckRequest`).

use std::collections::BTreeSet;

use apimachinery::Object;
use apimachinery::json::Read;
use jiff::Timestamp;

use crate::evaluator::Evaluator;
use crate::resources::ResourceList;
use crate::scopes::{Selector, selectors_of};

/// A write that may count.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// The group of the resource.
    pub group: &'a str,
    /// The resource, as `pods`.
    pub resource: &'a str,
    /// The subresource written, or empty.
    pub subresource: &'a str,
    /// The object as it will be.
    pub object: &'a Object,
    /// The object as it stands, at an update.
    pub old: Option<&'a Object>,
    /// The time of the write.
    pub now: Timestamp,
}

/// A resource that nobody may use without a quota for it (upstream: `resourcequota.LimitedResource`).
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitedResource {
    /// The group of the resource.
    #[serde(default)]
    pub api_group: String,
    /// The resource.
    pub resource: String,
    /// Amounts whose names contain one of these need a quota.
    #[serde(default)]
    pub match_contains: Vec<String>,
    /// Objects in these scopes need a quota with the scope.
    #[serde(default)]
    pub match_scopes: Vec<Selector>,
}

/// A quota's new usage.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Which of the quotas.
    pub index: usize,
    /// Its `status.used`.
    pub used: ResourceList,
}

/// A quota's `status.hard` and `status.used`.
fn status(quota: &Object, field: &str) -> ResourceList {
    ResourceList::read(quota.object("status").object(field))
}

/// The new usage of every quota that the write counts for; or why one of them refuses it.
pub fn charge(
    quotas: &[impl AsRef<Object>],
    item: &Item<'_>,
    limited: &[LimitedResource],
) -> Result<Vec<Change>, String> {
    let evaluator = Evaluator::of(item.group, item.resource);
    if !evaluator.handles(item) {
        return Ok(Vec::new());
    }
    let usage = evaluator.usage(item.object, item.now);
    let mut covered = Covered::default();
    let mut interesting = Vec::new();
    for (index, quota) in quotas.iter().enumerate() {
        let quota = quota.as_ref();
        let scopes = selectors_of(quota).into_iter().filter(|scope| evaluator.in_scope(scope, item.object));
        covered.scopes.extend(scopes.map(|scope| scope.scope_name));
        let hard = status(quota, "hard");
        if evaluator.matches(quota, &hard, item.object) {
            let names: Vec<&str> =
                hard.0.keys().map(String::as_str).filter(|name| evaluator.counts_for(name)).collect();
            check_known(&evaluator, quota, &names, item.object)?;
            covered.names.extend(names.into_iter().map(str::to_owned));
            interesting.push((index, quota, hard));
        }
    }
    let negative: Vec<&str> =
        usage.0.iter().filter(|(_, amount)| amount.is_negative()).map(|(name, _)| &**name).collect();
    if !negative.is_empty() {
        return Err(format!("quota usage is negative for resource(s): {}", negative.join(",")));
    }
    let before = item.old.map(|old| evaluator.usage(old, item.now));
    let delta = before.as_ref().map_or_else(|| usage.clone(), |before| usage.beyond(before));
    let mut changes = Vec::new();
    let mut counts = interesting.is_empty() && delta.0.values().any(|amount| !amount.is_zero());
    for (index, quota, hard) in interesting {
        // An update that brings the object into a quota counts whole.
        let was_in = item.old.is_none_or(|old| evaluator.matches(quota, &hard, old));
        let asked = if was_in { &delta } else { &usage };
        let asked = ResourceList(
            asked.0.iter().filter(|(_, amount)| !amount.is_zero()).map(|(k, v)| (k.clone(), *v)).collect(),
        );
        if asked.0.is_empty() {
            continue;
        }
        counts = true;
        changes.extend(fit(index, quota, &hard, &asked, item)?);
    }
    if counts {
        covered.check(&evaluator, item, &usage, limited)?;
    }
    Ok(changes)
}

/// Whether the object states what the quota counts, and the quota knows what is used.
fn check_known(evaluator: &Evaluator, quota: &Object, names: &[&str], object: &Object) -> Result<(), String> {
    let quota_name = quota.name();
    if let Some(missing) = evaluator.missing(names, object) {
        return Err(format!("failed quota: {quota_name}: {missing}"));
    }
    let used = status(quota, "used");
    if names.iter().any(|name| used.get(name).is_none()) {
        return Err(format!("status unknown for quota: {quota_name}, resources: {}", names.join(",")));
    }
    Ok(())
}

/// The quota's usage with what is asked for, unless that is too much.
fn fit(
    index: usize,
    quota: &Object,
    hard: &ResourceList,
    asked: &ResourceList,
    item: &Item<'_>,
) -> Result<Option<Change>, String> {
    let asked = asked.only(|name| hard.get(name).is_some());
    if asked.0.is_empty() {
        return Ok(None);
    }
    let before = status(quota, "used");
    let mut used = before.clone();
    used.add(&asked);
    let exceeds = |name: &str| match (asked.get(name), used.get(name), hard.get(name)) {
        (Some(_), Some(used), Some(hard)) => used > hard,
        _ => false,
    };
    let exceeded: BTreeSet<&str> = hard.0.keys().map(String::as_str).filter(|name| exceeds(name)).collect();
    if !exceeded.is_empty() && item.subresource != "status" {
        let part = |list: &ResourceList| list.only(|name| exceeded.contains(name));
        return Err(format!(
            "exceeded quota: {}, requested: {}, used: {}, limited: {}",
            quota.name(),
            part(&asked),
            part(&before),
            part(hard)
        ));
    }
    Ok(Some(Change { index, used }))
}

/// What the quotas of the namespace cover.
#[derive(Default)]
struct Covered {
    names: BTreeSet<String>,
    scopes: BTreeSet<String>,
}

impl Covered {
    /// Refuses what is limited by default and no quota covers.
    fn check(
        &self,
        evaluator: &Evaluator,
        item: &Item<'_>,
        usage: &ResourceList,
        limited: &[LimitedResource],
    ) -> Result<(), String> {
        let of_resource = limited.iter().filter(|one| one.api_group == item.group && one.resource == item.resource);
        let mut uncovered = BTreeSet::new();
        for one in of_resource {
            let needs = |name: &str| one.match_contains.iter().any(|part| name.contains(part.as_str()));
            let consumed = usage.0.iter().filter(|(_, amount)| !amount.is_zero()).map(|(name, _)| name.as_str());
            uncovered.extend(consumed.filter(|name| needs(name) && !self.names.contains(*name)));
        }
        if !uncovered.is_empty() {
            let names: Vec<&str> = uncovered.into_iter().collect();
            return Err(format!("insufficient quota to consume: {}", names.join(",")));
        }
        let scopes = limited.iter().flat_map(|one| &one.match_scopes);
        let matched = scopes.filter(|scope| evaluator.in_scope(scope, item.object));
        let open: Vec<String> = matched.filter(|scope| !self.scopes.contains(&scope.scope_name)).map(shown).collect();
        if open.is_empty() {
            return Ok(());
        }
        Err(format!("insufficient quota to match these scopes: [{}]", open.join(" ")))
    }
}

/// A selector as Go prints it.
fn shown(selector: &Selector) -> String {
    format!("{{{} {} [{}]}}", selector.scope_name, selector.operator, selector.values.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn object(value: Value) -> Object {
        Object::from_value(value).expect("an object")
    }

    struct Quota(Object);

    impl AsRef<Object> for Quota {
        fn as_ref(&self) -> &Object {
            &self.0
        }
    }

    fn quota(spec: Value, hard: Value, used: Value) -> Quota {
        Quota(object(json!({"metadata": {"name": "q"}, "spec": spec, "status": {"hard": hard, "used": used}})))
    }

    fn charged(quotas: &[Quota], resource: &str, new: &Value, old: Option<&Value>) -> String {
        let (new, old) = (object(new.clone()), old.cloned().map(object));
        let item = Item {
            group: "",
            resource,
            subresource: "",
            object: &new,
            old: old.as_ref(),
            now: "2026-01-01T00:00:00Z".parse().expect("a time"),
        };
        match charge(quotas, &item, &[]) {
            Ok(changes) => changes.iter().map(|change| change.used.to_string()).collect::<Vec<_>>().join(" | "),
            Err(cause) => format!("refused: {cause}"),
        }
    }

    #[test]
    fn a_pod_fits_or_does_not() {
        let pod = json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "500m"}}}]}});
        let quotas =
            |used: &str| [quota(json!({}), json!({"cpu": "1", "pods": "5"}), json!({"cpu": used, "pods": "1"}))];
        assert_eq!(charged(&quotas("0"), "pods", &pod, None), "cpu=500m,pods=2");
        assert_eq!(
            charged(&quotas("600m"), "pods", &pod, None),
            "refused: exceeded quota: q, requested: cpu=500m, used: cpu=600m, limited: cpu=1"
        );
        let silent = json!({"spec": {"containers": [{"name": "b"}, {"name": "a"}]}});
        assert_eq!(charged(&quotas("0"), "pods", &silent, None), "refused: failed quota: q: must specify cpu for: a,b");
        let unknown = [quota(json!({}), json!({"pods": "5"}), json!({}))];
        assert_eq!(charged(&unknown, "pods", &pod, None), "refused: status unknown for quota: q, resources: pods");
        assert_eq!(charged(&quotas("0"), "configmaps", &json!({}), None), "", "nobody counts them");
    }

    #[test]
    fn scopes_pick_pods() {
        let with = |spec: Value| [quota(spec, json!({"pods": "5"}), json!({"pods": "0"}))];
        let by_class = |operator: &str, values: Value| {
            let expression = json!({"scopeName": "PriorityClass", "operator": operator, "values": values});
            with(json!({"scopeSelector": {"matchExpressions": [expression]}}))
        };
        let high = json!({"spec": {"priorityClassName": "high", "activeDeadlineSeconds": 5, "containers": []}});
        let low = json!({"spec": {"containers": [{"resources": {"requests": {"cpu": "1"}}}]}});
        for (quotas, takes_high, takes_low) in [
            (with(json!({"scopes": ["Terminating"]})), true, false),
            (with(json!({"scopes": ["NotTerminating"]})), false, true),
            (with(json!({"scopes": ["BestEffort"]})), true, false),
            (with(json!({"scopes": ["NotBestEffort"]})), false, true),
            (by_class("In", json!(["high"])), true, false),
            (by_class("NotIn", json!(["high"])), false, true),
            (by_class("Exists", json!([])), true, false),
            (by_class("DoesNotExist", json!([])), false, true),
        ] {
            let takes = |pod: &Value| charged(&quotas, "pods", pod, None) == "pods=1";
            assert_eq!((takes(&high), takes(&low)), (takes_high, takes_low), "{}", json!(quotas[0].0.0));
        }
    }

    #[test]
    fn an_update_counts_by_the_difference() {
        let quotas = [quota(json!({}), json!({"services.nodeports": "2"}), json!({"services.nodeports": "1"}))];
        let service = |kind: &str, ports: usize| json!({"spec": {"type": kind, "ports": vec![json!({}); ports]}});
        let old = service("NodePort", 1);
        assert_eq!(charged(&quotas, "services", &service("NodePort", 2), Some(&old)), "services.nodeports=2");
        assert_eq!(charged(&quotas, "services", &service("ClusterIP", 2), Some(&old)), "");
        assert_eq!(
            charged(&quotas, "services", &service("NodePort", 3), Some(&old)),
            "refused: exceeded quota: q, requested: services.nodeports=2, used: services.nodeports=1, limited: services.nodeports=2"
        );
    }

    #[test]
    fn what_is_limited_needs_a_quota() {
        let limited = LimitedResource {
            resource: "pods".into(),
            match_contains: vec!["cpu".into()],
            match_scopes: vec![Selector {
                scope_name: "PriorityClass".into(),
                operator: "Exists".into(),
                values: vec![],
            }],
            ..LimitedResource::default()
        };
        let judge = |pod: Value, quotas: &[Quota]| {
            let pod = object(pod);
            let now = "2026-01-01T00:00:00Z".parse().expect("a time");
            let item = Item { group: "", resource: "pods", subresource: "", object: &pod, old: None, now };
            charge(quotas, &item, std::slice::from_ref(&limited)).map(|changes| changes.len())
        };
        let cpu = json!({"spec": {"containers": [{"resources": {"requests": {"cpu": "1"}}}]}});
        assert_eq!(judge(cpu.clone(), &[]).expect_err("refused"), "insufficient quota to consume: cpu,requests.cpu");
        let both =
            [quota(json!({}), json!({"cpu": "5", "requests.cpu": "5"}), json!({"cpu": "0", "requests.cpu": "0"}))];
        assert_eq!(judge(cpu, &both), Ok(1));
        let class = json!({"spec": {"priorityClassName": "high", "containers": []}});
        let text = "insufficient quota to match these scopes: [{PriorityClass Exists []}]";
        assert_eq!(judge(class, &[]).expect_err("refused"), text);
    }
}
