//! Which nodes a pod may or would like to run on
//! (upstream: component-helpers/scheduling/corev1/nodeaffinity/nodeaffinity.go).

use k8s_openapi::api::core::v1::{Node, NodeAffinity, NodeSelectorRequirement, NodeSelectorTerm, Pod};

use crate::labels;

/// The node affinity of a pod.
pub fn of(pod: &Pod) -> Option<&NodeAffinity> {
    pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()
}

/// Whether the node satisfies the pod's `nodeSelector` and one of its required terms.
pub fn required_matches(pod: &Pod, node: &Node) -> bool {
    let empty = labels::Labels::new();
    let node_labels = node.metadata.labels.as_ref().unwrap_or(&empty);
    let wanted = pod.spec.as_ref().and_then(|spec| spec.node_selector.as_ref());
    if !wanted.is_none_or(|wanted| labels::contains_all(wanted, node_labels)) {
        return false;
    }
    let required = of(pod).and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    required.is_none_or(|selector| selector.node_selector_terms.iter().any(|term| term_matches(term, node)))
}

/// The sum of the weights of the pod's preferred terms that the node satisfies.
pub fn preferred_weight(pod: &Pod, node: &Node) -> i64 {
    let preferred = of(pod).and_then(|affinity| affinity.preferred_during_scheduling_ignored_during_execution.as_ref());
    let matching = preferred.into_iter().flatten().filter(|term| term_matches(&term.preference, node));
    matching.map(|term| i64::from(term.weight)).sum()
}

/// Whether a node satisfies every part of a term; an empty term matches nothing.
pub fn term_matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let label = |key: &str| node.metadata.labels.as_ref()?.get(key).map(String::as_str);
    let field = |key: &str| if key == "metadata.name" { node.metadata.name.as_deref() } else { None };
    expressions.iter().all(|one| holds(one, label(&one.key))) && fields.iter().all(|one| holds(one, field(&one.key)))
}

fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|value| values.iter().any(|wanted| wanted == value));
    match requirement.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" | "Lt" => {
            let number = |text: &str| text.parse::<i64>().ok();
            match (value.and_then(number), values.first().and_then(|bound| number(bound))) {
                (Some(value), Some(bound)) if requirement.operator == "Gt" => value > bound,
                (Some(value), Some(bound)) => value < bound,
                _ => false,
            }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators() {
        let mut node = Node::default();
        node.metadata.name = Some("a".into());
        node.metadata.labels = Some([("cores".to_owned(), "8".to_owned())].into());
        for (key, operator, values, expected) in [
            ("cores", "In", &["8"][..], true),
            ("cores", "NotIn", &["8"], false),
            ("zone", "NotIn", &["x"], true),
            ("cores", "Gt", &["4"], true),
            ("cores", "Lt", &["4"], false),
            ("zone", "Gt", &["4"], false),
            ("zone", "DoesNotExist", &[], true),
        ] {
            let requirement = NodeSelectorRequirement {
                key: key.into(),
                operator: operator.into(),
                values: Some(values.iter().map(|value| (*value).to_owned()).collect()),
            };
            let term = NodeSelectorTerm { match_expressions: Some(vec![requirement]), match_fields: None };
            assert_eq!(term_matches(&term, &node), expected, "{key} {operator} {values:?}");
        }
        assert!(!term_matches(&NodeSelectorTerm::default(), &node), "an empty term matches nothing");
        let by_name = NodeSelectorRequirement {
            key: "metadata.name".into(),
            operator: "In".into(),
            values: Some(vec!["a".into()]),
        };
        assert!(term_matches(&NodeSelectorTerm { match_expressions: None, match_fields: Some(vec![by_name]) }, &node));
    }
}
