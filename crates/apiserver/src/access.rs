//! [`Access`]: authentication and authorization as one part, to be plugged into a server.
//!
//! ```text
//! let access = Access::new(issuer, key, store);   access.start(&scope).await?;
//! Deps { authenticator: access.authenticator(), authorizer: access.authorizer(),
//!        handlers: access.handlers(), plugins: access.plugins(), .. }
//! ```

use std::path::PathBuf;
use std::sync::Arc;

use apimachinery::{GroupVersionKind, Object, StatusError};
use async_trait::async_trait;
use authn::expression::{Compiler, NoExpressions};
use component_base::{FileWatch, Scope};
use http::{Response, StatusCode};
use store::Store;

use crate::admission::Plugin;
use crate::admission::certificates::{
    CertificateApproval, CertificateSigning, CertificateSubjectRestriction, ClusterTrustBundleAttest,
};
use crate::authentication::{Authentication, ServiceAccountTokens, SigningKey, Tokens, token_request, token_review};
use crate::authenticator::Authenticator;
use crate::authorization::config::AuthorizationConfiguration;
use crate::authorization::escalation::EscalationCheck;
use crate::authorization::{Authorization, aggregation, bootstrap, review};
use crate::authorizer::Authorizer;
use crate::body::{self, Body};
use crate::handler::{Call, Handler, Handlers};
use crate::registry::write::Draft;
use crate::registry::{Cx, answer, decode};

pub mod expressions;
pub mod options;

pub use expressions::Cel;
pub use options::{Options, OptionsError};

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";

/// See the module.
#[derive(Clone)]
pub struct Access {
    store: Arc<dyn Store>,
    accounts: Arc<ServiceAccountTokens>,
    authentication: Arc<Authentication>,
    authorization: Arc<Authorization>,
    options: Arc<Options>,
    compiler: Arc<dyn Compiler>,
}

impl Access {
    /// Tokens of `issuer` signed with `key`; roles, bindings, accounts and pods from `store`. Everything else is as
    /// upstream has it by default.
    pub fn new(issuer: &str, key: SigningKey, store: Arc<dyn Store>) -> Self {
        let options = Options { service_account_issuers: vec![issuer.to_owned()], ..Options::default() };
        let accounts = Arc::new(ServiceAccountTokens::new(issuer, key, store.clone()));
        Self {
            authentication: Arc::new(Authentication::new(Arc::new(Tokens::new(accounts.clone())))),
            authorization: Arc::new(Authorization::new(store.clone())),
            store,
            accounts,
            options: Arc::new(options),
            compiler: Arc::new(NoExpressions),
        }
    }

    /// As the options say; expressions in configuration files are compiled by `compiler`.
    pub fn configured(
        options: Options,
        key: SigningKey,
        store: Arc<dyn Store>,
        compiler: Arc<dyn Compiler>,
    ) -> Result<Self, OptionsError> {
        let accounts = Arc::new(options.accounts(key, &store)?);
        let authentication = options.authentication(&accounts, &store, &*compiler)?;
        let authorization = Authorization::new(store.clone());
        authorization.replace(options.authorizers(&*compiler)?);
        Ok(Self {
            store,
            accounts,
            authentication: Arc::new(authentication),
            authorization: Arc::new(authorization),
            options: Arc::new(options),
            compiler,
        })
    }

    /// Reconciles the default roles and bindings, keeps aggregated roles up to date from then on, and takes in
    /// configuration files when they change.
    pub async fn start(&self, scope: &Scope) -> Result<(), store::Error> {
        bootstrap::reconcile(&self.store).await?;
        let store = self.store.clone();
        scope.spawn("clusterrole-aggregation", async move {
            if let Err(err) = aggregation::run(store).await {
                tracing::error!(%err, "aggregated cluster roles are no longer kept up to date");
            }
        });
        if let Some(path) = &self.options.authentication_config {
            scope.spawn("authentication-config", self.clone().follow(path.clone(), Self::take_authentication));
        }
        if let Some(path) = &self.options.authorization_config {
            scope.spawn("authorization-config", self.clone().follow(path.clone(), Self::take_authorization));
        }
        Ok(())
    }

