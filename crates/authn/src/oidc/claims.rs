//! [`Mapper`]: what a token claims into a user, and the rules for both.

use apimachinery::UserInfo;
use serde_json::{Map, Value, json};

use crate::config::{JwtAuthenticator, PrefixedClaimOrExpression};
use crate::expression::{Compiler, Program};
use crate::token::CREDENTIAL_ID;

const CLAIMS: &str = "claims";
const USER: &str = "user";

/// Why claims make no user.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// A claim that is needed is not there, or of another type.
    #[error("oidc: parse {what} {claim:?}: {cause}")]
    Claim {
        /// What it is for.
        what: &'static str,
        /// Which claim.
        claim: String,
        /// What is wrong.
        cause: &'static str,
    },
    /// The address was not verified.
    #[error("oidc: email not verified")]
    EmailNotVerified,
    /// A required claim is missing.
    #[error("oidc: required claim {0} not present in ID token")]
    RequiredMissing(String),
    /// A required claim has another value.
    #[error("oidc: required claim {claim} value does not match. Got = {got}, want = {want}")]
    RequiredDiffers {
        /// Which claim.
        claim: String,
        /// Its value.
        got: String,
        /// What it must be.
        want: String,
    },
    /// An expression fails, is of another type, or says no.
    #[error("oidc: error evaluating {what}: {cause}")]
    Expression {
        /// What it is for.
        what: &'static str,
        /// What went wrong, or the rule's own message.
        cause: String,
    },
    /// Nobody.
    #[error("oidc: empty username via CEL expression is not allowed")]
    EmptyUsername,
}

/// Why expressions cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {cause}")]
pub struct MapperError {
    path: String,
    cause: String,
}

#[derive(Debug)]
enum Source {
    Claim { name: String, prefix: String },
    Expression(Box<dyn Program>),
}

#[derive(Debug)]
struct Rule {
    program: Box<dyn Program>,
    expression: String,
    message: String,
}

/// See the module.
#[derive(Debug)]
pub struct Mapper {
    username: Source,
    groups: Option<Source>,
    uid: Option<Source>,
    extra: Vec<(String, Box<dyn Program>)>,
    required: Vec<(String, String)>,
    claim_rules: Vec<Rule>,
    user_rules: Vec<Rule>,
}

impl Mapper {
    /// Compiles the configuration's expressions.
    pub fn new(config: &JwtAuthenticator, compiler: &dyn Compiler) -> Result<Self, MapperError> {
        let compile = |path: &str, expression: &str, variable| {
            compiler.compile(expression, variable).map_err(|cause| MapperError { path: path.to_owned(), cause })
        };
        let source = |path: &str, mapping: &PrefixedClaimOrExpression| -> Result<Option<Source>, MapperError> {
            if !mapping.expression.is_empty() {
                return Ok(Some(Source::Expression(compile(path, &mapping.expression, CLAIMS)?)));
            }
            let prefix = mapping.prefix.clone().unwrap_or_default();
            Ok((!mapping.claim.is_empty()).then(|| Source::Claim { name: mapping.claim.clone(), prefix }))
        };
        let mappings = &config.claim_mappings;
        let uid = PrefixedClaimOrExpression {
            claim: mappings.uid.claim.clone(),
            prefix: None,
            expression: mappings.uid.expression.clone(),
        };
        let mut mapper = Self {
            username: source("claimMappings.username", &mappings.username)?
                .unwrap_or_else(|| Source::Claim { name: "sub".into(), prefix: format!("{}#", config.issuer.url) }),
            groups: source("claimMappings.groups", &mappings.groups)?,
            uid: source("claimMappings.uid", &uid)?,
            extra: Vec::new(),
            required: Vec::new(),
            claim_rules: Vec::new(),
            user_rules: Vec::new(),
        };
        for mapping in &mappings.extra {
            let program = compile("claimMappings.extra", &mapping.value_expression, CLAIMS)?;
            mapper.extra.push((mapping.key.clone(), program));
        }
        for rule in &config.claim_validation_rules {
            if rule.expression.is_empty() {
                mapper.required.push((rule.claim.clone(), rule.required_value.clone()));
                continue;
            }
            let program = compile("claimValidationRules", &rule.expression, CLAIMS)?;
            let (expression, message) = (rule.expression.clone(), rule.message.clone());
            mapper.claim_rules.push(Rule { program, expression, message });
        }
        for rule in &config.user_validation_rules {
            let program = compile("userValidationRules", &rule.expression, USER)?;
            let (expression, message) = (rule.expression.clone(), rule.message.clone());
            mapper.user_rules.push(Rule { program, expression, message });
        }
        Ok(mapper)
    }

