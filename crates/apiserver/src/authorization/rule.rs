//! [`PolicyRule`]: what a role allows, when a rule matches a request and when rules cover others
//! (upstream: pkg/apis/rbac/v1/evaluation_helpers.go, component-helpers/auth/rbac/validation/policy_comparator.go).

use serde::{Deserialize, Deserializer, Serialize};

use crate::authorizer::Attributes;

/// A missing list and `null` are the same as an empty one.
fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::<Vec<String>>::deserialize(deserializer)?.unwrap_or_default())
}

/// Verbs on resources, or on paths that are no resources.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyRule {
    /// The verbs; `*` is all.
    #[serde(default, deserialize_with = "list")]
    pub verbs: Vec<String>,
    /// The API groups; `*` is all, empty is the core group.
    #[serde(default, deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// `pods`, `pods/log`, `*/scale`; `*` is all.
    #[serde(default, deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// The names; none means any.
    #[serde(default, deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// Paths; a `*` at the end is any rest.
    #[serde(default, rename = "nonResourceURLs", deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
}

impl PolicyRule {
    /// Whether the rule allows the request.
    pub fn allows(&self, request: &Attributes<'_>) -> bool {
        if !has(&self.verbs, request.verb) {
            return false;
        }
        if !request.is_resource {
            return self.non_resource_urls.iter().any(|url| path_matches(url, request.path));
        }
        has(&self.api_groups, request.group)
            && self.resources.iter().any(|rule| resource_matches(rule, request.resource, request.subresource))
            && (self.resource_names.is_empty() || self.resource_names.iter().any(|name| name == request.name))
    }

    /// The rule taken apart into rules of one verb on one thing.
    fn atoms(&self) -> Vec<PolicyRule> {
        let mut atoms = Vec::new();
        let one = |text: &str| vec![text.to_owned()];
        for verb in &self.verbs {
            for group in &self.api_groups {
                for resource in &self.resources {
                    let atom = PolicyRule {
                        verbs: one(verb),
                        api_groups: one(group),
                        resources: one(resource),
                        ..PolicyRule::default()
                    };
                    if self.resource_names.is_empty() {
                        atoms.push(atom);
                        continue;
                    }
                    let named = self.resource_names.iter();
                    atoms.extend(named.map(|name| PolicyRule { resource_names: one(name), ..atom.clone() }));
                }
            }
            let urls = self.non_resource_urls.iter();
            atoms.extend(urls.map(|url| PolicyRule {
                verbs: one(verb),
                non_resource_urls: one(url),
                ..PolicyRule::default()
            }));
        }
        atoms
    }

    /// Whether the rule allows everything that `atom` does.
    fn covers_atom(&self, atom: &PolicyRule) -> bool {
        has_all(&self.verbs, &atom.verbs)
            && has_all(&self.api_groups, &atom.api_groups)
            && atom.resources.iter().all(|asked| {
                let (resource, subresource) = asked.split_once('/').unwrap_or((asked, ""));
                self.resources.iter().any(|rule| resource_matches(rule, resource, subresource))
            })
            && (self.resource_names.is_empty()
                || (!atom.resource_names.is_empty()
                    && atom.resource_names.iter().all(|name| self.resource_names.contains(name))))
            && atom
                .non_resource_urls
                .iter()
                .all(|asked| self.non_resource_urls.iter().any(|rule| rule == asked || path_matches(rule, asked)))
    }
}

impl std::fmt::Display for PolicyRule {
    /// As upstream's `rbacv1helpers.CompactString`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let parts: Vec<String> = parts
            .into_iter()
            .filter(|(_, words)| !words.is_empty())
            .map(|(name, words)| {
                let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
                format!("{name}:[{}]", words.join(" "))
            })
            .collect();
        write!(f, "{{{}}}", parts.join(", "))
    }
}

/// What `wanted` allows and `held` does not, in as few rules as read well; empty when everything is covered.
pub fn uncovered(held: &[PolicyRule], wanted: &[PolicyRule]) -> Vec<PolicyRule> {
    let mut missing: Vec<PolicyRule> = Vec::new();
    for atom in wanted.iter().flat_map(PolicyRule::atoms) {
        if held.iter().any(|rule| rule.covers_atom(&atom)) {
            continue;
        }
        // Rules that differ in nothing but their verbs are told as one (upstream: `CompactRules`).
        let same = missing.iter_mut().find(|rule| {
            rule.api_groups == atom.api_groups
                && rule.resources == atom.resources
                && rule.resource_names == atom.resource_names
                && rule.non_resource_urls == atom.non_resource_urls
        });
        match same {
            Some(rule) if rule.verbs.contains(&atom.verbs[0]) => {}
            Some(rule) => rule.verbs.extend(atom.verbs),
            None => missing.push(atom),
        }
    }
    missing
}

