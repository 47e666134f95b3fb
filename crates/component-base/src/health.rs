//! Named readiness checks, served by `/readyz`, `/livez` and `/healthz`.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

/// The checks of one process. Clones share the same checks.
#[derive(Clone, Debug, Default)]
pub struct Health {
    checks: Arc<RwLock<BTreeMap<String, Result<(), String>>>>,
}

impl Health {
    /// Declares a check that fails with `reason` until [`Health::pass`].
    pub fn fail(&self, check: &str, reason: &str) {
        self.checks.write().insert(check.to_owned(), Err(reason.to_owned()));
    }

    /// Marks a check as passed.
    pub fn pass(&self, check: &str) {
        self.checks.write().insert(check.to_owned(), Ok(()));
    }

    /// Every check with its state, by name.
    pub fn checks(&self) -> Vec<(String, Result<(), String>)> {
        self.checks.read().iter().map(|(name, state)| (name.clone(), state.clone())).collect()
    }

    /// Whether every check passes.
    pub fn is_ok(&self) -> bool {
        self.checks.read().values().all(Result::is_ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failing_check_fails_the_whole() {
        let health = Health::default();
        health.pass("ping");
        assert!(health.is_ok());
        health.fail("store", "not open yet");
        assert!(!health.is_ok());
        health.pass("store");
        assert!(health.is_ok());
    }
}
