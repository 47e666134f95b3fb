//! Which part of the old object a part of the new one was: what did not change needs not be right
//! (upstream: apiserver/pkg/cel/common/equality.go, schema/cel/validation.go `ratchetingOptions`).

use std::collections::HashMap;

use serde_json::Value as Json;

/// A part of the object and what it was.
#[derive(Clone, Copy, Debug)]
struct Pair<'v> {
    new: &'v Json,
    old: Option<&'v Json>,
}

/// Where validation is in both objects.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Correlation<'v> {
    /// This part, where its old value can be told.
    current: Option<Pair<'v>>,
    /// The nearest part around it of which that holds.
    parent: Option<Pair<'v>>,
}

impl<'v> Correlation<'v> {
    /// The whole object; nothing where there is no old one.
    pub(super) fn of_root(new: &'v Json, old: Option<&'v Json>) -> Self {
        Self { current: old.map(|old| Pair { new, old: Some(old) }), parent: None }
    }

    /// Whether the part did not change.
    pub(super) fn is_unchanged(&self) -> bool {
        self.current.or(self.parent).is_some_and(|pair| pair.old == Some(pair.new))
    }

    /// The part of a field or entry.
    pub(super) fn key(&self, name: &str) -> Self {
        let Some(current) = self.current else { return *self };
        if self.parent.is_none() && matches!(name, "apiVersion" | "kind") {
            return Self::default();
        }
        let below = match (current.new.get(name), current.old.map(|old| (old.is_object(), old.get(name)))) {
            (Some(new), Some((true, old))) => Some(Pair { new, old }),
            _ => None,
        };
        Self { current: below, parent: Some(current) }
    }

    /// The part of an item, of which `old` was found by its keys.
    pub(super) fn item(&self, new: &'v Json, old: Option<&'v Json>) -> Self {
        let Some(current) = self.current else { return *self };
        Self { current: old.map(|old| Pair { new, old: Some(old) }), parent: Some(current) }
    }

    /// For the parts of an `allOf`, which are judged as if around the value only.
    pub(super) fn of_all_of(&self) -> Self {
        Self { current: None, parent: self.parent }
    }
}

/// The items of an old list by their keys.
pub(super) struct ByKeys<'v> {
    keys: &'v [String],
    items: HashMap<String, &'v Json>,
}

impl<'v> ByKeys<'v> {
    pub(super) fn new(keys: &'v [String], old: Option<&'v Json>) -> Self {
        let items = old.and_then(Json::as_array).into_iter().flatten();
        Self { keys, items: items.filter_map(|item| Some((identity(item, keys)?, item))).collect() }
    }

    /// The old item with the same keys.
    pub(super) fn get(&self, item: &Json) -> Option<&'v Json> {
        self.items.get(&identity(item, self.keys)?).copied()
    }
}

/// The values of the keys, written so that no two differ and look the same.
fn identity(item: &Json, keys: &[String]) -> Option<String> {
    let item = item.as_object()?;
    let values: Vec<&Json> = keys.iter().map(|key| item.get(key).unwrap_or(&Json::Null)).collect();
    serde_json::to_string(&values).ok()
}
