//! Numbers that may be given as a share of a total (upstream: apimachinery/pkg/util/intstr).

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// How a share that is no whole number is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// Towards zero.
    Down,
    /// Away from zero.
    Up,
}

/// The number meant: itself, or the share of `total`; `None` for what is neither.
pub fn scaled(value: &IntOrString, total: i32, round: Round) -> Option<i32> {
    let percent: i64 = match value {
        IntOrString::Int(number) => return Some(*number),
        IntOrString::String(text) => text.strip_suffix('%')?.parse().ok()?,
    };
    let product = percent.checked_mul(i64::from(total))?;
    let share = match round {
        Round::Down => product.div_euclid(100),
        Round::Up => -(-product).div_euclid(100),
    };
    i32::try_from(share).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_as_asked() {
        for (text, total, down, up) in
            [("25%", 3, 0, 1), ("25%", 10, 2, 3), ("100%", 3, 3, 3), ("0%", 3, 0, 0), ("10%", 3, 0, 1)]
        {
            let value = IntOrString::String(text.into());
            assert_eq!(
                (scaled(&value, total, Round::Down), scaled(&value, total, Round::Up)),
                (Some(down), Some(up)),
                "{text}"
            );
        }
        assert_eq!(scaled(&IntOrString::Int(2), 3, Round::Up), Some(2));
        assert_eq!(scaled(&IntOrString::String("two".into()), 3, Round::Up), None);
    }
}
