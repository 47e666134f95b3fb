//! Tables of wrong jobs.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;

fn job(spec: Value) -> Object {
    let text = json!({"metadata": {"name": "work", "uid": "u"}, "spec": spec});
    let mut object = Object::from_value(text).expect("an object");
    Job.default(&mut object);
    generate_selector(&mut object);
    object
}

fn spec(more: Value) -> Value {
    let pod = json!({"restartPolicy": "Never", "containers": [{"name": "a", "image": "a:1"}]});
    let mut spec = json!({"template": {"spec": pod}});
    for (name, value) in more.as_object().expect("fields") {
        spec[name] = value.clone();
    }
    spec
}

fn lines(errors: &[field::Error]) -> String {
    errors.iter().map(|error| format!("{error}\n")).collect()
}

fn check(more: Value, expected: &Expect) {
    expected.assert_eq(&lines(&Job.validate(&job(spec(more)))));
}

#[test]
fn right_jobs_are_taken() {
    check(json!({}), &expect![[""]]);
    check(
        json!({
            "completionMode": "Indexed", "completions": 5, "backoffLimitPerIndex": 1, "maxFailedIndexes": 2,
            "managedBy": "example.com/operator",
            "successPolicy": {"rules": [{"succeededIndexes": "0,2-4", "succeededCount": 2}]},
            "podFailurePolicy": {"rules": [
                {"action": "FailIndex", "onExitCodes": {"containerName": "a", "operator": "In", "values": [1, 42]}},
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
            ]},
        }),
        &expect![[""]],
    );
}

#[test]
fn policies_are_checked() {
    check(
        json!({
            "maxFailedIndexes": 1, "managedBy": "me", "podReplacementPolicy": "TerminatingOrFailed",
            "successPolicy": {"rules": []},
            "podFailurePolicy": {"rules": [
                {"action": "FailIndex", "onExitCodes": {"containerName": "b", "operator": "In", "values": [3, 0, 3]}},
                {"action": "Retry"},
                {"onPodConditions": [{"type": "a b", "status": "Maybe"}], "onExitCodes": {"operator": "", "values": []}},
            ]},
        }),
        &expect![[r#"
            spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified
            spec.managedBy: Invalid value: "me": must be a domain-prefixed path (such as "acme.io/foo")
            spec.maxFailedIndexes: Invalid value: 1: requires indexed completion mode
            spec.podFailurePolicy.rules[0].action: Invalid value: "FailIndex": requires the backoffLimitPerIndex to be set
            spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: "b": must be one of the container or initContainer names in the pod template
            spec.podFailurePolicy.rules[0].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator
            spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Duplicate value: 3
            spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [3,0,3]: must be ordered
            spec.podFailurePolicy.rules[1].action: Unsupported value: "Retry": supported values: "Count", "FailIndex", "FailJob", "Ignore"
            spec.podFailurePolicy.rules[1]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required
            spec.podFailurePolicy.rules[2].action: Required value: valid values: ["Count" "FailIndex" "FailJob" "Ignore"]
            spec.podFailurePolicy.rules[2].onExitCodes.operator: Required value: valid values: ["In" "NotIn"]
            spec.podFailurePolicy.rules[2].onExitCodes.values: Invalid value: []: at least one value is required
            spec.podFailurePolicy.rules[2].onPodConditions[0].type: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec.podFailurePolicy.rules[2].onPodConditions[0].status: Unsupported value: "Maybe": supported values: "False", "True", "Unknown"
            spec.podFailurePolicy.rules[2]: Invalid value: specifying both OnExitCodes and OnPodConditions is not supported
            spec.successPolicy: Invalid value: {"rules":[]}: requires indexed completion mode
            spec.podReplacementPolicy: Unsupported value: "TerminatingOrFailed": supported values: "Failed"
        "#]],
    );
    check(
        json!({
            "completionMode": "Indexed", "completions": 3, "parallelism": 100_001, "maxFailedIndexes": 4,
            "backoffLimitPerIndex": 0,
            "successPolicy": {"rules": [{}, {"succeededIndexes": "1-5"}, {"succeededIndexes": "0", "succeededCount": 4}]},
        }),
        &expect![[r#"
            spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed
            spec.maxFailedIndexes: Invalid value: 4: must be less than or equal to completions
            spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be specified
            spec.successPolicy.rules[1].succeededIndexes: Invalid value: "1-5": error parsing succeededIndexes: too large index: "5"
            spec.successPolicy.rules[2].succeededCount: Invalid value: 4: must be less than or equal to 3 (the number of specified completions)
            spec.successPolicy.rules[2].succeededCount: Invalid value: 4: must be less than or equal to 1 (the number of indexes in the specified succeededIndexes field)
        "#]],
    );
}

#[test]
fn the_template_stays_but_for_suspended_jobs() {
    let with = |suspend: bool, image: &str, cpu: &str, selector: Value| {
        let mut object = job(spec(json!({"suspend": suspend})));
        let pod = object.0["spec"]["template"]["spec"].as_object_mut().expect("a pod");
        pod["containers"][0]["image"] = image.into();
        pod["containers"][0]["resources"] = json!({"requests": {"cpu": cpu}});
        pod.insert("nodeSelector".into(), selector);
        object
    };
    let fields = |errors: Vec<field::Error>| errors.into_iter().map(|error| error.field).collect::<Vec<_>>();
    let old = with(true, "a:1", "1", json!({}));
    assert!(Job.validate_update(&with(false, "a:1", "2", json!({"disk": "ssd"})), &old).is_empty());
    assert_eq!(fields(Job.validate_update(&with(true, "a:2", "1", json!({})), &old)), ["spec.template"]);
    let old = with(false, "a:1", "1", json!({}));
    assert_eq!(fields(Job.validate_update(&with(false, "a:1", "2", json!({})), &old)), ["spec.template"]);
}

#[test]
fn a_status_is_consistent() {
    let with = |status: Value| {
        let mut object = job(spec(json!({})));
        object.0.insert("status".into(), status);
        object
    };
    let old = with(json!({"startTime": "2026-01-01T00:00:00Z", "active": 1}));
    let done = json!({
        "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:01:00Z", "succeeded": 1,
        "conditions": [{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}],
    });
    assert_eq!(lines(&Job.validate_status_update(&with(done), &old)), "");
    let wrong = json!({
        "startTime": "2026-01-01T00:02:00Z", "active": 1, "ready": 2, "completedIndexes": "1",
        "conditions": [{"type": "Complete", "status": "True"}],
    });
    expect![[r#"
        status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition
        status.completionTime: Required value: completionTime is required for Complete jobs
        status.active: Invalid value: 1: active>0 is invalid for finished job
        status.ready: Invalid value: 2: cannot set more ready pods than active
        status.completedIndexes: Invalid value: "1": cannot set non-empty completedIndexes when non-indexed completion mode
        status.completedIndexes: Invalid value: "1": error parsing completedIndexes: too large index: "1"
        status.startTime: Invalid value: "2026-01-01T00:02:00Z": startTime cannot be modified for unsuspended job
    "#]]
    .assert_eq(&lines(&Job.validate_status_update(&with(wrong), &old)));
}
