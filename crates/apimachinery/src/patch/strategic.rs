//! Strategic merge patch (upstream: `apimachinery/pkg/util/strategicpatch`): lists merge by key where the schema
//! says so, and directives in the patch replace, delete, order and retain.

use serde_json::{Map, Value};

use crate::go;
use crate::schema::{Field, NodeId, PatchStrategy, SchemaSet, Shape};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM_PRIMITIVE_LIST: &str = "$deleteFromPrimitiveList/";
const SET_ELEMENT_ORDER: &str = "$setElementOrder/";

const MAP: &str = "map[string]interface {}";
const LIST: &str = "[]interface {}";

/// Why a patch cannot be applied, in upstream's words (`mergepatch/errors.go`, `strategicpatch/{patch,meta}.go`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StrategicError {
    /// An item of a merging list does not have the key that tells items apart.
    #[error("map: {} does not contain declared merge key: {key}", go::value(.item))]
    NoMergeKey {
        /// The item.
        item: Value,
        /// The key it lacks.
        key: String,
    },
    /// A value is of another type than the directive or the schema asks for.
    #[error("expected a {expected}, but received a {found}")]
    BadType {
        /// What is asked for.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// A `$patch` that does not exist.
    #[error("unknown patch type: {} in map: {}", go::value(.0), go::map(.1))]
    BadDirective(Value, Map<String, Value>),
    /// `$patch: merge` on a list item.
    #[error("merging lists cannot yet be specified in the patch")]
    MergeDirective,
    /// A merging list of objects for which the schema declares no key.
    #[error("cannot merge lists without merge key for struct")]
    NoKeyDeclared,
    /// Lists of lists cannot be merged.
    #[error("lists of lists are not supported")]
    ListOfLists,
    /// The items of a merging list are of several types.
    #[error("list element types are not identical: [{} {}]", go::list(.0), go::list(.1))]
    MixedItems(Vec<Value>, Vec<Value>),
    /// `$setElementOrder` of a field that the schema does not have.
    #[error("unable to find api field in struct {struct_name} for the json field {field:?}")]
    UnknownField {
        /// The struct, as `PodSpec`.
        struct_name: String,
        /// The field.
        field: String,
    },
    /// `$deleteFromPrimitiveList` without a name, or no list.
    #[error("invalid patch format of primitive list")]
    BadPrimitiveList,
    /// `$retainKeys` that is no list, or does not name all keys of the patch.
    #[error("invalid patch format of retainKeys")]
    BadRetainKeys,
    /// `$setElementOrder` that has no name.
    #[error("invalid patch format of setElementOrder list")]
    BadElementOrder,
    /// The patch's items are in another order than its `$setElementOrder` says.
    #[error("The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n", go::list(.patch), go::list(.order))]
    OrderMismatch {
        /// The patch's list.
        patch: Vec<Value>,
        /// The order it should have.
        order: Vec<Value>,
    },
}

type Object = Map<String, Value>;

/// Applies `patch` to `original` under the schema `node`.
pub fn apply(set: &SchemaSet, node: NodeId, original: Object, patch: Object) -> Result<Object, StrategicError> {
    merge_map(set, Some(node), original, patch)
}

/// How one field merges.
#[derive(Clone, Copy, Default)]
struct Rule<'s> {
    /// The schema of the value; missing where the schema does not know the field.
    node: Option<NodeId>,
    strategy: PatchStrategy,
    merge_key: Option<&'s str>,
}

fn rule<'s>(set: &'s SchemaSet, parent: Option<NodeId>, name: &str) -> Rule<'s> {
    let Some(parent) = parent else { return Rule::default() };
    match set.node(parent).shape {
        Shape::Object(fields) => match set.field(fields, name) {
            Some(Field { node, patch_strategy, merge_key, .. }) => {
                Rule { node: Some(*node), strategy: *patch_strategy, merge_key: merge_key.map(|key| set.text(key)) }
            }
            None => Rule::default(),
        },
        Shape::Map { values, .. } => Rule { node: Some(values), ..Rule::default() },
        _ => Rule::default(),
    }
}

impl Rule<'_> {
    /// The schema of a list's items.
    fn items(&self, set: &SchemaSet) -> Option<NodeId> {
        match set.node(self.node?).shape {
            Shape::List { items, .. } => Some(items),
            _ => None,
        }
    }
}

