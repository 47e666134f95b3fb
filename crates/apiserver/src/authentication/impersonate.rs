//! Impersonation: somebody acts as somebody else
//! (upstream: apiserver/pkg/endpoints/filters/impersonation; KEP-5284 for the constrained modes).
//!
//! Each mode has a verb of its own. The constrained ones ask two things: may the requestor be this user
//! (`impersonate:<mode>`), and may they do this while being it (`impersonate-on:<mode>:<verb>`); the old verb
//! `impersonate` allows everything at once.

use apimachinery::{StatusError, UserInfo, validation};
use http::HeaderMap;

use super::service_account::{groups, split_username};
use super::{AUTHENTICATED, UNAUTHENTICATED};
use crate::authorizer::{Attributes, Authorizer, forbidden, require};
use crate::request::decode;

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA_PREFIX: &str = "impersonate-extra-";

const AUTHENTICATION: &str = "authentication.k8s.io";
const ANONYMOUS: &str = "system:anonymous";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";

/// From so many checks on a constrained mode tries one for all of them first (upstream:
/// `manyAuthorizationChecksInLoop`).
const MANY: usize = 4;

/// The constrained modes, in the order in which they are tried; the old one comes last.
const MODES: [Mode; 5] =
    [Mode::AssociatedNode, Mode::ArbitraryNode, Mode::ServiceAccount, Mode::UserInfo, Mode::Legacy];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    AssociatedNode,
    ArbitraryNode,
    ServiceAccount,
    UserInfo,
    Legacy,
}

/// Who somebody acts as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impersonated {
    /// The user.
    pub user: UserInfo,
    /// The verb that allowed it; empty for the old one.
    pub constraint: String,
}

/// The user that the headers ask for, when the real one may be it for this request; `None` without such headers.
pub async fn impersonate(
    headers: &HeaderMap,
    request: &Attributes<'_>,
    authorizer: &dyn Authorizer,
) -> Result<Option<Impersonated>, StatusError> {
    let Some(wanted) = wanted(headers)? else { return Ok(None) };
    let mut first_error = None;
    for mode in MODES {
        if !mode.is_for(&wanted, request.user) {
            continue;
        }
        match mode.check(&wanted, request, authorizer).await {
            Ok(user) => return Ok(Some(Impersonated { user, constraint: mode.constraint() })),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    // The old mode is for everybody, so there is an error.
    Err(first_error.unwrap_or_else(StatusError::unauthorized))
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::AssociatedNode => "associated-node",
            Self::ArbitraryNode => "arbitrary-node",
            Self::ServiceAccount => "serviceaccount",
            Self::UserInfo => "user-info",
            Self::Legacy => "",
        }
    }

    fn verb(self) -> String {
        if self == Self::Legacy { "impersonate".into() } else { format!("impersonate:{}", self.name()) }
    }

    fn constraint(self) -> String {
        if self == Self::Legacy { String::new() } else { self.verb() }
    }

    fn is_for(self, wanted: &UserInfo, requestor: &UserInfo) -> bool {
        let name_only = wanted.uid.is_empty() && wanted.groups.is_empty() && wanted.extra.is_empty();
        let node = node_of(&wanted.username);
        let account = split_username(&wanted.username);
        match self {
            Self::AssociatedNode => {
                let own = requestor.extra.get(NODE_NAME).map(Vec::as_slice);
                let is_account = split_username(&requestor.username).is_some();
                name_only && is_account && node.is_some_and(|node| own.is_some_and(|own| own == [node]))
            }
            Self::ArbitraryNode => name_only && node.is_some(),
            Self::ServiceAccount => name_only && account.is_some(),
            Self::UserInfo => node.is_none() && account.is_none(),
            Self::Legacy => true,
        }
    }

    /// The user to act as, or the refusal of what is missing.
    async fn check(
        self,
        wanted: &UserInfo,
        request: &Attributes<'_>,
        authorizer: &dyn Authorizer,
    ) -> Result<UserInfo, StatusError> {
        // Whoever is associated with a node is judged for all nodes alike, whichever it is.
        let generic;
        let requestor = if self == Self::AssociatedNode {
            let keys = request.user.extra.keys().cloned().collect();
            let extra = [("authentication.kubernetes.io/associated-node-keys".to_owned(), keys)].into();
            generic = UserInfo { extra, ..request.user.clone() };
            &generic
        } else {
            request.user
        };
        if self != Self::Legacy {
            let verb = format!("impersonate-on:{}:{}", self.name(), request.verb);
            require(authorizer, &Attributes { user: requestor, verb: &verb, ..*request }).await?;
        }
        let verb = self.verb();
        let checks = Checks { mode: self, verb: &verb, requestor, authorizer };
        let mut user = wanted.clone();
        checks.username(wanted, &mut user).await?;
        if !wanted.uid.is_empty() {
            checks.ask(AUTHENTICATION, "uids", "", "", &wanted.uid).await?;
        }
        checks.groups(&wanted.groups).await?;
        checks.extra(wanted).await?;
        if user.username == ANONYMOUS {
            ensure(&mut user.groups, UNAUTHENTICATED);
        } else if !user.is_in(UNAUTHENTICATED) {
            ensure(&mut user.groups, AUTHENTICATED);
        }
        Ok(user)
    }
}

