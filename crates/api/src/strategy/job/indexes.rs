//! Indexes as jobs write them: `1,3-5,7` (upstream: `validateIndexesFormat`).

/// The intervals of a list of indexes below `completions`, or what is wrong with it.
pub(super) fn parse(text: &str, completions: i64) -> Result<Vec<(i64, i64)>, String> {
    let mut intervals: Vec<(i64, i64)> = Vec::new();
    if text.is_empty() {
        return Ok(intervals);
    }
    let number = |digits: &str| -> Result<i64, String> {
        let wrong = |cause: &str| {
            format!("cannot convert string to integer for index: {digits:?}: strconv.Atoi: parsing {digits:?}: {cause}")
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong("invalid syntax"));
        }
        let index = digits.parse().map_err(|_| wrong("value out of range"))?;
        if index >= completions { Err(format!("too large index: {digits:?}")) } else { Ok(index) }
    };
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((_, last)) if last.contains('-') => {
                return Err(format!(
                    "the fragment {part:?} violates the requirement that an index interval can have at most two parts separated by '-'"
                ));
            }
            Some((first, last)) => {
                let (first, last) = (number(first)?, number(last)?);
                if first >= last {
                    return Err(format!("non-increasing order, previous: {first}, current: {last}"));
                }
                (first, last)
            }
            None => (number(part)?, number(part)?),
        };
        if let Some((_, before)) = intervals.last().filter(|(_, before)| *before >= first) {
            return Err(format!("non-increasing order, previous: {before}, current: {first}"));
        }
        intervals.push((first, last));
    }
    Ok(intervals)
}

/// How many indexes there are.
pub(super) fn count(intervals: &[(i64, i64)]) -> i64 {
    intervals.iter().map(|(first, last)| last - first + 1).sum()
}

/// An index that both lists have.
pub(super) fn common(a: &[(i64, i64)], b: &[(i64, i64)]) -> Option<i64> {
    a.iter()
        .flat_map(|one| b.iter().map(move |other| (one.0.max(other.0), one.1.min(other.1))))
        .find_map(|(first, last)| (first <= last).then_some(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_read() {
        assert_eq!(parse("1,3-5,7", 8), Ok(vec![(1, 1), (3, 5), (7, 7)]));
        assert_eq!(count(&[(1, 1), (3, 5)]), 4);
        assert_eq!(common(&[(1, 3), (7, 9)], &[(4, 6), (9, 9)]), Some(9));
        for (wrong, cause) in [
            ("8", "too large index: \"8\""),
            ("3,1", "non-increasing order, previous: 3, current: 1"),
            ("5-3", "non-increasing order, previous: 5, current: 3"),
            ("a", "cannot convert string to integer for index: \"a\": strconv.Atoi: parsing \"a\": invalid syntax"),
            ("1,", "cannot convert string to integer for index: \"\": strconv.Atoi: parsing \"\": invalid syntax"),
        ] {
            assert_eq!(parse(wrong, 8).unwrap_err(), cause, "{wrong}");
        }
        assert!(parse("1-2-3", 8).is_err() && parse("-1", 8).is_err());
    }
}