    /// The user that the claims name, when every rule holds.
    pub fn user(&self, claims: &Map<String, Value>) -> Result<UserInfo, ClaimError> {
        // One value for all expressions; without any it is not made.
        let whole = if self.has_expressions() { Value::Object(claims.clone()) } else { Value::Null };
        let mut user = UserInfo { username: self.username(claims, &whole)?, ..UserInfo::default() };
        user.groups = self.groups(claims, &whole)?;
        user.uid = self.uid(claims, &whole)?;
        if let Some(id) = claims.get("jti").and_then(Value::as_str).filter(|id| !id.is_empty()) {
            user.extra.insert(CREDENTIAL_ID.to_owned(), vec![format!("JTI={id}")]);
        }
        for (key, program) in &self.extra {
            let values = strings(program.evaluate(&whole), "extra claim expression")?;
            if !values.is_empty() {
                user.extra.insert(key.clone(), values);
            }
        }
        for (claim, want) in &self.required {
            check_required(claims, claim, want)?;
        }
        check_rules(&self.claim_rules, &whole, "claim validation expression")?;
        if !self.user_rules.is_empty() {
            let seen = json!({
                "username": user.username, "uid": user.uid, "groups": user.groups, "extra": user.extra,
            });
            check_rules(&self.user_rules, &seen, "user info validation rule")?;
        }
        Ok(user)
    }

    fn has_expressions(&self) -> bool {
        let is_expression = |source: &Source| matches!(source, Source::Expression(_));
        is_expression(&self.username)
            || self.groups.as_ref().is_some_and(is_expression)
            || self.uid.as_ref().is_some_and(is_expression)
            || !self.extra.is_empty()
            || !self.claim_rules.is_empty()
    }

    fn username(&self, claims: &Map<String, Value>, whole: &Value) -> Result<String, ClaimError> {
        match &self.username {
            Source::Expression(program) => {
                let name = string(program.evaluate(whole), "username claim expression")?;
                if name.is_empty() { Err(ClaimError::EmptyUsername) } else { Ok(name) }
            }
            Source::Claim { name, prefix } => {
                let value = text(claims, "username claims", name)?;
                match claims.get("email_verified") {
                    Some(verified) if name == "email" => match verified.as_bool() {
                        Some(true) => {}
                        Some(false) => return Err(ClaimError::EmailNotVerified),
                        None => return Err(wrong("claim", "email_verified", "it is no boolean")),
                    },
                    _ => {}
                }
                Ok(format!("{prefix}{value}"))
            }
        }
    }

    fn groups(&self, claims: &Map<String, Value>, whole: &Value) -> Result<Vec<String>, ClaimError> {
        match &self.groups {
            None => Ok(Vec::new()),
            Some(Source::Expression(program)) => strings(program.evaluate(whole), "group claim expression"),
            Some(Source::Claim { name, prefix }) => {
                let Some(value) = claims.get(name) else { return Ok(Vec::new()) };
                let values = match value {
                    Value::String(one) => vec![one.as_str()],
                    Value::Array(several) => {
                        let texts: Option<Vec<&str>> = several.iter().map(Value::as_str).collect();
                        texts.ok_or_else(|| wrong("groups claim", name, "a group is no string"))?
                    }
                    _ => return Err(wrong("groups claim", name, "it is neither a string nor a list of strings")),
                };
                Ok(values.into_iter().map(|group| format!("{prefix}{group}")).collect())
            }
        }
    }

