//! [`Selection`]: which objects a list or watch is about, judged on what the store read off once. No object is decoded.

use std::borrow::Cow;
use std::sync::Arc;

use api::{Conversion, Custom, Resource};
use apimachinery::StatusError;
use apimachinery::fields::Selector as FieldSelector;
use apimachinery::labels::Selector as LabelSelector;
use bytes::Bytes;
use serde_json::Value;
use store::{Entry, Finished, Signature};

use super::finish::{FIELD, LABEL};
use super::options::ListOptions;
use super::{answer, scan};
use crate::custom::convert::is_in_form;
use crate::request::RequestInfo;

/// The objects below a key prefix that match both selectors.
#[derive(Clone)]
pub struct Selection {
    /// The keys to look at.
    pub prefix: String,
    labels: Option<LabelSelector>,
    fields: Option<FieldSelector>,
    /// The one key, where the selection names the object.
    key: Option<String>,
    /// The row of a kind that was defined at run time: its fields were read off by nobody.
    custom: Option<Arc<dyn Custom>>,
}

impl Selection {
    /// The selection of a request; refuses selectors that cannot be parsed or name unknown fields.
    pub fn parse(row: &Resource, info: &RequestInfo, options: &ListOptions) -> Result<Self, StatusError> {
        let labels = (!options.label_selector.is_empty())
            .then(|| LabelSelector::parse(&options.label_selector))
            .transpose()
            .map_err(|error| StatusError::bad_request(format!("unable to parse requirement: {error}")))?;
        let fields = (!options.field_selector.is_empty())
            .then(|| FieldSelector::parse(&options.field_selector))
            .transpose()
            .map_err(|error| StatusError::bad_request(error.to_string()))?;
        for requirement in fields.iter().flat_map(FieldSelector::requirements) {
            let field = requirement.field.as_str();
            let known = field == "metadata.name"
                || (field == "metadata.namespace" && row.is_namespaced())
                || row.selectable_fields.iter().any(|known| known == field);
            if !known {
                return Err(unknown_field(row, field));
            }
        }
        let namespace = if row.is_namespaced() { info.namespace.as_str() } else { "" };
        let key = (!info.name.is_empty() && (!namespace.is_empty() || !row.is_namespaced()))
            .then(|| row.key(namespace, &info.name));
        let prefix = match &key {
            Some(key) => key.clone(),
            None if namespace.is_empty() => row.key_prefix(),
            None => format!("{}{namespace}/", row.key_prefix()),
        };
        Ok(Self { prefix, labels, fields, key, custom: row.custom.clone() })
    }

    /// Whether every object below the prefix is selected.
    pub fn is_everything(&self) -> bool {
        self.labels.is_none() && self.fields.is_none() && self.key.is_none()
    }

    /// Where stored objects do not show whether they are selected: all that may be once a webhook has converted them.
    pub fn of_converted(&self) -> Option<Self> {
        let converts = self.custom.as_deref().is_some_and(|custom| *custom.conversion() != Conversion::None);
        let is_of_the_key = |field: &str| matches!(field, "metadata.name" | "metadata.namespace");
        let mut fields = self.fields.iter().flat_map(FieldSelector::requirements);
        let reads = fields.any(|requirement| !is_of_the_key(&requirement.field));
        (converts && reads).then(|| Self { fields: None, ..self.clone() })
    }

    /// What the attributes of every selected object hold.
    pub fn signature(&self) -> Signature {
        let mut signature = Signature::default();
        for requirement in self.labels.iter().flat_map(LabelSelector::requirements) {
            if let Some(value) = requirement.only_value() {
                signature.add(&format!("{LABEL}{}", requirement.key()), value);
            }
        }
        for requirement in self.fields.iter().flat_map(FieldSelector::requirements) {
            let is_of_the_key = matches!(requirement.field.as_str(), "metadata.name" | "metadata.namespace");
            // A field that an object does not have is selected as the empty text.
            if self.custom.is_none() && !is_of_the_key && !requirement.negated && !requirement.value.is_empty() {
                signature.add(&format!("{FIELD}{}", requirement.field), &requirement.value);
            }
        }
        signature
    }

    /// Whether an entry is selected.
    pub fn takes(&self, entry: &Entry) -> bool {
        self.matches(&entry.key, &entry.finished)
    }

    /// Whether the value of a key is selected.
    pub fn matches(&self, key: &str, value: &Finished) -> bool {
        if self.key.as_deref().is_some_and(|wanted| wanted != key) {
            return false;
        }
        let label = |name: &str| value.attributes.get(LABEL, name);
        self.labels.as_ref().is_none_or(|selector| selector.matches(label))
            && self.fields.as_ref().is_none_or(|selector| selector.matches(|field| self.field(key, value, field)))
    }

    fn field<'e>(&self, key: &'e str, value: &'e Finished, field: &str) -> Cow<'e, str> {
        let mut steps = key.rsplit('/');
        let name = steps.next().unwrap_or_default();
        match (field, &self.custom) {
            ("metadata.name", _) => Cow::Borrowed(name),
            ("metadata.namespace", _) => Cow::Borrowed(steps.next().unwrap_or_default()),
            (_, Some(custom)) => custom_field(&**custom, &value.value, field),
            (_, None) => Cow::Borrowed(value.attributes.get(FIELD, field).unwrap_or_default()),
        }
    }
}

/// A field of a custom resource, read out of its bytes; where these are older than the schema, out of the object that
/// they stand for now.
fn custom_field<'e>(custom: &dyn Custom, stored: &'e Bytes, field: &str) -> Cow<'e, str> {
    let steps: Vec<&str> = field.split('.').collect();
    if is_in_form(custom, stored) {
        return scan::at(stored, &steps).and_then(scan::text).unwrap_or_default();
    }
    let Ok(mut object) = answer::decode(stored) else { return Cow::Borrowed("") };
    custom.restore(&mut object);
    match object.at(&steps) {
        Some(Value::String(text)) => Cow::Owned(text.clone()),
        Some(Value::Null) | None => Cow::Borrowed(""),
        Some(other) => Cow::Owned(other.to_string()),
    }
}

/// The 400 for a field that the kind does not select by (upstream: `AddFieldLabelConversionFunc` of each kind).
fn unknown_field(row: &Resource, field: &str) -> StatusError {
    let text = if row.selectable_fields.is_empty() {
        format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
    } else {
        format!("field label not supported: {field}")
    };
    StatusError::bad_request(text)
}
