//! [`FieldSet`]: a set of fields, kept as the `FieldsV1` it is written as
//! (upstream: `structured-merge-diff/fieldpath`).
//!
//! `FieldsV1` is a tree already: a key is one step of a path (`f:` field, `k:` item by its keys, `v:` item of a
//! set, `i:` index), below it the steps that follow. A step is itself in the set when nothing is below it or
//! when `.` is. Working on the tree as it is saves decoding and encoding every manager at every write.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::walk::At;
use crate::schema::{SchemaSet, Shape};

type Tree = Map<String, Value>;

const SELF: &str = ".";

/// A set of fields of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldSet(Tree);

/// Why a `FieldsV1` cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldSetError {
    /// Something else than an object in the tree.
    #[error("fieldsV1 must be a tree of objects")]
    NotATree,
    /// A key that is no step of a path.
    #[error("{0:?} is not a path element")]
    BadElement(String),
}

impl FieldSet {
    /// Reads a `FieldsV1` that a client wrote, and brings its keys into their canonical spelling.
    pub fn parse(fields: &Value) -> Result<Self, FieldSetError> {
        let mut tree = parse_tree(fields)?;
        // The object itself is nobody's field (upstream: `Set.FromJSON` leaves it out too).
        tree.remove(SELF);
        Ok(Self(tree))
    }

    /// Takes a `FieldsV1` that this crate wrote.
    pub(super) fn trusted(fields: Value) -> Self {
        match fields {
            Value::Object(tree) => Self(tree),
            _ => Self::default(),
        }
    }

    /// The set of these paths of field names.
    pub fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let mut steps = path.iter().rev();
            let Some(last) = steps.next() else { continue };
            let mut tree = Tree::from_iter([(field_key(last), empty())]);
            for step in steps {
                tree = Tree::from_iter([(field_key(step), Value::Object(tree))]);
            }
            add(&mut set.0, &tree);
        }
        set
    }

    /// The `FieldsV1`.
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// Whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts the step `key` into the set.
    pub(super) fn own(&mut self, key: String) {
        match self.0.entry(key).or_insert_with(empty) {
            Value::Object(node) if !is_owned(node) => {
                node.insert(SELF.into(), empty());
            }
            _ => {}
        }
    }

    /// Puts what `below` holds under the step `key`.
    pub(super) fn attach(&mut self, key: &str, below: Self) {
        if below.is_empty() {
            return;
        }
        match self.0.get_mut(key) {
            None => {
                self.0.insert(key.to_owned(), Value::Object(below.0));
            }
            Some(Value::Object(node)) => {
                let owned = take_owned(node);
                add(node, &below.0);
                settle(node, owned);
            }
            Some(_) => {}
        }
    }

    /// Puts the step `key` and what `below` holds under it into a set that knows nothing of the step.
    pub(super) fn attach_owned(&mut self, key: String, below: Self) {
        let mut node = below.0;
        settle(&mut node, true);
        self.0.insert(key, Value::Object(node));
    }

    /// Whether the step `key` itself is in the set.
    pub(super) fn owns(&self, key: &str) -> bool {
        self.0.get(key).and_then(Value::as_object).is_some_and(is_owned)
    }

    /// What the set holds under the step `key`.
    pub(super) fn below(&self, key: &str) -> Option<&Tree> {
        self.0.get(key)?.as_object().filter(|node| children(node).next().is_some())
    }

    pub(super) fn tree(&self) -> &Tree {
        &self.0
    }

    /// Adds the members of another set.
    pub fn add(&mut self, other: &Self) {
        add(&mut self.0, &other.0);
    }

    /// Removes the members of another set.
    pub fn subtract(&mut self, other: &Self) {
        subtract(&mut self.0, &other.0);
    }

    /// Removes the members of another set and everything below them.
    pub fn subtract_trees(&mut self, other: &Self) {
        subtract_trees(&mut self.0, &other.0);
    }

    /// What is in both sets.
    pub fn intersection(&self, other: &Self) -> Self {
        Self(intersection(&self.0, &other.0))
    }

    /// Whether every member is in the other set.
    pub fn is_subset(&self, other: &Self) -> bool {
        is_subset(&self.0, &other.0)
    }

    /// The set with every struct field on the way to a member as a member itself
    /// (upstream: `EnsureNamedFieldsAreMembers`).
    pub(super) fn with_named_fields(&self, schema: &SchemaSet, at: At) -> Self {
        Self(with_named_fields(&self.0, schema, at))
    }

    /// The paths of all members, as messages spell them.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        collect_paths(&self.0, &mut String::new(), &mut paths);
        paths
    }
}

