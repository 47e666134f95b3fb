//! Label and field selectors.

use std::borrow::Cow;

use apimachinery::{fields, labels};

use super::text;
use crate::target::{Memory, Target};

const MEMORY: Memory = Memory { base: 16 << 10, per_byte: 512 };

pub(crate) static LABELS: Target = Target::new("label_selector", check_labels)
    .memory(MEMORY)
    .words(&[" in ", " notin ", "(a,b)", "!=", "==", "=", "!", ",", "<5", ">3", "example.com/", "()", "tier"])
    .longest(1024);

pub(crate) static FIELDS: Target = Target::new("field_selector", check_fields)
    .memory(MEMORY)
    .words(&["metadata.name", "=", "==", "!=", ",", "\\,", "\\=", "\\\\", "spec.nodeName", "status.phase"])
    .longest(1024);

/// Labels to select by.
const SAMPLES: [&[(&str, &str)]; 4] =
    [&[], &[("a", "b")], &[("tier", "web"), ("app", "x")], &[("a", "4"), ("example.com/a", "")]];

fn lookup(sample: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<&'static str> {
    move |key| sample.iter().find(|(known, _)| *known == key).map(|(_, value)| *value)
}

/// What is written is read again, as the same selector, which selects the same.
fn check_labels(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let Ok(selector) = labels::Selector::parse(text) else { return };
    assert!(selector.requirements().len() <= text.len());
    let written = selector.to_string();
    let again = labels::Selector::parse(&written).unwrap_or_else(|error| panic!("{written:?}: {error}"));
    assert_eq!(again, selector, "{written:?}");
    assert_eq!(again.to_string(), written);
    for sample in SAMPLES {
        let all = selector.requirements().iter().all(|one| one.matches(lookup(sample)(one.key())));
        assert_eq!(selector.matches(lookup(sample)), all, "{sample:?}");
    }
}

fn check_fields(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let Ok(selector) = fields::Selector::parse(text) else { return };
    assert!(selector.requirements().len() <= text.len());
    let written = selector.to_string();
    let again = fields::Selector::parse(&written).unwrap_or_else(|error| panic!("{written:?}: {error}"));
    // Terms are put in order as they are spelled, and `==` is spelled `=` the second time.
    let terms = |selector: &fields::Selector| {
        let mut terms: Vec<String> = selector.requirements().iter().map(|term| format!("{term:?}")).collect();
        terms.sort_unstable();
        terms
    };
    assert_eq!(terms(&again), terms(&selector), "{written:?}");
    for sample in SAMPLES {
        let value = |key: &str| Cow::Borrowed(lookup(sample)(key).unwrap_or_default());
        assert_eq!(again.matches(value), selector.matches(value), "{sample:?}");
    }
}