fn merge_map(
    set: &SchemaSet,
    node: Option<NodeId>,
    mut original: Object,
    mut patch: Object,
) -> Result<Object, StrategicError> {
    match patch.remove(DIRECTIVE) {
        None => {}
        Some(Value::String(directive)) if directive == "replace" => return Ok(patch),
        Some(Value::String(directive)) if directive == "delete" => return Ok(Object::new()),
        Some(other) => {
            patch.insert(DIRECTIVE.to_owned(), other.clone());
            return Err(StrategicError::BadDirective(other, patch));
        }
    }
    retain_keys(&mut original, &mut patch)?;
    order_lists(set, node, &mut original, &mut patch)?;
    for (name, value) in patch {
        let (name, deletes) = match name.strip_prefix(DELETE_FROM_PRIMITIVE_LIST) {
            Some(name) => (name.to_owned(), true),
            None if name.starts_with(DELETE_FROM_PRIMITIVE_LIST.trim_end_matches('/')) => {
                return Err(StrategicError::BadPrimitiveList);
            }
            None => (name, false),
        };
        if value.is_null() {
            original.remove(&name);
            continue;
        }
        let rule = rule(set, node, &name);
        match (original.remove(&name), value) {
            (Some(Value::Object(old)), Value::Object(new)) if !deletes => {
                let merged =
                    if rule.strategy == PatchStrategy::Replace { new } else { merge_map(set, rule.node, old, new)? };
                original.insert(name, merged.into());
            }
            (Some(Value::Array(old)), Value::Array(new)) => {
                let merged = if deletes {
                    old.into_iter().filter(|item| !new.contains(item)).collect()
                } else if rule.strategy.merges() {
                    merge_list(set, &rule, old, new)?
                } else {
                    new
                };
                original.insert(name, merged.into());
            }
            (old, _) if deletes => {
                if let Some(old) = old {
                    original.insert(name, old);
                }
            }
            (_, new) => {
                if let Some(new) = plain(new) {
                    original.insert(name, new);
                }
            }
        }
    }
    Ok(original)
}

/// `$retainKeys`: the keys it does not name leave the original.
fn retain_keys(original: &mut Object, patch: &mut Object) -> Result<(), StrategicError> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(keys) = keys else { return Err(StrategicError::BadRetainKeys) };
    let names = |name: &str| keys.iter().any(|key| key.as_str() == Some(name));
    let is_named = |(name, value): (&String, &Value)| {
        let is_directive = name.starts_with(DELETE_FROM_PRIMITIVE_LIST) || name.starts_with(SET_ELEMENT_ORDER);
        value.is_null() || is_directive || names(name)
    };
    if !patch.iter().all(is_named) {
        return Err(StrategicError::BadRetainKeys);
    }
    original.retain(|name, _| names(name));
    Ok(())
}

/// A struct must have the field.
fn is_declared(set: &SchemaSet, node: Option<NodeId>, name: &str) -> Result<(), StrategicError> {
    let Some(node) = node.map(|node| set.node(node)) else { return Ok(()) };
    match node.shape {
        Shape::Object(fields) if set.field(fields, name).is_none() => {
            let full = node.name.map(|name| set.text(name)).unwrap_or_default();
            let struct_name = full.rsplit('.').next().unwrap_or_default().to_owned();
            Err(StrategicError::UnknownField { struct_name, field: name.to_owned() })
        }
        _ => Ok(()),
    }
}

