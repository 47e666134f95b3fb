//! Label selectors as objects carry them (`metav1.LabelSelector`), matched against labels.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// The labels of an object.
pub type Labels = BTreeMap<String, String>;

/// Whether `labels` satisfy every part of `selector`; an empty selector matches everything.
pub fn matches(selector: &LabelSelector, labels: &Labels) -> bool {
    let equal = selector.match_labels.as_ref().is_none_or(|wanted| contains_all(wanted, labels));
    equal && selector.match_expressions.iter().flatten().all(|requirement| holds(requirement, labels))
}

/// Whether `labels` contain every pair of `wanted`.
pub fn contains_all(wanted: &Labels, labels: &Labels) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Whether a selector asks for nothing at all.
pub fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

fn holds(requirement: &LabelSelectorRequirement, labels: &Labels) -> bool {
    let value = labels.get(&requirement.key);
    let listed = |value: &String| requirement.values.iter().flatten().any(|wanted| wanted == value);
    match requirement.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        // The API server admits no other operator.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirement(key: &str, operator: &str, values: &[&str]) -> LabelSelectorRequirement {
        LabelSelectorRequirement {
            key: key.into(),
            operator: operator.into(),
            values: Some(values.iter().map(|value| (*value).to_owned()).collect()),
        }
    }

    #[test]
    fn operators() {
        let labels = Labels::from([("app".to_owned(), "web".to_owned())]);
        for (key, operator, values, expected) in [
            ("app", "In", &["web", "db"][..], true),
            ("app", "In", &["db"], false),
            ("tier", "In", &["web"], false),
            ("app", "NotIn", &["web"], false),
            ("tier", "NotIn", &["web"], true),
            ("app", "Exists", &[], true),
            ("tier", "DoesNotExist", &[], true),
            ("app", "DoesNotExist", &[], false),
        ] {
            let selector =
                LabelSelector { match_expressions: Some(vec![requirement(key, operator, values)]), match_labels: None };
            assert_eq!(matches(&selector, &labels), expected, "{key} {operator} {values:?}");
        }
        assert!(matches(&LabelSelector::default(), &labels), "the empty selector matches everything");
    }
}
