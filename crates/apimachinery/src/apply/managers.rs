//! The managers of an object: who owns which fields since when, as `metadata.managedFields` lists them
//! (upstream: `apimachinery/pkg/util/managedfields/internal`: `managedfields.go`, `capmanagers.go`).

use serde_json::{Map, Value, json};

use super::field_set::FieldSet;
use crate::object::Object;

/// The most entries of writers that do not apply; older ones are summed up.
const MAX_UPDATE_MANAGERS: usize = 10;

/// The manager that older writers are summed up under.
const ANCIENT_CHANGES: &str = "ancient-changes";

/// How a manager wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

/// What tells managers apart. Appliers are the same manager at whatever version they apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) manager: String,
    pub(super) operation: Operation,
    pub(super) api_version: String,
    pub(super) subresource: String,
}

/// One entry of `metadata.managedFields`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Manager {
    pub(super) identity: Identity,
    pub(super) time: Option<String>,
    pub(super) fields: FieldSet,
}

impl Identity {
    /// Whether an entry belongs to this manager.
    pub(super) fn is(&self, other: &Self) -> bool {
        let same_version = self.operation == Operation::Apply || self.api_version == other.api_version;
        self.manager == other.manager
            && self.operation == other.operation
            && self.subresource == other.subresource
            && same_version
    }

    /// The manager as conflicts name it.
    pub(super) fn spell(&self) -> String {
        let mut text = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if self.operation == Operation::Update {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }
}

/// All managers of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Managers(pub(super) Vec<Manager>);

impl Managers {
    /// The managers of entries that this crate wrote.
    pub(super) fn trusted(entries: Vec<Value>) -> Self {
        Self(entries.into_iter().filter_map(|entry| read_entry(entry, FieldSet::trusted)).collect())
    }

    /// The managers of a stored object.
    pub(super) fn of(object: &Object) -> Self {
        Self::trusted(entries(object).cloned().unwrap_or_default())
    }

    /// The managers that a client sent, or nothing when an entry is not well-formed.
    pub(super) fn parse(entries: &[Value]) -> Option<Self> {
        let read = |entry: &Value| {
            if entry.get("fieldsType").and_then(Value::as_str) != Some("FieldsV1") {
                return None;
            }
            let fields = entry.get("fieldsV1").map_or(Ok(FieldSet::default()), FieldSet::parse).ok()?;
            read_entry(entry.clone(), |_| fields)
        };
        entries.iter().map(read).collect::<Option<Vec<_>>>().map(Self)
    }

    /// Takes the entry of a manager out.
    pub(super) fn take(&mut self, identity: &Identity) -> Option<Manager> {
        let index = self.0.iter().position(|manager| identity.is(&manager.identity))?;
        Some(self.0.remove(index))
    }

    pub(super) fn find_mut(&mut self, identity: &Identity) -> Option<&mut Manager> {
        self.0.iter_mut().find(|manager| identity.is(&manager.identity))
    }

    /// What all managers own together.
    pub(super) fn all_fields(&self) -> FieldSet {
        let mut all = FieldSet::default();
        for manager in &self.0 {
            all.add(&manager.fields);
        }
        all
    }

    /// Sums up the oldest writers when there are too many.
    pub(super) fn cap(&mut self) {
        let mut count = self.0.iter().filter(|manager| manager.identity.operation == Operation::Update).count();
        if count <= MAX_UPDATE_MANAGERS {
            return;
        }
        self.0.sort_by(|a, b| (&a.time, &a.identity.manager).cmp(&(&b.time, &b.identity.manager)));
        let mut kept: Vec<Manager> = Vec::with_capacity(self.0.len());
        // The first of a version stays as it is until a second of that version joins it.
        let mut first: Vec<(String, usize)> = Vec::new();
        for manager in std::mem::take(&mut self.0) {
            if manager.identity.operation == Operation::Apply || count <= MAX_UPDATE_MANAGERS {
                kept.push(manager);
                continue;
            }
            let version = manager.identity.api_version.clone();
            match first.iter().find(|(known, _)| *known == version) {
                Some((_, index)) => {
                    let bucket = &mut kept[*index];
                    bucket.identity.manager = ANCIENT_CHANGES.into();
                    bucket.identity.subresource = String::new();
                    bucket.fields.add(&manager.fields);
                    bucket.time = manager.time;
                    count -= 1;
                }
                None => {
                    first.push((version, kept.len()));
                    kept.push(manager);
                }
            }
        }
        self.0 = kept;
    }

