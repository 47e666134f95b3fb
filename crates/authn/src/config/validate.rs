//! The rules of an [`AuthenticationConfiguration`]
//! (upstream: apiserver/pkg/apis/apiserver/validation/validation.go).

use std::collections::BTreeSet;

use apimachinery::field::{Error, Path};
use http::Uri;

use super::{
    AuthenticationConfiguration, ClaimMappings, ClaimValidationRule, Issuer, JwtAuthenticator,
    PrefixedClaimOrExpression,
};

/// The most identity providers (upstream: `maxJWTAuthenticators`).
const MAX_AUTHENTICATORS: usize = 64;

/// What a configuration breaks. Expressions are judged when they are compiled.
pub fn validate(config: &AuthenticationConfiguration, own_issuers: &[String]) -> Vec<Error> {
    let mut errors = Vec::new();
    let path = Path::new("jwt");
    if config.jwt.len() > MAX_AUTHENTICATORS {
        errors.push(Error::too_many(&path, config.jwt.len(), MAX_AUTHENTICATORS));
    }
    let (mut urls, mut discovery_urls) = (BTreeSet::new(), BTreeSet::new());
    for (index, jwt) in config.jwt.iter().enumerate() {
        let path = path.index(index);
        errors.extend(authenticator(jwt, own_issuers, &path));
        if !urls.insert(&jwt.issuer.url) {
            errors.push(Error::duplicate(&path.child("issuer").child("url"), jwt.issuer.url.clone()));
        }
        if let Some(url) = jwt.issuer.discovery_url.as_ref().filter(|url| !url.is_empty())
            && !discovery_urls.insert(url)
        {
            errors.push(Error::duplicate(&path.child("issuer").child("discoveryURL"), url.clone()));
        }
    }
    if let Some(anonymous) = &config.anonymous
        && !anonymous.enabled
        && !anonymous.conditions.is_empty()
    {
        let paths: Vec<&str> = anonymous.conditions.iter().map(|condition| condition.path.as_str()).collect();
        let path = Path::new("anonymous").child("conditions");
        errors.push(Error::invalid(&path, paths, "enabled should be set to true when conditions are defined"));
    }
    errors
}

fn authenticator(jwt: &JwtAuthenticator, own_issuers: &[String], path: &Path) -> Vec<Error> {
    let mut errors = issuer(&jwt.issuer, own_issuers, &path.child("issuer"));
    errors.extend(claim_rules(&jwt.claim_validation_rules, &path.child("claimValidationRules")));
    errors.extend(mappings(&jwt.claim_mappings, &jwt.claim_validation_rules, &path.child("claimMappings")));
    let mut seen = BTreeSet::new();
    for (index, rule) in jwt.user_validation_rules.iter().enumerate() {
        let path = path.child("userValidationRules").index(index).child("expression");
        if rule.expression.is_empty() {
            errors.push(Error::required(&path, ""));
        } else if !seen.insert(&rule.expression) {
            errors.push(Error::duplicate(&path, rule.expression.clone()));
        }
    }
    errors
}

fn issuer(issuer: &Issuer, own_issuers: &[String], path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    if issuer.url.is_empty() {
        errors.push(Error::required(&path.child("url"), ""));
    } else {
        errors.extend(url(&issuer.url, own_issuers, &path.child("url")));
    }
    if let Some(discovery) = issuer.discovery_url.as_deref().filter(|url| !url.is_empty()) {
        let path = path.child("discoveryURL");
        if discovery.trim_end_matches('/') == issuer.url.trim_end_matches('/') {
            errors.push(Error::invalid(&path, discovery, "discoveryURL must be different from URL"));
        }
        errors.extend(url(discovery, &[], &path));
    }
    errors.extend(audiences(issuer, path));
    let ca = &issuer.certificate_authority;
    if !ca.is_empty() && !ca.contains("-----BEGIN CERTIFICATE-----") {
        let path = path.child("certificateAuthority");
        errors.push(Error::invalid(&path, "<omitted>", "data does not contain any valid RSA or ECDSA certificates"));
    }
    if !matches!(issuer.egress_selector_type.as_str(), "" | "controlplane" | "cluster") {
        let detail = "egress selector must be either controlplane or cluster";
        errors.push(Error::invalid(&path.child("egressSelectorType"), issuer.egress_selector_type.clone(), detail));
    }
    errors
}

