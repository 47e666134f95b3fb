//! Who may do what, in whole requests: webhooks that judge, certificates that are asked for, and what is written down.

use std::sync::Arc;

use apimachinery::UserInfo;
use apiserver::access::Options;
use apiserver::{ApiServer, Body, Config};
use audit::{Audit, Policy, Sink};
use base64::Engine;
use component_base::Scope;
use http::Request;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};
use testserver::TestServer;

/// A server with access control as the options say.
struct Guarded {
    server: Arc<ApiServer>,
}

impl Guarded {
    async fn new(options: Options, config: Config, scope: &Scope) -> Self {
        Self { server: TestServer::with(options, config, scope).await.server }
    }

    /// Asks as a user of this process, or by a bearer token.
    async fn ask(&self, who: Result<UserInfo, &str>, method: &str, path: &str, body: Value) -> (u16, Value) {
        let mut request = Request::builder().method(method).uri(path);
        if let Err(token) = &who {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let mut request: Request<Body> = request.body(apiserver::body::full(text)).expect("a request");
        if let Ok(user) = who {
            request.extensions_mut().insert(user);
        }
        let response = self.server.service().answer(request).await;
        let code = response.status().as_u16();
        assert!(response.headers().contains_key("audit-id"));
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        let text = || String::from_utf8_lossy(&bytes).into_owned().into();
        (code, serde_json::from_slice(&bytes).unwrap_or_else(|_| text()))
    }
}

fn root() -> UserInfo {
    UserInfo::new("root", ["system:masters"])
}

#[tokio::test]
async fn a_token_file_and_a_webhook_let_somebody_in() {
    let (scope, servers) = (Scope::root(), Scope::root());
    let directory = tempfile::tempdir().expect("a directory");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    let judge = webhook::testing::TestServer::start(&servers, move |_, seen| {
        let spec = &seen.body["spec"];
        log.lock().push(spec.clone());
        let namespace = &spec["resourceAttributes"]["namespace"];
        (200, json!({ "status": { "allowed": namespace == "shop", "denied": namespace == "vault", "reason": "because" } }))
    })
    .await;
    let (tokens, kubeconfig, config) =
        (directory.path().join("tokens"), directory.path().join("hook"), directory.path().join("config"));
    std::fs::write(&tokens, "ann-token,ann,7,\"devs\"\n").expect("written");
    std::fs::write(&kubeconfig, judge.kubeconfig("/judge")).expect("written");
    let text = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n- {{type: RBAC, name: rbac}}\n- {{type: Webhook, name: hook, webhook: {{timeout: 3s, subjectAccessReviewVersion: v1, failurePolicy: Deny, matchConditionSubjectAccessReviewVersion: v1, matchConditions: [{{expression: request.user == 'ann'}}], connectionInfo: {{type: KubeConfigFile, kubeConfigFile: {}}}}}}}\n",
        kubeconfig.display()
    );
    std::fs::write(&config, text).expect("written");
    let options = Options { token_auth_file: Some(tokens), authorization_config: Some(config), ..Options::default() };
    let server = Guarded::new(options, Config::default(), &scope).await;

    let pods = |namespace: &str| format!("/api/v1/namespaces/{namespace}/pods?labelSelector=app%3Dweb");
    assert_eq!(server.ask(Err("ann-token"), "GET", &pods("shop"), Value::Null).await.0, 200);
    assert_eq!(server.ask(Err("ann-token"), "GET", &pods("shop"), Value::Null).await.0, 200);
    let spec = asked.lock()[0].clone();
    assert_eq!(asked.lock().len(), 1, "the answer is kept");
    assert_eq!((&spec["user"], &spec["groups"][0]), (&json!("ann"), &json!("devs")));
    assert_eq!(
        spec["resourceAttributes"]["labelSelector"],
        json!({ "requirements": [{ "key": "app", "operator": "In", "values": ["web"] }] })
    );
    let bob = UserInfo::new("bob", ["devs"]);
    assert_eq!(server.ask(Ok(bob), "GET", &pods("shop"), Value::Null).await.0, 403, "the webhook is about ann");
    assert_eq!(asked.lock().len(), 1);
    let (code, status) = server.ask(Err("ann-token"), "GET", &pods("vault"), Value::Null).await;
    assert_eq!(code, 403);
    assert!(status["message"].as_str().is_some_and(|text| text.ends_with(": because")), "{status}");
    assert_eq!(server.ask(Err("nobody"), "GET", &pods("shop"), Value::Null).await.0, 401);

