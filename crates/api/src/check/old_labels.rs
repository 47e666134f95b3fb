//! Labels of nodes that have other names now, wherever something selects nodes by them
//! (upstream: pkg/api/node/util.go).

use apimachinery::field::Path;
use serde_json::{Map, Value};

use super::names;
use crate::json::Read;

const OLD_LABELS: [(&str, &str); 8] = [
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    ("failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"),
    ("beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    ("scheduler.alpha.kubernetes.io/preferAvoidPods", "deprecated since v1.22; use Taints and Tolerations instead"),
    ("node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"),
];

/// What to say of a label, if it is an old one.
pub(crate) fn words(key: &str) -> Option<&'static str> {
    OLD_LABELS.iter().find(|(old, _)| *old == key).map(|(_, words)| *words)
}

/// The requirements of a selector, which name the label.
fn expressions(found: &mut Vec<String>, expressions: &[Value], path: &Path) {
    for (index, expression) in expressions.iter().enumerate() {
        let key = expression.text("key");
        if let Some(words) = words(key) {
            found.push(format!("{}: {key} is {words}", path.index(index).child("key")));
        }
    }
}

/// Words about a term of a node selector; of its values where nobody has judged them.
pub(crate) fn of_term(found: &mut Vec<String>, term: &Map<String, Value>, judges_values: bool, path: &Path) {
    let (list, path) = (term.list("matchExpressions"), path.child("matchExpressions"));
    for (index, expression) in list.iter().enumerate() {
        let path = path.index(index);
        let key = expression.text("key");
        found.extend(words(key).map(|words| format!("{}: {key} is {words}", path.child("key"))));
        for (index, value) in expression.texts("values").enumerate().filter(|_| judges_values) {
            let path = path.child("values").index(index);
            found.extend(
                names::label_value(value).into_iter().map(|words| format!("{path}: {value} is invalid, {words}")),
            );
        }
    }
}

/// Words about a label selector that selects nodes.
pub(crate) fn of_selector(found: &mut Vec<String>, selector: &Map<String, Value>, path: &Path) {
    expressions(found, selector.list("matchExpressions"), &path.child("matchExpressions"));
    for label in selector.object("matchLabels").keys() {
        found.extend(words(label).map(|words| format!("{}: {words}", path.child("matchLabels").child(label))));
    }
}