    /// Writes the managers into an object, in upstream's order.
    pub(super) fn write(mut self, object: &mut Object) {
        if self.0.is_empty() {
            object.metadata_mut().remove("managedFields");
            return;
        }
        self.0.sort_by(|a, b| {
            let (one, two) = (&a.identity, &b.identity);
            (one.operation.cmp(&two.operation))
                .then_with(|| a.time.cmp(&b.time))
                .then_with(|| one.manager.cmp(&two.manager))
                .then_with(|| one.api_version.cmp(&two.api_version))
                .then_with(|| one.subresource.cmp(&two.subresource))
        });
        let entries: Vec<Value> = self.0.into_iter().map(write_entry).collect();
        object.metadata_mut().insert("managedFields".into(), entries.into());
    }
}

/// The entries of an object as they are.
pub(super) fn entries(object: &Object) -> Option<&Vec<Value>> {
    object.metadata()?.get("managedFields")?.as_array()
}

fn read_entry(entry: Value, fields: impl FnOnce(Value) -> FieldSet) -> Option<Manager> {
    let Value::Object(mut entry) = entry else { return None };
    let mut text = |name: &str| match entry.remove(name) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    let operation = match text("operation").as_str() {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        _ => return None,
    };
    let api_version = Some(text("apiVersion")).filter(|version| !version.is_empty())?;
    let identity = Identity { manager: text("manager"), operation, api_version, subresource: text("subresource") };
    let time = Some(text("time")).filter(|time| !time.is_empty());
    let fields = fields(entry.remove("fieldsV1").unwrap_or_default());
    Some(Manager { identity, time, fields })
}

fn write_entry(manager: Manager) -> Value {
    let Identity { manager: name, operation, api_version, subresource } = manager.identity;
    let mut entry = Map::new();
    let operation = if operation == Operation::Apply { "Apply" } else { "Update" };
    for (key, value) in [("apiVersion", api_version), ("manager", name), ("subresource", subresource)] {
        if !value.is_empty() {
            entry.insert(key.into(), value.into());
        }
    }
    entry.insert("fieldsType".into(), json!("FieldsV1"));
    entry.insert("fieldsV1".into(), manager.fields.into_value());
    entry.insert("operation".into(), operation.into());
    if let Some(time) = manager.time {
        entry.insert("time".into(), time.into());
    }
    Value::Object(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, version: &str, time: &str, field: &str) -> Value {
        json!({"manager": name, "operation": "Update", "apiVersion": version, "time": time, "fieldsType": "FieldsV1",
            "fieldsV1": {format!("f:{field}"): {}}})
    }

    #[test]
    fn entries_are_read_and_written() {
        let entries =
            json!([entry("a", "v1", "2026-01-01T00:00:00Z", "x"), entry("b", "v1", "2026-01-02T00:00:00Z", "y")]);
        let object = Object::from_value(json!({"metadata": {"managedFields": entries}})).expect("an object");
        let mut again = Object::default();
        Managers::of(&object).write(&mut again);
        assert_eq!(again, object);
        assert_eq!(Managers::parse(entries.as_array().expect("a list")), Some(Managers::of(&object)));
        assert_eq!(Managers::parse(&[json!({"manager": "a"})]), None);
        Managers::default().write(&mut again);
        assert!(again.metadata().expect("metadata").is_empty());
    }

    #[test]
    fn old_writers_are_summed_up() {
        let entries: Vec<Value> = (0..12)
            .map(|n| entry(&format!("m{n:02}"), "v1", &format!("2026-01-01T00:00:{n:02}Z"), &format!("x{n}")))
            .collect();
        let mut managers = Managers::parse(&entries).expect("entries");
        managers.cap();
        assert_eq!(managers.0.len(), 10);
        let ancient = managers.0.iter().find(|manager| manager.identity.manager == ANCIENT_CHANGES).expect("summed up");
        assert_eq!(ancient.fields.paths(), [".x0", ".x1", ".x2"]);
        assert_eq!(ancient.time.as_deref(), Some("2026-01-01T00:00:02Z"));
    }
}
