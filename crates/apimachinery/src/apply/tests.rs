//! Whole stories: several managers, one object.

use super::*;
use crate::schema::tests::deployments;
use serde_json::json;

struct Story {
    schema: SchemaSet,
    root: NodeId,
    live: Option<Object>,
    second: i64,
}

impl Story {
    fn new() -> Self {
        let (schema, root) = deployments();
        Self { schema, root, live: None, second: 0 }
    }

    fn writer<'a>(&'a self, manager: &'a str) -> Writer<'a> {
        Writer {
            schema: &self.schema,
            root: self.root,
            manager,
            api_version: "apps/v1",
            subresource: "",
            now: jiff::Timestamp::from_second(1_767_225_600 + self.second).expect("a time"),
            reset_fields: None,
        }
    }

    fn apply(&mut self, manager: &str, config: Value) -> Result<(), ApplyError> {
        self.apply_with(manager, config, false)
    }

    fn apply_with(&mut self, manager: &str, mut config: Value, force: bool) -> Result<(), ApplyError> {
        self.second += 1;
        config["apiVersion"] = "apps/v1".into();
        config["kind"] = "Deployment".into();
        let config = Object::from_value(config).expect("an object");
        check(&self.writer(manager), &config)?;
        let applied = apply(&self.writer(manager), self.live.as_ref(), &config, force)?;
        self.live = Some(applied);
        Ok(())
    }

    fn update(&mut self, manager: &str, patch: Value) {
        self.second += 1;
        let mut new = self.live.clone().unwrap_or_default().into_value();
        crate::patch::merge::apply(&mut new, patch);
        let mut new = Object::from_value(new).expect("an object");
        update(&self.writer(manager), self.live.as_ref(), &mut new);
        new.set_meta_str("uid", "u");
        self.live = Some(new);
    }

    fn spec(&self) -> &Value {
        &self.live.as_ref().expect("an object").0["spec"]
    }

    /// Manager, operation and fields of each entry.
    fn owners(&self) -> Vec<(String, String, Value)> {
        let live = self.live.as_ref().expect("an object");
        let entries = live.at(&["metadata", "managedFields"]).and_then(Value::as_array).cloned().unwrap_or_default();
        let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        entries
            .iter()
            .map(|entry| (text(entry, "manager"), text(entry, "operation"), entry["fieldsV1"].clone()))
            .collect()
    }

    fn owner(&self, manager: &str) -> Option<Value> {
        self.owners().into_iter().find(|(name, ..)| name == manager).map(|(.., fields)| fields)
    }
}

fn message(outcome: Result<(), ApplyError>) -> String {
    outcome.expect_err("refused").to_string()
}

#[test]
fn a_creator_owns_what_it_wrote() {
    let mut story = Story::new();
    story.update(
        "kubectl-create",
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"app": "web"}},
            "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "a", "image": "i"}]}}}}),
    );
    let fields = json!({
        "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
        "f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {
            r#"k:{"name":"a"}"#: {".": {}, "f:image": {}, "f:name": {}},
        }}}},
    });
    assert_eq!(story.owners(), [("kubectl-create".into(), "Update".into(), fields)]);
    let live = story.live.as_ref().expect("an object");
    assert_eq!(live.at(&["metadata", "managedFields"]).expect("entries")[0]["time"], "2026-01-01T00:00:01Z");
    assert_eq!(live.at(&["metadata", "managedFields"]).expect("entries")[0]["apiVersion"], "apps/v1");
}

#[test]
fn changed_fields_change_hands() {
    let mut story = Story::new();
    story.update("a", json!({"metadata": {"name": "web"}, "spec": {"replicas": 1, "paused": true}}));
    story.update("b", json!({"spec": {"replicas": 2}}));
    assert_eq!(story.owner("a"), Some(json!({"f:spec": {"f:paused": {}}})));
    assert_eq!(story.owner("b"), Some(json!({"f:spec": {"f:replicas": {}}})));
    story.update("b", json!({"spec": {"paused": null}}));
    assert_eq!(story.owners().len(), 1, "a manager without fields goes");
    let before = story.live.clone();
    story.update("c", json!({}));
    assert_eq!(story.live, before, "a write that changes nothing notes nothing");
    story.update("c", json!({"metadata": {"resourceVersion": "5", "generation": 7}}));
    assert_eq!(story.owner("c"), None, "what the server sets is nobody's");
}

