//! [`Wanted`]: the selectable fields of a kind, read off an object's bytes in one walk.

use std::borrow::Cow;

use super::FIELD;
use crate::registry::scan;

/// The fields of a kind.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    fields: Vec<Field>,
    /// The steps from the object's root to the places where the values of the fields may lie.
    steps: Vec<Step>,
    places: usize,
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

    /// The attributes of an object. Fields that it has not, and that have no default, have none.
    pub(super) fn read<'a>(&'a self, object: &'a [u8]) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
        let mut found = vec![None; self.places];
        walk(&self.steps, object, &mut found);
        let value = |field: &'a Field| {
            let mut texts = field.places.iter().filter_map(|place| scan::text(found[*place]?));
            let value = texts.find(|text| !text.is_empty()).unwrap_or(Cow::Borrowed(field.default));
            (!value.is_empty()).then_some((Cow::Borrowed(field.attribute.as_str()), value))
        };
        self.fields.iter().filter_map(value).collect()
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

fn walk<'o>(steps: &[Step], object: &'o [u8], found: &mut [Option<&'o [u8]>]) {
    for member in scan::members(object) {
        let Some(step) = steps.iter().find(|step| step.name.as_bytes() == member.key) else { continue };
        if let Some(place) = step.place {
            found[place] = Some(member.value);
        }
        if !step.below.is_empty() {
            walk(&step.below, member.value, found);
        }
    }
}
