//! Quantities and durations.

use apimachinery::duration::GoDuration;
use apimachinery::quantity::Quantity;

use super::text;
use crate::target::{Memory, Target};

const MEMORY: Memory = Memory { base: 16 << 10, per_byte: 64 };

pub(crate) static QUANTITY: Target = Target::new("quantity", check_quantity)
    .memory(MEMORY)
    .words(&[
        "Ki",
        "Mi",
        "Gi",
        "Ti",
        "Pi",
        "Ei",
        "n",
        "u",
        "m",
        "k",
        "M",
        "G",
        "E",
        "e9",
        "E-3",
        ".",
        "9223372036854775807",
    ])
    .longest(128);

pub(crate) static DURATION: Target = Target::new("duration", check_duration)
    .memory(MEMORY)
    .words(&["h", "m", "s", "ms", "us", "µs", "ns", ".", "-", "2562047h47m16.854775807s"])
    .longest(128);

/// The canonical form is stable and means the same; arithmetic saturates and keeps the order.
fn check_quantity(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let Ok(quantity) = Quantity::parse(text) else { return };
    let written = quantity.to_string();
    let again = Quantity::parse(&written).unwrap_or_else(|error| panic!("{text:?} became {written:?}: {error}"));
    assert_eq!(again, quantity, "{text:?} became {written:?}");
    assert_eq!(again.to_string(), written, "{text:?}");
    assert!(written.len() <= 64, "{written}");
    assert_eq!(quantity.is_zero(), quantity.as_f64() == 0.0, "{written}");
    let _ = (quantity.value(), quantity.milli_value(), quantity.as_i64());
    assert!(quantity.sub(quantity).is_zero(), "{written}");
    for other in ["1", "-1n", "7Ei", "-9223372036854775807"] {
        let other: Quantity = other.parse().expect("a quantity");
        assert_eq!(quantity.add(other).as_f64(), other.add(quantity).as_f64(), "{written} and {other}");
        let _ = quantity.sub(other).mul(i64::MIN).to_string();
    }
}

fn check_duration(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let Ok(duration) = text.parse::<GoDuration>() else { return };
    let written = duration.to_string();
    assert_eq!(written.parse(), Ok(duration), "{text:?} became {written:?}");
    assert_eq!(GoDuration::from_nanos(duration.as_nanos()), duration);
}
