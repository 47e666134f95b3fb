//! AlwaysPullImages: images are fetched anew for every container, so that only who may pull an image can run it
//! (upstream: plugin/pkg/admission/alwayspullimages/admission.go). Off by default.

use apimachinery::field::{Error, Path};
use apimachinery::json::{Read, Write};
use apimachinery::{Object, StatusError};
use async_trait::async_trait;
use serde_json::{Map, Value};

use super::{Handles, Operation, Plugin, Request};

const ALWAYS: &str = "Always";
const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct AlwaysPullImages;

#[async_trait]
impl Plugin for AlwaysPullImages {
    fn name(&self) -> &'static str {
        "AlwaysPullImages"
    }

    fn handles(&self) -> Handles {
        Handles::NOTHING.admits(Handles::WRITES).validates(Handles::WRITES)
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), StatusError> {
        if ignores(request) {
            return Ok(());
        }
        let Some(spec) = request.object.as_mut().and_then(|pod| pod.object_at("spec")) else { return Ok(()) };
        for list in CONTAINERS {
            spec.items_mut(list).for_each(|container| {
                container.insert("imagePullPolicy".into(), ALWAYS.into());
            });
        }
        for image in spec.items_mut("volumes").filter_map(|volume| volume.object_at("image")) {
            image.insert("pullPolicy".into(), ALWAYS.into());
        }
        Ok(())
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), StatusError> {
        let Some(pod) = request.object.as_ref().filter(|_| !ignores(request)) else { return Ok(()) };
        match first_other_policy(pod.object("spec")) {
            Some(error) => Err(request.forbidden(error)),
            None => Ok(()),
        }
    }
}

fn first_other_policy(spec: &Map<String, Value>) -> Option<Error> {
    let path = Path::new("spec");
    let other = |of: &Map<String, Value>, field: &str, path: &Path| {
        let policy = of.text(field);
        (policy != ALWAYS).then(|| Error::not_supported(&path.child(field), policy, &[ALWAYS]))
    };
    let containers = CONTAINERS.iter().find_map(|list| {
        let mut containers = spec.list(list).iter().enumerate();
        containers.find_map(|(index, one)| other(one.fields(), "imagePullPolicy", &path.child(list).index(index)))
    });
    let mut images = spec.list("volumes").iter().enumerate().filter(|(_, volume)| volume.has("image"));
    let of_image = |(index, volume): (usize, &Value)| {
        other(volume.object("image"), "pullPolicy", &path.child("volumes").index(index).child("image"))
    };
    containers.or_else(|| images.find_map(of_image))
}

fn ignores(request: &Request<'_>) -> bool {
    !request.is_main("", "Pod") || !request.writes() || brings_no_new_image(request)
}

/// An update that names no image that the pod did not have; it cannot change a policy either
/// (upstream: `isUpdateWithNoNewImages`).
fn brings_no_new_image(request: &Request<'_>) -> bool {
    if request.operation != Operation::Update {
        return false;
    }
    let images = |pod: Option<&Object>| -> Vec<String> {
        let spec = pod.map(|pod| pod.object("spec"));
        let containers = spec.into_iter().flat_map(|spec| CONTAINERS.iter().flat_map(|list| spec.list(list)));
        containers.map(|container| container.text("image").to_owned()).collect()
    };
    let old = images(request.old.as_ref());
    images(request.object.as_ref()).iter().all(|image| old.contains(image))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn another_policy_is_refused() {
        let error = |spec: Value| first_other_policy(spec.fields()).map(|error| error.to_string());
        assert_eq!(error(json!({"containers": [{"imagePullPolicy": "Always"}]})), None);
        assert_eq!(
            error(json!({"containers": [{"imagePullPolicy": "Never"}]})).as_deref(),
            Some("spec.containers[0].imagePullPolicy: Unsupported value: \"Never\": supported values: \"Always\"")
        );
    }
}
