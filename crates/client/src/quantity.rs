//! The numbers behind `resource.Quantity`, as components compute with them.
//!
//! upstream: apimachinery/pkg/api/resource/quantity.go (`Value`, `MilliValue`: both round up).

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The value in whole units, rounded up; 0 for what is no quantity (the API server admits none).
pub fn value(quantity: &Quantity) -> i64 {
    scaled(&quantity.0, 1).unwrap_or(0)
}

/// The value in thousandths, rounded up; 0 for what is no quantity.
pub fn milli_value(quantity: &Quantity) -> i64 {
    scaled(&quantity.0, 1000).unwrap_or(0)
}

/// `text * factor`, rounded up and held within `i64`.
fn scaled(text: &str, factor: i128) -> Option<i64> {
    let digits = text.find(|c: char| !matches!(c, '0'..='9' | '.' | '+' | '-')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let (numerator, denominator) = suffix_ratio(suffix)?;
    let negative = number.starts_with('-');
    let number = number.trim_start_matches(['+', '-']);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 {
        return None;
    }
    // Nothing below a nano unit exists, so digits beyond those only decide the rounding.
    let kept = &fraction[..fraction.len().min(12)];
    let mantissa: i128 = format!("{whole}{kept}").parse().ok()?;
    let numerator = mantissa.checked_mul(numerator)?.checked_mul(factor)?;
    let denominator = denominator * 10_i128.pow(kept.len() as u32);
    let up = numerator.div_euclid(denominator) + i128::from(numerator.rem_euclid(denominator) != 0);
    let signed = if negative { -(numerator / denominator) } else { up };
    Some(signed.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64)
}

fn suffix_ratio(suffix: &str) -> Option<(i128, i128)> {
    let ratio = match suffix {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "k" => (1000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (1_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            if !(-12..=18).contains(&exponent) {
                return None;
            }
            let power = 10_i128.pow(exponent.unsigned_abs());
            if exponent < 0 { (1, power) } else { (power, 1) }
        }
    };
    Some(ratio)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_round_up() {
        for (text, whole, milli) in [
            ("0", 0, 0),
            ("10m", 1, 10),
            ("1500m", 2, 1500),
            ("1.5", 2, 1500),
            (".5", 1, 500),
            ("256Mi", 268_435_456, 268_435_456_000),
            ("1Gi", 1_073_741_824, 1_073_741_824_000),
            ("1e3", 1000, 1_000_000),
            ("12E", 12_000_000_000_000_000_000_i128 as i64, i64::MAX),
            ("100n", 1, 1),
            ("-1500m", -1, -1500),
            ("nonsense", 0, 0),
        ] {
            let quantity = Quantity(text.into());
            let whole = if text == "12E" { i64::MAX } else { whole };
            assert_eq!((value(&quantity), milli_value(&quantity)), (whole, milli), "{text}");
        }
    }
}
