//! An object as its text: the one type that watches of every kind work with.
//!
//! A list, a watch and their recovery are some hundred functions; made anew for each kind, they would be a fifth of the
//! program. So they are made once, for [`Undecoded`], and an object is decoded to its own type when it has arrived.

use std::borrow::Cow;

use kube::api::ObjectMeta;
use kube::core::{ApiResource, DynamicResourceScope};
use kube::{Resource, ResourceExt};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// An object of any kind, undecoded but for its version.
#[derive(Clone, Debug)]
pub(super) struct Undecoded {
    /// Only the name, namespace and version.
    metadata: ObjectMeta,
    json: Box<RawValue>,
}

impl Undecoded {
    /// Decodes the object.
    pub(super) fn decode<K: DeserializeOwned>(&self) -> serde_json::Result<K> {
        serde_json::from_str(self.json.get())
    }

    /// Decodes the object; one that cannot be decoded is told and passed over, for it must not keep the others away.
    pub(super) fn decode_or_tell<K: Resource<DynamicType = ()> + DeserializeOwned>(&self) -> Option<K> {
        self.decode()
            .inspect_err(|err| {
                let (kind, namespace, name) = (K::kind(&()), self.namespace(), self.name_any());
                tracing::warn!(%kind, namespace, name, error = %err, "an object cannot be decoded and is passed over");
            })
            .ok()
    }
}

impl<'de> Deserialize<'de> for Undecoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Metadata {
            name: Option<String>,
            namespace: Option<String>,
            resource_version: Option<String>,
        }
        #[derive(Deserialize)]
        struct Object {
            metadata: Metadata,
        }
        let json = Box::<RawValue>::deserialize(deserializer)?;
        let Object { metadata: Metadata { name, namespace, resource_version } } =
            serde_json::from_str(json.get()).map_err(D::Error::custom)?;
        let metadata = ObjectMeta { name, namespace, resource_version, ..ObjectMeta::default() };
        Ok(Self { metadata, json })
    }
}

impl Resource for Undecoded {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&resource.kind)
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&resource.group)
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&resource.version)
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&resource.plural)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::{ObjectList, WatchEvent};

    use super::*;

    const OBJECT: &str =
        r#"{"metadata":{"name":"x","namespace":"a","resourceVersion":"7","uid":"u"},"data":{"k":"v"}}"#;

    fn data(object: &Undecoded) -> String {
        assert_eq!(object.metadata.resource_version.as_deref(), Some("7"));
        let object: ConfigMap = object.decode().expect("a config map");
        assert_eq!(object.metadata.uid.as_deref(), Some("u"));
        object.data.expect("data")["k"].clone()
    }

    #[test]
    fn lists_and_events_carry_it() {
        let list = format!(r#"{{"kind":"ConfigMapList","apiVersion":"v1","metadata":{{}},"items":[{OBJECT}]}}"#);
        let list: ObjectList<Undecoded> = serde_json::from_str(&list).expect("a list");
        assert_eq!(data(&list.items[0]), "v");
        let event: WatchEvent<Undecoded> =
            serde_json::from_str(&format!(r#"{{"type":"ADDED","object":{OBJECT}}}"#)).expect("an event");
        let WatchEvent::Added(object) = event else { panic!("{event:?}") };
        assert_eq!(data(&object), "v");
    }

    #[test]
    fn what_cannot_be_decoded_is_passed_over() {
        let wrong: Undecoded = serde_json::from_str(&OBJECT.replace(r#"{"k":"v"}"#, "[]")).expect("an object");
        assert!(wrong.decode_or_tell::<ConfigMap>().is_none());
    }
}
