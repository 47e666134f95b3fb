//! [`SCHEMAS`]: the structure of every built-in kind.
//!
//! The facts come from a text table beside this file (`cargo run -p xtask -- schemas` writes it), read once when
//! first asked for. A definition begins at the margin with its name and, when it is a kind, `kind=apps/v1/Deployment`;
//! a field follows indented by one space: its name (`!` when required), its type, its attributes.
//! Types are `string`, `bytes`, `time`, `boolean`, `int32`, `int64`, `double`, `quantity`, `int-or-string`,
//! `object` and `any` (kept as they are), `@definition`, `[]item`, `{}value`. Attributes are `list=`, `map=`, `patch=`,
//! `merge-key=` and `default=` as OpenAPI has them, `omit=zero` where Go leaves a zero value
//! out, and `zero=written` where it writes one that nobody gave: `status: {}`.

use std::collections::HashMap;
use std::sync::LazyLock;

use apimachinery::GroupVersionKind;
use apimachinery::schema::{NodeId, SchemaSet};

mod names;
mod table;

pub use names::{full_name, short_name};

/// The schemas of the built-in kinds.
pub static SCHEMAS: LazyLock<Schemas> =
    LazyLock::new(|| table::read(include_str!("schemas/table.txt")).expect("a test reads the table"));

/// Schemas, and which of them are kinds.
#[derive(Debug, Default)]
pub struct Schemas {
    /// All definitions.
    pub set: SchemaSet,
    kinds: HashMap<GroupVersionKind, NodeId>,
}

impl Schemas {
    /// Schemas of one's own, as those of custom resources.
    pub fn new(set: SchemaSet, kinds: impl IntoIterator<Item = (GroupVersionKind, NodeId)>) -> Self {
        Self { set, kinds: kinds.into_iter().collect() }
    }

    /// The schema of a kind, of a list (`DeploymentList`) or of a body (`Scale`, `Eviction`, `TokenRequest`).
    pub fn of(&self, kind: &GroupVersionKind) -> Option<NodeId> {
        self.kinds.get(kind).copied()
    }

    /// All kinds with their schemas, in no order.
    pub fn kinds(&self) -> impl Iterator<Item = (&GroupVersionKind, NodeId)> {
        self.kinds.iter().map(|(kind, node)| (kind, *node))
    }
}

#[cfg(test)]
mod tests {
    use apimachinery::schema::{ListType, PatchStrategy, Shape};

    use super::*;
    use crate::RESOURCES;

    #[test]
    fn every_kind_its_list_and_its_subresource_bodies_have_a_schema() {
        for row in RESOURCES.iter() {
            assert!(SCHEMAS.of(&row.gvk).is_some(), "{:?}", row.gvk);
            if row.verbs.has("list") {
                let list = GroupVersionKind { kind: format!("{}List", row.gvk.kind), ..row.gvk.clone() };
                assert!(SCHEMAS.of(&list).is_some(), "{list:?}");
            }
            for special in row.subresources.special.iter().filter(|special| !special.body.kind.ends_with("Options")) {
                assert!(SCHEMAS.of(&special.body).is_some(), "{special:?}");
            }
        }
    }

    #[test]
    fn names_are_shortened_and_lengthened() {
        for (short, full) in [
            ("core.v1.Pod", "io.k8s.api.core.v1.Pod"),
            ("resource.v1.Device", "io.k8s.api.resource.v1.Device"),
            ("resource.Quantity", "io.k8s.apimachinery.pkg.api.resource.Quantity"),
            ("meta.v1.ObjectMeta", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
        ] {
            assert_eq!((short_name(full).as_str(), full_name(short).as_str()), (short, full));
        }
    }

    #[test]
    fn merge_facts_are_there() {
        let set = &SCHEMAS.set;
        let spec = set.by_name("io.k8s.api.core.v1.PodSpec").expect("in the table");
        let Shape::Object(fields) = set.node(spec).shape else { panic!("an object") };
        let containers = set.field(fields, "containers").expect("a field");
        assert!(containers.required);
        assert_eq!(containers.patch_strategy, PatchStrategy::Merge);
        assert_eq!(containers.merge_key.map(|key| set.text(key)), Some("name"));
        let Shape::List { list_type, keys, .. } = set.node(containers.node).shape else { panic!("a list") };
        assert_eq!((list_type, set.keys(keys).collect::<Vec<_>>()), (ListType::Map, vec!["name"]));
    }

    #[test]
    fn the_arena_is_small() {
        let footprint = SCHEMAS.set.footprint();
        assert!(footprint.bytes < 400_000, "{footprint:?}");
    }
}