    fn uid(&self, claims: &Map<String, Value>, whole: &Value) -> Result<String, ClaimError> {
        match &self.uid {
            None => Ok(String::new()),
            Some(Source::Expression(program)) => string(program.evaluate(whole), "uid claim expression"),
            Some(Source::Claim { name, .. }) => text(claims, "uid claim", name).map(str::to_owned),
        }
    }
}

fn wrong(what: &'static str, claim: &str, cause: &'static str) -> ClaimError {
    ClaimError::Claim { what, claim: claim.to_owned(), cause }
}

fn text<'a>(claims: &'a Map<String, Value>, what: &'static str, claim: &str) -> Result<&'a str, ClaimError> {
    let value = claims.get(claim).ok_or_else(|| wrong(what, claim, "claim not present"))?;
    value.as_str().ok_or_else(|| wrong(what, claim, "it is no string"))
}

fn check_required(claims: &Map<String, Value>, claim: &str, want: &str) -> Result<(), ClaimError> {
    if !claims.contains_key(claim) {
        return Err(ClaimError::RequiredMissing(claim.to_owned()));
    }
    let got = text(claims, "claim", claim)?;
    if got == want {
        return Ok(());
    }
    Err(ClaimError::RequiredDiffers { claim: claim.to_owned(), got: got.to_owned(), want: want.to_owned() })
}

fn check_rules(rules: &[Rule], variable: &Value, what: &'static str) -> Result<(), ClaimError> {
    for rule in rules {
        let cause = match rule.program.evaluate(variable) {
            Ok(Value::Bool(true)) => continue,
            Ok(Value::Bool(false)) if rule.message.is_empty() => {
                format!("validation expression '{}' failed", rule.expression)
            }
            Ok(Value::Bool(false)) => format!("validation expression '{}' failed: {}", rule.expression, rule.message),
            Ok(_) => "validation expression must return a boolean".to_owned(),
            Err(cause) => cause,
        };
        return Err(ClaimError::Expression { what, cause });
    }
    Ok(())
}

fn string(value: Result<Value, String>, what: &'static str) -> Result<String, ClaimError> {
    match value {
        Ok(Value::String(text)) => Ok(text),
        Ok(_) => Err(ClaimError::Expression { what, cause: "the expression must return a string".to_owned() }),
        Err(cause) => Err(ClaimError::Expression { what, cause }),
    }
}

