//! Tables of wrong claims, classes and slices.

use apimachinery::Object;
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::resource::{Strategy, WriteContext};

fn object(spec: Value) -> Object {
    Object::from_value(json!({"metadata": {"name": "mine"}, "spec": spec})).expect("an object")
}

fn check(strategy: &dyn Strategy, spec: Value, expected: &Expect) {
    let mut object = object(spec);
    strategy.default(&mut object);
    expected.assert_eq(&strategy.validate(&object).iter().map(|error| format!("{error}\n")).collect::<String>());
}

#[test]
fn claims_are_checked() {
    let gpu = json!({"deviceClassName": "gpu"});
    check(
        &ResourceClaim,
        json!({"devices": {
            "requests": [{"name": "a", "exactly": gpu.clone()}, {"name": "b", "firstAvailable": [{"name": "big", "deviceClassName": "gpu"}]}],
            "constraints": [{"requests": ["a", "b/big"], "matchAttribute": "example.com/model"}],
            "config": [{"opaque": {"driver": "gpu.example.com", "parameters": {"x": 1}}}],
        }}),
        &expect![[""]],
    );
    check(
        &ResourceClaim,
        json!({"devices": {
            "requests": [
                {"name": "a"},
                {"name": "a", "exactly": {"allocationMode": "All", "count": 2, "selectors": [{}]}},
                {"name": "c", "exactly": gpu.clone(), "firstAvailable": [{}]},
            ],
            "constraints": [{"requests": ["x"], "matchAttribute": "model"}],
            "config": [{"opaque": {"parameters": 1}}],
        }}),
        &expect![[r#"
            spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required
            spec.devices.requests[1].name: Duplicate value: "a"
            spec.devices.requests[1].exactly.deviceClassName: Required value
            spec.devices.requests[1].exactly.selectors[0].cel: Required value
            spec.devices.requests[1].exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'
            spec.devices.requests[2]: Invalid value: exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set
            spec.devices.constraints[0].requests[0]: Invalid value: "x": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'
            spec.devices.constraints[0].matchAttribute: Invalid value: "model": a fully qualified name must be a domain and a name separated by a slash
            spec.devices.config[0].opaque.driver: Required value
            spec.devices.config[0].opaque.parameters: Invalid value: "<value omitted>": must be a valid JSON object
        "#]],
    );
}

#[test]
fn an_allocation_stays_and_is_there_for_consumers() {
    let with = |status: Value| {
        let mut claim = object(json!({}));
        claim.0.insert("status".into(), status);
        claim
    };
    let pod = json!({"resource": "pods", "name": "web", "uid": "u"});
    let lines = |new: Value, old: Value| {
        let errors = ResourceClaim.validate_status_update(&with(new), &with(old));
        errors.iter().map(|error| format!("{error}\n")).collect::<String>()
    };
    assert_eq!(lines(json!({"allocation": {}, "reservedFor": [pod.clone()]}), json!({"allocation": {}})), "");
    assert_eq!(
        lines(json!({"reservedFor": [pod]}), json!({})),
        "status.reservedFor: Forbidden: may not be specified when `allocated` is not set\n"
    );
    assert!(lines(json!({"allocation": {"a": 1}}), json!({"allocation": {}})).contains("field is immutable"));
}

#[test]
fn slices_share_counters_or_have_devices() {
    let pool = json!({"name": "node-1", "resourceSliceCount": 1, "generation": 1});
    let set = json!({"name": "memory", "counters": {"slice-0": {"value": "1"}}});
    let of = |more: Value| {
        let mut spec = json!({"driver": "d.example", "pool": pool, "allNodes": true});
        spec.as_object_mut().expect("fields").extend(more.as_object().cloned().unwrap_or_default());
        spec
    };
    check(&ResourceSlice, of(json!({"sharedCounters": [set]})), &expect![[""]]);
    check(
        &ResourceSlice,
        of(json!({"sharedCounters": [set, set, {"counters": {}}], "devices": [], "nodeName": ""})),
        &expect![[r#"
            spec.nodeName: Invalid value: "": must be either unset or set to a non-empty string
            spec: Invalid value: "": only one of `sharedCounters` or `devices` is allowed
            spec.sharedCounters[1].name: Duplicate value: "memory"
            spec.sharedCounters[2].name: Required value
            spec.sharedCounters[2].counters: Required value
        "#]],
    );
    let tainted = |name: usize| json!({"name": format!("gpu-{name}"), "taints": [{"key": "a", "effect": "None"}]});
    let devices: Vec<Value> = (0..65).map(tainted).collect();
    check(
        &ResourceSlice,
        of(json!({"devices": devices})),
        &expect![[r#"
            spec.devices: Too many: 65: must have at most 64 items
        "#]],
    );
}

#[test]
fn slices_are_checked() {
    let pool = json!({"name": "node-1", "resourceSliceCount": 1, "generation": 1});
    check(
        &ResourceSlice,
        json!({
            "driver": "gpu.example.com", "pool": pool, "nodeName": "node-1",
            "devices": [{"name": "gpu-0", "attributes": {"model": {"string": "x"}}, "capacity": {"memory": {"value": "8Gi"}}, "taints": [{"key": "a", "effect": "NoSchedule"}]}],
        }),
        &expect![[""]],
    );
    check(
        &ResourceSlice,
        json!({
            "pool": {"name": ""}, "allNodes": true, "nodeName": "a",
            "devices": [{"name": "A"}, {"name": "A", "attributes": {"a-b": {}}, "capacity": {"m": {"value": "-1"}}}],
        }),
        &expect![[r#"
            spec.driver: Required value
            spec.pool.name: Required value
            spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero
            spec: Invalid value: "{`nodeName`, `allNodes`}": exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required, but multiple fields are set
            spec.devices[0].name: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec.devices[1].name: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec.devices[1].attributes: Invalid value: "a-b": a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')
            spec.devices[1].attributes[a-b]: Invalid value: "": exactly one value must be specified
            spec.devices[1].name: Duplicate value: "A"
        "#]],
    );
}

/// Upstream: `dropDeallocatedStatusDevices`.
#[test]
fn what_is_said_of_devices_goes_with_them() {
    let of = |device: &str| json!({"driver": "d.example", "pool": "p", "device": device});
    let status = |allocated: &[&str], told: &[&str]| {
        let list = |names: &[&str]| names.iter().map(|name| of(name)).collect::<Vec<_>>();
        let mut status = json!({"devices": list(told)});
        if !allocated.is_empty() {
            status["allocation"] = json!({"devices": {"results": list(allocated)}});
        }
        Object::from_value(json!({"metadata": {"name": "c"}, "status": status})).expect("an object")
    };
    let user = apimachinery::UserInfo::default();
    let cx = WriteContext { user: &user, now: jiff::Timestamp::UNIX_EPOCH, subresource: "status" };
    for (new, old, left) in [
        (status(&["a", "b"], &["a", "b"]), status(&["a", "b"], &[]), json!([of("a"), of("b")])),
        (status(&["a"], &["a", "b"]), status(&["a", "b"], &["a", "b"]), json!([of("a")])),
        (status(&[], &["a", "b"]), status(&["a", "b"], &["a", "b"]), json!(null)),
    ] {
        let mut new = new;
        ResourceClaim.prepare_for_status_update(&cx, &mut new, &old);
        assert_eq!(new.0["status"].get("devices").cloned().unwrap_or_default(), left);
    }
}