/// The checks of one mode.
struct Checks<'a> {
    mode: Mode,
    verb: &'a str,
    requestor: &'a UserInfo,
    authorizer: &'a dyn Authorizer,
}

impl Checks<'_> {
    fn attributes<'b>(
        &'b self,
        group: &'b str,
        resource: &'b str,
        subresource: &'b str,
        namespace: &'b str,
        name: &'b str,
    ) -> Attributes<'b> {
        Attributes {
            verb: self.verb,
            group,
            version: "v1",
            resource,
            subresource,
            namespace,
            name,
            ..Attributes::on_resource(self.requestor)
        }
    }

    async fn ask(
        &self,
        group: &str,
        resource: &str,
        subresource: &str,
        namespace: &str,
        name: &str,
    ) -> Result<(), StatusError> {
        let attributes = self.attributes(group, resource, subresource, namespace, name);
        require(self.authorizer, &attributes).await.map(drop)
    }

    fn is_constrained(&self) -> bool {
        self.mode != Mode::Legacy
    }

    /// The group of users and groups.
    fn api_group(&self) -> &'static str {
        if self.is_constrained() { AUTHENTICATION } else { "" }
    }

    async fn username(&self, wanted: &UserInfo, user: &mut UserInfo) -> Result<(), StatusError> {
        if let Some(node) = node_of(&wanted.username).filter(|_| self.is_constrained()) {
            user.groups = vec!["system:nodes".into()];
            let name = if self.mode == Mode::AssociatedNode { "*" } else { node };
            return self.ask(AUTHENTICATION, "nodes", "", "", name).await;
        }
        if let Some((namespace, name)) = split_username(&wanted.username) {
            if wanted.groups.is_empty() {
                user.groups = groups(namespace).to_vec();
            }
            return self.ask(self.api_group(), "serviceaccounts", "", namespace, name).await;
        }
        self.ask(self.api_group(), "users", "", "", &wanted.username).await
    }

    async fn groups(&self, groups: &[String]) -> Result<(), StatusError> {
        if self.is_constrained() {
            let refuse = |name: &str, reason: &str| {
                Err(forbidden(&self.attributes(AUTHENTICATION, "groups", "", "", name), reason))
            };
            if groups.iter().any(String::is_empty) {
                return refuse("", "impersonating the empty string group is not allowed");
            }
            if groups.iter().any(|group| group == "system:masters") {
                return refuse("system:masters", "impersonating the system:masters group is not allowed");
            }
            if groups.len() >= MANY && self.ask(AUTHENTICATION, "groups", "", "", "*").await.is_ok() {
                return Ok(());
            }
        }
        for group in groups {
            self.ask(self.api_group(), "groups", "", "", group).await?;
        }
        Ok(())
    }

    async fn extra(&self, wanted: &UserInfo) -> Result<(), StatusError> {
        if self.is_constrained() {
            for (key, values) in &wanted.extra {
                if let Some(reason) = wrong_extra(key, values) {
                    return Err(forbidden(&self.attributes(AUTHENTICATION, "userextras", "", "", ""), &reason));
                }
            }
            let count: usize = wanted.extra.values().map(Vec::len).sum();
            if count >= MANY && self.ask(AUTHENTICATION, "userextras", "*", "", "*").await.is_ok() {
                return Ok(());
            }
        }
        for (key, values) in &wanted.extra {
            for value in values {
                self.ask(AUTHENTICATION, "userextras", key, "", value).await?;
            }
        }
        Ok(())
    }
}