/// `$setElementOrder/<list>`: merges each such list and brings it into that order.
fn order_lists(
    set: &SchemaSet,
    node: Option<NodeId>,
    original: &mut Object,
    patch: &mut Object,
) -> Result<(), StrategicError> {
    let directives: Vec<String> = patch.keys().filter(|name| name.starts_with("$setElementOrder")).cloned().collect();
    for directive in directives {
        let order = as_list(&patch.remove(&directive).unwrap_or_default())?.clone();
        let name = directive.strip_prefix(SET_ELEMENT_ORDER).ok_or(StrategicError::BadElementOrder)?;
        let old = original.get(name).map(as_list).transpose()?.cloned();
        let new = patch.get(name).map(as_list).transpose()?.cloned();
        is_declared(set, node, name)?;
        let rule = rule(set, node, name);
        check_order(new.as_deref().unwrap_or_default(), &order, rule.merge_key)?;
        let server_order = old.clone().unwrap_or_default();
        let merged = match (old, new) {
            (None, None) => continue,
            (Some(old), None) => old,
            (None, Some(new)) => new.into_iter().filter_map(plain).collect(),
            (Some(old), Some(new)) if rule.strategy.merges() => merge_list(set, &rule, old, new)?,
            (Some(_), Some(new)) => new,
        };
        let (ours, theirs) = partition(merged, &order, rule.merge_key)?;
        original.insert(name.to_owned(), in_order(ours, theirs, &order, &server_order, rule.merge_key).into());
        patch.remove(name);
    }
    Ok(())
}

fn merge_list(
    set: &SchemaSet,
    rule: &Rule<'_>,
    old: Vec<Value>,
    new: Vec<Value>,
) -> Result<Vec<Value>, StrategicError> {
    let mut types = old.iter().chain(&new).map(go::type_name);
    let first = types.next();
    if first == Some(LIST) {
        return Err(StrategicError::ListOfLists);
    }
    if types.any(|other| Some(other) != first) {
        return Err(StrategicError::MixedItems(old, new));
    }
    if first != Some(MAP) {
        let mut merged: Vec<Value> = Vec::with_capacity(old.len() + new.len());
        for item in old.iter().chain(&new) {
            if !merged.contains(item) {
                merged.push(item.clone());
            }
        }
        let (ours, theirs) = partition(merged, &new, None)?;
        return Ok(in_order(ours, theirs, &new, &old, None));
    }
    let key = rule.merge_key.ok_or(StrategicError::NoKeyDeclared)?;
    let (old, new) = special_items(old, new, key)?;
    let server_order = old.clone();
    let mut merged = old;
    for item in &new {
        let id = key_of(item, key)?;
        let same = merged.iter_mut().find(|candidate| candidate.get(key) == Some(id));
        match (same, item.clone()) {
            (Some(Value::Object(same)), Value::Object(item)) => {
                *same = merge_map(set, rule.items(set), std::mem::take(same), item)?;
            }
            (_, item) => merged.extend(plain(item)),
        }
    }
    let (ours, theirs) = partition(merged, &new, Some(key))?;
    Ok(in_order(ours, theirs, &new, &server_order, Some(key)))
}

/// Carries out items that are directives: `$patch: delete` and `$patch: replace`.
fn special_items(mut old: Vec<Value>, new: Vec<Value>, key: &str) -> Result<(Vec<Value>, Vec<Value>), StrategicError> {
    let (mut plain, mut replace) = (Vec::with_capacity(new.len()), false);
    for item in new {
        match item.get(DIRECTIVE) {
            None => plain.push(item),
            Some(Value::String(directive)) if directive == "delete" => {
                let id = key_of(&item, key)?;
                old.retain(|candidate| candidate.get(key) != Some(id));
            }
            Some(Value::String(directive)) if directive == "replace" => replace = true,
            Some(Value::String(directive)) if directive == "merge" => return Err(StrategicError::MergeDirective),
            Some(other) => {
                let map = item.as_object().cloned().unwrap_or_default();
                return Err(StrategicError::BadDirective(other.clone(), map));
            }
        }
    }
    Ok(if replace { (plain, Vec::new()) } else { (old, plain) })
}

fn key_of<'v>(item: &'v Value, key: &str) -> Result<&'v Value, StrategicError> {
    item.get(key).ok_or_else(|| StrategicError::NoMergeKey { item: item.clone(), key: key.to_owned() })
}

/// What tells an item apart: the value of its key, or the item itself.
fn identity<'v>(item: &'v Value, key: Option<&str>) -> Option<&'v Value> {
    match key {
        Some(key) => item.get(key),
        None => Some(item),
    }
}

fn position(list: &[Value], item: &Value, key: Option<&str>) -> Option<usize> {
    let id = identity(item, key);
    list.iter().position(|candidate| identity(candidate, key) == id)
}

