//! Tables of wrong storage objects.

use apimachinery::Object;
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::resource::Strategy;

fn object(mut value: Value) -> Object {
    if value.get("metadata").is_none() {
        value["metadata"] = json!({"name": "mine"});
    }
    Object::from_value(value).expect("an object")
}

fn check(strategy: &dyn Strategy, value: Value, expected: &Expect) {
    let mut object = object(value);
    strategy.default(&mut object);
    expected.assert_eq(&strategy.validate(&object).iter().map(|error| format!("{error}\n")).collect::<String>());
}

#[test]
fn classes_are_checked() {
    check(&StorageClass, json!({"provisioner": "kubernetes.io/no-provisioner"}), &expect![[""]]);
    check(
        &StorageClass,
        json!({
            "provisioner": "a b", "reclaimPolicy": "Recycle", "volumeBindingMode": "Later", "parameters": {"": "x"},
            "allowedTopologies": [{"matchLabelExpressions": [{"key": "zone", "values": ["a", "a"]}, {"key": "zone", "values": []}]}],
        }),
        &expect![[r#"
            provisioner: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            parameters: Invalid value: "": field can not be empty.
            reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain"
            volumeBindingMode: Unsupported value: "Later": supported values: "Immediate", "WaitForFirstConsumer"
            allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: "a"
            allowedTopologies[0].matchLabelExpressions[1].key: Duplicate value: "zone"
            allowedTopologies[0].matchLabelExpressions[1].values: Required value
        "#]],
    );
    check(
        &VolumeAttributesClass,
        json!({"driverName": "csi.example.com"}),
        &expect![[r#"
            spec.parameters: Required value: must contain at least one key/value pair
        "#]],
    );
}

#[test]
fn drivers_and_nodes_are_checked() {
    check(&CsiDriver, json!({"metadata": {"name": "csi.example.com"}, "spec": {}}), &expect![[""]]);
    check(
        &CsiDriver,
        json!({"spec": {"fsGroupPolicy": "All", "volumeLifecycleModes": ["Forever"], "tokenRequests": [{"audience": "a", "expirationSeconds": 1}, {"audience": "a"}]}}),
        &expect![[r#"
            spec.fsGroupPolicy: Unsupported value: "All": supported values: "File", "None", "ReadWriteOnceWithFSType"
            spec.volumeLifecycleModes: Unsupported value: "Forever": supported values: "Persistent", "Ephemeral"
            spec.tokenRequests[0].expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes
            spec.tokenRequests[1].audience: Duplicate value: "a"
        "#]],
    );
    let node = |drivers: Value| json!({"spec": {"drivers": drivers}});
    check(
        &CsiNode,
        node(json!([{"name": "a", "nodeID": "n", "topologyKeys": ["zone", "zone"]}, {"name": "a", "nodeID": ""}])),
        &expect![[r#"
            spec.drivers[0]: Duplicate value: "zone"
            spec.drivers[1].name: Duplicate value: "a"
            spec.drivers[1].nodeID: Required value
        "#]],
    );
    let old = object(node(json!([{"name": "a", "nodeID": "n"}])));
    let changed = CsiNode.validate_update(&object(node(json!([{"name": "a", "nodeID": "m"}]))), &old);
    assert_eq!(changed[0].field, "spec.drivers");
    let counted = object(node(json!([{"name": "a", "nodeID": "n", "allocatable": {"count": 3}}])));
    assert!(CsiNode.validate_update(&counted, &old).is_empty());
}

#[test]
fn attachments_are_checked() {
    let right = json!({"spec": {"attacher": "a", "nodeName": "n", "source": {"persistentVolumeName": "pv"}}});
    check(&VolumeAttachment, right.clone(), &expect![[""]]);
    check(
        &VolumeAttachment,
        json!({"spec": {"source": {}}}),
        &expect![[r#"
            spec.attacher: Required value
            spec.attacher: Invalid value: "": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName
            spec.nodeName: Invalid value: "": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        "#]],
    );
    let mut moved = right.clone();
    moved["spec"]["nodeName"] = json!("m");
    assert_eq!(VolumeAttachment.validate_update(&object(moved), &object(right))[0].field, "spec");
}

#[test]
fn attachments_may_have_a_volume_of_their_own() {
    let attachment = |volume: Value| {
        let value = json!({
            "metadata": {"name": "a"},
            "spec": {"attacher": "d.example", "nodeName": "n", "source": {"inlineVolumeSpec": volume}},
        });
        VolumeAttachment.validate(&object(value)).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let csi = json!({"driver": "d.example", "volumeHandle": "v"});
    let right = json!({"accessModes": ["ReadWriteOnce"], "csi": csi});
    assert!(attachment(right.clone()).is_empty());
    let mut wrong = right;
    wrong["capacity"] = json!({"storage": "1Gi"});
    wrong["storageClassName"] = "fast".into();
    assert_eq!(
        attachment(wrong),
        [
            "spec.source.inlineVolumeSpec.capacity: Forbidden: may not be specified in the context of inline volumes",
            "spec.source.inlineVolumeSpec.storageClassName: Forbidden: may not be specified in the context of inline volumes",
        ]
    );
    assert_eq!(
        attachment(json!({"accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}})),
        ["spec.source.inlineVolumeSpec.csi: Required value: has to be specified in the context of inline volumes"]
    );
}
