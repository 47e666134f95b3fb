//! [`Canonical`]: the store's hook that turns written bytes into served bytes.
//!
//! Objects are written without a resourceVersion, because it is the revision of the write itself. The hook splices it
//! in, once, and reads off what selectors need; from then on every get, list and watch shares those bytes.

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::{BufMut, Bytes, BytesMut};
use store::{Finish, Finished, Pairs, Revision};

use super::scan;

mod wanted;

use wanted::Wanted;

/// Stamps revisions and reads off labels and selectable fields.
#[derive(Debug, Default)]
pub struct Canonical {
    /// What is read off, by the key prefix of a kind: `/registry/<group>/<resource>/`.
    kinds: HashMap<String, Wanted>,
    /// What is read off any other.
    plain: Wanted,
}

impl Canonical {
    /// The hook for these kinds.
    pub fn new<'a>(resources: impl IntoIterator<Item = &'a api::Resource>) -> Self {
        let mut kinds: HashMap<String, Wanted> = HashMap::new();
        for resource in resources {
            let wanted = kinds.entry(resource.key_prefix()).or_default();
            for field in &resource.selectable_fields {
                wanted.add(&resource.gvk.kind, field);
            }
        }
        Self { kinds, plain: Wanted::default() }
    }

    fn wanted(&self, key: &str) -> &Wanted {
        let end = key.match_indices('/').nth(3).map_or(key.len(), |(at, _)| at + 1);
        self.kinds.get(&key[..end]).unwrap_or(&self.plain)
    }
}

/// What the name of a label begins with among a value's attributes.
pub const LABEL: &str = "l:";

/// What the name of a selectable field begins with.
pub const FIELD: &str = "f:";

impl Finish for Canonical {
    fn finish(&self, key: &str, written: &Bytes, revision: Revision) -> Finished {
        let Some(found) = self.wanted(key).read(written) else {
            return Finished { value: written.clone(), attributes: Pairs::unknown() };
        };
        let labels = scan::members(found.labels).filter_map(|member| {
            let name = str::from_utf8(member.key).ok()?;
            Some((Cow::Owned(format!("{LABEL}{name}")), scan::text(member.value)?))
        });
        Finished { value: stamp(written, found.metadata, revision), attributes: labels.chain(found.fields).collect() }
    }
}

/// The metadata of an object, when it is an object itself.
fn metadata_of(object: &[u8]) -> Option<scan::Member<'_>> {
    scan::members(object).find(|member| member.key == b"metadata").filter(|member| member.value.starts_with(b"{"))
}

/// Written bytes as they would be served at a revision: what a dry run answers.
pub fn with_revision(written: &Bytes, revision: Revision) -> Bytes {
    match metadata_of(written) {
        Some(metadata) => stamp(written, metadata.offset, revision),
        None => written.clone(),
    }
}

/// `served` with another revision: what a watcher gets as last state of an object that left its selection.
pub fn restamp(served: &Bytes, revision: Revision) -> Bytes {
    let old = metadata_of(served).and_then(|metadata| {
        let version = scan::members(metadata.value).find(|member| member.key == b"resourceVersion")?;
        Some((metadata.offset + version.offset, version.value.len()))
    });
    let Some((at, length)) = old else { return served.clone() };
    let mut out = BytesMut::with_capacity(served.len() + 20);
    out.put_slice(&served[..at]);
    out.put_slice(format!("\"{revision}\"").as_bytes());
    out.put_slice(&served[at + length..]);
    out.freeze()
}

/// `written` with `"resourceVersion":"N"` as the first member of the object that begins at `metadata`.
fn stamp(written: &Bytes, metadata: usize, revision: Revision) -> Bytes {
    let mut out = BytesMut::with_capacity(written.len() + 42);
    out.put_slice(&written[..=metadata]);
    out.put_slice(b"\"resourceVersion\":\"");
    out.put_slice(revision.to_string().as_bytes());
    out.put_u8(b'"');
    if scan::members(&written[metadata..]).next().is_some() {
        out.put_u8(b',');
    }
    out.put_slice(&written[metadata + 1..]);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn pods() -> api::Resource {
        api::Resource {
            gvk: apimachinery::GroupVersionKind::new("", "v1", "Pod"),
            plural: "pods".into(),
            singular: "pod".into(),
            short_names: Vec::new(),
            categories: Vec::new(),
            scope: api::Scope::Namespaced,
            verbs: api::Verbs::All,
            subresources: api::Subresources::default(),
            storage_version: "v1".into(),
            storage_group: String::new(),
            selectable_fields: vec!["spec.nodeName".into(), "spec.hostNetwork".into()],
            columns: Vec::new(),
            strategy: Arc::new(api::resource::Plain),
            custom: None,
        }
    }

    #[test]
    fn the_revision_is_spliced_in_and_attributes_are_read() {
        let hook = Canonical::new([&pods()]);
        let written = Bytes::from_static(
            br#"{"apiVersion":"v1","metadata":{"labels":{"app":"web"},"name":"a"},"spec":{"nodeName":"n1"}}"#,
        );
        let finished = hook.finish("/registry/core/pods/default/a", &written, 7);
        let value: serde_json::Value = serde_json::from_slice(&finished.value).expect("still JSON");
        assert_eq!(value["metadata"]["resourceVersion"], "7");
        let attributes: Vec<(&str, &str)> = finished.attributes.iter().collect();
        assert_eq!(attributes, [("l:app", "web"), ("f:spec.nodeName", "n1"), ("f:spec.hostNetwork", "false")]);
    }

    #[test]
    fn damaged_bytes_stay_as_they_are() {
        let hook = Canonical::new([&pods()]);
        for written in ["", "x", "{\"metadata\":", "{\"metadata\":\"x\"}", "[]"] {
            assert_eq!(hook.finish("/registry/core/pods/default/a", &Bytes::from(written), 7).value, written);
        }
    }
}