/// The patch's items must be in the order that the directive gives, and be named there.
fn check_order(new: &[Value], order: &[Value], key: Option<&str>) -> Result<(), StrategicError> {
    if new.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut rest = order.iter();
    for item in new.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        if let Some(key) = key {
            key_of(item, key)?;
        }
        let id = identity(item, key);
        if !rest.any(|place| identity(place, key) == id) {
            return Err(StrategicError::OrderMismatch { patch: new.to_vec(), order: order.to_vec() });
        }
    }
    Ok(())
}

/// Items that `by` names, and the others.
fn partition(items: Vec<Value>, by: &[Value], key: Option<&str>) -> Result<(Vec<Value>, Vec<Value>), StrategicError> {
    if let Some(key) = key {
        items.iter().try_for_each(|item| key_of(item, key).map(drop))?;
    }
    Ok(items.into_iter().partition(|item| position(by, item, key).is_some()))
}

/// Sorts both parts by their own orders, then zips them by the server's (upstream: `normalizeElementOrder`).
fn in_order(
    mut ours: Vec<Value>,
    mut theirs: Vec<Value>,
    our_order: &[Value],
    server_order: &[Value],
    key: Option<&str>,
) -> Vec<Value> {
    let rank = |order: &[Value], item: &Value| position(order, item, key).unwrap_or(usize::MAX);
    ours.sort_by_cached_key(|item| rank(our_order, item));
    theirs.sort_by_cached_key(|item| rank(server_order, item));
    let mut all = Vec::with_capacity(ours.len() + theirs.len());
    let mut ours = ours.into_iter().peekable();
    for item in theirs {
        let place = position(server_order, &item, key);
        while let Some(next) = ours.peek() {
            match (place, position(server_order, next, key)) {
                (Some(place), Some(next)) if place < next => break,
                _ => all.extend(ours.next()),
            }
        }
        all.push(item);
    }
    all.extend(ours);
    all
}

/// A value of the patch as it goes into the object: without nulls, and without directives.
fn plain(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.contains_key(DIRECTIVE) => None,
        Value::Object(map) => {
            let is_kept = |(name, value): &(String, Value)| !value.is_null() && !is_directive(name);
            let entries = map.into_iter().filter(is_kept);
            Some(entries.filter_map(|(name, value)| Some((name, plain(value)?))).collect::<Object>().into())
        }
        Value::Array(list) => Some(list.into_iter().filter_map(plain).collect::<Vec<_>>().into()),
        scalar => Some(scalar),
    }
}

fn is_directive(name: &str) -> bool {
    name == RETAIN_KEYS || name.starts_with(DELETE_FROM_PRIMITIVE_LIST) || name.starts_with(SET_ELEMENT_ORDER)
}