fn empty() -> Value {
    Value::Object(Tree::new())
}

fn is_owned(node: &Tree) -> bool {
    node.is_empty() || node.contains_key(SELF)
}

fn children(node: &Tree) -> impl Iterator<Item = (&String, &Tree)> {
    node.iter().filter(|(key, _)| *key != SELF).filter_map(|(key, value)| Some((key, value.as_object()?)))
}

/// Whether the node is in the set; its mark is taken away so that only children remain.
fn take_owned(node: &mut Tree) -> bool {
    let owned = is_owned(node);
    node.remove(SELF);
    owned
}

/// Marks a node of bare children as member or not; answers whether anything is left of it.
fn settle(node: &mut Tree, owned: bool) -> bool {
    if !node.is_empty() && owned {
        node.insert(SELF.into(), empty());
    }
    owned || !node.is_empty()
}

fn add(tree: &mut Tree, other: &Tree) {
    for (key, from) in children(other) {
        match tree.get_mut(key) {
            None => {
                tree.insert(key.clone(), Value::Object(from.clone()));
            }
            Some(Value::Object(node)) => {
                let owned = take_owned(node) || is_owned(from);
                add(node, from);
                settle(node, owned);
            }
            Some(_) => {}
        }
    }
}

fn subtract(tree: &mut Tree, other: &Tree) {
    for (key, from) in children(other) {
        let Some(Value::Object(node)) = tree.get_mut(key) else { continue };
        let owned = take_owned(node) && !is_owned(from);
        subtract(node, from);
        if !settle(node, owned) {
            tree.remove(key);
        }
    }
}

fn subtract_trees(tree: &mut Tree, other: &Tree) {
    for (key, from) in children(other) {
        if is_owned(from) {
            tree.remove(key);
            continue;
        }
        let Some(Value::Object(node)) = tree.get_mut(key) else { continue };
        let owned = take_owned(node);
        subtract_trees(node, from);
        if !settle(node, owned) {
            tree.remove(key);
        }
    }
}

fn intersection(a: &Tree, b: &Tree) -> Tree {
    let mut both = Tree::new();
    for (key, node) in children(a) {
        let Some(other) = b.get(key).and_then(Value::as_object) else { continue };
        let mut common = intersection(node, other);
        if settle(&mut common, is_owned(node) && is_owned(other)) {
            both.insert(key.clone(), Value::Object(common));
        }
    }
    both
}

fn is_subset(a: &Tree, b: &Tree) -> bool {
    children(a).all(|(key, node)| {
        let other = b.get(key).and_then(Value::as_object);
        other.is_some_and(|other| (!is_owned(node) || is_owned(other)) && is_subset(node, other))
    })
}

fn with_named_fields(tree: &Tree, schema: &SchemaSet, at: At) -> Tree {
    let mut named = Tree::new();
    for (key, node) in children(tree) {
        let mut owned = is_owned(node);
        let mut below_at = At::Atomic;
        match (at, key.strip_prefix("f:")) {
            (At::Node(id), Some(name)) => match schema.node(id).shape {
                Shape::Object(fields) => {
                    if let Some(field) = schema.field(fields, name) {
                        owned = true;
                        below_at = At::Node(field.node);
                    }
                }
                Shape::Map { values, .. } => below_at = At::Node(values),
                _ => {}
            },
            (At::Node(id), None) => {
                if let Shape::List { items, .. } = schema.node(id).shape {
                    below_at = At::Node(items);
                }
            }
            _ => {}
        }
        let mut below = with_named_fields(node, schema, below_at);
        settle(&mut below, owned);
        named.insert(key.clone(), Value::Object(below));
    }
    named
}

/// `f:name`.
pub(super) fn field_key(name: &str) -> String {
    let mut key = String::with_capacity(name.len() + 2);
    key.push_str("f:");
    key.push_str(name);
    key
}

fn collect_paths(tree: &Tree, path: &mut String, paths: &mut Vec<String>) {
    for (key, node) in children(tree) {
        let length = path.len();
        spell_step(key, path);
        if is_owned(node) {
            paths.push(path.clone());
        }
        collect_paths(node, path, paths);
        path.truncate(length);
    }
}

/// One step as messages spell it: `.field`, `[name="a"]`, `[="a"]`, `[0]`.
pub(super) fn spell_step(key: &str, path: &mut String) {
    let (kind, rest) = key.split_at_checked(2).unwrap_or((key, ""));
    let written = match kind {
        "f:" => write!(path, ".{rest}"),
        "v:" => write!(path, "[={rest}]"),
        "k:" => {
            let keys: Tree = serde_json::from_str(rest).unwrap_or_default();
            let pairs: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
            write!(path, "[{}]", pairs.join(","))
        }
        _ => write!(path, "[{rest}]"),
    };
    written.expect("writing to a string cannot fail");
}

