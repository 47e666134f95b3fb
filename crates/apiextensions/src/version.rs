//! Which of two versions comes first (upstream: apimachinery/pkg/version/helpers.go).

use std::cmp::Ordering;

/// Compares as clients prefer: stable before beta before alpha, higher numbers first, anything else last by name.
/// `Greater` is preferred.
pub fn compare(a: &str, b: &str) -> Ordering {
    match (parse(a), parse(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Greater,
        (None, Some(_)) => Ordering::Less,
        (None, None) => b.cmp(a),
    }
}

/// Maturity, major and minor number of `v1`, `v1beta2` or `v2alpha1`.
fn parse(version: &str) -> Option<(u8, u64, u64)> {
    let rest = version.strip_prefix('v')?;
    let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    let (major, rest) = (number(&rest[..digits])?, &rest[digits..]);
    if rest.is_empty() {
        return Some((2, major, 0));
    }
    let (maturity, minor) = match (rest.strip_prefix("beta"), rest.strip_prefix("alpha")) {
        (Some(minor), _) => (1, minor),
        (_, Some(minor)) => (0, minor),
        _ => return None,
    };
    Some((maturity, major, number(minor)?))
}

fn number(text: &str) -> Option<u64> {
    if text.starts_with('0') { None } else { text.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_clients_prefer_them() {
        let mut versions =
            ["foo10", "v1", "v11alpha2", "v2", "v10beta3", "v3beta1", "v11beta2", "foo1", "v12alpha1", "v10"];
        versions.sort_by(|a, b| compare(b, a));
        let expected =
            ["v10", "v2", "v1", "v11beta2", "v10beta3", "v3beta1", "v12alpha1", "v11alpha2", "foo1", "foo10"];
        assert_eq!(versions, expected);
    }
}
