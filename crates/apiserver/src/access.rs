//! [`Access`]: authentication and authorization as one part, to be plugged into a server.
//!
//! ```text
//! let access = Access::new(issuer, key, store);   access.start(&scope).await?;
//! Deps { authenticator: access.authenticator(), authorizer: access.authorizer(),
//!        handlers: access.handlers(), plugins: access.plugins(), .. }
//! ```

use std::sync::Arc;

use apimachinery::{GroupVersionKind, Object, StatusError};
use async_trait::async_trait;
use component_base::Scope;
use http::{Response, StatusCode};
use store::Store;

use crate::admission::Plugin;
use crate::authentication::{Authentication, ServiceAccountTokens, SigningKey, token_request, token_review};
use crate::authenticator::Authenticator;
use crate::authorization::escalation::EscalationCheck;
use crate::authorization::{Authorization, aggregation, bootstrap, review};
use crate::authorizer::Authorizer;
use crate::body::{self, Body};
use crate::handler::{Call, Handler, Handlers};
use crate::registry::{Cx, answer, decode};

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";

/// See the module.
#[derive(Clone, Debug)]
pub struct Access {
    store: Arc<dyn Store>,
    tokens: Arc<ServiceAccountTokens>,
    authorization: Arc<Authorization>,
}

impl Access {
    /// Tokens of `issuer` signed with `key`; roles, bindings, accounts and pods from `store`.
    pub fn new(issuer: &str, key: SigningKey, store: Arc<dyn Store>) -> Self {
        let tokens = Arc::new(ServiceAccountTokens::new(issuer, key, store.clone()));
        let authorization = Arc::new(Authorization::new(store.clone()));
        Self { store, tokens, authorization }
    }

    /// Reconciles the default roles and bindings, and keeps aggregated roles up to date from then on.
    pub async fn start(&self, scope: &Scope) -> Result<(), store::Error> {
        bootstrap::reconcile(&self.store).await?;
        let store = self.store.clone();
        scope.spawn("clusterrole-aggregation", async move {
            if let Err(err) = aggregation::run(store).await {
                tracing::error!(%err, "aggregated cluster roles are no longer kept up to date");
            }
        });
        Ok(())
    }

    /// Who asks.
    pub fn authenticator(&self) -> Arc<dyn Authenticator> {
        Arc::new(Authentication::new(self.tokens.clone()))
    }

    /// Whether they may.
    pub fn authorizer(&self) -> Arc<dyn Authorizer> {
        self.authorization.clone()
    }

    /// Tokens, reviews and the documents about the tokens' issuer.
    pub fn handlers(&self) -> Handlers {
        let mut handlers = Handlers::default();
        let mut register = |group: &str, resource: &str, subresource: &str, answers: Answers| {
            let handler = AccessHandler { access: self.clone(), answers };
            handlers.register(group, resource, subresource, Arc::new(handler));
        };
        register("", "serviceaccounts", "token", Answers::TokenRequest);
        register(AUTHENTICATION, "tokenreviews", "", Answers::TokenReview);
        register(AUTHENTICATION, "selfsubjectreviews", "", Answers::SelfSubjectReview);
        register(AUTHORIZATION, "subjectaccessreviews", "", Answers::SubjectAccessReview);
        register(AUTHORIZATION, "selfsubjectaccessreviews", "", Answers::SelfSubjectAccessReview);
        register(AUTHORIZATION, "localsubjectaccessreviews", "", Answers::LocalSubjectAccessReview);
        register(AUTHORIZATION, "selfsubjectrulesreviews", "", Answers::SelfSubjectRulesReview);
        handlers.document("/openid/v1/jwks", "application/jwk-set+json", &self.tokens.jwks());
        let configuration = self.tokens.openid_configuration();
        handlers.document("/.well-known/openid-configuration", "application/json", &configuration);
        handlers
    }

    /// What judges writes of roles and bindings.
    pub fn plugins(&self) -> Vec<Box<dyn Plugin>> {
        vec![Box::new(EscalationCheck::new(self.authorization.clone()))]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    TokenRequest,
    TokenReview,
    SelfSubjectReview,
    SubjectAccessReview,
    SelfSubjectAccessReview,
    LocalSubjectAccessReview,
    SelfSubjectRulesReview,
}

struct AccessHandler {
    access: Access,
    answers: Answers,
}

#[async_trait]
impl Handler for AccessHandler {
    async fn handle(&self, call: Call) -> Result<Response<Body>, StatusError> {
        let cx = call.cx;
        if cx.info.verb != "create" {
            return Err(StatusError::new(
                405,
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource",
            ));
        }
        let bytes = body::read(call.body).await?;
        let kind = match self.answers {
            Answers::TokenRequest => GroupVersionKind::new(AUTHENTICATION, "v1", "TokenRequest"),
            _ => cx.row.gvk.clone(),
        };
        let object = decode::body(&cx, &bytes, &kind)?;
        let answered = self.answer(&cx, object).await?;
        let mut response = answer::other(&cx, StatusCode::CREATED, &answered.into_value())?;
        crate::service::add_warnings(&cx, &mut response);
        Ok(response)
    }
}

impl AccessHandler {
    async fn answer(&self, cx: &Cx, object: Object) -> Result<Object, StatusError> {
        let Access { tokens, authorization, .. } = &self.access;
        let info = &cx.info;
        match self.answers {
            Answers::TokenRequest => {
                token_request::create(tokens, &cx.user, &info.namespace, &info.name, object, cx.now).await
            }
            Answers::TokenReview => token_review::review(tokens, object, cx.now),
            Answers::SelfSubjectReview => review::self_subject_review(&cx.user, object),
            Answers::SubjectAccessReview => review::subject_access_review(authorization, object),
            Answers::SelfSubjectAccessReview => review::self_subject_access_review(authorization, &cx.user, object),
            Answers::LocalSubjectAccessReview => {
                review::local_subject_access_review(authorization, &info.namespace, object)
            }
            Answers::SelfSubjectRulesReview => review::self_subject_rules_review(authorization, &cx.user, object),
        }
    }
}
