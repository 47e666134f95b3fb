//! [`Wanted`]: what is read off the bytes of a kind's objects, in one walk.

use std::borrow::Cow;

use super::FIELD;
use crate::registry::scan;

/// The metadata, its labels, and the selectable fields of a kind.
#[derive(Debug)]
pub(super) struct Wanted {
    metadata: usize,
    labels: usize,
    fields: Vec<Field>,
    /// The steps from the object's root to the places where the values may lie.
    steps: Vec<Step>,
    places: usize,
}

/// What was read off an object.
pub(super) struct Found<'a> {
    /// Where its metadata begins.
    pub(super) metadata: usize,
    /// Its labels: an object, or nothing.
    pub(super) labels: &'a [u8],
    /// Its fields. Those that it has not, and that have no default, are not there.
    pub(super) fields: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

#[derive(Debug)]
struct Field {
    attribute: String,
    /// Where the value lies: the first of these that has one.
    places: Vec<usize>,
    default: &'static str,
}

/// A member of an object that leads to places, or is one.
#[derive(Debug)]
struct Step {
    name: Box<str>,
    place: Option<usize>,
    below: Vec<Step>,
}

impl Default for Wanted {
    fn default() -> Self {
        let (mut steps, mut places) = (Vec::new(), 0);
        let metadata = place(&mut steps, "metadata", &mut places);
        let labels = place(&mut steps, "metadata.labels", &mut places);
        Self { metadata, labels, fields: Vec::new(), steps, places }
    }
}

impl Wanted {
    /// Adds a selectable field; a few do not lie where their name says (upstream: `ToSelectableFields` of each
    /// registry).
    pub(super) fn add(&mut self, kind: &str, field: &str) {
        let attribute = format!("{FIELD}{field}");
        if self.fields.iter().any(|known| known.attribute == attribute) {
            return;
        }
        let paths: &[&str] = match (kind, field) {
            ("Namespace", "name") => &["metadata.name"],
            ("Event", "source") => &["source.component", "reportingController"],
            ("Event", "reportingComponent" | "reportingController") => &["reportingComponent", "reportingController"],
            _ => &[field],
        };
        // Events are stored as core/v1, where `regarding` is `involvedObject`.
        let stored = field.replace("regarding.", "involvedObject.");
        let paths = if stored == field { paths.to_vec() } else { vec![stored.as_str()] };
        let default = match field {
            "spec.unschedulable" | "spec.hostNetwork" => "false",
            "status.replicas" | "status.successful" => "0",
            _ => "",
        };
        let places = paths.iter().map(|path| place(&mut self.steps, path, &mut self.places)).collect();
        self.fields.push(Field { attribute, places, default });
    }

    /// What `object` has of it; nothing where its metadata is no object.
    pub(super) fn read<'a>(&'a self, object: &'a [u8]) -> Option<Found<'a>> {
        let mut found = vec![None; self.places];
        walk(&self.steps, &mut scan::members(object), &mut found);
        let (metadata, _) = found[self.metadata].filter(|(_, value)| value.starts_with(b"{"))?;
        let value = |field: &'a Field| {
            let mut texts = field.places.iter().filter_map(|place| scan::text(found[*place]?.1));
            let value = texts.find(|text| !text.is_empty()).unwrap_or(Cow::Borrowed(field.default));
            (!value.is_empty()).then_some((Cow::Borrowed(field.attribute.as_str()), value))
        };
        let fields = self.fields.iter().filter_map(value).collect();
        Some(Found { metadata, labels: found[self.labels].map_or(&[], |(_, value)| value), fields })
    }
}

/// The place of a path, made where it is new.
fn place(steps: &mut Vec<Step>, path: &str, places: &mut usize) -> usize {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let at = steps.iter().position(|step| &*step.name == name).unwrap_or_else(|| {
        steps.push(Step { name: name.into(), place: None, below: Vec::new() });
        steps.len() - 1
    });
    match rest {
        Some(rest) => place(&mut steps[at].below, rest, places),
        None => *steps[at].place.get_or_insert_with(|| {
            *places += 1;
            *places - 1
        }),
    }
}

/// The values at the places, with where they begin. Every byte is looked at once.
fn walk<'o>(steps: &[Step], members: &mut scan::Members<'o>, found: &mut [Option<(usize, &'o [u8])>]) {
    while let Some(key) = members.key() {
        let step = steps.iter().find(|step| step.name.as_bytes() == key);
        let value = match step {
            Some(step) if !step.below.is_empty() => members.value_by(|members| walk(&step.below, members, found)),
            _ => members.value(),
        };
        let Some(value) = value else { return };
        if let Some(place) = step.and_then(|step| step.place) {
            found[place] = Some(value);
        }
    }
}
