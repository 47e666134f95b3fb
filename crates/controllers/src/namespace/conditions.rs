//! What a namespace says about its deletion
//! (upstream: pkg/controller/namespace/deletion/status_condition_utils.go).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NamespaceCondition, NamespaceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::content::Content;

/// Writes all five conditions.
pub fn set_all(status: &mut NamespaceStatus, content: &Content, now: Timestamp) {
    let mut set = |type_: &str, bad: Option<String>, when_bad: &str, when_good: (&str, &str)| {
        let (value, reason, message) = match bad {
            Some(message) => ("True", when_bad, message),
            None => ("False", when_good.0, when_good.1.to_owned()),
        };
        put(status, type_, value, reason, message, now);
    };
    set(
        "NamespaceDeletionDiscoveryFailure",
        None,
        "DiscoveryFailed",
        ("ResourcesDiscovered", "All resources successfully discovered"),
    );
    set(
        "NamespaceDeletionGroupVersionParsingFailure",
        None,
        "GroupVersionParsingFailed",
        ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
    );
    set(
        "NamespaceDeletionContentFailure",
        (!content.failures.is_empty()).then(|| {
            format!(
                "Failed to delete all resource types, {} remaining: {}",
                content.failures.len(),
                content.failures.join(", ")
            )
        }),
        "ContentDeletionFailed",
        ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
    );
    set(
        "NamespaceContentRemaining",
        listed(&content.remaining, "Some resources are remaining: ", " has "),
        "SomeResourcesRemain",
        ("ContentRemoved", "All content successfully removed"),
    );
    set(
        "NamespaceFinalizersRemaining",
        listed(&content.finalizers, "Some content in the namespace has finalizers remaining: ", " in "),
        "SomeFinalizersRemain",
        ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
    );
}

fn listed(counts: &BTreeMap<String, usize>, head: &str, between: &str) -> Option<String> {
    let part = |(name, count): (&String, &usize)| format!("{name}{between}{count} resource instances");
    let parts: Vec<String> = counts.iter().map(part).collect();
    (!parts.is_empty()).then(|| format!("{head}{}", parts.join(", ")))
}

fn put(status: &mut NamespaceStatus, type_: &str, value: &str, reason: &str, message: String, now: Timestamp) {
    let conditions = status.conditions.get_or_insert_default();
    let new = NamespaceCondition {
        type_: type_.into(),
        status: value.into(),
        reason: Some(reason.into()),
        message: Some(message),
        last_transition_time: Some(Time(now)),
    };
    match conditions.iter_mut().find(|one| one.type_ == type_) {
        None => conditions.push(new),
        Some(old) => {
            let since = old.last_transition_time.clone().filter(|_| old.status == new.status);
            *old = NamespaceCondition { last_transition_time: since.or(new.last_transition_time), ..new };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told() {
        let mut status = NamespaceStatus::default();
        let content = Content {
            remaining: [("pods.".to_owned(), 2)].into(),
            finalizers: [("example.com/hold".to_owned(), 1)].into(),
            failures: vec![],
        };
        let at = |second| Timestamp::from_second(second).expect("a time");
        set_all(&mut status, &content, at(1));
        set_all(&mut status, &Content::default(), at(2));
        let conditions = status.conditions.as_ref().expect("conditions");
        assert_eq!(conditions.len(), 5);
        assert_eq!(conditions[0].last_transition_time, Some(Time(at(1))), "unchanged");
        assert_eq!(conditions[3].last_transition_time, Some(Time(at(2))), "changed");
        set_all(&mut status, &content, at(3));
        let messages: Vec<_> =
            status.conditions.iter().flatten().skip(3).filter_map(|one| one.message.clone()).collect();
        assert_eq!(
            messages,
            [
                "Some resources are remaining: pods. has 2 resource instances",
                "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances",
            ]
        );
    }
}
