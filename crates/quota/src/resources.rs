//! [`ResourceList`]: amounts by the name of a resource, and what a pod asks for in all
//! (upstream: apiserver/pkg/quota/v1/resources.go, component-helpers/resource/helpers.go).

use std::collections::BTreeMap;
use std::fmt;

use apimachinery::json::Read;
use apimachinery::quantity::{Format, Quantity};
use serde_json::{Map, Value};

/// Amounts by the name of a resource.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResourceList(pub BTreeMap<String, Quantity>);

impl ResourceList {
    /// Reads a `ResourceList` of the API; what is no quantity counts as nothing.
    pub fn read(fields: &Map<String, Value>) -> Self {
        let amount = |value: &Value| match value {
            Value::String(text) => Quantity::parse(text).unwrap_or_default(),
            other => Quantity::parse(&other.to_string()).unwrap_or_default(),
        };
        Self(fields.iter().map(|(name, value)| (name.clone(), amount(value))).collect())
    }

    /// The list as the API writes it.
    pub fn to_value(&self) -> Value {
        let fields = self.0.iter().map(|(name, amount)| (name.clone(), Value::String(amount.to_string())));
        Value::Object(fields.collect())
    }

    /// The amount of a resource.
    pub fn get(&self, name: &str) -> Option<Quantity> {
        self.0.get(name).copied()
    }

    /// Sets a whole number.
    pub fn count(&mut self, name: impl Into<String>, number: i64) {
        self.0.insert(name.into(), Quantity::new(number, Format::DecimalSi));
    }

    /// Adds the amounts of another list.
    pub fn add(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let sum = self.get(name).map_or(*amount, |own| own.add(*amount));
            self.0.insert(name.clone(), sum);
        }
    }

    /// The larger amount of each resource.
    pub fn take_max(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            if self.get(name).is_none_or(|own| own < *amount) {
                self.0.insert(name.clone(), *amount);
            }
        }
    }

    /// What this is more than `other`, and nothing where it is less (upstream: `SubtractWithNonNegativeResult`).
    #[must_use]
    pub fn beyond(&self, other: &Self) -> Self {
        let zero = Quantity::new(0, Format::DecimalSi);
        let left = |(name, amount): (&String, &Quantity)| {
            let left = other.get(name).map_or(*amount, |other| amount.sub(other));
            (name.clone(), if left > zero { left } else { zero })
        };
        Self(self.0.iter().map(left).collect())
    }

    /// Only the resources that `keep` picks.
    #[must_use]
    pub fn only(&self, keep: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|(name, _)| keep(name)).map(|(name, amount)| (name.clone(), *amount)).collect())
    }
}

impl fmt::Display for ResourceList {
    /// `a=1,b=2`, by name (upstream: `prettyPrint`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, amount)) in self.0.iter().enumerate() {
            write!(f, "{}{name}={amount}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// Requests or limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `requests`.
    Requests,
    /// `limits`.
    Limits,
}

impl Side {
    fn field(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Limits => "limits",
        }
    }

    fn of(self, owner: &Value) -> ResourceList {
        ResourceList::read(owner.object("resources").object(self.field()))
    }
}

/// What the containers of a pod come to: all that run side by side, or an init container with the sidecars before it,
/// whichever is more; what the pod states for itself stands instead (upstream: `PodRequests`, `PodLimits`).
pub fn of_containers(pod: &Map<String, Value>, side: Side) -> ResourceList {
    let (spec, status) = (pod.object("spec"), pod.object("status"));
    let container = |container: &Value, statuses: &str| {
        let mut amount = side.of(container);
        let mut known = status.list(statuses).iter();
        if let Some(status) = known.find(|status| status.text("name") == container.text("name")) {
            // A resize that the node has not followed yet counts as the larger of the two.
            amount.take_max(&side.of(status));
            if side == Side::Requests {
                amount.take_max(&ResourceList::read(status.object("allocatedResources")));
            }
        }
        amount
    };
    let mut total = ResourceList::default();
    spec.list("containers").iter().for_each(|one| total.add(&container(one, "containerStatuses")));
    let (mut sidecars, mut init) = (ResourceList::default(), ResourceList::default());
    for one in spec.list("initContainers") {
        let amount = container(one, "initContainerStatuses");
        if one.text("restartPolicy") == "Always" {
            total.add(&amount);
            sidecars.add(&amount);
            init.take_max(&sidecars);
        } else {
            let mut while_it_runs = amount;
            while_it_runs.add(&sidecars);
            init.take_max(&while_it_runs);
        }
    }
    total.take_max(&init);
    let own = ResourceList::read(spec.object("resources").object(side.field()));
    let pod_level = |name: &str| matches!(name, "cpu" | "memory") || name.starts_with("hugepages-");
    total.0.extend(own.only(pod_level).0);
    total
}

/// The same with the overhead of the pod's runtime; no limit comes into being by it.
pub fn of_pod(pod: &Map<String, Value>, side: Side) -> ResourceList {
    let mut total = of_containers(pod, side);
    let overhead = ResourceList::read(pod.object("spec").object("overhead"));
    match side {
        Side::Requests => total.add(&overhead),
        Side::Limits => {
            let limited = overhead.only(|name| total.get(name).is_some_and(|limit| !limit.is_zero()));
            total.add(&limited);
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn requests(pod: &Value) -> String {
        of_pod(pod.fields(), Side::Requests).to_string()
    }

    #[test]
    fn a_pod_comes_to_its_containers_or_its_init_containers() {
        let one = |cpu: &str| json!({"name": "c", "resources": {"requests": {"cpu": cpu}}});
        let sidecar = |cpu: &str| json!({"restartPolicy": "Always", "resources": {"requests": {"cpu": cpu}}});
        for (spec, expected) in [
            (json!({}), ""),
            (json!({"containers": [one("100m"), one("1")]}), "cpu=1100m"),
            (json!({"containers": [one("1")], "initContainers": [one("2"), one("3")]}), "cpu=3"),
            (json!({"containers": [one("1")], "initContainers": [sidecar("1"), one("3")]}), "cpu=4"),
            (json!({"containers": [one("1")], "initContainers": [one("1"), sidecar("1")]}), "cpu=2"),
            (json!({"containers": [one("1")], "overhead": {"cpu": "1", "memory": "1Mi"}}), "cpu=2,memory=1Mi"),
            (json!({"containers": [one("1")], "resources": {"requests": {"cpu": "3", "x": "1"}}}), "cpu=3"),
        ] {
            assert_eq!(requests(&json!({"spec": spec})), expected, "{spec}");
        }
        let resized = json!({
            "spec": {"containers": [one("1")]},
            "status": {"containerStatuses": [{"name": "c", "allocatedResources": {"cpu": "2"}}]},
        });
        assert_eq!(requests(&resized), "cpu=2");
    }

    #[test]
    fn limits_take_overhead_only_where_there_is_a_limit() {
        let pod = json!({"spec": {
            "containers": [{"resources": {"limits": {"cpu": "1"}}}], "overhead": {"cpu": "1", "memory": "1Mi"},
        }});
        assert_eq!(of_pod(pod.fields(), Side::Limits).to_string(), "cpu=2");
    }
}
