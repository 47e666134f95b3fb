//! [`Quantity`]: an amount of a resource, as `100m`, `1.5Gi`, `12e6` (upstream: `apimachinery/pkg/api/resource`).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Which suffixes a quantity is written with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Powers of ten: `12M`.
    #[default]
    DecimalSi,
    /// Powers of 1024: `12Mi`.
    BinarySi,
    /// An exponent: `12e6`.
    DecimalExponent,
}

/// Why a text is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The text does not have the shape of a number and a suffix.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// The number in front is none.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    /// The suffix is none that exists.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// An exact amount with nine decimal places, and how it likes to be written.
///
/// Finer amounts are rounded away from zero to the next billionth; amounts beyond 10²³ stop there. Equality and
/// order are those of the amount: `1` equals `1000m`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

const NANO: i128 = 1_000_000_000;

/// No amount is larger: it leaves room for every digit when a quantity is written and read again.
const MAX: i128 = NANO * 100_000_000_000_000_000_000_000;

/// What BinarySI quantities are capped at when read.
const MAX_BINARY: i128 = i64::MAX as i128 * NANO;

const DECIMAL_SUFFIXES: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY_SUFFIXES: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

impl Quantity {
    /// A whole number.
    pub fn new(value: i64, format: Format) -> Self {
        Self { nanos: i128::from(value) * NANO, format }
    }

    /// A number of thousandths.
    pub fn from_millis(millis: i64, format: Format) -> Self {
        Self { nanos: i128::from(millis) * (NANO / 1000), format }
    }

    /// Reads a quantity exactly as upstream does, with upstream's errors.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let (negative, number, suffix) = split(text)?;
        let (scale, format) = interpret(suffix).ok_or(QuantityError::Suffix)?;
        let magnitude = match scale {
            Scale::Ten(exponent) => decimal(number, exponent)?,
            Scale::Two(exponent) => binary(number, exponent)?.min(MAX_BINARY),
        };
        let below_one = magnitude > 0 && magnitude < NANO;
        let format = if format == Format::BinarySi && below_one { Format::DecimalSi } else { format };
        let magnitude = magnitude.min(MAX);
        Ok(Self { nanos: if negative { -magnitude } else { magnitude }, format })
    }

    /// How the quantity is written.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether the amount is nothing.
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// Whether the amount is below nothing.
    pub fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    /// The whole number, rounded away from zero, within the bounds of 64 bits.
    pub fn value(&self) -> i64 {
        self.scaled(NANO)
    }

    /// The number of thousandths, rounded away from zero, within the bounds of 64 bits.
    pub fn milli_value(&self) -> i64 {
        self.scaled(NANO / 1000)
    }

    /// The whole number where the amount is one.
    pub fn as_i64(&self) -> Option<i64> {
        (self.nanos % NANO == 0).then(|| i64::try_from(self.nanos / NANO).ok())?
    }

    /// The amount as a float, which may lose precision.
    pub fn as_f64(&self) -> f64 {
        self.nanos as f64 / NANO as f64
    }

    /// The sum; zero takes over the other's format.
    #[must_use]
    pub fn add(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: cap(self.nanos.saturating_add(other.nanos)), format }
    }

    /// The difference; zero takes over the other's format.
    #[must_use]
    pub fn sub(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: cap(self.nanos.saturating_sub(other.nanos)), format }
    }

    /// The amount so many times.
    #[must_use]
    pub fn mul(self, factor: i64) -> Self {
        Self { nanos: cap(self.nanos.saturating_mul(factor.into())), ..self }
    }

    fn scaled(&self, unit: i128) -> i64 {
        let rounded = self.nanos / unit + (self.nanos % unit).signum();
        i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
    }
}

fn cap(nanos: i128) -> i128 {
    nanos.clamp(-MAX, MAX)
}

enum Scale {
    Ten(i32),
    Two(u32),
}

/// Takes sign, number and suffix apart (upstream: `parseQuantityString`).
fn split(text: &str) -> Result<(bool, &str, &str), QuantityError> {
    if text.is_empty() {
        return Err(QuantityError::Format);
    }
    let negative = text.starts_with('-');
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let bytes = unsigned.as_bytes();
    let digits = |from: usize| from + bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut end = digits(0);
    if bytes.get(end) == Some(&b'.') {
        end = digits(end + 1);
    }
    let (number, suffix) = unsigned.split_at(end);
    let letters = suffix.bytes().take_while(|byte| b"eEinumkKMGTP".contains(byte)).count();
    let rest = suffix[letters..].strip_prefix(['+', '-']).unwrap_or(&suffix[letters..]);
    if !rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(QuantityError::Format);
    }
    if number.is_empty() && !unsigned.is_empty() && suffix.len() == unsigned.len() {
        return Err(QuantityError::Numeric);
    }
    Ok((negative, number, suffix))
}