fn url(text: &str, own_issuers: &[String], path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    let mut wrong = |detail: &str| errors.push(Error::invalid(path, text, detail));
    if own_issuers.iter().any(|own| own == text) {
        wrong(&format!("URL must not overlap with disallowed issuers: [{}]", own_issuers.join(" ")));
    }
    if text.contains('#') {
        wrong("URL must not contain a fragment");
    }
    match text.split('#').next().unwrap_or_default().parse::<Uri>() {
        Err(cause) => wrong(&cause.to_string()),
        Ok(parsed) => {
            if parsed.scheme_str() != Some("https") {
                wrong("URL scheme must be https");
            }
            if parsed.authority().is_some_and(|authority| authority.as_str().contains('@')) {
                wrong("URL must not contain a username or password");
            }
            if parsed.query().is_some_and(|query| !query.is_empty()) {
                wrong("URL must not contain a query");
            }
        }
    }
    errors
}

fn audiences(issuer: &Issuer, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    let (audiences, policy) = (path.child("audiences"), path.child("audienceMatchPolicy"));
    if issuer.audiences.is_empty() {
        errors.push(Error::required(&audiences, format!("at least one {audiences} is required")));
    }
    let mut seen = BTreeSet::new();
    for (index, audience) in issuer.audiences.iter().enumerate() {
        let path = audiences.index(index);
        if audience.is_empty() {
            errors.push(Error::required(&path, ""));
        }
        if !seen.insert(audience) {
            errors.push(Error::duplicate(&path, audience.clone()));
        }
    }
    let given = issuer.audience_match_policy.as_str();
    if issuer.audiences.len() > 1 && given != "MatchAny" {
        errors.push(Error::invalid(&policy, given, "audienceMatchPolicy must be MatchAny for multiple audiences"));
    }
    if issuer.audiences.len() == 1 && !matches!(given, "" | "MatchAny") {
        let detail = "audienceMatchPolicy must be empty or MatchAny for single audience";
        errors.push(Error::invalid(&policy, given, detail));
    }
    errors
}

fn claim_rules(rules: &[ClaimValidationRule], path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    let (mut claims, mut expressions) = (BTreeSet::new(), BTreeSet::new());
    for (index, rule) in rules.iter().enumerate() {
        let path = path.index(index);
        match (rule.claim.is_empty(), rule.expression.is_empty()) {
            (false, false) => {
                errors.push(Error::invalid(&path, rule.claim.clone(), "claim and expression can't both be set"));
            }
            (true, true) => errors.push(Error::required(&path, "claim or expression is required")),
            (false, true) => {
                if !rule.message.is_empty() {
                    let detail = "may not be specified when claim is set";
                    errors.push(Error::invalid(&path.child("message"), rule.message.clone(), detail));
                }
                if !claims.insert(&rule.claim) {
                    errors.push(Error::duplicate(&path.child("claim"), rule.claim.clone()));
                }
            }
            (true, false) => {
                if !rule.required_value.is_empty() {
                    let detail = "may not be specified when expression is set";
                    errors.push(Error::invalid(&path.child("requiredValue"), rule.required_value.clone(), detail));
                }
                if !expressions.insert(&rule.expression) {
                    errors.push(Error::duplicate(&path.child("expression"), rule.expression.clone()));
                }
            }
        }
    }
    errors
}

fn mappings(mappings: &ClaimMappings, rules: &[ClaimValidationRule], path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    if mappings.username.claim.is_empty() && mappings.username.expression.is_empty() {
        errors.push(Error::required(&path.child("username"), "claim or expression is required"));
    }
    errors.extend(prefixed(&mappings.username, &path.child("username")));
    errors.extend(prefixed(&mappings.groups, &path.child("groups")));
    if !mappings.uid.claim.is_empty() && !mappings.uid.expression.is_empty() {
        errors.push(Error::invalid(&path.child("uid"), "", "claim and expression can't both be set"));
    }
    let mut keys = BTreeSet::new();
    for (index, mapping) in mappings.extra.iter().enumerate() {
        let path = path.child("extra").index(index);
        errors.extend(extra_key(&mapping.key, &path.child("key")));
        if !keys.insert(&mapping.key) {
            errors.push(Error::duplicate(&path.child("key"), mapping.key.clone()));
        }
        if mapping.value_expression.is_empty() {
            errors.push(Error::required(&path.child("valueExpression"), ""));
        }
    }
    if names(&mappings.username.expression, "email") {
        let others = mappings.extra.iter().map(|mapping| &mapping.value_expression);
        let others = others.chain(rules.iter().map(|rule| &rule.expression));
        if !others.chain([&mappings.username.expression]).any(|text| names(text, "email_verified")) {
            let detail = "claims.email_verified must be used in claimMappings.username.expression or \
                          claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when \
                          claims.email is used in claimMappings.username.expression";
            let path = path.child("username").child("expression");
            errors.push(Error::invalid(&path, mappings.username.expression.clone(), detail));
        }
    }
    errors
}

