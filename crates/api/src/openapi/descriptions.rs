//! What definitions and fields mean, in the words of the library of types. The build script makes the table; it is
//! part of the program's read-only data and is searched where it lies.

use std::borrow::Cow;

use crate::schemas::short_name;

const TABLE: &str = include_str!(concat!(env!("OUT_DIR"), "/descriptions.txt"));

/// What a definition is for; `name` is its full name.
pub(super) fn of(name: &str) -> Option<Cow<'static, str>> {
    find(&short_name(name))
}

/// What a field of a definition is for.
pub(super) fn of_field(name: &str, field: &str) -> Option<Cow<'static, str>> {
    find(&format!("{}.{field}", short_name(name))).or_else(|| find(&format!("*.{field}")))
}

/// Searches the sorted lines.
fn find(key: &str) -> Option<Cow<'static, str>> {
    let (mut low, mut high) = (0, TABLE.len());
    while low < high {
        // The line in which the middle lies.
        let middle = (low + high) / 2;
        let start = TABLE.as_bytes()[..middle].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let end =
            TABLE.as_bytes()[middle..].iter().position(|byte| *byte == b'\n').map_or(TABLE.len(), |at| middle + at);
        let (found, text) = TABLE[start..end].split_once('\t')?;
        match key.cmp(found) {
            std::cmp::Ordering::Equal => {
                return Some(if text.contains("\\n") { text.replace("\\n", "\n").into() } else { text.into() });
            }
            std::cmp::Ordering::Less => high = start,
            std::cmp::Ordering::Greater => low = (end + 1).max(low + 1),
        }
        if start >= high && low >= high {
            break;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_found() {
        for line in TABLE.lines() {
            let (key, _) = line.split_once('\t').expect("two columns");
            assert!(find(key).is_some(), "{key}");
        }
        assert!(find("").is_none() && find("zzz").is_none() && find("core.v1.Pod.nothing").is_none());
    }

    #[test]
    fn fields_are_explained() {
        assert!(TABLE.lines().count() > 2000, "{} lines", TABLE.lines().count());
        for (name, field) in
            [("PodSpec", "containers"), ("PodSpec", "restartPolicy"), ("Service", "apiVersion"), ("Pod", "spec")]
        {
            assert!(of_field(&format!("io.k8s.api.core.v1.{name}"), field).is_some(), "{name}.{field}");
        }
        assert!(of("io.k8s.api.apps.v1.Deployment").is_some());
    }
}