fn parse_tree(fields: &Value) -> Result<Tree, FieldSetError> {
    let tree = fields.as_object().ok_or(FieldSetError::NotATree)?;
    let mut parsed = Tree::new();
    for (key, below) in tree {
        if key == SELF {
            // What is below it says nothing.
            parsed.insert(key.clone(), empty());
            continue;
        }
        let below = parse_tree(below)?;
        let bad = || FieldSetError::BadElement(key.clone());
        let canonical = match key.split_at_checked(2) {
            Some(("f:", _)) => key.clone(),
            Some(("i:", index)) => format!("i:{}", index.parse::<u64>().map_err(|_| bad())?),
            Some(("v:", value)) => format!("v:{}", serde_json::from_str::<Value>(value).map_err(|_| bad())?),
            Some(("k:", keys)) => {
                let keys: Tree = serde_json::from_str(keys).map_err(|_| bad())?;
                format!("k:{}", Value::Object(keys))
            }
            _ => return Err(bad()),
        };
        parsed.insert(canonical, Value::Object(below));
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(fields: Value) -> FieldSet {
        FieldSet::parse(&fields).expect("a field set")
    }

    #[test]
    fn sets_add_subtract_and_intersect() {
        let a = json!({"f:a": {}, "f:b": {".": {}, "f:c": {}, "f:d": {}}, "f:e": {"f:f": {}}});
        let b = json!({"f:b": {"f:c": {}}, "f:e": {}, "f:g": {}});
        let mut sum = set(a.clone());
        sum.add(&set(b.clone()));
        let all = json!({"f:a": {}, "f:b": {".": {}, "f:c": {}, "f:d": {}}, "f:e": {".": {}, "f:f": {}}, "f:g": {}});
        assert_eq!(sum.clone().into_value(), all);
        let mut rest = set(a.clone());
        rest.subtract(&set(b.clone()));
        assert_eq!(rest.into_value(), json!({"f:a": {}, "f:b": {".": {}, "f:d": {}}, "f:e": {"f:f": {}}}));
        let mut rest = set(a.clone());
        rest.subtract_trees(&set(b.clone()));
        assert_eq!(rest.into_value(), json!({"f:a": {}, "f:b": {".": {}, "f:d": {}}}));
        assert_eq!(set(a.clone()).intersection(&set(b.clone())).into_value(), json!({"f:b": {"f:c": {}}}));
        assert!(set(a.clone()).is_subset(&sum) && set(b.clone()).is_subset(&sum) && !set(b).is_subset(&set(a.clone())));
        let mut nothing = set(a.clone());
        nothing.subtract(&set(a));
        assert!(nothing.is_empty());
    }

    #[test]
    fn a_member_with_children_loses_only_itself() {
        let mut whole = set(json!({"f:a": {".": {}, "f:b": {}}}));
        whole.subtract(&set(json!({"f:a": {}})));
        assert_eq!(whole.into_value(), json!({"f:a": {"f:b": {}}}));
        let mut whole = set(json!({"f:a": {".": {}, "f:b": {}}}));
        whole.subtract(&set(json!({"f:a": {"f:b": {}}})));
        assert_eq!(whole.into_value(), json!({"f:a": {}}));
    }

    #[test]
    fn paths_are_spelled_as_upstream_does() {
        let fields = json!({"f:spec": {"f:list": {"k:{\"port\":80,\"name\":\"a\"}": {".": {}, "f:x": {}}}, "f:set": {"v:\"b\"": {}}, "f:items": {"i:3": {}}}});
        let spelled = [
            ".spec.items[3]",
            r#".spec.list[name="a",port=80]"#,
            r#".spec.list[name="a",port=80].x"#,
            r#".spec.set[="b"]"#,
        ];
        assert_eq!(set(fields).paths(), spelled);
    }

    #[test]
    fn what_is_no_field_set_is_refused() {
        for fields in
            [json!([]), json!({"f:a": 1}), json!({"x": {}}), json!({"i:x": {}}), json!({"k:[]": {}}), json!({"v:": {}})]
        {
            assert!(FieldSet::parse(&fields).is_err(), "{fields}");
        }
    }

    #[test]
    fn sets_of_plain_fields_are_built() {
        let set = FieldSet::of_fields(&[&["metadata"], &["metadata", "name"], &["status"]]);
        assert_eq!(set.into_value(), json!({"f:metadata": {".": {}, "f:name": {}}, "f:status": {}}));
    }
}