    /// Takes in what a file holds whenever it changes; what cannot be used changes nothing.
    async fn follow(self, path: PathBuf, take: fn(&Self, &str) -> Result<(), OptionsError>) {
        let path_shown = path.display();
        let mut watch = match FileWatch::new(&path) {
            Ok(watch) => watch,
            Err(err) => return tracing::error!(%err, path = %path_shown, "the configuration file cannot be followed"),
        };
        loop {
            match watch.changed().await {
                Err(err) => return tracing::error!(%err, path = %path_shown, "the configuration file cannot be read"),
                Ok(text) => match take(&self, &String::from_utf8_lossy(&text)) {
                    Ok(()) => tracing::info!(path = %path_shown, "reloaded"),
                    Err(err) => tracing::error!(%err, path = %path_shown, "not reloaded: the former one stays"),
                },
            }
        }
    }

    fn take_authentication(&self, text: &str) -> Result<(), OptionsError> {
        let providers = self.options.providers(Some(text), &self.accounts, &*self.compiler)?;
        self.authentication.tokens.providers.store(Arc::new(providers.oidc));
        self.authentication.anonymous.store(Arc::new(providers.anonymous));
        Ok(())
    }

    fn take_authorization(&self, text: &str) -> Result<(), OptionsError> {
        self.authorization.replace(AuthorizationConfiguration::parse(text)?.build(&*self.compiler)?);
        Ok(())
    }

    /// Who asks.
    pub fn authenticator(&self) -> Arc<dyn Authenticator> {
        self.authentication.clone()
    }

    /// Whether they may.
    pub fn authorizer(&self) -> Arc<dyn Authorizer> {
        self.authorization.clone()
    }

    /// Signs tokens of service accounts: for the controller that fills Secrets with them.
    pub fn accounts(&self) -> &Arc<ServiceAccountTokens> {
        &self.accounts
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
        handlers.document("/openid/v1/jwks", "application/jwk-set+json", &self.accounts.jwks());
        let configuration = self.accounts.openid_configuration();
        handlers.document("/.well-known/openid-configuration", "application/json", &configuration);
        handlers
    }

    /// What judges writes of roles, bindings and certificates.
    pub fn plugins(&self) -> Vec<Box<dyn Plugin>> {
        vec![
            Box::new(EscalationCheck::new(self.authorization.clone())),
            Box::new(CertificateApproval),
            Box::new(CertificateSigning),
            Box::new(ClusterTrustBundleAttest),
            Box::new(CertificateSubjectRestriction),
        ]
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
        let object = Draft::admitted(&cx, object).await?;
        let answered = self.answer(&cx, object).await?;
        let mut response = answer::other(&cx, StatusCode::CREATED, &answered.into_value())?;
        crate::service::add_warnings(&cx, &mut response);
        Ok(response)
    }
}

