//! CSI drivers, the nodes they run on, and the room they have.

use std::collections::HashSet;

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::Value;

use super::super::pod::not_below_zero;
use super::driver_name;
use crate::check::{self, Errors, names, old_labels};
use crate::json::{Read, Write};
use crate::resource::{Generation, Strategy};

/// The strategy of CSI drivers.
pub(crate) struct CsiDriver;

/// Tokens in the attributes of volumes end up in logs.
const TOKENS: &str = "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to \
                      prevent possible logging of tokens in volume attributes";

impl Strategy for CsiDriver {
    fn warnings(&self, object: &Object) -> Vec<String> {
        self.update_warnings(object, &Object::default())
    }

    fn update_warnings(&self, object: &Object, old: &Object) -> Vec<String> {
        let (spec, tokens) = (object.object("spec"), object.object("spec").list("tokenRequests"));
        let is_new = !tokens.is_empty() && tokens != old.object("spec").list("tokenRequests");
        (is_new && !spec.has("serviceAccountTokenInSecrets")).then(|| TOKENS.to_owned()).into_iter().collect()
    }

    fn default(&self, object: &mut Object) {
        let Some(spec) = object.object_made("spec") else { return };
        spec.default_to("attachRequired", true);
        spec.default_to("podInfoOnMount", false);
        spec.default_to("storageCapacity", false);
        spec.default_to("fsGroupPolicy", "ReadWriteOnceWithFSType");
        if spec.list("volumeLifecycleModes").is_empty() {
            spec.insert("volumeLifecycleModes".into(), vec!["Persistent"].into());
        }
        spec.default_to("requiresRepublish", false);
        spec.default_to("seLinuxMount", false);
        spec.default_to("preventPodSchedulingIfMissing", false);
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (spec, path) = (object.object("spec"), Path::new("spec"));
        for (field, spelled) in [
            ("attachRequired", "attachedRequired"),
            ("podInfoOnMount", "podInfoOnMount"),
            ("storageCapacity", "storageCapacity"),
            ("seLinuxMount", "seLinuxMount"),
            ("preventPodSchedulingIfMissing", "preventPodSchedulingIfMissing"),
        ] {
            if !spec.has(field) {
                errors.push(Error::required(&path.child(spelled), ""));
            }
        }
        let policies = ["File", "None", "ReadWriteOnceWithFSType"];
        check::one_of(&mut errors, spec, "fsGroupPolicy", &policies, &path);
        if spec.has("serviceAccountTokenInSecrets") && spec.list("tokenRequests").is_empty() {
            let (path, value) = (path.child("serviceAccountTokenInSecrets"), spec.flag("serviceAccountTokenInSecrets"));
            let detail = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
            errors.push(Error::invalid(&path, value, detail));
        }
        for mode in spec.texts("volumeLifecycleModes").filter(|mode| !matches!(*mode, "Ephemeral" | "Persistent")) {
            let path = path.child("volumeLifecycleModes");
            errors.push(Error::not_supported(&path, mode, &["Persistent", "Ephemeral"]));
        }
        token_requests(&mut errors, spec.list("tokenRequests"), &path.child("tokenRequests"));
        let period = spec.int("nodeAllocatableUpdatePeriodSeconds");
        if let Some(seconds) = period.filter(|seconds| *seconds < 10) {
            let path = path.child("nodeAllocatableUpdatePeriodSeconds");
            errors.push(Error::invalid(&path, seconds, "must be greater than or equal to 10 seconds"));
        }
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let (new, old, path) = (object.object("spec"), old.object("spec"), Path::new("spec"));
        // Upstream spells the first path so.
        for (field, spelled) in
            [("attachRequired", "attachedRequired"), ("volumeLifecycleModes", "volumeLifecycleModes")]
        {
            check::immutable(&mut errors, new.value(field), old.value(field), &path.child(spelled));
        }
        errors
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }
}

fn token_requests(errors: &mut Errors, requests: &[Value], path: &Path) {
    const SHORTEST: i64 = 600;
    const LONGEST: i64 = 1 << 32;
    let mut seen = HashSet::new();
    for (index, request) in requests.iter().enumerate() {
        let path = path.index(index);
        let audience = request.text("audience");
        if !seen.insert(audience) {
            errors.push(Error::duplicate(&path.child("audience"), audience));
            continue;
        }
        let at = path.child("expirationSeconds");
        match request.int("expirationSeconds") {
            Some(seconds) if seconds < SHORTEST => {
                errors.push(Error::invalid(&at, seconds, "may not specify a duration less than 10 minutes"));
            }
            Some(seconds) if seconds > LONGEST => {
                errors.push(Error::invalid(&at, seconds, "may not specify a duration larger than 2^32 seconds"));
            }
            _ => {}
        }
    }
}

/// The strategy of `CSINode`.
pub(crate) struct CsiNode;

impl Strategy for CsiNode {
    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let path = Path::new("spec").child("drivers");
        let mut seen = HashSet::new();
        for (index, driver) in object.object("spec").list("drivers").iter().enumerate() {
            let path = path.index(index);
            driver_name(&mut errors, driver.text("name"), &path.child("name"));
            if !seen.insert(driver.text("name")) {
                errors.push(Error::duplicate(&path.child("name"), driver.text("name")));
            }
            let node = driver.text("nodeID");
            if check::required(&mut errors, driver.fields(), "nodeID", &path) && node.len() > 192 {
                let detail = "must be 192 characters or less";
                errors.push(Error::invalid(&path.child("nodeID"), node, detail));
            }
            let allocatable = driver.object("allocatable");
            check::not_negative(&mut errors, allocatable, "count", &path.child("allocatable"));
            let mut keys = HashSet::new();
            for key in driver.texts("topologyKeys") {
                if key.is_empty() {
                    errors.push(Error::required(&path, ""));
                } else if !keys.insert(key) {
                    errors.push(Error::duplicate(&path, key));
                }
                check::named(&mut errors, names::qualified_name, key, &path);
            }
        }
        errors
    }

    /// A driver that stays, stays as it is; it may learn how much it can attach (upstream names the list).
    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        let fixed = |driver: &Value| {
            let mut driver = driver.fields().clone();
            driver.remove("allocatable");
            Value::Object(driver)
        };
        for driver in object.object("spec").list("drivers") {
            let name = driver.text("name");
            let before = old.object("spec").list("drivers").iter().find(|before| before.text("name") == name);
            if before.is_some_and(|before| fixed(before) != fixed(driver)) {
                let path = Path::new("spec").child("drivers");
                errors.push(Error::invalid(&path, fixed(driver), check::IMMUTABLE));
            }
        }
        errors
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }
}

/// The strategy of storage capacities.
pub(crate) struct CsiStorageCapacity;

impl Strategy for CsiStorageCapacity {
    fn warnings(&self, object: &Object) -> Vec<String> {
        let mut found = Vec::new();
        old_labels::of_selector(&mut found, object.object("nodeTopology"), &Path::new("nodeTopology"));
        found
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        check::label_selector(&mut errors, &object.0, "nodeTopology", &Path::default());
        let class = object.text("storageClassName");
        check::named(&mut errors, names::dns1123_subdomain, class, &Path::new("storageClassName"));
        if let Some(value) = object.value("capacity") {
            not_below_zero(&mut errors, value, &Path::new("capacity"));
        }
        errors
    }

    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let mut errors = Errors::new();
        for field in ["nodeTopology", "storageClassName"] {
            check::immutable(&mut errors, object.value(field), old.value(field), &Path::new(field));
        }
        errors
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }
}