/// Whether an expression reads `claims.<name>` (or `claims.?<name>`, `claims["<name>"]`).
fn names(expression: &str, name: &str) -> bool {
    let is_word = |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    expression.match_indices(name).any(|(at, _)| {
        let before = &expression[..at];
        let selected = ["claims.", "claims.?", "claims[\"", "claims['"].iter().any(|start| before.ends_with(start));
        selected && !is_word(expression[at + name.len()..].chars().next())
    })
}

fn prefixed(mapping: &PrefixedClaimOrExpression, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    if !mapping.expression.is_empty() {
        if !mapping.claim.is_empty() {
            errors.push(Error::invalid(path, "", "claim and expression can't both be set"));
        }
        if let Some(prefix) = &mapping.prefix {
            let detail = "prefix can't be set when expression is set";
            errors.push(Error::invalid(&path.child("prefix"), prefix.clone(), detail));
        }
    } else if !mapping.claim.is_empty() && mapping.prefix.is_none() {
        let detail = "prefix is required when claim is set. It can be set to an empty string to disable prefixing";
        errors.push(Error::required(&path.child("prefix"), detail));
    } else if mapping.claim.is_empty() && mapping.prefix.as_deref().is_some_and(|prefix| !prefix.is_empty()) {
        let detail = "non-empty prefix requires a claim to be set";
        errors.push(Error::required(&path.child("claim"), detail));
    }
    errors
}

fn extra_key(key: &str, path: &Path) -> Vec<Error> {
    if key.is_empty() {
        return vec![Error::required(path, "")];
    }
    let mut errors = Vec::new();
    if key != key.to_lowercase() {
        errors.push(Error::invalid(path, key, "must be lowercase"));
    }
    let Some((domain, rest)) = key.split_once('/').filter(|(domain, rest)| !domain.is_empty() && !rest.is_empty())
    else {
        let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        errors.push(Error::invalid(path, key, detail));
        return errors;
    };
    errors.extend(
        apimachinery::validation::dns1123_subdomain(domain).into_iter().map(|text| Error::invalid(path, domain, text)),
    );
    if !rest.chars().all(|letter| letter.is_ascii_alphanumeric() || "/-._~!$&'()*+,;=:@%".contains(letter)) {
        errors.push(Error::invalid(path, rest, "Invalid path"));
    }
    let reserved = |of: &str| domain == of || domain.ends_with(&format!(".{of}"));
    if reserved("k8s.io") || reserved("kubernetes.io") {
        let detail = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use";
        errors.push(Error::invalid(path, key, detail));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(jwt: &str) -> Vec<String> {
        let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- ";
        let config = AuthenticationConfiguration::parse(&format!("{head}{jwt}")).expect("a file");
        let own = ["https://own".to_owned()];
        validate(&config, &own).iter().map(|error| format!("{}: {}", error.field, error.body())).collect()
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let good = "{issuer: {url: 'https://id', audiences: [a]}, claimMappings: {username: {claim: sub, prefix: ''}}}";
        assert_eq!(check(good), [""; 0]);
        for (jwt, expected) in [
            (
                "{issuer: {url: 'http://id', audiences: [a]}, claimMappings: {username: {claim: sub, prefix: ''}}}",
                r#"jwt[0].issuer.url: Invalid value: "http://id": URL scheme must be https"#,
            ),
            (
                "{issuer: {url: 'https://own', audiences: [a]}, claimMappings: {username: {claim: sub, prefix: ''}}}",
                r#"jwt[0].issuer.url: Invalid value: "https://own": URL must not overlap with disallowed issuers: [https://own]"#,
            ),
            (
                "{issuer: {url: 'https://id', audiences: [a, b]}, claimMappings: {username: {claim: sub, prefix: ''}}}",
                r#"jwt[0].issuer.audienceMatchPolicy: Invalid value: "": audienceMatchPolicy must be MatchAny for multiple audiences"#,
            ),
            (
                "{issuer: {url: 'https://id', audiences: [a]}, claimMappings: {username: {claim: sub}}}",
                "jwt[0].claimMappings.username.prefix: Required value: prefix is required when claim is set. It can be set to an empty string to disable prefixing",
            ),
            (
                "{issuer: {url: 'https://id', audiences: [a]}, claimMappings: {username: {expression: claims.sub}, extra: [{key: k8s.io/x, valueExpression: claims.x}]}}",
                r#"jwt[0].claimMappings.extra[0].key: Invalid value: "k8s.io/x": k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use"#,
            ),
        ] {
            assert_eq!(check(jwt), [expected], "{jwt}");
        }
        let email = |more: &str| {
            check(&format!(
                "{{issuer: {{url: 'https://id', audiences: [a]}}, claimMappings: {{username: {{expression: claims.email}}}}{more}}}"
            ))
            .len()
        };
        assert_eq!(email(""), 1);
        assert_eq!(email(", claimValidationRules: [{expression: 'claims.?email_verified.orValue(true)'}]"), 0);
    }
}