/// A string, or a list of them; empty ones count as missing.
fn strings(value: Result<Value, String>, what: &'static str) -> Result<Vec<String>, ClaimError> {
    let refuse =
        || ClaimError::Expression { what, cause: "expression must return a string or a list of strings".into() };
    let texts = match value {
        Ok(Value::Null) => Vec::new(),
        Ok(Value::String(text)) => vec![text],
        Ok(Value::Array(items)) => items
            .into_iter()
            .map(|item| if let Value::String(text) = item { Ok(text) } else { Err(refuse()) })
            .collect::<Result<_, _>>()?,
        Ok(_) => return Err(refuse()),
        Err(cause) => return Err(ClaimError::Expression { what, cause }),
    };
    Ok(texts.into_iter().filter(|text| !text.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AuthenticationConfiguration;
    use crate::expression::NoExpressions;

    /// Understands `claims.<name>` and `user.<name> != '<text>'`.
    struct Paths;

    #[derive(Debug)]
    struct PathOf(String);

    impl Compiler for Paths {
        fn compile(&self, expression: &str, variable: &'static str) -> Result<Box<dyn Program>, String> {
            let rest = expression.strip_prefix(variable).and_then(|rest| rest.strip_prefix('.'));
            Ok(Box::new(PathOf(rest.ok_or("undeclared reference")?.to_owned())))
        }
    }

    impl Program for PathOf {
        fn evaluate(&self, variable: &Value) -> Result<Value, String> {
            if let Some((name, other)) = self.0.split_once(" != ") {
                return Ok(Value::Bool(variable[name] != other.trim_matches('\'')));
            }
            variable.get(&self.0).cloned().ok_or_else(|| format!("no such key: {}", self.0))
        }
    }

    fn check(jwt: &str, claims: Value) -> String {
        let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- ";
        let config = AuthenticationConfiguration::parse(&format!("{head}{jwt}")).expect("a file");
        let mapper = Mapper::new(&config.jwt[0], &Paths).expect("expressions");
        let Value::Object(claims) = claims else { return "no claims".into() };
        match mapper.user(&claims) {
            Ok(user) => json!([user.username, user.uid, user.groups, user.extra]).to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn claims_become_a_user() {
        let jwt = "{claimMappings: {username: {claim: email, prefix: 'id:'}, groups: {claim: roles, prefix: 'r:'}, uid: {claim: sub}}, claimValidationRules: [{claim: hd, requiredValue: acme}]}";
        for (claims, expected) in [
            (
                json!({"email": "a@b", "roles": ["x", "y"], "sub": "7", "hd": "acme", "jti": "j"}),
                r#"["id:a@b","7",["r:x","r:y"],{"authentication.kubernetes.io/credential-id":["JTI=j"]}]"#,
            ),
            (
                json!({"email": "a@b", "roles": "x", "sub": "7", "hd": "acme", "email_verified": true}),
                r#"["id:a@b","7",["r:x"],{}]"#,
            ),
            (json!({"email": "a@b", "email_verified": false, "sub": "7"}), "oidc: email not verified"),
            (json!({"sub": "7"}), r#"oidc: parse username claims "email": claim not present"#),
            (json!({"email": "a", "sub": "7"}), "oidc: required claim hd not present in ID token"),
            (
                json!({"email": "a", "sub": "7", "hd": "evil"}),
                "oidc: required claim hd value does not match. Got = evil, want = acme",
            ),
            (
                json!({"email": "a", "sub": "7", "roles": [1]}),
                r#"oidc: parse groups claim "roles": a group is no string"#,
            ),
        ] {
            assert_eq!(check(jwt, claims.clone()), expected, "{claims}");
        }
    }

    #[test]
    fn expressions_become_a_user_and_judge_it() {
        let jwt = "{claimMappings: {username: {expression: claims.name}, groups: {expression: claims.groups}, extra: [{key: acme.io/team, valueExpression: claims.team}]}, claimValidationRules: [{expression: claims.ok, message: not today}], userValidationRules: [{expression: user.username != 'root', message: never root}]}";
        let claims = |name: &str, ok: Value| json!({"name": name, "groups": ["a", ""], "team": "blue", "ok": ok});
        assert_eq!(check(jwt, claims("ann", json!(true))), r#"["ann","",["a"],{"acme.io/team":["blue"]}]"#);
        assert_eq!(
            check(jwt, claims("ann", json!(false))),
            "oidc: error evaluating claim validation expression: validation expression 'claims.ok' failed: not today"
        );
        assert_eq!(
            check(jwt, claims("root", json!(true))),
            "oidc: error evaluating user info validation rule: validation expression 'user.username != 'root'' failed: never root"
        );
        assert_eq!(check(jwt, claims("", json!(true))), "oidc: empty username via CEL expression is not allowed");
        let config = JwtAuthenticator {
            claim_mappings: crate::config::ClaimMappings {
                username: PrefixedClaimOrExpression { expression: "claims.x".into(), ..Default::default() },
                ..Default::default()
            },
            ..JwtAuthenticator::default()
        };
        assert!(Mapper::new(&config, &NoExpressions).is_err());
    }
}