#[test]
fn an_applier_meets_a_conflict_and_may_force() {
    let mut story = Story::new();
    story.apply("one", json!({"metadata": {"name": "web"}, "spec": {"replicas": 1}})).expect("applied");
    assert_eq!(story.owners(), [("one".into(), "Apply".into(), json!({"f:spec": {"f:replicas": {}}}))]);
    story.update("kubectl-scale", json!({"spec": {"replicas": 5}}));
    let refused = story.apply("one", json!({"metadata": {"name": "web"}, "spec": {"replicas": 1}}));
    assert_eq!(
        refused.clone().expect_err("refused").to_status().to_value(),
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 409, "reason": "Conflict",
            "message": "Apply failed with 1 conflict: conflict with \"kubectl-scale\" using apps/v1: .spec.replicas",
            "details": {"causes": [{"reason": "FieldManagerConflict", "field": ".spec.replicas",
                "message": "conflict with \"kubectl-scale\" using apps/v1"}]}})
    );
    story.apply_with("one", json!({"metadata": {"name": "web"}, "spec": {"replicas": 1}}), true).expect("forced");
    assert_eq!((story.spec()["replicas"].clone(), story.owner("kubectl-scale")), (json!(1), None));
}

#[test]
fn the_same_value_is_shared_and_kept_until_nobody_wants_it() {
    let mut story = Story::new();
    let config = |extra: Value| {
        let mut config = json!({"metadata": {"name": "web"}, "spec": {"replicas": 3}});
        crate::patch::merge::apply(&mut config, extra);
        config
    };
    story.apply("one", config(json!({}))).expect("applied");
    story.apply("two", config(json!({"spec": {"paused": true}}))).expect("shared");
    story.apply("one", json!({"metadata": {"name": "web"}})).expect("given up");
    assert_eq!(story.spec(), &json!({"paused": true, "replicas": 3}));
    assert_eq!(story.owner("one"), None);
    let refused = story.apply("one", json!({"metadata": {"name": "web"}, "spec": {"replicas": 1, "paused": false}}));
    let both = "Apply failed with 2 conflicts: conflicts with \"two\":\n- .spec.paused\n- .spec.replicas";
    assert_eq!(message(refused), both);
    story.apply("two", json!({"metadata": {"name": "web"}})).expect("given up");
    assert_eq!(story.live.as_ref().expect("an object").0.get("spec"), None);
}

#[test]
fn items_of_lists_have_owners() {
    let mut story = Story::new();
    let pod = |containers: Value| json!({"metadata": {"name": "web"}, "spec": {"template": {"spec": {"containers": containers}}}});
    story
        .apply("one", pod(json!([{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}])))
        .expect("applied");
    story
        .apply("two", pod(json!([{"name": "b", "image": "2"}, {"name": "a", "env": [{"name": "Y", "value": "2"}]}])))
        .expect("applied");
    story.apply("one", pod(json!([{"name": "a", "image": "1"}]))).expect("applied");
    let containers = story.spec()["template"]["spec"]["containers"].clone();
    let names = json!([{"name": "b", "image": "2"}, {"name": "a", "image": "1", "env": [{"name": "Y", "value": "2"}]}]);
    assert_eq!(containers, names);
    story.apply("two", pod(json!([{"name": "b", "image": "2"}]))).expect("applied");
    story.apply("one", json!({"metadata": {"name": "web"}})).expect("applied");
    let containers = story.spec()["template"]["spec"]["containers"].clone();
    assert_eq!(containers, json!([{"name": "b", "image": "2"}]));
}

