//! [`MatchConditions`]: expressions that narrow down which requests a webhook or a policy is about
//! (upstream: apiserver/pkg/admission/plugin/webhook/matchconditions/matcher.go).

use k8s_cel::{Budget, Environment, Type, Value as CelValue, Variables};
use serde_json::Value;
use tokio::time::Instant;

use super::activation::Input;
use super::definition::{items, text};
use super::environment;
use super::expression::{Expression, Failure};
use super::questions::Questions;
use crate::admission::Request;
use crate::admission::matching::Matched;
use crate::admission::metrics::{Holder, Series};

/// See the module.
#[derive(Debug, Default)]
pub struct MatchConditions {
    conditions: Vec<(String, Expression)>,
    fails: bool,
    holder: Holder,
}

/// What the conditions say of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It is meant.
    Matches,
    /// It is not: by this condition, or by one that failed where failures are ignored.
    Excluded(Option<String>),
    /// It cannot be told, and whoever cannot tell must refuse.
    Failed(String),
}

impl MatchConditions {
    /// Compiles the `matchConditions` of a webhook; `fails`: whether its failure policy is Fail.
    pub(in crate::admission) fn compile(list: Option<&Value>, fails: bool, holder: Holder) -> Self {
        match list.and_then(Value::as_array).filter(|list| !list.is_empty()) {
            Some(_) => Self::compile_in(&environment::of_conditions(), list, fails, holder),
            None => Self { conditions: Vec::new(), fails, holder },
        }
    }

    pub(super) fn compile_in(environment: &Environment, list: Option<&Value>, fails: bool, holder: Holder) -> Self {
        let listed = serde_json::json!({ "list": list });
        let conditions = items(&listed, "list").map(|condition| {
            let expression = Expression::compile(environment, text(condition, "expression"), &[Type::Bool]);
            (text(condition, "name").to_owned(), expression)
        });
        Self { conditions: conditions.collect(), fails, holder }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// The expressions with their fields, as `matchConditions[0].expression`.
    pub fn expressions(&self) -> Vec<(String, &Expression)> {
        let all = self.conditions.iter().enumerate();
        all.map(|(index, (_, expression))| (format!("matchConditions[{index}].expression"), expression)).collect()
    }

    /// Judges a request that a webhook's rules matched.
    pub async fn judge(&self, request: &Request<'_>, matched: &Matched) -> Judgement {
        if self.is_empty() {
            return Judgement::Matches;
        }
        let questions = Questions::of(request.cx);
        self.settle(request, &questions, || Input::of(request, matched, None, None, &questions)).await
    }

    /// Judges a request by what expressions see of it when all their questions are answered. What the conditions came to
    /// on the way there, while an answer was only assumed, is nobody's business and is not counted.
    pub(super) async fn settle<'i>(
        &self,
        request: &Request<'_>,
        questions: &Questions<'_>,
        input: impl Fn() -> Input<'i>,
    ) -> Judgement {
        if self.is_empty() {
            return Judgement::Matches;
        }
        let (series, began) = (self.series(request), Instant::now());
        let (judgement, errors) = questions.settle(|| self.judgement(&input().variables())).await;
        series.evaluated(began.elapsed(), errors);
        judgement
    }

    /// What is counted of these conditions.
    pub(in crate::admission) fn series(&self, request: &Request<'_>) -> &Series {
        self.holder.series(&request.cx.server.admission.metrics.conditions, request.operation)
    }

    /// What the conditions come to, and how many of them could not be evaluated.
    fn judgement<'a>(&'a self, variables: &Variables<'a>) -> (Judgement, u64) {
        let mut budget = Budget::for_match_conditions();
        let (mut errors, mut failures) = (0, Vec::new());
        for (name, expression) in &self.conditions {
            match expression.evaluate(variables, &mut budget) {
                Ok(CelValue::Bool(true)) => {}
                Ok(_) => return (Judgement::Excluded(Some(name.clone())), errors),
                // Upstream counts this as no error of a condition, and tells of no other.
                Err(failure @ Failure::OutOfBudget) => return (self.failed(failure.to_string()), 0),
                Err(failure) => {
                    errors += 1;
                    let words = failure.to_string();
                    if !failures.contains(&words) {
                        failures.push(words);
                    }
                }
            }
        }
        let words = match failures.len() {
            0 => return (Judgement::Matches, 0),
            1 => failures.remove(0),
            _ => format!("[{}]", failures.join(", ")),
        };
        (self.failed(words), errors)
    }

    fn failed(&self, words: String) -> Judgement {
        if self.fails { Judgement::Failed(words) } else { Judgement::Excluded(None) }
    }
}
