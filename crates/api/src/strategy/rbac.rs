//! Roles and bindings (upstream: pkg/apis/rbac/v1/defaults.go, pkg/apis/rbac/validation/validation.go).

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use apimachinery::labels::validate_label_selector;
use serde_json::Value;

use crate::check::{self, Errors, names};
use crate::json::{Read, Write};
use crate::resource::{Generation, Strategy};

const GROUP: &str = "rbac.authorization.k8s.io";

/// The strategy of roles.
pub(crate) struct Role {
    /// Whether the role belongs to a namespace, where non-resource URLs mean nothing.
    pub(crate) namespaced: bool,
}

impl Strategy for Role {
    fn default(&self, object: &mut Object) {
        // Upstream declares the list without omitempty.
        object.default_to("rules", Vec::<Value>::new());
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        for (index, rule) in object.list("rules").iter().enumerate() {
            self.rule(&mut errors, rule, &Path::new("rules").index(index));
        }
        let selectors = object.object("aggregationRule");
        for (index, selector) in selectors.list("clusterRoleSelectors").iter().enumerate() {
            let path = Path::new("aggregationRule").child("clusterRoleSelectors").index(index);
            errors.extend(validate_label_selector(selector, &path));
        }
        if object.has("aggregationRule") && selectors.list("clusterRoleSelectors").is_empty() {
            let path = Path::new("aggregationRule").child("clusterRoleSelectors");
            errors.push(Error::required(
                &path,
                "at least one clusterRoleSelector required if aggregationRule is non-nil",
            ));
        }
        errors
    }

    fn name_errors(&self, name: &str, prefix: bool) -> Vec<String> {
        names::name_is_path_segment(name, prefix)
    }

    fn allow_create_on_update(&self) -> bool {
        true
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}

impl Role {
    fn rule(&self, errors: &mut Errors, rule: &Value, path: &Path) {
        let (urls, groups, resources) = (rule.list("nonResourceURLs"), rule.list("apiGroups"), rule.list("resources"));
        if rule.list("verbs").is_empty() {
            errors.push(Error::required(&path.child("verbs"), "verbs must contain at least one value"));
        }
        if !urls.is_empty() {
            if self.namespaced {
                let detail = "namespaced rules cannot apply to non-resource URLs";
                errors.push(Error::invalid(&path.child("nonResourceURLs"), urls.to_vec(), detail));
            }
            if !groups.is_empty() || !resources.is_empty() || !rule.list("resourceNames").is_empty() {
                let detail = "rules cannot apply to both regular resources and non-resource URLs";
                errors.push(Error::invalid(&path.child("nonResourceURLs"), urls.to_vec(), detail));
            }
            return;
        }
        if groups.is_empty() {
            errors.push(Error::required(&path.child("apiGroups"), "resource rules must supply at least one api group"));
        }
        if resources.is_empty() {
            errors.push(Error::required(&path.child("resources"), "resource rules must supply at least one resource"));
        }
    }
}

/// The strategy of bindings.
pub(crate) struct Binding {
    /// Whether the binding belongs to a namespace.
    pub(crate) namespaced: bool,
}

impl Strategy for Binding {
    fn default(&self, object: &mut Object) {
        if let Some(role) = object.object_at("roleRef") {
            role.default_text("apiGroup", GROUP);
        }
        for subject in object.items_mut("subjects") {
            if matches!(subject.text("kind"), "User" | "Group") {
                subject.default_text("apiGroup", GROUP);
            }
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (role, path) = (object.object("roleRef"), Path::new("roleRef"));
        if role.text("apiGroup") != GROUP {
            errors.push(Error::not_supported(&path.child("apiGroup"), role.text("apiGroup"), &[GROUP]));
        }
        let kinds: &[&str] = if self.namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
        if !kinds.contains(&role.text("kind")) {
            errors.push(Error::not_supported(&path.child("kind"), role.text("kind"), kinds));
        }
        check::required_name(&mut errors, names::path_segment_name, role, "name", &path);
        for (index, one) in object.list("subjects").iter().enumerate() {
            subject(&mut errors, one, self.namespaced, &Path::new("subjects").index(index));
        }
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        if object.value("roleRef") != old.value("roleRef") {
            let role = object.value("roleRef").cloned().unwrap_or_default();
            errors.push(Error::invalid(&Path::new("roleRef"), role, "cannot change roleRef"));
        }
        errors
    }

    fn name_errors(&self, name: &str, prefix: bool) -> Vec<String> {
        names::name_is_path_segment(name, prefix)
    }

    fn allow_create_on_update(&self) -> bool {
        true
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}

/// Upstream: `ValidateRoleBindingSubject`; an account of the binding's own namespace may leave its namespace out.
fn subject(errors: &mut Errors, subject: &Value, namespaced: bool, path: &Path) {
    check::required(errors, subject.fields(), "name", path);
    match subject.text("kind") {
        "ServiceAccount" => {
            check::optional_name(errors, names::dns1123_subdomain, subject.fields(), "name", path);
            if !subject.text("apiGroup").is_empty() {
                errors.push(Error::not_supported(&path.child("apiGroup"), subject.text("apiGroup"), &[""]));
            }
            if !namespaced {
                check::required(errors, subject.fields(), "namespace", path);
            }
        }
        "User" | "Group" if subject.text("apiGroup") != GROUP => {
            errors.push(Error::not_supported(&path.child("apiGroup"), subject.text("apiGroup"), &[GROUP]));
        }
        "User" | "Group" => {}
        other => errors.push(Error::not_supported(&path.child("kind"), other, &["ServiceAccount", "User", "Group"])),
    }
}
