//! What is stored is read by the schema that holds now.

use serde_json::{Value, json};

use super::{DEFINITIONS, THINGS, cluster_with, define, definition, redefine, thing, with};
use crate::harness::Cluster;
use crate::webhooks::{Hook, VALIDATING, configure};

const SPEC: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";

fn spec(properties: Value) -> Value {
    json!({"type": "object", "properties": properties})
}

#[tokio::test]
async fn defaults_and_pruning_hold_for_what_is_stored_already() {
    let cluster = cluster_with(spec(json!({"old": {"type": "string"}, "kept": {"type": "string"}}))).await;
    let created = cluster.post(THINGS, thing("a", json!({"old": "x", "kept": "y"}))).await;
    let mut watch = cluster.watch(&format!("{THINGS}?watch=1")).await;
    assert_eq!(watch.line().await, "ADDED a");
    let fresh = spec(json!({"kept": {"type": "string"}, "new": {"type": "integer", "default": 7}}));
    redefine(&cluster, |present| with(present, SPEC, fresh)).await;
    assert_eq!(watch.line().await, "end", "who watches is told to read anew");
    let expected = json!({"kept": "y", "new": 7});
    let read = cluster.get(&format!("{THINGS}/a")).await;
    assert_eq!(read.at("/spec"), &expected);
    assert_eq!(read.at("/metadata/resourceVersion"), created.at("/metadata/resourceVersion"), "reading is not writing");
    assert_eq!(cluster.get(THINGS).await.at("/items/0/spec"), &expected);
    let mut watch = cluster.watch(&format!("{THINGS}?watch=1")).await;
    assert_eq!(watch.next().await.expect("an event")["object"]["spec"], expected);
    let restarted = cluster.restarted().await;
    assert_eq!(restarted.get(&format!("{THINGS}/a")).await.at("/spec"), &expected);
    let written = cluster.patch("merge", &format!("{THINGS}/a"), json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!(written.at("/spec"), &expected);
}

#[tokio::test]
async fn unknown_fields_stay_where_the_schema_says_so() {
    let free = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
        "closed": spec(json!({"a": {"type": "string"}})),
        "child": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
        "none": {"type": "string", "nullable": true},
    }});
    let cluster = cluster_with(free).await;
    let sent = json!({
        "any": {"thing": [1, null]}, "closed": {"a": "x", "b": 1}, "none": null,
        "child": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "creationTimestamp": null, "odd": 1}, "x": 1},
    });
    let created = cluster.post(THINGS, thing("a", sent)).await;
    let kept = json!({
        "any": {"thing": [1, null]}, "closed": {"a": "x"}, "none": null,
        "child": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "x": 1},
    });
    assert_eq!(created.at("/spec"), &kept);
    let broken = json!({"child": {"kind": "Pod", "metadata": {"name": "a/b"}}});
    let refused = cluster.post(THINGS, thing("b", broken)).await;
    assert_eq!(
        refused.line(),
        r#"422 Invalid: Thing.example.com "b" is invalid: [spec.child.apiVersion: Required value, spec.child.metadata.name: Invalid value: "a/b": may not contain '/']"#
    );
}