    // Policies ask the webhook as well.
    let policies = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
    let rules =
        json!([{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"] }]);
    let may = |verb: &str, namespace: &str| {
        format!("authorizer.group('').resource('pods').namespace('{namespace}').check('{verb}').allowed()")
    };
    let expression = format!("{} && !{}", may("delete", "shop"), may("delete", "home"));
    // As long as nobody has answered, this condition fails.
    let condition = json!({ "name": "asks", "expression": format!("{} ? true : [true][1]", may("get", "shop")) });
    let policy = json!({ "metadata": { "name": "ask" }, "spec": {
        "matchConstraints": { "resourceRules": rules }, "matchConditions": [condition],
        "validations": [{ "expression": expression }] } });
    assert_eq!(server.ask(Ok(root()), "POST", policies, policy).await.0, 201);
    let binding =
        json!({ "metadata": { "name": "ask" }, "spec": { "policyName": "ask", "validationActions": ["Deny"] } });
    assert_eq!(
        server.ask(Ok(root()), "POST", &format!("{policies}/").replace("policies/", "policybindings"), binding).await.0,
        201
    );
    assert_eq!(
        server.ask(Ok(root()), "POST", "/api/v1/namespaces", json!({ "metadata": { "name": "shop" } })).await.0,
        201
    );
    let before = asked.lock().len();
    let maps = "/api/v1/namespaces/shop/configmaps";
    let made = server.ask(Err("ann-token"), "POST", maps, json!({ "metadata": { "name": "a" } })).await;
    assert_eq!(made.0, 201, "{}", made.1);
    assert_eq!(asked.lock().len(), before + 4, "about the request, and what the policy asks");
    let (_, page) = server.ask(Ok(root()), "GET", "/metrics", Value::Null).await;
    let labels = r#"{name="ask",kind="policy",type="validate",operation="CREATE"}"#;
    for (name, count) in [("seconds_count", 1), ("errors_total", 0)] {
        let line = format!("apiserver_admission_match_condition_evaluation_{name}{labels} {count}\n");
        assert!(page.as_str().is_some_and(|page| page.contains(&line)), "{line}: {page}");
    }
    let (code, status) = server.ask(Ok(root()), "POST", maps, json!({ "metadata": { "name": "b" } })).await;
    assert_eq!(code, 422, "root may delete pods everywhere: {status}");

    let review = json!({ "spec": { "token": "ann-token" } });
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let (_, review) = server.ask(Ok(root()), "POST", path, review).await;
    assert_eq!(review["status"]["user"]["groups"], json!(["devs", "system:authenticated"]));
    scope.cancel();
    servers.cancel();
}

#[tokio::test]
async fn a_bootstrap_token_is_believed_while_its_secret_is_there() {
    let scope = Scope::root();
    let options = Options { enable_bootstrap_token_auth: true, ..Options::default() };
    let server = Guarded::new(options, Config::default(), &scope).await;
    let secrets = "/api/v1/namespaces/kube-system/secrets";
    let secret = json!({
        "metadata": { "name": "bootstrap-token-abcdef" }, "type": "bootstrap.kubernetes.io/token",
        "stringData": { "token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true" },
    });
    let who = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let token = Err("abcdef.0123456789abcdef");
    assert_eq!(server.ask(token.clone(), "POST", who, json!({})).await.0, 401);
    assert_eq!(server.ask(Ok(root()), "POST", secrets, secret).await.0, 201);
    let (code, answer) = server.ask(token.clone(), "POST", who, json!({})).await;
    assert_eq!((code, &answer["status"]["userInfo"]["username"]), (201, &json!("system:bootstrap:abcdef")));
    assert_eq!(
        server.ask(Ok(root()), "DELETE", &format!("{secrets}/bootstrap-token-abcdef"), Value::Null).await.0,
        200
    );
    assert_eq!(server.ask(token, "POST", who, json!({})).await.0, 401);
    scope.cancel();
}

#[tokio::test]
async fn certificates_are_asked_for_approved_and_signed_by_those_who_may() {
    let scope = Scope::root();
    let server = Guarded::new(Options::default(), Config::default(), &scope).await;
    let csr = |name: &str, group: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "ann");
        params.distinguished_name.push(DnType::OrganizationName, group);
        let key = KeyPair::generate().expect("a key");
        let pem = params.serialize_request(&key).expect("a request").pem().expect("text");
        json!({
            "metadata": { "name": name },
            "spec": {
                "request": base64::engine::general_purpose::STANDARD.encode(pem),
                "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"],
            },
        })
    };
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let (code, status) = server.ask(Ok(root()), "POST", path, csr("evil", "system:masters")).await;
    assert_eq!(code, 403);
    assert!(
        status["message"].as_str().is_some_and(|text| text
            .ends_with("use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed")),
        "{status}"
    );
    let (code, made) = server.ask(Ok(root()), "POST", path, csr("good", "devs")).await;
    assert_eq!((code, &made["spec"]["username"]), (201, &json!("root")));

