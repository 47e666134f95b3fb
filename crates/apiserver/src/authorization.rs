//! Authorization: whether somebody may do what they ask. Members of `system:masters` may everything; then the Node
//! authorizer and RBAC are asked, in this order; whoever is allowed by none may not.
//!
//! Everything is judged in memory and is as new as the store: see [`follow`].
//!
//! ```text
//! Authorization::authorize > privileged group > node > RBAC policy
//!                                                 |        |
//!                                      Follower<pods>  Follower<roles and bindings> > store watch
//! ```

use std::sync::Arc;

use apimachinery::UserInfo;
use store::Store;

use crate::authorizer::{Attributes, Authorizer, Decision};

pub mod rule;

pub mod follow;
pub mod node;
pub mod policy;

pub mod aggregation;
pub mod bootstrap;
pub mod escalation;
pub mod review;

use follow::Follower;
use node::NodeAuthorizer;
use policy::Policy;
use rule::PolicyRule;

/// The group that may everything (upstream: `user.SystemPrivilegedGroup`).
pub const PRIVILEGED_GROUP: &str = "system:masters";

/// Upstream's order `Node,RBAC` behind the privileged group.
#[derive(Debug)]
pub struct Authorization {
    node: NodeAuthorizer,
    policy: Follower<Policy>,
}

impl Authorization {
    /// Follows pods, roles and bindings of `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { node: NodeAuthorizer::new(store.clone()), policy: Follower::new(store, policy::PREFIX) }
    }

    /// The judgement on a request, and why.
    pub fn judge(&self, request: &Attributes<'_>) -> (Decision, String) {
        if request.user.is_in(PRIVILEGED_GROUP) {
            return (Decision::Allow, String::new());
        }
        let node = self.node.authorize(request);
        if node == Decision::Allow {
            return (node, String::new());
        }
        let (decision, reason) = self.policy.read(|policy| policy.authorize(request));
        match (decision, node) {
            (Decision::NoOpinion(rbac), Decision::NoOpinion(node)) => {
                let reasons: Vec<String> = [node, rbac].into_iter().filter(|reason| !reason.is_empty()).collect();
                let reason = reasons.join("\n");
                (Decision::NoOpinion(reason.clone()), reason)
            }
            (decision, _) => (decision, reason),
        }
    }

    /// Whether the request is allowed.
    pub fn allows(&self, request: &Attributes<'_>) -> bool {
        self.judge(request).0 == Decision::Allow
    }

    /// The rules that RBAC grants the user in the namespace, and what could not be found.
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> (Vec<PolicyRule>, Vec<String>) {
        if user.is_in(PRIVILEGED_GROUP) {
            return (bootstrap::parse_rules(bootstrap::ALL_RULES), Vec::new());
        }
        self.policy.read(|policy| policy.rules_for(user, namespace))
    }

    /// The rules of the role that a binding in `namespace` (empty: of the cluster) names.
    pub fn rules_of(&self, role: &policy::RoleRef, namespace: &str) -> Result<Arc<[PolicyRule]>, String> {
        self.policy.read(|policy| policy.rules_of(role, namespace).cloned())
    }
}

impl Authorizer for Authorization {
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        self.judge(attributes).0
    }
}
