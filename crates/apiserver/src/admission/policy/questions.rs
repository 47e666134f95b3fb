//! [`Questions`]: what expressions ask the authorizer.
//!
//! Expressions do not wait, but an authorization webhook must be waited for. So an expression whose question nobody can
//! answer at once is evaluated to its end as if the answer were no, its result is thrown away, the question is put, and
//! the expression is evaluated anew. The cost of a question limits how many there can be: see `authzCheckCost`.

use apimachinery::{UserInfo, fields, labels};
use k8s_cel::{Authorizer, Question, Verdict};
use parking_lot::Mutex;

use crate::authorizer::{Attributes, Decision, Selectors};
use crate::registry::Cx;

/// More questions than these nobody answers about one request: the cost limit of expressions is reached far below.
const MOST: usize = 64;

/// Asks the server's authorizer on behalf of expressions about one request.
pub(super) struct Questions<'r> {
    cx: &'r Cx,
    asked: Mutex<Asked>,
}

#[derive(Default)]
struct Asked {
    answered: Vec<(Question, Verdict)>,
    open: Vec<Question>,
}

impl<'r> Questions<'r> {
    pub(super) fn of(cx: &'r Cx) -> Self {
        Self { cx, asked: Mutex::default() }
    }

    /// What `evaluate` comes to when all its questions are answered.
    pub(super) async fn settle<T>(&self, mut evaluate: impl FnMut() -> T) -> T {
        loop {
            let result = evaluate();
            let open = std::mem::take(&mut self.asked.lock().open);
            if open.is_empty() {
                return result;
            }
            drop(result);
            for question in open {
                let person = Person::of(self.cx, &question);
                let judged = self.cx.server.authorizer.judge(&person.attributes(&question)).await;
                let verdict = verdict_of(judged);
                self.asked.lock().answered.push((question, verdict));
            }
        }
    }
}

impl std::fmt::Debug for Questions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Questions").field("user", &self.cx.user.username).finish_non_exhaustive()
    }
}

impl Authorizer for Questions<'_> {
    fn judge(&self, question: &Question) -> Verdict {
        let person = Person::of(self.cx, question);
        if let Some(judged) = self.cx.server.authorizer.at_once(&person.attributes(question)) {
            return verdict_of(judged);
        }
        let mut asked = self.asked.lock();
        if let Some((_, verdict)) = asked.answered.iter().find(|(known, _)| known == question) {
            return verdict.clone();
        }
        if asked.answered.len() + asked.open.len() < MOST && !asked.open.contains(question) {
            asked.open.push(question.clone());
        }
        Verdict::default()
    }
}

fn verdict_of(judged: crate::authorizer::Verdict) -> Verdict {
    Verdict { allowed: judged.decision == Decision::Allow, reason: judged.reason, error: None }
}

/// Whom a question is about, and what it is limited to.
struct Person<'r> {
    user: &'r UserInfo,
    account: Option<UserInfo>,
    selectors: Option<Selectors>,
}

impl<'r> Person<'r> {
    fn of(cx: &'r Cx, question: &Question) -> Self {
        let account = question.service_account.as_ref().map(|(namespace, name)| {
            let groups = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
            UserInfo::new(format!("system:serviceaccount:{namespace}:{name}"), groups)
        });
        let limited = !question.field_selector.is_empty() || !question.label_selector.is_empty();
        let selectors = limited.then(|| Selectors {
            fields: fields::Selector::parse(&question.field_selector).unwrap_or_default(),
            labels: labels::Selector::parse(&question.label_selector).unwrap_or_default(),
        });
        Self { user: &cx.user, account, selectors }
    }

    fn attributes<'a>(&'a self, question: &'a Question) -> Attributes<'a> {
        Attributes {
            user: self.account.as_ref().unwrap_or(self.user),
            verb: &question.verb,
            group: &question.group,
            version: "*",
            resource: &question.resource,
            subresource: &question.subresource,
            namespace: &question.namespace,
            name: &question.name,
            is_resource: question.path.is_none(),
            path: question.path.as_deref().unwrap_or_default(),
            selectors: self.selectors.as_ref(),
        }
    }
}