fn has(words: &[String], wanted: &str) -> bool {
    words.iter().any(|word| word == "*" || word == wanted)
}

fn has_all(words: &[String], wanted: &[String]) -> bool {
    wanted.iter().all(|wanted| has(words, wanted))
}

fn resource_matches(rule: &str, resource: &str, subresource: &str) -> bool {
    if rule == "*" {
        return true;
    }
    if subresource.is_empty() {
        return rule == resource;
    }
    rule.split_once('/').is_some_and(|(main, sub)| sub == subresource && (main == "*" || main == resource))
}

fn path_matches(rule: &str, path: &str) -> bool {
    rule == "*" || rule == path || rule.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use apimachinery::UserInfo;

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> PolicyRule {
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        PolicyRule {
            verbs: own(verbs),
            api_groups: own(groups),
            resources: own(resources),
            resource_names: own(names),
            non_resource_urls: Vec::new(),
        }
    }

    #[test]
    fn rules_match_requests() {
        let user = UserInfo::new("u", ["g"]);
        let pods = rule(&["get"], &[""], &["pods"], &[]);
        let log = rule(&["get"], &[""], &["pods/log"], &[]);
        let scale = rule(&["*"], &["*"], &["*/scale"], &[]);
        let named = rule(&["get"], &[""], &["pods"], &["a"]);
        let all = rule(&["*"], &["*"], &["*"], &[]);
        for (rule, verb, group, resource, subresource, name, expected) in [
            (&pods, "get", "", "pods", "", "x", true),
            (&pods, "list", "", "pods", "", "", false),
            (&pods, "get", "apps", "pods", "", "x", false),
            (&pods, "get", "", "pods", "log", "x", false),
            (&log, "get", "", "pods", "log", "x", true),
            (&log, "get", "", "pods", "", "x", false),
            (&scale, "update", "apps", "deployments", "scale", "x", true),
            (&scale, "update", "apps", "deployments", "", "x", false),
            (&named, "get", "", "pods", "", "a", true),
            (&named, "get", "", "pods", "", "b", false),
            (&all, "delete", "apps", "deployments", "status", "x", true),
        ] {
            let request = Attributes {
                verb,
                group,
                version: "v1",
                resource,
                subresource,
                namespace: "ns",
                name,
                ..Attributes::on_resource(&user)
            };
            assert_eq!(rule.allows(&request), expected, "{rule} {verb} {group}/{resource}/{subresource} {name}");
        }
    }

    #[test]
    fn paths_match_by_their_beginning() {
        for (rule, path, expected) in [
            ("/healthz", "/healthz", true),
            ("/healthz", "/healthz/ping", false),
            ("/healthz/*", "/healthz/ping", true),
            ("*", "/anything", true),
            ("/api/*", "/apis", false),
        ] {
            assert_eq!(path_matches(rule, path), expected, "{rule} {path}");
        }
    }

    #[test]
    fn what_is_not_held_is_told() {
        let held = [rule(&["get", "list"], &[""], &["pods"], &[]), rule(&["get"], &[""], &["secrets"], &["a"])];
        let wanted = [
            rule(&["get", "delete", "update"], &[""], &["pods"], &[]),
            rule(&["get"], &[""], &["secrets"], &["a", "b"]),
            rule(&["get"], &[""], &["secrets"], &[]),
        ];
        let missing: Vec<String> = uncovered(&held, &wanted).iter().map(ToString::to_string).collect();
        assert_eq!(
            missing,
            [
                r#"{APIGroups:[""], Resources:["pods"], Verbs:["delete" "update"]}"#,
                r#"{APIGroups:[""], Resources:["secrets"], ResourceNames:["b"], Verbs:["get"]}"#,
                r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}"#,
            ]
        );
        assert!(uncovered(&[rule(&["*"], &["*"], &["*"], &[])], &wanted).is_empty());
    }

    #[test]
    fn lists_may_be_missing_or_null() {
        let rule: PolicyRule = serde_json::from_str(r#"{"verbs":["get"],"resources":null}"#).expect("a rule");
        assert_eq!(rule.resources, Vec::<String>::new());
    }
}
