//! Deployments, ReplicaSets and their kin.

use apimachinery::Object;
use serde_json::Value;

use super::text::{containers, images, labels, selector};
use super::{age, as_text, integer, name, string, wide};
use crate::json::Read;
use crate::resource::Column;

fn spec_count(field: &'static str) -> impl Fn(&Object) -> i64 {
    move |object| object.object("spec").int(field).unwrap_or_default()
}

fn status_count(field: &'static str) -> impl Fn(&Object) -> i64 {
    move |object| object.object("status").int(field).unwrap_or_default()
}

/// Containers and images of the template.
fn template() -> [Column; 2] {
    [
        wide(string("Containers", |object| containers(object.object("spec").object("template").object("spec")))),
        wide(string("Images", |object| images(object.object("spec").object("template").object("spec")))),
    ]
}

fn label_selector() -> Column {
    wide(string("Selector", |object| selector(object.object("spec").value("selector"))))
}

fn assemble(columns: impl IntoIterator<Item = Column>, selector: Option<Column>) -> Vec<Column> {
    columns.into_iter().chain([age()]).chain(template()).chain(selector).collect()
}

/// Columns of deployments.
pub(crate) fn deployments() -> Vec<Column> {
    let columns = [
        name(),
        string("Ready", |object| {
            let ready = object.object("status").int("readyReplicas").unwrap_or_default();
            format!("{ready}/{}", object.object("spec").int("replicas").unwrap_or_default())
        }),
        as_text(integer("Up-to-date", status_count("updatedReplicas"))),
        as_text(integer("Available", status_count("availableReplicas"))),
    ];
    assemble(columns, Some(label_selector()))
}

/// Columns of ReplicaSets.
pub(crate) fn replica_sets() -> Vec<Column> {
    assemble(replicas(), Some(label_selector()))
}

/// Columns of ReplicationControllers.
pub(crate) fn replication_controllers() -> Vec<Column> {
    let selector = wide(string("Selector", |object| labels(object.object("spec").object("selector"))));
    assemble(replicas(), Some(selector))
}

fn replicas() -> [Column; 4] {
    [
        name(),
        integer("Desired", spec_count("replicas")),
        integer("Current", status_count("replicas")),
        integer("Ready", status_count("readyReplicas")),
    ]
}

/// Columns of StatefulSets.
pub(crate) fn stateful_sets() -> Vec<Column> {
    let columns = [
        name(),
        string("Ready", |object| {
            let ready = object.object("status").int("readyReplicas").unwrap_or_default();
            format!("{ready}/{}", object.object("spec").int("replicas").unwrap_or_default())
        }),
    ];
    assemble(columns, None)
}

/// Columns of DaemonSets.
pub(crate) fn daemon_sets() -> Vec<Column> {
    let columns = [
        name(),
        integer("Desired", status_count("desiredNumberScheduled")),
        integer("Current", status_count("currentNumberScheduled")),
        integer("Ready", status_count("numberReady")),
        integer("Up-to-date", status_count("updatedNumberScheduled")),
        integer("Available", status_count("numberAvailable")),
        string("Node Selector", |object| {
            labels(object.object("spec").object("template").object("spec").object("nodeSelector"))
        }),
    ];
    assemble(columns, Some(label_selector()))
}

/// Columns of ControllerRevisions.
pub(crate) fn controller_revisions() -> Vec<Column> {
    vec![
        name(),
        string("Controller", |object| {
            let owners = object.object("metadata").list("ownerReferences");
            let owner = owners.iter().find(|owner| owner.flag("controller"));
            owner.map_or_else(
                || "<none>".into(),
                |owner| {
                    let group = owner.text("apiVersion").split_once('/').map_or("", |(group, _)| group);
                    let kind = owner.text("kind").to_lowercase();
                    let kind = if group.is_empty() { kind } else { format!("{kind}.{group}") };
                    format!("{kind}/{}", owner.text("name"))
                },
            )
        }),
        as_text(integer("Revision", |object| object.value("revision").cloned().unwrap_or(Value::from(0)))),
        age(),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::tests::row;
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_count_replicas() {
        let spec = json!({
            "replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"spec": {"containers": [{"name": "a", "image": "x:1"}, {"name": "b", "image": "y:2"}]}},
        });
        let status = json!({"replicas": 2, "readyReplicas": 1, "updatedReplicas": 2});
        let object = json!({"metadata": {"name": "web"}, "spec": spec, "status": status});
        assert_eq!(row(&deployments(), object.clone()), "web  1/3  2  0  <unknown> | a,b  x:1,y:2  app=web");
        assert_eq!(row(&replica_sets(), object.clone()), "web  3  2  1  <unknown> | a,b  x:1,y:2  app=web");
        assert_eq!(row(&stateful_sets(), object), "web  1/3  <unknown> | a,b  x:1,y:2");
    }
}