    let role = json!({
        "metadata": { "name": "csr" },
        "rules": [{ "apiGroups": ["certificates.k8s.io"], "resources": ["*"], "verbs": ["get", "update"] }],
    });
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    assert_eq!(server.ask(Ok(root()), "POST", &format!("{rbac}/clusterroles"), role).await.0, 201);
    let binding = json!({
        "metadata": { "name": "csr" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "csr" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "ann" }],
    });
    assert_eq!(server.ask(Ok(root()), "POST", &format!("{rbac}/clusterrolebindings"), binding).await.0, 201);
    let mut approved = made;
    approved["status"]["conditions"] = json!([{ "type": "Approved", "status": "True", "reason": "test" }]);
    let ann = UserInfo::new("ann", ["devs"]);
    let (code, status) = server.ask(Ok(ann.clone()), "PUT", &format!("{path}/good/approval"), approved.clone()).await;
    assert_eq!(code, 403);
    assert!(
        status["message"]
            .as_str()
            .is_some_and(|text| text.contains("user not permitted to approve requests with signerName")),
        "{status}"
    );
    let (code, mut signed) = server.ask(Ok(root()), "PUT", &format!("{path}/good/approval"), approved).await;
    assert_eq!(code, 200, "{signed}");
    let pem = rcgen::generate_simple_self_signed(["ann".to_owned()]).expect("a certificate").cert.pem();
    signed["status"]["certificate"] = base64::engine::general_purpose::STANDARD.encode(pem).into();
    let (code, status) = server.ask(Ok(ann), "PUT", &format!("{path}/good/status"), signed).await;
    assert_eq!(code, 403);
    assert!(
        status["message"]
            .as_str()
            .is_some_and(|text| text.contains("user not permitted to sign requests with signerName")),
        "{status}"
    );
    scope.cancel();
}

#[derive(Clone, Default)]
pub struct Kept(pub Arc<Mutex<Vec<Arc<Value>>>>);

impl Sink for Kept {
    fn take(&self, event: &Arc<Value>) {
        self.0.lock().push(event.clone());
    }
}

#[tokio::test]
async fn requests_leave_their_traces() {
    let scope = Scope::root();
    let policy = "
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- {level: RequestResponse, resources: [{group: '', resources: [configmaps]}], omitManagedFields: true, omitStages: [RequestReceived]}
- {level: Metadata, verbs: [watch], resources: [{group: '', resources: [pods]}]}
- {level: Metadata, nonResourceURLs: ['/version']}
- {level: None}
";
    let kept = Kept::default();
    let audit = Audit::new(Policy::parse(policy).expect("a policy"), vec![Box::new(kept.clone())]);
    let config = Config { audit: Some(audit), ..Config::default() };
    let server = Guarded::new(Options::default(), config, &scope).await;
    let lines = || -> Vec<String> {
        let text = |event: &Value, pointer: &str| {
            event.pointer(pointer).cloned().unwrap_or_default().to_string().replace('"', "")
        };
        let events = std::mem::take(&mut *kept.0.lock());
        let line = |event: &Arc<Value>| {
            let parts = [
                "/stage",
                "/verb",
                "/user/username",
                "/responseStatus/code",
                "/annotations/authorization.k8s.io~1decision",
            ];
            parts.map(|pointer| text(event, pointer)).join(" ")
        };
        events.iter().map(line).collect()
    };
    let path = "/api/v1/namespaces/default/configmaps";
    let map = json!({ "metadata": { "name": "a" }, "data": { "k": "v" } });
    assert_eq!(server.ask(Ok(root()), "POST", path, map.clone()).await.0, 201);
    {
        let events = kept.0.lock();
        assert_eq!(events[0]["requestObject"]["data"]["k"], "v");
        assert!(events[0]["responseObject"]["metadata"]["uid"].is_string());
        assert!(events[0]["responseObject"]["metadata"]["managedFields"].is_null());
        assert_eq!(events[0]["objectRef"]["name"], "a");
        assert_eq!(events[0]["requestURI"], path);
    }
    assert_eq!(lines(), ["ResponseComplete create root 201 allow"]);
    assert_eq!(server.ask(Ok(root()), "POST", path, map).await.0, 409);
    assert_eq!(kept.0.lock()[0]["responseStatus"]["reason"], "AlreadyExists");
    assert_eq!(lines(), ["ResponseComplete create root 409 allow"]);
    let ann = UserInfo::new("ann", ["devs"]);
    assert_eq!(server.ask(Ok(ann), "GET", path, Value::Null).await.0, 403);
    assert_eq!(lines(), ["ResponseComplete list ann 403 forbid"]);
    assert_eq!(server.ask(Ok(root()), "GET", "/api/v1/namespaces/default/secrets", Value::Null).await.0, 200);
    assert_eq!(lines(), [""; 0]);
    assert_eq!(server.ask(Err("nobody"), "GET", "/version", Value::Null).await.0, 401);
    assert_eq!(lines(), ["RequestReceived get  null null", "ResponseStarted get  401 null"]);
    let watch = "/api/v1/namespaces/default/pods?watch=true&timeoutSeconds=0&resourceVersion=999999999";
    let request = Request::builder().uri(watch);
    let mut request: Request<Body> = request.body(apiserver::body::empty()).expect("a request");
    request.extensions_mut().insert(root());
    drop(server.server.service().answer(request).await);
    let seen = lines();
    assert_eq!(
        seen.last().map(String::as_str).unwrap_or_default().split(' ').next(),
        Some("ResponseComplete"),
        "{seen:?}"
    );
    scope.cancel();
}