#[tokio::test]
async fn rules_are_checked_when_they_are_written_and_when_they_are_broken() {
    let rules = json!([
        {"rule": "self.least <= self.most", "message": "least must not be above most"},
        {"rule": "self.most >= oldSelf.most", "messageExpression": "oldSelf.most > 4 ? 'most may not sink' : 'odd'"},
    ]);
    let limits = spec(json!({"least": {"type": "integer"}, "most": {"type": "integer"}}));
    let cluster = cluster_with(with(limits.clone(), "/x-kubernetes-validations", rules)).await;
    let refused = cluster.post(THINGS, thing("a", json!({"least": 2, "most": 1}))).await;
    assert_eq!(
        refused.line(),
        r#"422 Invalid: Thing.example.com "a" is invalid: spec: Invalid value: least must not be above most"#
    );
    cluster.post(THINGS, thing("a", json!({"least": 1, "most": 5}))).await;
    let path = format!("{THINGS}/a");
    let sunk = cluster.patch("merge", &path, json!({"spec": {"most": 3}})).await;
    assert_eq!(sunk.line(), r#"422 Invalid: Thing.example.com "a" is invalid: spec: Invalid value: most may not sink"#);
    let blocked = cluster.patch("merge", &path, json!({"spec": {"most": "x"}})).await;
    assert!(blocked.line().contains("some validation rules were not checked"), "{}", blocked.line());
    let broken = with(limits, "/x-kubernetes-validations", json!([{"rule": "self.nothing > 1"}]));
    let present = cluster.get(super::DEFINITION).await.body;
    let refused = cluster.put(super::DEFINITION, with(present, SPEC, broken)).await;
    assert_eq!(refused.code, 422);
    assert!(refused.line().contains("x-kubernetes-validations[0].rule"), "{}", refused.line());
}

#[tokio::test]
async fn defaults_obey_the_rules() {
    let cluster = Cluster::new().await;
    let rule = |rule: &str| json!([{"rule": rule}]);
    let size = |validations: Value| {
        definition(spec(json!({"size": {"type": "integer", "default": 5, "x-kubernetes-validations": validations}})))
    };
    let refused = cluster.post(DEFINITIONS, size(rule("self > 10"))).await;
    assert_eq!(refused.code, 422);
    let words = "properties[spec].properties[size].default: Invalid value: 5: failed rule: self > 10";
    assert!(refused.line().ends_with(words), "{}", refused.line());
    define(&cluster, size(rule("self > 3"))).await;
}

#[tokio::test]
async fn what_was_wrong_before_is_let_pass_with_a_warning() {
    let sized = |validations: Value| json!({"size": {"type": "integer", "x-kubernetes-validations": validations}});
    let cluster = cluster_with(spec(sized(json!([])))).await;
    cluster.post(THINGS, thing("a", json!({"size": 20}))).await;
    let strict = spec(sized(json!([{"rule": "self < 10", "message": "too large"}])));
    redefine(&cluster, |present| with(present, SPEC, strict)).await;
    let labels = json!({"metadata": {"labels": {"a": "b"}}});
    let written = cluster.patch("merge", &format!("{THINGS}/a"), labels).await;
    assert_eq!(written.code, 200, "{}", written.line());
    assert_eq!(written.headers["warning"], "299 - \"spec.size: Invalid value: 20: too large\"");
    let changed = cluster.patch("merge", &format!("{THINGS}/a"), json!({"spec": {"size": 21}})).await;
    assert_eq!(changed.code, 422, "{}", changed.line());
}

/// Upstream's decoder prunes every object it reads; here an object says when it landed after its schema was replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_written_while_its_schema_is_replaced_is_read_in_the_new_form() {
    let text = || json!({"type": "string"});
    let schema = |properties: Value| json!({"type": "object", "properties": properties});
    let cluster = cluster_with(schema(json!({"old": text(), "kept": text()}))).await;
    let (asked, mut is_asked) = tokio::sync::mpsc::unbounded_channel();
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let wait = parking_lot::Mutex::new(wait);
    let hook = Hook::start(move |_| {
        asked.send(()).expect("the test waits");
        wait.lock().recv().expect("the test goes on");
        json!({"allowed": true})
    })
    .await;
    let rule = json!({"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["things"]});
    configure(&cluster, VALIDATING, "v", &[hook.webhook(json!({"rules": [rule]}))]).await;
    let spec = json!({"old": "1", "kept": "2"});
    let replace = async {
        is_asked.recv().await.expect("the webhook is asked");
        let fresh = schema(json!({"kept": text(), "new": {"type": "string", "default": "3"}}));
        redefine(&cluster, |present| with(present, "/spec/versions/0/schema/openAPIV3Schema/properties/spec", fresh))
            .await;
        go_on.send(()).expect("the webhook waits");
    };
    let (made, ()) = tokio::join!(cluster.post(THINGS, thing("a", spec)), replace);
    assert_eq!(made.code, 201, "{}", made.line());
    let restored = json!({"kept": "2", "new": "3"});
    assert_eq!(cluster.get(&format!("{THINGS}/a")).await.at("/spec"), &restored);
    assert_eq!(cluster.get(THINGS).await.at("/items/0/spec"), &restored);
}

/// Upstream: test/e2e/apimachinery/crd_validation_rules.go.
#[tokio::test]
async fn rules_that_cannot_be_followed_are_refused_with_their_definition() {
    let cluster = Cluster::new().await;
    let ruled = |rule: &str| {
        let rules = json!([{ "rule": rule }]);
        with(spec(json!({"x": {"type": "integer"}})), "/x-kubernetes-validations", rules)
    };
    let dear = json!([{"rule": "self.all(s, s == 'string constant')"}]);
    let texts = json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-validations": dear});
    for (spec, words) in [
        (ruled("self = 42"), "Syntax error"),
        (ruled("self.z == 100"), "undefined field 'z'"),
        (spec(json!({"x": {"type": "array", "items": texts}})), "exceeds budget"),
    ] {
        let refused = cluster.post(DEFINITIONS, definition(spec)).await;
        assert_eq!(refused.code, 422, "{}", refused.line());
        assert!(refused.line().contains(words), "{}", refused.line());
    }
    let pairs = json!([{"rule": "self.all(x, self.all(y, x == y))"}]);
    let numbers =
        json!({"type": "array", "maxItems": 725, "items": {"type": "integer"}, "x-kubernetes-validations": pairs});
    let rising = json!({"type": "integer", "x-kubernetes-validations": [{"rule": "self > oldSelf"}]});
    define(&cluster, definition(spec(json!({"largeArray": numbers, "num": rising})))).await;
    let refused = cluster.post(THINGS, thing("a", json!({"largeArray": vec![20; 725]}))).await;
    assert_eq!(refused.code, 422);
    assert!(refused.line().contains("call cost exceeds limit"), "{}", refused.line());
    let made = cluster.post(THINGS, thing("a", json!({"num": 10}))).await;
    assert_eq!(made.code, 201, "there is nothing yet to rise from: {}", made.line());
    let sunk = cluster.put(&format!("{THINGS}/a"), with(made.body, "/spec/num", json!(9))).await;
    assert_eq!(
        sunk.line(),
        r#"422 Invalid: Thing.example.com "a" is invalid: spec.num: Invalid value: 9: failed rule: self > oldSelf"#
    );
}
