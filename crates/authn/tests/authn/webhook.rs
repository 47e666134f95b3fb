//! A server that reviews tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use authn::TokenAuthenticator;
use authn::token_webhook::TokenWebhook;
use component_base::Scope;
use serde_json::json;
use webhook::testing::TestServer;
use webhook::{Client, Endpoint};

#[tokio::test]
async fn tokens_are_reviewed_once_and_answers_are_kept() {
    let scope = Scope::root();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let server = TestServer::start(&scope, move |_, seen| {
        count.fetch_add(1, Ordering::Relaxed);
        assert_eq!(seen.headers["authorization"], "Bearer shared-secret");
        assert_eq!(seen.body["apiVersion"], "authentication.k8s.io/v1");
        match seen.body["spec"]["token"].as_str() {
            Some("ann") => (
                200,
                json!({"status": {"authenticated": true, "user": {"username": "ann", "groups": ["dev"], "extra": null}, "audiences": ["api"]}}),
            ),
            Some("elsewhere") => {
                (200, json!({"status": {"authenticated": true, "user": {"username": "x"}, "audiences": ["vault"]}}))
            }
            Some("broken") => (200, json!({"status": {"error": "no such token"}})),
            _ => (200, json!({"status": {"authenticated": false}})),
        }
    })
    .await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), server.kubeconfig("/review")).expect("written");
    let client = Client::new(&Endpoint::load(file.path()).expect("a kubeconfig")).expect("a client");
    let hook = TokenWebhook::new(client, "v1", Duration::from_secs(120));
    let now = component_base::now();
    let audiences = ["api".to_owned()];
    for _ in 0..3 {
        let known = hook.authenticate("ann", &audiences, now).await.expect("answered").expect("known");
        assert_eq!((known.user.username.as_str(), known.user.groups.as_slice()), ("ann", &["dev".to_owned()][..]));
        assert_eq!(known.audiences, audiences);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    for token in ["nobody", "elsewhere"] {
        assert_eq!(hook.authenticate(token, &audiences, now).await.expect("answered"), None, "{token}");
    }
    let error = hook.authenticate("broken", &audiences, now).await.expect_err("refused").to_string();
    assert_eq!(error, "webhook token review: no such token");
    scope.cancel();
}