impl AccessHandler {
    async fn answer(&self, cx: &Cx, object: Object) -> Result<Object, StatusError> {
        let Access { accounts, authentication, authorization, .. } = &self.access;
        let info = &cx.info;
        match self.answers {
            Answers::TokenRequest => {
                token_request::create(accounts, &cx.user, &info.namespace, &info.name, object, cx.now).await
            }
            Answers::TokenReview => token_review::review(&authentication.tokens, object, cx.now).await,
            Answers::SelfSubjectReview => review::self_subject_review(&cx.user, object),
            Answers::SubjectAccessReview => review::subject_access_review(authorization, object).await,
            Answers::SelfSubjectAccessReview => {
                review::self_subject_access_review(authorization, &cx.user, object).await
            }
            Answers::LocalSubjectAccessReview => {
                review::local_subject_access_review(authorization, &info.namespace, object).await
            }
            Answers::SelfSubjectRulesReview => review::self_subject_rules_review(authorization, &cx.user, object),
        }
    }
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("options", &self.options).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ApiServer, Canonical, Config, Deps};
    use apimachinery::UserInfo;
    use component_base::{health::Health, metrics::Metrics};
    use http::Request;
    use serde_json::{Value, json};
    use store::Embedded;

    struct Server {
        service: crate::ApiService,
        _scope: Scope,
    }

    /// A whole server in memory, with everything of this module plugged in.
    async fn server() -> Server {
        let scope = Scope::root();
        let rows = api::RESOURCES.clone();
        let store = Embedded::in_memory(Arc::new(Canonical::new(rows.iter().map(Arc::as_ref))));
        let (key, _) = SigningKey::generate().expect("a key");
        let access = Access::new("https://issuer", key, store.clone());
        access.start(&scope).await.expect("the default roles are written");
        let deps = Deps {
            store,
            rows,
            authenticator: access.authenticator(),
            authorizer: access.authorizer(),
            handlers: access.handlers(),
            plugins: access.plugins(),
            health: Health::default(),
            metrics: Metrics::default(),
            scope: scope.clone(),
        };
        let server = ApiServer::build(Config::default(), deps).await.expect("the server is built");
        Server { service: server.service(), _scope: scope }
    }

    /// Who asks: a user of the in-process transport, a bearer token, or nobody.
    enum As<'a> {
        User(UserInfo),
        Token(&'a str),
        Nobody,
    }

    impl Server {
        async fn ask(&self, who: As<'_>, method: &str, path: &str, body: Value) -> (u16, Value) {
            self.ask_with(who, method, path, &[], body).await
        }

        async fn ask_with(
            &self,
            who: As<'_>,
            method: &str,
            path: &str,
            headers: &[(&str, &str)],
            body: Value,
        ) -> (u16, Value) {
            let mut request = Request::builder().method(method).uri(path);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            match who {
                As::User(user) => request = request.extension(user),
                As::Token(token) => request = request.header("authorization", format!("Bearer {token}")),
                As::Nobody => {}
            }
            let bytes = if body.is_null() { String::new() } else { body.to_string() };
            let response = self.service.answer(request.body(body::full(bytes)).expect("a request")).await;
            let code = response.status().as_u16();
            let bytes = body::read(response.into_body()).await.expect("a body");
            (code, serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into()))
        }
    }

    fn root() -> As<'static> {
        As::User(UserInfo::new("root", ["system:masters"]))
    }

    fn ann() -> As<'static> {
        As::User(UserInfo::new("ann", Vec::<String>::new()))
    }

    #[tokio::test]
    async fn nobody_gets_health_and_version_only() {
        let server = server().await;
        for (path, expected) in
            [("/version", 200), ("/livez", 200), ("/readyz", 200), ("/healthz", 200), ("/api", 403), ("/metrics", 403)]
        {
            assert_eq!(server.ask(As::Nobody, "GET", path, Value::Null).await.0, expected, "{path}");
        }
        assert_eq!(server.ask(As::Token("nonsense"), "GET", "/version", Value::Null).await.0, 401);
        let (code, status) = server.ask(As::Nobody, "GET", "/api/v1/namespaces/default/pods/x", Value::Null).await;
        assert_eq!(code, 403);
        assert_eq!(
            status["message"],
            r#"pods "x" is forbidden: User "system:anonymous" cannot get resource "pods" in API group "" in the namespace "default""#
        );
        assert_eq!(server.ask(ann(), "GET", "/api", Value::Null).await.0, 200, "everybody known may discover");
    }

    #[tokio::test]
    async fn an_accounts_token_works_as_far_as_its_roles_go() {
        let server = server().await;
        let accounts = "/api/v1/namespaces/default/serviceaccounts";
        let account = json!({ "metadata": { "name": "robot" } });
        assert_eq!(server.ask(root(), "POST", accounts, account).await.0, 201);
        let (code, request) =
            server.ask(root(), "POST", &format!("{accounts}/robot/token"), json!({ "spec": {} })).await;
        assert_eq!(code, 201, "{request}");
        let token = request["status"]["token"].as_str().expect("a token");

        let pods = "/api/v1/namespaces/default/pods";
        let (code, status) = server.ask(As::Token(token), "GET", pods, Value::Null).await;
        assert_eq!(code, 403, "{status}");
        let binding = json!({
            "metadata": { "name": "robot-views" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view" },
            "subjects": [{ "kind": "ServiceAccount", "name": "robot", "namespace": "default" }],
        });
        let bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
        let (code, answer) = server.ask(root(), "POST", bindings, binding).await;
        assert_eq!(code, 201, "{answer}");
        assert_eq!(server.ask(As::Token(token), "GET", pods, Value::Null).await.0, 200, "a grant holds at once");
        assert_eq!(server.ask(As::Token(token), "GET", "/api/v1/pods", Value::Null).await.0, 403);
        assert_eq!(server.ask(As::Token(token), "GET", "/openid/v1/jwks", Value::Null).await.0, 200);

        let (_, who) =
            server.ask(As::Token(token), "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", json!({})).await;
        assert_eq!(who["status"]["userInfo"]["username"], "system:serviceaccount:default:robot");
        assert_eq!(server.ask(root(), "DELETE", &format!("{accounts}/robot"), Value::Null).await.0, 200);
        assert_eq!(
            server.ask(As::Token(token), "GET", pods, Value::Null).await.0,
            401,
            "a token dies with its account"
        );
    }

    #[tokio::test]
    async fn people_act_as_others_only_when_they_may() {
        let server = server().await;
        let path = "/api/v1/namespaces/default/pods";
        let (code, status) = server.ask_with(ann(), "GET", path, &[("impersonate-user", "bob")], Value::Null).await;
        assert_eq!(code, 403);
        assert_eq!(
            status["message"],
            r#"pods is forbidden: User "ann" cannot impersonate-on:user-info:list resource "pods" in API group "" in the namespace "default""#
        );
        let (code, status) = server.ask_with(root(), "GET", path, &[("impersonate-user", "bob")], Value::Null).await;
        assert_eq!(code, 403);
        assert!(status["message"].as_str().is_some_and(|text| text.contains(r#"User "bob" cannot list"#)), "{status}");
        let headers = [("impersonate-user", "bob"), ("impersonate-group", "system:masters")];
        assert_eq!(server.ask_with(root(), "GET", path, &headers, Value::Null).await.0, 200);
    }

    #[tokio::test]
    async fn reviews_answer_and_grants_cannot_grow() {
        let server = server().await;
        let review =
            json!({ "spec": { "resourceAttributes": { "namespace": "default", "verb": "get", "resource": "pods" } } });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let (code, answer) = server.ask(ann(), "POST", path, review.clone()).await;
        assert_eq!((code, &answer["status"]["allowed"]), (201, &json!(false)), "{answer}");
        assert_eq!(server.ask(root(), "POST", path, review).await.1["status"]["allowed"], true);

        let bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
        let binding = |name: &str, role: &str, user: &str| {
            json!({
                "metadata": { "name": name },
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
                "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }],
            })
        };
        assert_eq!(server.ask(root(), "POST", bindings, binding("ann", "admin", "ann")).await.0, 201);
        assert_eq!(server.ask(ann(), "POST", bindings, binding("bob", "edit", "bob")).await.0, 201, "what she holds");
        let (code, status) = server.ask(ann(), "POST", bindings, binding("eve", "cluster-admin", "eve")).await;
        assert_eq!(code, 403);
        let message = status["message"].as_str().unwrap_or_default();
        assert!(message.contains("is attempting to grant RBAC permissions not currently held"), "{message}");
    }
}