fn interpret(suffix: &str) -> Option<(Scale, Format)> {
    if let Some((_, exponent)) = DECIMAL_SUFFIXES.iter().find(|(name, _)| *name == suffix) {
        return Some((Scale::Ten(*exponent), Format::DecimalSi));
    }
    if let Some((_, exponent)) = BINARY_SUFFIXES.iter().find(|(name, _)| *name == suffix) {
        return Some((Scale::Two(*exponent), Format::BinarySi));
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    Some((Scale::Ten(exponent), Format::DecimalExponent))
}

/// The digits of a number and how many of them are behind the point.
fn digits(number: &str) -> Result<(i128, i32, bool), QuantityError> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() && !number.is_empty() {
        return Err(QuantityError::Numeric);
    }
    let (mut mantissa, mut places, mut inexact) = (0i128, 0i32, false);
    for (index, digit) in whole.bytes().chain(fraction.bytes()).enumerate() {
        match mantissa.checked_mul(10).and_then(|mantissa| mantissa.checked_add(i128::from(digit - b'0'))) {
            // What no longer fits is below any digit that counts, but it still makes the amount round up.
            _ if mantissa > i128::MAX / 1_000_000 => {
                inexact |= digit != b'0';
                places -= i32::from(index < whole.len());
            }
            Some(next) => {
                mantissa = next;
                places += i32::from(index >= whole.len());
            }
            None => places -= i32::from(index < whole.len()),
        }
    }
    Ok((mantissa, places, inexact))
}

fn decimal(number: &str, exponent: i32) -> Result<i128, QuantityError> {
    let (mantissa, places, inexact) = digits(number)?;
    Ok(shift(mantissa, exponent.saturating_sub(places).saturating_add(9), inexact))
}

fn binary(number: &str, exponent: u32) -> Result<i128, QuantityError> {
    let (mantissa, places, inexact) = digits(number)?;
    // Multiply before dividing while it fits, so that fractions as 1.5Gi stay exact.
    match mantissa.checked_mul(1 << exponent) {
        Some(product) => Ok(shift(product, 9 - places, inexact)),
        None => Ok(shift(mantissa, 9 - places, inexact).saturating_mul(1 << exponent)),
    }
}

/// `value` · 10^`by`, rounded up.
fn shift(value: i128, by: i32, inexact: bool) -> i128 {
    if value == 0 {
        return i128::from(inexact);
    }
    match 10i128.checked_pow(by.unsigned_abs()) {
        Some(factor) if by >= 0 => value.saturating_mul(factor),
        Some(factor) => value / factor + i128::from(value % factor != 0 || inexact),
        None if by >= 0 => i128::MAX,
        None => 1,
    }
}

