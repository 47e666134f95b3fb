//! [`OwnerReference`]: which objects an object belongs to.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::spell_gvk;
use crate::field::{self, Path};
use crate::object::{GroupVersionKind, Object};

/// An owner of an object, as `metav1.OwnerReference`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerReference {
    /// The owner's `apiVersion`.
    #[serde(default)]
    pub api_version: String,
    /// The owner's kind.
    #[serde(default)]
    pub kind: String,
    /// The owner's name; it is in the same namespace, or in none.
    #[serde(default)]
    pub name: String,
    /// The owner's uid.
    #[serde(default)]
    pub uid: String,
    /// Whether this owner is the one that manages the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<bool>,
    /// Whether the owner's foreground deletion waits for the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_owner_deletion: Option<bool>,
}

impl OwnerReference {
    /// A reference to the object that manages another (upstream: `metav1.NewControllerRef`).
    pub fn controller(owner: &Object, gvk: &GroupVersionKind) -> Self {
        Self {
            api_version: gvk.api_version(),
            kind: gvk.kind.clone(),
            name: owner.name().into(),
            uid: owner.uid().into(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }

    /// Whether this owner manages the object.
    pub fn is_controller(&self) -> bool {
        self.controller == Some(true)
    }

    /// Group, version and kind of the owner.
    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind::from_api_version(&self.api_version, &self.kind)
    }
}

impl Object {
    /// The owners of the object; entries that have another shape are passed over.
    pub fn owner_references(&self) -> impl Iterator<Item = OwnerReference> {
        let list = self.metadata().and_then(|metadata| metadata.get("ownerReferences")).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(|reference| OwnerReference::deserialize(reference).ok())
    }

    /// The owner that manages the object (upstream: `metav1.GetControllerOf`).
    pub fn controller_reference(&self) -> Option<OwnerReference> {
        self.owner_references().find(OwnerReference::is_controller)
    }

    /// Whether the object with this uid manages this one.
    pub fn is_controlled_by(&self, uid: &str) -> bool {
        self.controller_reference().is_some_and(|owner| owner.uid == uid)
    }

    /// Replaces the owners of the object.
    pub fn set_owner_references(&mut self, owners: &[OwnerReference]) {
        let list = serde_json::to_value(owners).expect("strings and booleans are always JSON");
        if owners.is_empty() {
            self.metadata_mut().remove("ownerReferences");
        } else {
            self.metadata_mut().insert("ownerReferences".into(), list);
        }
    }
}

/// Checks the owners of an object (upstream: `ValidateOwnerReferences`).
pub(super) fn validate(object: &Object, path: &Path) -> Vec<field::Error> {
    let mut errors = Vec::new();
    let mut controller: Option<String> = None;
    for (index, owner) in object.owner_references().enumerate() {
        validate_one(&owner, &path.index(index), &mut errors);
        if owner.is_controller() {
            let name = format!("{}/{}", owner.kind, owner.name);
            match &controller {
                Some(first) => {
                    let words = format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {name}"
                    );
                    let all = serde_json::to_value(object.owner_references().collect::<Vec<_>>()).unwrap_or_default();
                    errors.push(field::Error::invalid(path, all, words));
                }
                None => controller = Some(name),
            }
        }
    }
    errors
}

fn validate_one(owner: &OwnerReference, path: &Path, errors: &mut Vec<field::Error>) {
    let version = &owner.api_version;
    if !version.is_empty() && (version.matches('/').count() > 1 || version.ends_with('/')) {
        let words = "must be <group>/<version> or <version>";
        errors.push(field::Error::invalid(&path.child("apiVersion"), version.as_str(), words));
    }
    let required = [("apiVersion", version), ("kind", &owner.kind), ("name", &owner.name), ("uid", &owner.uid)];
    for (name, _) in required.iter().filter(|(_, value)| value.is_empty()) {
        errors.push(field::Error::required(&path.child(name), "must not be empty"));
    }
    let gvk = owner.gvk();
    if gvk == GroupVersionKind::new("", "v1", "Event") {
        let words = format!("{} is disallowed from being an owner", spell_gvk(&gvk));
        errors.push(field::Error::invalid(path, serde_json::to_value(owner).unwrap_or_default(), words));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn owned(owners: Value) -> Object {
        Object::from_value(json!({"metadata": {"ownerReferences": owners}})).expect("an object")
    }

    #[test]
    fn owners_are_read_and_written() {
        let owner = Object::from_value(json!({"metadata": {"name": "web", "uid": "u1"}})).expect("an object");
        let reference = OwnerReference::controller(&owner, &GroupVersionKind::new("apps", "v1", "ReplicaSet"));
        let mut object = Object::default();
        object.set_owner_references(std::slice::from_ref(&reference));
        assert_eq!(object.controller_reference(), Some(reference));
        assert!(object.is_controlled_by("u1") && !object.is_controlled_by("u2"));
        object.set_owner_references(&[]);
        assert!(object.controller_reference().is_none());
    }

    #[test]
    fn owners_are_checked() {
        let errors = |owners: Value| -> Vec<String> {
            validate(&owned(owners), &Path::new("o")).iter().map(ToString::to_string).collect()
        };
        let good = json!({"apiVersion": "apps/v1", "kind": "A", "name": "n", "uid": "u", "controller": true});
        assert_eq!(errors(json!([good])), Vec::<String>::new());
        assert!(errors(json!([good, good]))[0].ends_with("in references for A/n and A/n"));
        assert_eq!(
            errors(json!([{"apiVersion": "v1", "kind": "A", "name": "n"}])),
            ["o[0].uid: Required value: must not be empty"]
        );
        assert!(
            errors(json!([{"apiVersion": "v1", "kind": "Event", "name": "n", "uid": "u"}]))[0]
                .ends_with("/v1, Kind=Event is disallowed from being an owner")
        );
        assert!(
            errors(json!([{"apiVersion": "a/b/c", "kind": "A", "name": "n", "uid": "u"}]))[0]
                .contains("must be <group>/<version>")
        );
    }
}