fn as_list(value: &Value) -> Result<&Vec<Value>, StrategicError> {
    value.as_array().ok_or(StrategicError::BadType { expected: LIST, found: go::type_name(value) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::tests::deployments;
    use serde_json::json;

    fn run(original: Value, patch: Value) -> Result<Value, StrategicError> {
        let (set, _) = deployments();
        let node = set.by_name("io.k8s.api.core.v1.PodTemplateSpec").expect("defined");
        let (Value::Object(original), Value::Object(patch)) = (original, patch) else { panic!("objects") };
        apply(&set, node, original, patch).map(Value::Object)
    }

    fn check(original: Value, patch: Value, result: Value) {
        assert_eq!(run(original.clone(), patch.clone()), Ok(result), "{original} + {patch}");
    }

    #[test]
    fn maps_merge_and_atomic_lists_are_replaced() {
        check(
            json!({"metadata": {"name": "a", "labels": {"x": "1", "y": "2"}}, "spec": {"tolerations": [{"key": "a"}]}}),
            json!({"metadata": {"labels": {"x": null, "z": "3"}}, "spec": {"tolerations": [{"key": "b"}]}}),
            json!({"metadata": {"name": "a", "labels": {"y": "2", "z": "3"}}, "spec": {"tolerations": [{"key": "b"}]}}),
        );
        check(
            json!({"metadata": {"labels": {"x": "1"}}}),
            json!({"metadata": {"$patch": "replace", "name": "a"}}),
            json!({"metadata": {"name": "a"}}),
        );
        check(json!({"metadata": {"name": "a"}}), json!({"metadata": {"$patch": "delete"}}), json!({"metadata": {}}));
        check(
            json!({}),
            json!({"spec": {"nodeName": null, "containers": [{"name": "a", "image": null}]}}),
            json!({"spec": {"containers": [{"name": "a"}]}}),
        );
    }

    #[test]
    fn keyed_lists_merge_by_their_key() {
        let original = json!({"spec": {"containers": [
            {"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}]}, {"name": "b", "image": "b:1"},
        ]}});
        check(
            original.clone(),
            json!({"spec": {"containers": [{"name": "a", "image": "a:2", "env": [{"name": "Y", "value": "2"}]}]}}),
            json!({"spec": {"containers": [
                {"name": "a", "image": "a:2", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]},
                {"name": "b", "image": "b:1"},
            ]}}),
        );
        check(
            original.clone(),
            json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}, {"name": "c"}]}}),
            json!({"spec": {"containers": [{"name": "c"}, {"name": "b", "image": "b:1"}]}}),
        );
        check(
            original,
            json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "c"}]}}),
            json!({"spec": {"containers": [{"name": "c"}]}}),
        );
    }

    #[test]
    fn the_order_of_elements_can_be_set() {
        check(
            json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}, {"name": "server"}]}}),
            json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}],
                "containers": [{"name": "c", "image": "c"}]}}),
            json!({"spec": {"containers": [{"name": "b"}, {"name": "c", "image": "c"}, {"name": "a"}, {"name": "server"}]}}),
        );
        check(
            json!({"metadata": {"finalizers": ["x/a", "x/b", "x/c"]}}),
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["x/b"], "$setElementOrder/finalizers": ["x/c", "x/a"]}}),
            json!({"metadata": {"finalizers": ["x/c", "x/a"]}}),
        );
        check(
            json!({"metadata": {"finalizers": ["x/a"]}}),
            json!({"metadata": {"finalizers": ["x/b", "x/a"]}}),
            json!({"metadata": {"finalizers": ["x/b", "x/a"]}}),
        );
    }

    #[test]
    fn retained_keys_drop_the_others() {
        check(
            json!({"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}}),
            json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}, "$retainKeys": ["name", "emptyDir"]}]}}),
            json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}),
        );
    }

    #[test]
    fn bad_patches_are_refused_in_upstreams_words() {
        for (patch, message) in [
            (
                json!({"spec": {"containers": [{"image": "x"}]}}),
                "map: map[image:x] does not contain declared merge key: name",
            ),
            (json!({"spec": {"$patch": "spoil"}}), "unknown patch type: spoil in map: map[$patch:spoil]"),
            (
                json!({"spec": {"containers": [{"name": "a", "$patch": "merge"}]}}),
                "merging lists cannot yet be specified in the patch",
            ),
            (json!({"spec": {"$retainKeys": "a"}}), "invalid patch format of retainKeys"),
            (json!({"spec": {"$retainKeys": ["a"], "b": 1}}), "invalid patch format of retainKeys"),
            (json!({"spec": {"$setElementOrder/containers": 1}}), "expected a []interface {}, but received a int64"),
            (
                json!({"spec": {"$setElementOrder/cotainers": []}}),
                r#"unable to find api field in struct PodSpec for the json field "cotainers""#,
            ),
            (
                json!({"spec": {"containers": [{"name": "a", "$patch": "spoil"}]}}),
                "unknown patch type: spoil in map: map[$patch:spoil name:a]",
            ),
            (json!({"spec": {"$setElementOrder": []}}), "invalid patch format of setElementOrder list"),
            (json!({"spec": {"containers": [1]}}), "list element types are not identical: [[map[name:a]] [1]]"),
            (json!({"metadata": {"finalizers": [[]]}}), "lists of lists are not supported"),
            (json!({"metadata": {"finalizers": ["a", 1.5]}}), "list element types are not identical: [[] [a 1.5]]"),
            (
                json!({"spec": {"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "b"}]}}),
                "The order in patch list:\n[map[name:b]]\n doesn't match $setElementOrder list:\n[map[name:a]]\n",
            ),
        ] {
            let error =
                run(json!({"metadata": {"finalizers": []}, "spec": {"containers": [{"name": "a"}]}}), patch.clone())
                    .expect_err("refused");
            assert_eq!(error.to_string(), message, "{patch}");
        }
    }
}
