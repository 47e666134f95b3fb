//! [`ServiceAccountTokens`]: issues tokens of service accounts and believes them while what they are bound to lives
//! (upstream: pkg/serviceaccount/{claims,jwt,openidmetadata}.go).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use apimachinery::UserInfo;
use authn::token::TtlCache;
use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use store::Store;

use super::CREDENTIAL_ID;
use super::jwt::{self, JwtError};
use super::legacy::{self, LegacyClaims};
use super::signing_key::{KeyError, SigningKey};
use super::verifying_key::VerifyingKey;

/// An object that is being deleted keeps its tokens this long, so that pods can end in peace
/// (upstream: `invalidIfDeletedBefore`).
const DELETED_LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// Issues and checks tokens.
#[derive(Debug)]
pub struct ServiceAccountTokens {
    issuer: String,
    /// Issuers that were once ours: their tokens are believed until they expire.
    former_issuers: Vec<String>,
    audiences: Vec<String>,
    key: SigningKey,
    /// The key's own public part, and those of keys that sign elsewhere or signed once.
    keys: Vec<VerifyingKey>,
    settings: Settings,
    store: Arc<dyn Store>,
    signed: TtlCache<[u8; 32], Arc<Signed>>,
}

/// What is said and given beyond the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `--service-account-jwks-uri`: where others find the keys; nothing means below the issuer.
    pub jwks_uri: Option<String>,
    /// `--service-account-extend-token-expiration`.
    pub extend_expiration: bool,
    /// `--service-account-max-token-expiration`: longer tokens are cut to it.
    pub max_expiration: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { jwks_uri: None, extend_expiration: true, max_expiration: None }
    }
}

/// What a token says whose signature was verified.
#[derive(Debug)]
enum Signed {
    Bound(Box<Claims>),
    Legacy(LegacyClaims),
}

/// So many verified tokens are remembered, and for so long.
const SIGNED: usize = 4096;
const SIGNED_HOLDS: Duration = Duration::from_secs(600);

/// A name, and the uid that tells it from a later object of that name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The name.
    pub name: String,
    /// The uid.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// The claims below `kubernetes.io`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Private {
    /// The account's namespace.
    #[serde(default)]
    pub namespace: String,
    /// The node a pod runs on, or that the token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Reference>,
    /// The pod that the token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
    /// The secret that the token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
    /// The account.
    #[serde(default)]
    pub serviceaccount: Reference,
    /// From here on its holder should have renewed the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<i64>,
}

/// What a token says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// For whom it is meant.
    #[serde(default)]
    pub aud: Vec<String>,
    /// When it ends, in seconds since 1970.
    pub exp: i64,
    /// When it was issued.
    #[serde(default)]
    pub iat: i64,
    /// Who issued it.
    #[serde(default)]
    pub iss: String,
    /// Its own id.
    #[serde(default)]
    pub jti: String,
    /// The account and what the token is bound to.
    #[serde(default, rename = "kubernetes.io")]
    pub private: Private,
    /// Not before this time.
    #[serde(default)]
    pub nbf: i64,
    /// The user.
    #[serde(default)]
    pub sub: String,
}

/// Whom a token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticated {
    /// The user.
    pub user: UserInfo,
    /// Those of the asked audiences that the token is meant for.
    pub audiences: Vec<String>,
}

/// Why a token is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not one of ours.
    #[error(transparent)]
    Jwt(#[from] JwtError),
    /// Another issuer.
    #[error("the token's issuer is not known")]
    UnknownIssuer,
    /// Meant for others.
    #[error("the token's audiences {0:?} do not include any of {1:?}")]
    OtherAudience(Vec<String>, Vec<String>),
    /// Its time is over.
    #[error("service account token has expired")]
    Expired,
    /// Its time has not come.
    #[error("service account token is issued in the future")]
    NotYet,
    /// It contradicts itself.
    #[error("service account token names no account")]
    NoAccount,
    /// What it is bound to is gone.
    #[error("service account token has been invalidated: {0} is gone")]
    Gone(String),
    /// The store gives no answer.
    #[error("the store cannot be read")]
    StoreUnavailable,
}

impl ServiceAccountTokens {
    /// Tokens of `issuer`, which is also the audience of the API.
    pub fn new(issuer: impl Into<String>, key: SigningKey, store: Arc<dyn Store>) -> Self {
        let issuer = issuer.into();
        Self {
            audiences: vec![issuer.clone()],
            issuer,
            former_issuers: Vec::new(),
            keys: vec![key.public().clone()],
            settings: Settings::default(),
            key,
            store,
            signed: TtlCache::new(SIGNED),
        }
    }

