//! How the server's seats are divided among the levels (upstream: flowcontrol/conc_alloc.go, `updateBorrowingLocked`).

/// What a level may have: its own seats, how few after lending, how many with borrowing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Its own part.
    pub nominal: u32,
    /// What it keeps when others borrow.
    pub min: u32,
    /// What it has when it borrows all it may.
    pub max: u32,
}

/// A level's shares and percentages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// `nominalConcurrencyShares`.
    pub nominal: i32,
    /// `lendablePercent`.
    pub lendable_percent: i32,
    /// `borrowingLimitPercent`; everything when not said.
    pub borrowing_percent: Option<i32>,
}

impl Shares {
    /// The bounds of a level with these shares out of `sum`, in a server of `total` seats.
    pub fn bounds(&self, total: u32, sum: f64) -> Bounds {
        let part = |percent: i32, of: u32| (f64::from(of) * f64::from(percent.max(0)) / 100.0).round() as u32;
        let nominal =
            if sum > 0.0 { (f64::from(total) * f64::from(self.nominal.max(0)) / sum).ceil() as u32 } else { 0 };
        let borrowing = self.borrowing_percent.map_or(total, |percent| part(percent, nominal));
        Bounds {
            nominal,
            min: nominal.saturating_sub(part(self.lendable_percent, nominal)),
            max: nominal.saturating_add(borrowing),
        }
    }
}

/// A level that asks for seats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Claim {
    /// It has at least so many.
    pub low: f64,
    /// And at most so many.
    pub high: f64,
    /// What it would use.
    pub target: f64,
}

/// No target is smaller: a level that wants nothing still takes part.
const MIN_TARGET: f64 = 0.001;

/// Divides `total` seats fairly: all get the same fraction of their target, within their bounds. Where the bounds
/// leave no choice, they win. Answers the fraction too.
pub fn divide(total: f64, claims: &[Claim]) -> (Vec<f64>, f64) {
    let given = |fraction: f64| -> Vec<f64> {
        claims.iter().map(|claim| (fraction * claim.target.max(MIN_TARGET)).min(claim.high).max(claim.low)).collect()
    };
    let (mut low, mut high) = (0.0, total.max(1.0) / MIN_TARGET);
    // What is given grows with the fraction: halve the distance until it no longer matters.
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if given(middle).iter().sum::<f64>() < total {
            low = middle;
        } else {
            high = middle;
        }
    }
    (given(high), high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_seats() {
        let system = Shares { nominal: 30, lendable_percent: 33, borrowing_percent: None };
        assert_eq!(system.bounds(600, 245.0), Bounds { nominal: 74, min: 50, max: 674 });
        let strict = Shares { nominal: 10, lendable_percent: 0, borrowing_percent: Some(50) };
        assert_eq!(strict.bounds(600, 245.0), Bounds { nominal: 25, min: 25, max: 38 });
        let none = Shares { nominal: 0, lendable_percent: 0, borrowing_percent: None };
        assert_eq!(none.bounds(600, 0.0), Bounds { nominal: 0, min: 0, max: 600 });
    }

    #[test]
    fn seats_are_divided_fairly_within_bounds() {
        let claim = |low, high, target| Claim { low, high, target };
        for (total, claims, expected) in [
            (30.0, vec![claim(0.0, 100.0, 10.0), claim(0.0, 100.0, 20.0)], vec![10.0, 20.0]),
            (60.0, vec![claim(0.0, 100.0, 10.0), claim(0.0, 100.0, 20.0)], vec![20.0, 40.0]),
            (30.0, vec![claim(5.0, 100.0, 5.0), claim(0.0, 100.0, 100.0)], vec![5.0, 25.0]),
            (30.0, vec![claim(0.0, 8.0, 20.0), claim(0.0, 100.0, 20.0)], vec![8.0, 22.0]),
            (5.0, vec![claim(4.0, 8.0, 4.0), claim(4.0, 8.0, 4.0)], vec![4.0, 4.0]),
            (50.0, vec![claim(4.0, 8.0, 4.0), claim(4.0, 8.0, 4.0)], vec![8.0, 8.0]),
        ] {
            let (seats, _) = divide(total, &claims);
            let rounded: Vec<f64> = seats.iter().map(|seats| (seats * 1e6).round() / 1e6).collect();
            assert_eq!(rounded, expected, "{total} {claims:?}");
        }
    }
}
