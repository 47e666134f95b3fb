//! An identity provider that publishes its keys and changes them.

use std::sync::Arc;

use authn::TokenAuthenticator;
use authn::config::AuthenticationConfiguration;
use authn::expression::NoExpressions;
use authn::oidc::Oidc;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use component_base::Scope;
use parking_lot::Mutex;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use webhook::testing::TestServer;

struct Key {
    id: &'static str,
    pair: EcdsaKeyPair,
}

impl Key {
    fn new(id: &'static str) -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random);
        Self { id, pair: pair.expect("a key") }
    }

    fn jwk(&self) -> Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id, "x": BASE64.encode(x), "y": BASE64.encode(y)})
    }

    fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": "ES256", "kid": self.id}).to_string();
        let message = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims.to_string()));
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes()).expect("a signature");
        format!("{message}.{}", BASE64.encode(signature.as_ref()))
    }
}

struct Provider {
    server: TestServer,
    published: Arc<Mutex<Vec<Value>>>,
    fetched: Arc<Mutex<Vec<String>>>,
    answer: Arc<Mutex<Value>>,
    oidc: Oidc,
}

async fn provider(scope: &Scope, keys: &[&Key]) -> Provider {
    let published = Arc::new(Mutex::new(keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()));
    let fetched = Arc::new(Mutex::new(Vec::new()));
    let answer = Arc::new(Mutex::new(Value::Null));
    let (own, log, own_answer) = (published.clone(), fetched.clone(), answer.clone());
    let server = TestServer::start(scope, move |url, seen| {
        log.lock().push(seen.path.clone());
        match seen.path.as_str() {
            "/.well-known/openid-configuration" => (200, json!({"issuer": url, "jwks_uri": format!("{url}/keys")})),
            "/keys" => (200, json!({"keys": *own.lock()})),
            "/groups" if seen.headers.get("authorization").is_some_and(|value| value == "Bearer secret") => {
                (200, own_answer.lock().clone())
            }
            _ => (404, Value::Null),
        }
    })
    .await;
    let ca = serde_json::to_string(&server.ca_pem).expect("text");
    let text = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- issuer: {{url: '{}', audiences: [kube], certificateAuthority: {ca}}}\n  claimMappings: {{username: {{claim: sub, prefix: 'id:'}}, groups: {{claim: groups, prefix: ''}}}}\n",
        server.url
    );
    let config = AuthenticationConfiguration::parse(&text).expect("a file");
    let oidc = Oidc::new(&config.jwt[0], &NoExpressions).expect("a provider");
    Provider { server, published, fetched, answer, oidc }
}

impl Provider {
    async fn ask(&self, key: &Key, change: impl FnOnce(&mut Value)) -> Result<Option<String>, String> {
        let now = component_base::now();
        let mut claims = json!({"iss": self.server.url, "aud": "kube", "sub": "ann", "exp": now.as_second() + 60});
        change(&mut claims);
        let known = self.oidc.authenticate(&key.sign(&claims), &[], now).await;
        known.map(|known| known.map(|known| known.user.username)).map_err(|error| error.to_string())
    }
}

#[tokio::test]
async fn a_provider_is_believed_by_its_published_keys() {
    let scope = Scope::root();
    let (first, other) = (Key::new("one"), Key::new("one"));
    let provider = provider(&scope, &[&first]).await;
    assert_eq!(provider.ask(&first, |_| {}).await, Ok(Some("id:ann".into())));
    assert_eq!(provider.ask(&first, |claims| claims["iss"] = "https://else".into()).await, Ok(None));
    assert_eq!(*provider.fetched.lock(), ["/.well-known/openid-configuration", "/keys"], "fetched once");

    let refused = |text: Result<Option<String>, String>| text.expect_err("refused");
    assert_eq!(refused(provider.ask(&other, |_| {}).await), "oidc: verify token: failed to verify id token signature");
    assert_eq!(
        refused(provider.ask(&first, |claims| claims["aud"] = json!(["vault"])).await),
        r#"oidc: verify token: oidc: expected audience in ["kube"] got ["vault"]"#
    );
    assert_eq!(
        refused(provider.ask(&first, |claims| claims["exp"] = json!(1)).await),
        "oidc: verify token: oidc: token is expired"
    );
    assert!(refused(provider.ask(&first, |claims| claims["nbf"] = json!(99_999_999_999_u64)).await).contains("nbf"));
    scope.cancel();
}

#[tokio::test]
async fn new_keys_are_fetched_when_a_token_names_one() {
    let scope = Scope::root();
    let (first, second) = (Key::new("one"), Key::new("two"));
    let provider = provider(&scope, &[&first]).await;
    provider.published.lock().push(second.jwk());
    assert_eq!(provider.ask(&first, |_| {}).await, Ok(Some("id:ann".into())));
    assert_eq!(provider.ask(&second, |_| {}).await, Ok(Some("id:ann".into())));
    scope.cancel();
}

#[tokio::test]
async fn groups_may_be_elsewhere() {
    let scope = Scope::root();
    let key = Key::new("one");
    let provider = provider(&scope, &[&key]).await;
    let url = provider.server.url.clone();
    let now = component_base::now();
    let claims = |source: &str| {
        json!({
            "iss": url, "aud": "kube", "sub": "ann", "exp": now.as_second() + 60,
            "_claim_names": {"groups": source},
            "_claim_sources": {"there": {"endpoint": format!("{url}/groups"), "access_token": "secret"}},
        })
    };
    let signed = key.sign(&json!({"iss": url, "exp": now.as_second() + 60, "groups": ["a", "b"]}));
    *provider.answer.lock() = signed.into();
    let known = provider.oidc.authenticate(&key.sign(&claims("there")), &[], now).await.expect("believed");
    assert_eq!(known.expect("somebody").user.groups, ["a", "b"]);
    let error = provider.oidc.authenticate(&key.sign(&claims("nowhere")), &[], now).await.expect_err("refused");
    assert_eq!(error.to_string(), "oidc: id token _claim_names contained a source nowhere missing in _claims_sources");
    *provider.answer.lock() =
        Key::new("one").sign(&json!({"iss": url, "exp": now.as_second() + 60, "groups": ["root"]})).into();
    let error = provider.oidc.authenticate(&key.sign(&claims("there")), &[], now).await.expect_err("refused");
    assert_eq!(error.to_string(), "oidc: verify distributed claim token: failed to verify id token signature");
    scope.cancel();
}
