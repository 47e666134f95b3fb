//! What a quota's status should be, from the objects of its namespace (upstream: `syncResourceQuota`,
//! apiserver/pkg/quota/v1/resources.go `CalculateUsage`).

use std::collections::BTreeSet;
use std::sync::Arc;

use apimachinery::Object;
use apimachinery::json::Read;
use component_base::now;
use quota::{Evaluator, ResourceList, selectors_of};
use serde::Serialize;
use serde_json::{Value, json};

/// A resource of a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// The group.
    pub group: String,
    /// The resource, as `pods`.
    pub resource: String,
}

impl Resource {
    /// The resource that an amount in a quota is about.
    pub fn of(name: &str) -> Option<Self> {
        Evaluator::resource_of(name).map(|(group, resource)| Self { group, resource })
    }
}

/// An object as JSON.
pub fn object(typed: &impl Serialize) -> Result<Object, serde_json::Error> {
    Ok(Object::from_value(serde_json::to_value(typed)?).unwrap_or_default())
}

/// Cached objects as JSON; what cannot be written counts for nothing.
pub fn objects<K: Serialize>(cached: Vec<Arc<K>>) -> impl Iterator<Item = Object> {
    cached.into_iter().filter_map(|one| object(&*one).ok())
}

/// A quota and what has been found to be used of it.
pub struct Used {
    quota: Object,
    hard: ResourceList,
    used: ResourceList,
}

impl Used {
    /// Nothing is known of this quota's usage yet.
    pub fn new(quota: Object) -> Self {
        let hard = ResourceList::read(quota.object("spec").object("hard"));
        Self { quota, hard, used: ResourceList::default() }
    }

    /// The resources that the quota is about.
    pub fn resources(&self) -> BTreeSet<Resource> {
        self.hard.0.keys().filter_map(|name| Resource::of(name)).collect()
    }

    /// Adds what these objects use, as far as they are within the quota's scopes.
    pub fn measure(&mut self, resource: &Resource, objects: impl Iterator<Item = Object>) {
        let evaluator = Evaluator::of(&resource.group, &resource.resource);
        let selectors = selectors_of(&self.quota);
        let now = now();
        self.begin(&evaluator);
        for object in objects {
            if selectors.iter().all(|selector| evaluator.in_scope(selector, &object)) {
                let usage = evaluator.usage(&object, now).only(|name| self.hard.get(name).is_some());
                self.used.add(&usage);
            }
        }
    }

    /// Adds so many objects of a kind that is only counted.
    pub fn count(&mut self, resource: &Resource, number: usize) {
        let evaluator = Evaluator::of(&resource.group, &resource.resource);
        self.begin(&evaluator);
        if !selectors_of(&self.quota).is_empty() {
            return;
        }
        for name in self.hard.0.keys().filter(|name| evaluator.counts_for(name)) {
            self.used.count(name.clone(), i64::try_from(number).unwrap_or(i64::MAX));
        }
    }

    /// What is measured and of which nothing is there is nothing.
    fn begin(&mut self, evaluator: &Evaluator) {
        for name in self.hard.0.keys().filter(|name| evaluator.counts_for(name)) {
            if self.used.get(name).is_none() {
                self.used.count(name.clone(), 0);
            }
        }
    }

    /// The same usage, for another state of the quota.
    pub fn beside(self, quota: Object) -> Self {
        Self { quota, ..self }
    }

    /// The status to be written, if it is another one.
    pub fn changed_status(&self) -> Option<Value> {
        let status = self.quota.object("status");
        let present = |field: &str| ResourceList::read(status.object(field));
        let same = present("hard") == self.hard && present("used") == self.used;
        let is_first = !(status.has("hard") && status.has("used"));
        if same && !is_first {
            return None;
        }
        Some(json!({"hard": self.hard.to_value(), "used": self.used.to_value()}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(spec: Value, status: Value) -> Used {
        Used::new(Object::from_value(json!({"spec": spec, "status": status})).expect("an object"))
    }

    fn pod(cpu: &str) -> Object {
        let pod = json!({"spec": {"containers": [{"resources": {"requests": {"cpu": cpu}}}]}});
        Object::from_value(pod).expect("an object")
    }

    fn resource(name: &str) -> Resource {
        Resource::of(name).expect("a resource")
    }

    #[test]
    fn usage_is_summed_for_what_the_quota_names() {
        let mut used = quota(json!({"hard": {"pods": "5", "requests.cpu": "2", "secrets": "3"}}), json!({}));
        assert_eq!(used.resources(), BTreeSet::from([resource("pods"), resource("secrets")]));
        used.measure(&resource("pods"), [pod("1"), pod("500m")].into_iter());
        used.count(&resource("secrets"), 2);
        let status = used.changed_status().expect("it is new");
        assert_eq!(status["used"], json!({"pods": "2", "requests.cpu": "1500m", "secrets": "2"}));
        let mut again = quota(json!({"hard": {"pods": "5", "requests.cpu": "2", "secrets": "3"}}), status);
        again.measure(&resource("pods"), [pod("1500m"), pod("0")].into_iter());
        again.count(&resource("secrets"), 2);
        assert_eq!(again.changed_status(), None);
    }

    #[test]
    fn an_empty_namespace_uses_nothing() {
        let mut used = quota(json!({"hard": {"requests.cpu": "2", "count/jobs.batch": "1"}}), json!({}));
        used.measure(&resource("requests.cpu"), std::iter::empty());
        used.count(&resource("count/jobs.batch"), 0);
        let status = used.changed_status().expect("it is new");
        assert_eq!(status["used"], json!({"requests.cpu": "0", "count/jobs.batch": "0"}));
    }

    #[test]
    fn scopes_pick_what_counts() {
        let mut used = quota(json!({"hard": {"pods": "5"}, "scopes": ["BestEffort"]}), json!({}));
        used.measure(&resource("pods"), [pod("1"), pod("0")].into_iter());
        assert_eq!(used.changed_status().expect("it is new")["used"], json!({"pods": "1"}));
    }
}