    /// Believes tokens of these issuers as well (`--service-account-issuer` given several times), and takes tokens for
    /// these audiences (`--api-audiences`; none leaves them to be the issuers).
    #[must_use]
    pub fn accepting(mut self, former_issuers: Vec<String>, audiences: Vec<String>) -> Self {
        self.audiences.extend(former_issuers.iter().cloned());
        self.former_issuers = former_issuers;
        if !audiences.is_empty() {
            self.audiences = audiences;
        }
        self
    }

    /// Believes what these keys signed as well (`--service-account-key-file`).
    #[must_use]
    pub fn verifying(mut self, further: Vec<VerifyingKey>) -> Self {
        for key in further {
            if !self.keys.contains(&key) {
                self.keys.push(key);
            }
        }
        self
    }

    /// With these settings.
    #[must_use]
    pub fn with(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Every issuer whose tokens are believed; no identity provider may be one of them.
    pub fn issuers(&self) -> Vec<String> {
        std::iter::once(&self.issuer).chain(&self.former_issuers).cloned().collect()
    }

    /// Signs the token of a Secret.
    pub fn issue_legacy(&self, claims: &LegacyClaims) -> Result<String, KeyError> {
        jwt::encode(&self.key, claims)
    }

    /// The audiences under which the API itself takes tokens.
    pub fn api_audiences(&self) -> &[String] {
        &self.audiences
    }

    /// Signs a token for an account.
    pub fn issue(&self, mut claims: Claims) -> Result<String, KeyError> {
        claims.iss.clone_from(&self.issuer);
        claims.jti = uuid::Uuid::new_v4().to_string();
        claims.sub = username(&claims.private.namespace, &claims.private.serviceaccount.name);
        jwt::encode(&self.key, &claims)
    }

    /// Whom the token speaks for, when it is meant for one of `audiences`.
    pub fn authenticate(&self, token: &str, audiences: &[String], now: Timestamp) -> Result<Authenticated, TokenError> {
        let signed = self.signed(token)?;
        let claims = match &*signed {
            Signed::Bound(claims) => claims,
            Signed::Legacy(claims) => return self.authenticate_legacy(token, claims, audiences),
        };
        if claims.iss != self.issuer && !self.former_issuers.contains(&claims.iss) {
            return Err(TokenError::UnknownIssuer);
        }
        let common: Vec<String> = audiences.iter().filter(|audience| claims.aud.contains(audience)).cloned().collect();
        if common.is_empty() {
            return Err(TokenError::OtherAudience(claims.aud.clone(), audiences.to_vec()));
        }
        if now.as_second() >= claims.exp {
            return Err(TokenError::Expired);
        }
        if now.as_second() < claims.nbf.max(claims.iat) {
            return Err(TokenError::NotYet);
        }
        let private = &claims.private;
        if claims.sub != username(&private.namespace, &private.serviceaccount.name) || private.namespace.is_empty() {
            return Err(TokenError::NoAccount);
        }
        self.check_bindings(private, now)?;
        Ok(Authenticated { user: user(claims), audiences: common })
    }

    /// What a token says, when this server signed it. Signatures are expensive and do not change: one that was good
    /// is remembered. Time, audience and what the token is bound to are judged each time.
    fn signed(&self, token: &str) -> Result<Arc<Signed>, TokenError> {
        let key: [u8; 32] = Sha256::digest(token).into();
        if let Some(signed) = self.signed.get(&key) {
            return Ok(signed);
        }
        let claims: Value = jwt::decode(&self.keys, token)?;
        let malformed = |_| TokenError::Jwt(JwtError::Malformed);
        let signed = Arc::new(if claims["iss"] == legacy::ISSUER {
            Signed::Legacy(serde_json::from_value(claims).map_err(|_| TokenError::NoAccount)?)
        } else {
            Signed::Bound(Box::new(serde_json::from_value(claims).map_err(malformed)?))
        });
        self.signed.put(key, signed.clone(), SIGNED_HOLDS);
        Ok(signed)
    }

    /// A token in a Secret is meant for the API and names no audience.
    fn authenticate_legacy(
        &self,
        token: &str,
        claims: &LegacyClaims,
        audiences: &[String],
    ) -> Result<Authenticated, TokenError> {
        let common: Vec<String> = audiences.iter().filter(|asked| self.audiences.contains(asked)).cloned().collect();
        if common.is_empty() {
            return Err(TokenError::OtherAudience(self.audiences.clone(), audiences.to_vec()));
        }
        claims.check(self, token)?;
        let mut user = UserInfo::new(claims.sub.clone(), groups(&claims.namespace));
        user.uid.clone_from(&claims.uid);
        Ok(Authenticated { user, audiences: common })
    }

    fn check_bindings(&self, private: &Private, now: Timestamp) -> Result<(), TokenError> {
        let namespace = &private.namespace;
        self.check(&format!("/registry/core/serviceaccounts/{namespace}"), &private.serviceaccount, now)?;
        if let Some(secret) = &private.secret {
            self.check(&format!("/registry/core/secrets/{namespace}"), secret, now)?;
        }
        if let Some(pod) = &private.pod {
            self.check(&format!("/registry/core/pods/{namespace}"), pod, now)?;
        } else if let Some(node) = &private.node {
            // A pod's token says where the pod runs; only a token bound to the node itself dies with it.
            self.check("/registry/core/nodes", node, now)?;
        }
        Ok(())
    }

    /// The object is there, is the same one, and has not been going for long.
    fn check(&self, prefix: &str, reference: &Reference, now: Timestamp) -> Result<(), TokenError> {
        let gone = || TokenError::Gone(format!("{}/{}", prefix.trim_start_matches("/registry/core/"), reference.name));
        let object = self.object(&format!("{prefix}/{}", reference.name))?.ok_or_else(gone)?;
        let metadata = &object["metadata"];
        if metadata["uid"].as_str().unwrap_or_default() != reference.uid {
            return Err(gone());
        }
        let deleted_at = metadata["deletionTimestamp"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
        match deleted_at {
            Some(at) if now.duration_since(at) > DELETED_LEEWAY => Err(gone()),
            _ => Ok(()),
        }
    }

    /// A stored object. The store answers from memory.
    pub(super) fn object(&self, key: &str) -> Result<Option<Value>, TokenError> {
        let found = self.store.get(key).now_or_never().ok_or(TokenError::StoreUnavailable)?;
        let found = found.map_err(|_| TokenError::StoreUnavailable)?;
        Ok(found.and_then(|entry| serde_json::from_slice(&entry.finished.value).ok()))
    }

    /// The document at `/openid/v1/jwks`.
    pub fn jwks(&self) -> Value {
        json!({ "keys": self.keys.iter().map(VerifyingKey::jwk).collect::<Vec<_>>() })
    }

    /// The document at `/.well-known/openid-configuration`.
    pub fn openid_configuration(&self) -> Value {
        let here = format!("{}/openid/v1/jwks", self.issuer.trim_end_matches('/'));
        let algorithms: BTreeSet<&str> = self.keys.iter().map(VerifyingKey::algorithm).collect();
        json!({
            "issuer": self.issuer,
            "jwks_uri": self.settings.jwks_uri.as_ref().unwrap_or(&here),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": algorithms,
        })
    }

    pub(super) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }
}

/// The user name of an account (upstream: `serviceaccount.MakeUsername`).
pub fn username(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

/// The groups of an account (upstream: `serviceaccount.MakeGroupNames`).
pub fn groups(namespace: &str) -> [String; 2] {
    ["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")]
}

/// Namespace and name of an account's user name.
pub fn split_username(username: &str) -> Option<(&str, &str)> {
    let (namespace, name) = username.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}

fn user(claims: &Claims) -> UserInfo {
    let private = &claims.private;
    let mut user = UserInfo::new(claims.sub.clone(), groups(&private.namespace));
    user.uid.clone_from(&private.serviceaccount.uid);
    let mut extra = |key: &str, value: &str| {
        if !value.is_empty() {
            user.extra.insert(key.into(), vec![value.into()]);
        }
    };
    if !claims.jti.is_empty() {
        extra(CREDENTIAL_ID, &format!("JTI={}", claims.jti));
    }
    for (kind, reference) in [("pod", &private.pod), ("node", &private.node)] {
        if let Some(reference) = reference {
            extra(&format!("authentication.kubernetes.io/{kind}-name"), &reference.name);
            extra(&format!("authentication.kubernetes.io/{kind}-uid"), &reference.uid);
        }
    }
    user
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::finish::Canonical;
    use store::suite::{delete, put};
    use store::{Embedded, Expect};

    const NOW: i64 = 1_800_000_000;

    async fn tokens() -> (ServiceAccountTokens, Arc<Embedded>) {
        let store = Embedded::in_memory(Arc::new(Canonical::default()));
        for (key, uid) in [("serviceaccounts/shop/robot", "sa-1"), ("pods/shop/web", "pod-1"), ("nodes/a", "node-1")] {
            let object = json!({ "metadata": { "uid": uid } }).to_string();
            put(&*store, &format!("/registry/core/{key}"), Expect::Absent, &object).await;
        }
        let (key, _) = SigningKey::generate().expect("a key");
        (ServiceAccountTokens::new("https://issuer", key, store.clone()), store)
    }

    fn reference(name: &str, uid: &str) -> Reference {
        Reference { name: name.into(), uid: uid.into() }
    }

    fn claims() -> Claims {
        Claims {
            aud: vec!["https://issuer".into()],
            exp: NOW + 3600,
            iat: NOW,
            nbf: NOW,
            private: Private {
                namespace: "shop".into(),
                serviceaccount: reference("robot", "sa-1"),
                pod: Some(reference("web", "pod-1")),
                node: Some(reference("a", "node-1")),
                ..Private::default()
            },
            ..Claims::default()
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("a time")
    }

    #[tokio::test]
    async fn a_token_tells_who_and_where() {
        let (tokens, _) = tokens().await;
        let token = tokens.issue(claims()).expect("a token");
        let known = tokens.authenticate(&token, tokens.api_audiences(), at(NOW + 1)).expect("believed");
        let user = known.user;
        assert_eq!((user.username.as_str(), user.uid.as_str()), ("system:serviceaccount:shop:robot", "sa-1"));
        assert_eq!(user.groups, ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"]);
        let extra: Vec<(&str, &str)> = user
            .extra
            .iter()
            .map(|(key, values)| (key.rsplit('/').next().unwrap_or_default(), values[0].as_str()))
            .collect();
        assert_eq!(extra[1..], [("node-name", "a"), ("node-uid", "node-1"), ("pod-name", "web"), ("pod-uid", "pod-1")]);
        assert!(extra[0].1.starts_with("JTI="));
    }

    #[tokio::test]
    async fn tokens_are_not_believed_out_of_their_time_or_place() {
        let (tokens, _) = tokens().await;
        let change = |change: fn(&mut Claims)| {
            let mut claims = claims();
            change(&mut claims);
            let token = tokens.issue(claims).expect("a token");
            tokens.authenticate(&token, tokens.api_audiences(), at(NOW + 1)).map(|_| ())
        };
        assert_eq!(change(|_| {}), Ok(()));
        assert_eq!(change(|claims| claims.exp = NOW), Err(TokenError::Expired));
        assert_eq!(change(|claims| claims.nbf = NOW + 60), Err(TokenError::NotYet));
        assert!(matches!(change(|claims| claims.aud = vec!["vault".into()]), Err(TokenError::OtherAudience(..))));
        assert!(matches!(change(|claims| claims.private.serviceaccount.uid = "sa-0".into()), Err(TokenError::Gone(_))));
        assert!(matches!(change(|claims| claims.private.pod = Some(Reference::default())), Err(TokenError::Gone(_))));
        assert!(matches!(
            change(|claims| claims.private.secret = Some(Reference::default())),
            Err(TokenError::Gone(_))
        ));
        assert_eq!(change(|claims| claims.private.namespace.clear()), Err(TokenError::NoAccount));
        // The node of a pod's token may be replaced; the pod counts.
        assert_eq!(change(|claims| claims.private.node = Some(Reference::default())), Ok(()));
    }

    #[tokio::test]
    async fn a_token_dies_with_its_pod() {
        let (tokens, store) = tokens().await;
        let token = tokens.issue(claims()).expect("a token");
        let judge = |now| tokens.authenticate(&token, tokens.api_audiences(), at(now)).is_ok();
        assert!(judge(NOW + 1));
        let pod = store.get("/registry/core/pods/shop/web").await.expect("memory").expect("there");
        let going =
            json!({ "metadata": { "uid": "pod-1", "deletionTimestamp": at(NOW + 10).to_string() } }).to_string();
        let pod = put(&*store, &pod.key, Expect::At(pod.modified), &going).await;
        assert!(judge(NOW + 60), "it may end in peace");
        assert!(!judge(NOW + 80));
        delete(&*store, &pod.key, pod.modified).await;
        assert!(!judge(NOW + 11));
    }

    #[tokio::test]
    async fn a_token_in_a_secret_is_believed_while_the_secret_holds_it() {
        use base64::Engine;
        let (tokens, store) = tokens().await;
        let token = tokens.issue_legacy(&LegacyClaims::new("shop", "robot-token", "robot", "sa-1")).expect("a token");
        let judge = || tokens.authenticate(&token, tokens.api_audiences(), at(NOW)).map(|known| known.user.username);
        assert_eq!(judge(), Err(TokenError::Gone("secrets/shop/robot-token".into())));
        let data = base64::engine::general_purpose::STANDARD.encode(&token);
        let secret = json!({ "metadata": { "uid": "s-1" }, "data": { "token": data } }).to_string();
        put(&*store, "/registry/core/secrets/shop/robot-token", Expect::Absent, &secret).await;
        assert_eq!(judge(), Ok("system:serviceaccount:shop:robot".into()));
        let other = tokens.issue_legacy(&LegacyClaims::new("shop", "robot-token", "robot", "sa-0")).expect("a token");
        assert!(tokens.authenticate(&other, tokens.api_audiences(), at(NOW)).is_err());
    }

    #[test]
    fn account_names_come_apart() {
        assert_eq!(split_username("system:serviceaccount:a:b"), Some(("a", "b")));
        for name in ["ann", "system:serviceaccount:a", "system:serviceaccount::b", "system:serviceaccount:a:b:c"] {
            assert_eq!(split_username(name), None, "{name}");
        }
    }
}