/// What no constrained mode allows (upstream: `validateExtra`).
fn wrong_extra(key: &str, values: &[String]) -> Option<String> {
    if key.is_empty() {
        return Some("impersonating the empty string key in extra is not allowed".into());
    }
    let domain = key.split_once('/').filter(|(_, path)| !path.is_empty()).map(|(domain, _)| domain);
    if domain.is_none_or(|domain| !validation::dns1123_subdomain(domain).is_empty()) {
        return Some(format!(
            "impersonating an invalid key in extra is not allowed: extra.key: Invalid value: {key:?}: must be a domain-prefixed path (such as \"acme.io/foo\")"
        ));
    }
    if values.iter().any(String::is_empty) {
        return Some("impersonating the empty string value in extra is not allowed".into());
    }
    None
}

fn node_of(username: &str) -> Option<&str> {
    username.strip_prefix("system:node:").filter(|node| validation::dns1123_subdomain(node).is_empty())
}

fn ensure(groups: &mut Vec<String>, group: &str) {
    if !groups.iter().any(|known| known == group) {
        groups.push(group.to_owned());
    }
}

/// Whether a header asks for impersonation; such headers go no further than here.
pub fn is_header(name: &str) -> bool {
    matches!(name, USER | GROUP | UID) || name.starts_with(EXTRA_PREFIX)
}