#[test]
fn an_apply_that_changes_nothing_leaves_the_object_as_it_is() {
    let mut story = Story::new();
    let config = json!({"metadata": {"name": "web", "labels": {"a": "b"}}, "spec": {"replicas": 3}});
    story.apply("one", config.clone()).expect("applied");
    let before = story.live.clone();
    story.apply("one", config).expect("applied");
    assert_eq!(story.live, before, "not even the time changes");
}

#[test]
fn kubectl_takes_over_what_it_applied_on_the_client_side() {
    let mut story = Story::new();
    let annotation = "kubectl.kubernetes.io/last-applied-configuration";
    let applied =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 1}});
    let mut created = applied.clone();
    created["metadata"]["annotations"] = json!({annotation: applied.to_string()});
    story.update("kubectl-client-side-apply", created);
    story.apply("kubectl", json!({"metadata": {"name": "web"}, "spec": {"replicas": 2}})).expect("taken over");
    let noted = story.live.as_ref().expect("an object").at(&["metadata", "annotations", annotation]).cloned();
    assert!(noted.and_then(|noted| noted.as_str().map(|text| text.contains("\"replicas\":2"))).expect("noted"));
    story.update("kubectl-scale", json!({"spec": {"replicas": 7}}));
    assert!(story.apply("kubectl", json!({"metadata": {"name": "web"}, "spec": {"replicas": 2}})).is_err());
}

#[test]
fn untracked_objects_are_tracked_from_the_first_apply() {
    let mut story = Story::new();
    story.update("a", json!({"metadata": {"name": "web"}, "spec": {"replicas": 1}}));
    story.update("a", json!({"metadata": {"managedFields": []}}));
    assert!(story.owners().is_empty(), "a reset forgets all managers");
    story.update("b", json!({"spec": {"replicas": 2}}));
    assert!(story.owners().is_empty());
    let refused = story.apply("one", json!({"metadata": {"name": "web"}, "spec": {"replicas": 3}}));
    let words = "Apply failed with 1 conflict: conflict with \"before-first-apply\" using apps/v1: .spec.replicas";
    assert_eq!(message(refused), words);
}

#[test]
fn fields_that_a_write_resets_are_not_owned() {
    let mut story = Story::new();
    let status = FieldSet::of_fields(&[&["status"]]);
    let config = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 1}, "status": {"replicas": 1}});
    let writer = Writer { reset_fields: Some(&status), ..story.writer("one") };
    let object = apply(&writer, None, &Object::from_value(config).expect("an object"), false).expect("applied");
    story.live = Some(object);
    assert_eq!(story.owner("one"), Some(json!({"f:spec": {"f:replicas": {}}})));
}

#[test]
fn bad_configurations_are_refused() {
    let mut story = Story::new();
    let typed = "failed to create typed patch object (shop/web; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema";
    assert_eq!(
        message(story.apply("one", json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": {"foo": 1}}))),
        typed
    );
    assert_eq!(
        message(story.apply("one", json!({"metadata": {"managedFields": []}}))),
        "metadata.managedFields must be nil"
    );
    let other = Object::from_value(json!({"apiVersion": "apps/v2"})).expect("an object");
    let refused = check(&story.writer("one"), &other).expect_err("refused");
    let words = "Incorrect version specified in apply patch. Specified patch version: apps/v2, expected: apps/v1";
    assert_eq!((refused.to_string().as_str(), refused.to_status().code), (words, 400));
}

#[test]
fn subresources_are_managers_of_their_own() {
    let mut story = Story::new();
    story.update("a", json!({"metadata": {"name": "web"}, "spec": {"replicas": 1}}));
    let mut new = story.live.clone().expect("an object");
    new.0.insert("status".into(), json!({"replicas": 1}));
    // What a client sends as managedFields to a subresource does not count.
    new.metadata_mut().insert("managedFields".into(), json!([]));
    let writer = Writer { subresource: "status", ..story.writer("a") };
    update(&writer, story.live.as_ref(), &mut new);
    story.live = Some(new);
    let entries = story.owners();
    assert_eq!(entries.len(), 2);
    let status = json!({"f:status": {".": {}, "f:replicas": {}}});
    assert!(entries.iter().any(|(.., fields)| *fields == status), "{entries:?}");
}
