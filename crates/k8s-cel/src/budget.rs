//! How much work expressions may do (upstream: apiserver/pkg/apis/cel/config.go, cel-go interpreter/runtimecost.go).
//!
//! Cost is counted as upstream counts it, so that what runs there runs here. Beside it stand two meters of our own for
//! what that cost does not see: items that are compared and copied within one call, and memory that is made.

use crate::error::EvalError;

/// What one evaluation may cost (upstream: `PerCallLimit`).
pub const PER_CALL_LIMIT: u64 = 1_000_000;

/// What all evaluations for one object or one policy binding may cost (upstream: `RuntimeCELCostBudget`).
pub const RUNTIME_BUDGET: u64 = 10_000_000;

/// What all match conditions of one webhook or binding may cost (upstream: `RuntimeCELCostBudgetMatchConditions`).
pub const MATCH_CONDITIONS_BUDGET: u64 = 2_500_000;

/// How many items one evaluation may compare and copy: some tenths of a second.
const WORK_LIMIT: u64 = 20_000_000;

/// How many bytes one evaluation may make.
const MEMORY_LIMIT: u64 = 64 << 20;

/// How many regular expressions one evaluation may compile that are not in its source.
const REGEX_LIMIT: u32 = 500;

/// What evaluations may cost together.
#[derive(Debug)]
pub struct Budget {
    remaining: u64,
    per_call: u64,
}

impl Budget {
    /// The budget of one object or one policy binding.
    pub fn new() -> Self {
        Self::of(RUNTIME_BUDGET)
    }

    /// The budget of one webhook's or binding's match conditions.
    pub fn for_match_conditions() -> Self {
        Self::of(MATCH_CONDITIONS_BUDGET)
    }

    /// A budget of this cost.
    pub fn of(cost: u64) -> Self {
        Self { remaining: cost, per_call: PER_CALL_LIMIT }
    }

    /// What is left.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Whether nothing is left.
    pub fn is_exhausted(&self) -> bool {
        self.remaining == 0
    }

    /// Ends the budget: nothing further may be evaluated.
    pub(crate) fn exhaust(&mut self) {
        self.remaining = 0;
    }

    /// The meter of one evaluation.
    pub(crate) fn meter(&self) -> Meter {
        Meter::new(self.per_call)
    }

    /// Pays for an evaluation.
    pub(crate) fn pay(&mut self, meter: &Meter) -> Result<(), EvalError> {
        match self.remaining.checked_sub(meter.cost.saturating_add(meter.apart)) {
            Some(left) => {
                self.remaining = left;
                Ok(())
            }
            None => {
                self.remaining = 0;
                Err(EvalError::BudgetExhausted)
            }
        }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}

/// What one evaluation has done.
#[derive(Debug)]
pub struct Meter {
    cost: u64,
    limit: u64,
    work: u64,
    memory: u64,
    regexes: u32,
    /// What evaluations within this one cost, which have limits of their own.
    apart: u64,
}

impl Meter {
    fn new(limit: u64) -> Self {
        Self { cost: 0, limit, work: 0, memory: 0, regexes: 0, apart: 0 }
    }

    /// Counts cost.
    pub(crate) fn spend(&mut self, cost: u64) -> Result<(), EvalError> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > self.limit { Err(EvalError::CostLimit) } else { Ok(()) }
    }

    /// Counts items looked at.
    pub(crate) fn work(&mut self, items: u64) -> Result<(), EvalError> {
        self.work = self.work.saturating_add(items);
        if self.work > WORK_LIMIT { Err(EvalError::CostLimit) } else { Ok(()) }
    }

    /// Counts bytes made.
    pub(crate) fn allocate(&mut self, bytes: u64) -> Result<(), EvalError> {
        self.memory = self.memory.saturating_add(bytes);
        if self.memory > MEMORY_LIMIT { Err(EvalError::CostLimit) } else { Ok(()) }
    }

    /// Counts values made.
    pub(crate) fn allocate_values(&mut self, values: u64) -> Result<(), EvalError> {
        self.work(values)?;
        self.allocate(values.saturating_mul(40))
    }

    /// Counts a regular expression compiled.
    pub(crate) fn compile_regex(&mut self) -> Result<(), EvalError> {
        self.regexes += 1;
        if self.regexes > REGEX_LIMIT { Err(EvalError::CostLimit) } else { Ok(()) }
    }

    /// A meter for an evaluation within this one, with a cost limit of its own.
    pub(crate) fn nested(&self) -> Self {
        Self { cost: 0, apart: 0, ..*self }
    }

    /// Takes over what an evaluation within this one did.
    pub(crate) fn absorb(&mut self, nested: &Self) {
        (self.work, self.memory, self.regexes) = (nested.work, nested.memory, nested.regexes);
        self.apart = self.apart.saturating_add(nested.cost).saturating_add(nested.apart);
    }
}
