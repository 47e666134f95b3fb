//! Authorization: whether somebody may do what they ask. Members of `system:masters` may everything; then the
//! configured authorizers are asked in their order, Node and RBAC unless told otherwise; whoever is allowed by none
//! may not.
//!
//! What Node and RBAC know lies in memory and is as new as the store: see [`follow`].
//!
//! ```text
//! Authorization::judge > privileged group > node > RBAC policy > webhooks ...
//!                                            |        |
//!                                 Follower<pods>  Follower<roles and bindings> > store watch
//! ```

use std::sync::Arc;

use apimachinery::UserInfo;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use store::Store;

use crate::authorizer::{Attributes, Authorizer, Decision, Verdict};

pub mod rule;

pub mod follow;
pub mod node;
pub mod policy;

pub mod abac;
pub mod config;
pub mod webhook;

pub mod aggregation;
pub mod bootstrap;
pub mod escalation;
pub mod review;

use self::abac::PolicyList;
use self::webhook::WebhookAuthorizer;
use follow::Follower;
use node::NodeAuthorizer;
use policy::Policy;
use rule::PolicyRule;

/// The group that may everything (upstream: `user.SystemPrivilegedGroup`).
pub const PRIVILEGED_GROUP: &str = "system:masters";

/// One of the configured authorizers.
#[derive(Clone, Debug)]
pub enum Member {
    /// What kubelets need.
    Node,
    /// Roles and bindings.
    Rbac,
    /// A file with policies.
    Abac(Arc<PolicyList>),
    /// Another server.
    Webhook(Arc<WebhookAuthorizer>),
    /// Everything is allowed.
    AlwaysAllow,
    /// Nothing is allowed.
    AlwaysDeny,
}

/// The configured authorizers behind the privileged group.
#[derive(Debug)]
pub struct Authorization {
    node: NodeAuthorizer,
    policy: Follower<Policy>,
    members: ArcSwap<Vec<Member>>,
}

impl Authorization {
    /// Follows pods, roles and bindings of `store`; upstream's order `Node,RBAC`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            node: NodeAuthorizer::new(store.clone()),
            policy: Follower::new(store, policy::PREFIX),
            members: ArcSwap::from_pointee(vec![Member::Node, Member::Rbac]),
        }
    }

    /// Asks these authorizers from now on.
    pub fn replace(&self, members: Vec<Member>) {
        self.members.store(Arc::new(members));
    }

    /// What an authorizer knows by itself; nothing where a webhook must be asked.
    fn known(&self, member: &Member, request: &Attributes<'_>) -> Option<Verdict> {
        let verdict = |decision, reason| Verdict { decision, reason };
        Some(match member {
            Member::Node => self.node.authorize(request).into(),
            Member::Rbac => {
                let (decision, reason) = self.policy.read(|policy| policy.authorize(request));
                verdict(decision, reason)
            }
            Member::Abac(list) => list.authorize(request).into(),
            Member::Webhook(hook) => return hook.known(request),
            Member::AlwaysAllow => verdict(Decision::Allow, String::new()),
            // Upstream's words and decision: others may still allow it.
            Member::AlwaysDeny => Decision::NoOpinion("Everything is forbidden.".into()).into(),
        })
    }

    /// The rules that RBAC grants the user in the namespace, and what could not be found.
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> (Vec<PolicyRule>, Vec<String>) {
        if user.is_in(PRIVILEGED_GROUP) {
            return (bootstrap::parse_rules(bootstrap::ALL_RULES), Vec::new());
        }
        self.policy.read(|policy| policy.rules_for(user, namespace))
    }

    /// Every rule that can be named for the user in the namespace, and what cannot be said (upstream: union's
    /// `RulesFor`).
    pub fn resolvable_rules(&self, user: &UserInfo, namespace: &str) -> (Vec<PolicyRule>, Vec<String>) {
        let (mut rules, mut gaps) = (Vec::new(), Vec::new());
        if user.is_in(PRIVILEGED_GROUP) {
            rules = bootstrap::parse_rules(bootstrap::ALL_RULES);
        }
        for member in self.members.load().iter() {
            match member {
                Member::Node if node::node_of(user).is_some() => {
                    gaps.push("node authorizer does not support user rule resolution".to_owned());
                }
                Member::Rbac => {
                    let (more, missing) = self.policy.read(|policy| policy.rules_for(user, namespace));
                    rules.extend(more);
                    gaps.extend(missing);
                }
                Member::Abac(list) => rules.extend(list.rules_for(user, namespace)),
                Member::Webhook(_) => {
                    gaps.push("webhook authorizer does not support user rule resolution".to_owned());
                }
                Member::AlwaysAllow => rules.extend(bootstrap::parse_rules(bootstrap::ALL_RULES)),
                Member::Node | Member::AlwaysDeny => {}
            }
        }
        (rules, gaps)
    }

    /// The rules of the role that a binding in `namespace` (empty: of the cluster) names.
    pub fn rules_of(&self, role: &policy::RoleRef, namespace: &str) -> Result<Arc<[PolicyRule]>, String> {
        self.policy.read(|policy| policy.rules_of(role, namespace).cloned())
    }
}

/// Collects what authorizers say until one decides.
#[derive(Default)]
struct Union(Vec<String>);

impl Union {
    /// The verdict, when it decides.
    fn hear(&mut self, verdict: Verdict) -> Option<Verdict> {
        if !matches!(verdict.decision, Decision::NoOpinion(_)) {
            return Some(verdict);
        }
        if !verdict.reason.is_empty() {
            self.0.push(verdict.reason);
        }
        None
    }

    fn nobody_decided(self) -> Verdict {
        Decision::NoOpinion(self.0.join("\n")).into()
    }
}

#[async_trait]
impl Authorizer for Authorization {
    fn at_once(&self, request: &Attributes<'_>) -> Option<Verdict> {
        if request.user.is_in(PRIVILEGED_GROUP) {
            return Some(Decision::Allow.into());
        }
        let mut union = Union::default();
        for member in self.members.load().iter() {
            if let Some(verdict) = union.hear(self.known(member, request)?) {
                return Some(verdict);
            }
        }
        Some(union.nobody_decided())
    }

    async fn judge(&self, request: &Attributes<'_>) -> Verdict {
        if request.user.is_in(PRIVILEGED_GROUP) {
            return Decision::Allow.into();
        }
        let mut union = Union::default();
        for member in self.members.load_full().iter() {
            let verdict = match (self.known(member, request), member) {
                (Some(verdict), _) => verdict,
                (None, Member::Webhook(hook)) => hook.judge(request).await,
                (None, _) => continue,
            };
            if let Some(verdict) = union.hear(verdict) {
                return verdict;
            }
        }
        union.nobody_decided()
    }
}