impl fmt::Display for Quantity {
    /// Writes the canonical form: no fraction, the largest suffix that loses nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let is_small = self.nanos.unsigned_abs() < 1024 * NANO.unsigned_abs();
        if self.format == Format::BinarySi && !is_small && self.nanos % NANO == 0 {
            let (mut mantissa, mut index) = (self.nanos / NANO, 0);
            while mantissa % 1024 == 0 && index < BINARY_SUFFIXES.len() {
                mantissa /= 1024;
                index += 1;
            }
            let suffix = index.checked_sub(1).map_or("", |index| BINARY_SUFFIXES[index].0);
            return write!(f, "{mantissa}{suffix}");
        }
        let (mut mantissa, mut exponent) = (self.nanos, -9);
        while mantissa % 1000 == 0 {
            mantissa /= 1000;
            exponent += 3;
        }
        match DECIMAL_SUFFIXES.iter().find(|(_, power)| *power == exponent) {
            Some((suffix, _)) if self.format != Format::DecimalExponent => write!(f, "{mantissa}{suffix}"),
            _ if exponent == 0 => write!(f, "{mantissa}"),
            _ => write!(f, "{mantissa}e{exponent}"),
        }
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        Self::parse(text)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let text = match &value {
            serde_json::Value::String(text) => text.trim().to_owned(),
            serde_json::Value::Number(number) => number.to_string(),
            _ => return Err(serde::de::Error::custom(QuantityError::Format)),
        };
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_written_in_their_canonical_form() {
        for (text, canonical) in [
            ("0", "0"),
            ("0n", "0"),
            ("0Ki", "0"),
            ("1", "1"),
            ("100m", "100m"),
            ("0.1", "100m"),
            ("0.5", "500m"),
            ("1.5", "1500m"),
            ("1000m", "1"),
            ("1000", "1k"),
            ("1500", "1500"),
            ("12000", "12k"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("1.5e3", "1500"),
            ("1e-3", "1e-3"),
            ("1E", "1E"),
            ("1.5Gi", "1536Mi"),
            ("1024Mi", "1Gi"),
            ("1100Mi", "1100Mi"),
            ("256Mi", "256Mi"),
            ("1Ki", "1Ki"),
            ("512", "512"),
            ("0.1Ki", "102400m"),
            ("1.1Ki", "1126400m"),
            ("-1.5", "-1500m"),
            ("+3", "3"),
            ("0.1m", "100u"),
            ("0.0000000001", "1n"),
            ("1.", "1"),
            (".5", "500m"),
            ("9Ei", "9223372036854775807"),
            ("100G", "100G"),
            ("0.25Gi", "256Mi"),
            ("1.G", "1G"),
            ("-1Gi", "-1Gi"),
            ("1000000000000000000000", "1e21"),
            ("007", "7"),
        ] {
            let quantity = Quantity::parse(text).unwrap_or_else(|err| panic!("{text}: {err}"));
            assert_eq!(quantity.to_string(), canonical, "{text}");
            let again = Quantity::parse(canonical).expect("canonical");
            assert_eq!((again, again.to_string()), (quantity, canonical.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for (text, error) in [
            ("", QuantityError::Format),
            ("1.1.M", QuantityError::Format),
            ("1+1.0M", QuantityError::Format),
            ("0.1mi", QuantityError::Suffix),
            ("0.1am", QuantityError::Format),
            ("1ki", QuantityError::Suffix),
            ("aoeu", QuantityError::Format),
            ("1i", QuantityError::Suffix),
            ("1 Gi", QuantityError::Format),
            ("1e", QuantityError::Suffix),
            ("m", QuantityError::Numeric),
            (".m", QuantityError::Numeric),
            ("1K", QuantityError::Suffix),
            ("1mm", QuantityError::Suffix),
            ("1e99999999999", QuantityError::Suffix),
        ] {
            assert_eq!(Quantity::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn whole_and_milli_values_round_away_from_zero() {
        for (text, value, milli) in [
            ("1", 1, 1000),
            ("1m", 1, 1),
            ("0.5m", 1, 1),
            ("1001m", 2, 1001),
            ("-1001m", -2, -1001),
            ("1Gi", 1 << 30, 1000 << 30),
            ("1n", 1, 1),
            ("100E", i64::MAX, i64::MAX),
        ] {
            let quantity = Quantity::parse(text).expect("a quantity");
            assert_eq!((quantity.value(), quantity.milli_value()), (value, milli), "{text}");
        }
    }

    #[test]
    fn arithmetic_keeps_the_format_of_the_left() {
        let parse = |text| Quantity::parse(text).expect("a quantity");
        assert_eq!(parse("1Gi").add(parse("1Mi")).to_string(), "1025Mi");
        assert_eq!(parse("0").add(parse("1Mi")).to_string(), "1Mi");
        assert_eq!(parse("1").sub(parse("100m")).to_string(), "900m");
        assert_eq!(parse("100m").mul(10), parse("1"));
        assert!(parse("1Gi") > parse("1G") && parse("1000m") == parse("1"));
        assert_eq!(Quantity::from_millis(1500, Format::DecimalSi).to_string(), "1500m");
        assert_eq!((parse("3").as_i64(), parse("1500m").as_i64()), (Some(3), None));
    }

    #[test]
    fn long_numbers_saturate() {
        let quantity = Quantity::parse(&"9".repeat(400)).expect("a quantity");
        assert_eq!(quantity.value(), i64::MAX);
        assert_eq!(Quantity::parse(&format!("0.{}1", "0".repeat(400))).expect("a quantity").to_string(), "1n");
        assert!(Quantity::parse("1e-400").is_ok() && Quantity::parse("1e400").is_ok());
    }
}
