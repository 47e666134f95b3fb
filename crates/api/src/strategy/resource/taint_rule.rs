//! Rules that taint devices (upstream: `ValidateDeviceTaintRule`, pkg/registry/resource/devicetaintrule/strategy.go).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::{Map, Value};

use super::request::driver;
use super::slice::pool_name;
use crate::check::{self, Errors, names};
use crate::json::{Read, Write};
use crate::resource::{Strategy, WriteContext};

/// The strategy of device taint rules.
pub(crate) struct DeviceTaintRule;

const MAX_CONDITIONS: usize = 8;

impl Strategy for DeviceTaintRule {
    fn prepare_for_create(&self, cx: &WriteContext<'_>, object: &mut Object) {
        if let Some(taint) = object.object_at("spec").and_then(|spec| spec.object_at("taint")) {
            stamp(taint, cx.now);
        }
    }

    fn prepare_for_update(&self, cx: &WriteContext<'_>, object: &mut Object, _old: &Object) {
        if let Some(taint) = object.object_at("spec").and_then(|spec| spec.object_at("taint")) {
            stamp(taint, cx.now);
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (spec, path) = (object.object("spec"), Path::new("spec"));
        let (selector, at) = (spec.object("deviceSelector"), path.child("deviceSelector"));
        if selector.has("driver") {
            driver(&mut errors, selector, "driver", &at);
        }
        if selector.has("pool") {
            pool_name(&mut errors, selector, "pool", &at);
        }
        if selector.has("device") {
            check::named(&mut errors, names::dns1123_label, selector.text("device"), &at.child("device"));
        }
        taint(&mut errors, spec.object("taint"), &path.child("taint"));
        errors
    }

    fn status_keeps_metadata(&self) -> bool {
        true
    }

    fn validate_status_update(&self, object: &Object, _old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (conditions, path) = (object.object("status").list("conditions"), Path::new("status").child("conditions"));
        if conditions.len() > MAX_CONDITIONS {
            errors.push(Error::too_many(&path, conditions.len(), MAX_CONDITIONS));
        }
        check::conditions(&mut errors, conditions, &path);
        errors
    }
}

/// A taint that says not since when is from now on (upstream: `SetDefaults_DeviceTaint`).
pub(super) fn stamp(taint: &mut Map<String, Value>, now: jiff::Timestamp) {
    let now = jiff::Timestamp::from_second(now.as_second()).unwrap_or(now);
    taint.default_text("timeAdded", &now.to_string());
}

/// A taint of a device (upstream: `validateDeviceTaint`).
pub(super) fn taint(errors: &mut Errors, taint: &Map<String, Value>, path: &Path) {
    check::named(errors, names::qualified_name, taint.text("key"), &path.child("key"));
    check::named(errors, names::label_value, taint.text("value"), &path.child("value"));
    check::required_one_of(errors, taint, "effect", &["NoExecute", "NoSchedule", "None"], path);
}

#[cfg(test)]
mod tests {
    use super::*;
    use apimachinery::UserInfo;
    use serde_json::json;

    fn rule(spec: Value) -> Object {
        Object::from_value(json!({"metadata": {"name": "r"}, "spec": spec})).expect("an object")
    }

    #[test]
    fn rules_are_checked() {
        let fields = |spec: Value| {
            DeviceTaintRule.validate(&rule(spec)).iter().map(|error| error.field.to_string()).collect::<Vec<_>>()
        };
        assert!(fields(json!({"taint": {"key": "a", "effect": "NoExecute"}})).is_empty());
        assert_eq!(
            fields(json!({
                "deviceSelector": {"driver": "A", "pool": "a//b", "device": "B"},
                "taint": {"key": "a", "value": "a b", "effect": "PreferNoSchedule"},
            })),
            [
                "spec.deviceSelector.driver",
                "spec.deviceSelector.pool",
                "spec.deviceSelector.device",
                "spec.taint.value",
                "spec.taint.effect"
            ]
        );
    }

    #[test]
    fn a_taint_is_from_now_on() {
        let user = UserInfo::default();
        let cx = WriteContext { user: &user, now: jiff::Timestamp::UNIX_EPOCH, subresource: "" };
        let mut object = rule(json!({"taint": {"key": "a", "effect": "None"}}));
        DeviceTaintRule.prepare_for_create(&cx, &mut object);
        assert_eq!(object.0["spec"]["taint"]["timeAdded"], "1970-01-01T00:00:00Z");
    }
}