fn wanted(headers: &HeaderMap) -> Result<Option<UserInfo>, StatusError> {
    if !headers.keys().any(|name| is_header(name.as_str())) {
        return Ok(None);
    }
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut user = UserInfo {
        username: headers.get(USER).map(text).unwrap_or_default(),
        uid: headers.get(UID).map(text).unwrap_or_default(),
        groups: headers.get_all(GROUP).iter().map(text).collect(),
        ..UserInfo::default()
    };
    for (name, value) in headers {
        if let Some(key) = name.as_str().strip_prefix(EXTRA_PREFIX) {
            user.extra.entry(decode(key)).or_default().push(text(value));
        }
    }
    if !user.username.is_empty() {
        return Ok(Some(user));
    }
    if user.uid.is_empty() && user.groups.is_empty() && user.extra.is_empty() {
        return Ok(None);
    }
    Err(StatusError::bad_request("requested groups, uid or extra values without impersonating a user name"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorizer::{Decision, Verdict};
    use futures::FutureExt;
    use parking_lot::Mutex;

    /// Allows what begins with one of the words, and keeps what it was asked.
    struct Allowing(&'static [&'static str], Mutex<Vec<String>>);

    impl Authorizer for Allowing {
        fn at_once(&self, asked: &Attributes<'_>) -> Option<Verdict> {
            let mut thing = format!("{} {}", asked.verb, asked.resource);
            for part in [asked.subresource, asked.namespace, asked.name] {
                if !part.is_empty() {
                    thing = format!("{thing}/{part}");
                }
            }
            let allowed = self.0.iter().any(|start| thing.starts_with(start));
            self.1.lock().push(thing);
            Some(if allowed { Decision::Allow } else { Decision::NoOpinion(String::new()) }.into())
        }
    }

    fn ask(
        requestor: &UserInfo,
        allowed: &'static [&'static str],
        lines: &[(&'static str, &str)],
    ) -> (Vec<String>, Result<Option<Impersonated>, StatusError>) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().expect("a header"));
        }
        let authorizer = Allowing(allowed, Mutex::default());
        let request = Attributes {
            verb: "list",
            version: "v1",
            resource: "pods",
            namespace: "shop",
            path: "/api/v1/namespaces/shop/pods",
            ..Attributes::on_resource(requestor)
        };
        let result = impersonate(&headers, &request, &authorizer).now_or_never().expect("in memory");
        (authorizer.1.into_inner(), result)
    }

    fn root() -> UserInfo {
        UserInfo::new("root", ["admins"])
    }

    #[test]
    fn the_old_verb_allows_every_part_that_is_checked() {
        let (checked, user) = ask(
            &root(),
            &["impersonate "],
            &[
                ("impersonate-user", "ann"),
                ("impersonate-group", "devs"),
                ("impersonate-uid", "7"),
                ("impersonate-extra-acme.io%2fteam", "blue"),
            ],
        );
        assert_eq!(
            checked,
            [
                "impersonate-on:user-info:list pods/shop",
                "impersonate users/ann",
                "impersonate uids/7",
                "impersonate groups/devs",
                "impersonate userextras/acme.io/team/blue",
            ]
        );
        let impersonated = user.expect("allowed").expect("asked for");
        assert_eq!(impersonated.constraint, "");
        assert_eq!(impersonated.user.groups, ["devs", "system:authenticated"]);
        assert_eq!(impersonated.user.extra["acme.io/team"], ["blue"]);
    }

    #[test]
    fn constrained_modes_have_verbs_of_their_own() {
        let may = &["impersonate-on:user-info:list", "impersonate:user-info users/ann", "impersonate:user-info groups"];
        let (_, user) = ask(&root(), may, &[("impersonate-user", "ann"), ("impersonate-group", "devs")]);
        assert_eq!(user.expect("allowed").expect("asked for").constraint, "impersonate:user-info");
        let (_, user) = ask(&root(), may, &[("impersonate-user", "ann"), ("impersonate-group", "system:masters")]);
        let message = user.expect_err("refused").message;
        assert!(message.contains("impersonating the system:masters group is not allowed"), "{message}");

        let may = &["impersonate-on:serviceaccount:list", "impersonate:serviceaccount serviceaccounts/shop/robot"];
        let (_, user) = ask(&root(), may, &[("impersonate-user", "system:serviceaccount:shop:robot")]);
        assert_eq!(
            user.expect("allowed").expect("asked for").user.groups,
            ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"]
        );

        let mut agent = UserInfo::new("system:serviceaccount:kube-system:agent", ["system:serviceaccounts"]);
        agent.extra.insert(NODE_NAME.into(), vec!["a".into()]);
        let may = &["impersonate-on:associated-node:list pods", "impersonate:associated-node nodes/*"];
        let (_, user) = ask(&agent, may, &[("impersonate-user", "system:node:a")]);
        let user = user.expect("allowed").expect("asked for");
        assert_eq!((user.user.username.as_str(), &user.user.groups[0][..]), ("system:node:a", "system:nodes"));
        assert!(ask(&agent, may, &[("impersonate-user", "system:node:b")]).1.is_err());
    }

    #[test]
    fn refusals_name_what_was_tried_first() {
        let (_, user) = ask(&root(), &[], &[("impersonate-user", "bob")]);
        assert_eq!(
            user.expect_err("refused").message,
            r#"pods is forbidden: User "root" cannot impersonate-on:user-info:list resource "pods" in API group "" in the namespace "shop""#
        );
        assert_eq!(ask(&root(), &[], &[("impersonate-group", "devs")]).1.expect_err("no user").code, 400);
        assert_eq!(ask(&root(), &[], &[]).1, Ok(None));
        let (_, anonymous) = ask(&root(), &["impersonate "], &[("impersonate-user", "system:anonymous")]);
        assert_eq!(anonymous.expect("allowed").expect("asked for").user.groups, ["system:unauthenticated"]);
    }
}
