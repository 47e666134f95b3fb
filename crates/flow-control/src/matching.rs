//! Does a flow schema mean this request? (upstream: apiserver/pkg/util/flowcontrol/rule.go)

use apimachinery::{Attributes, UserInfo};

use crate::spec::{FlowSchema, NonResourceRule, PolicyRules, ResourceRule, Subject};

/// Whether one of the schema's rules means the request.
pub fn matches(asked: &Attributes<'_>, schema: &FlowSchema) -> bool {
    schema.spec.rules.iter().any(|rules| matches_rules(asked, rules))
}

fn matches_rules(asked: &Attributes<'_>, rules: &PolicyRules) -> bool {
    if !rules.subjects.iter().any(|subject| matches_subject(asked.user, subject)) {
        return false;
    }
    if asked.is_resource {
        rules.resource_rules.iter().any(|rule| matches_resource(asked, rule))
    } else {
        rules.non_resource_rules.iter().any(|rule| matches_path(asked, rule))
    }
}

fn matches_subject(user: &UserInfo, subject: &Subject) -> bool {
    match subject.kind.as_str() {
        "User" => subject.user.as_ref().is_some_and(|wanted| wanted.name == "*" || wanted.name == user.username),
        "Group" => subject.group.as_ref().is_some_and(|wanted| wanted.name == "*" || user.is_in(&wanted.name)),
        "ServiceAccount" => subject.service_account.as_ref().is_some_and(|wanted| {
            let account = user.username.strip_prefix("system:serviceaccount:");
            let account = account.and_then(|account| account.split_once(':'));
            account.is_some_and(|(namespace, name)| {
                namespace == wanted.namespace && (wanted.name == "*" || wanted.name == name)
            })
        }),
        _ => false,
    }
}

fn matches_resource(asked: &Attributes<'_>, rule: &ResourceRule) -> bool {
    contains(&rule.verbs, asked.verb)
        && contains_resource(&rule.resources, asked)
        && contains(&rule.api_groups, asked.group)
        && if asked.namespace.is_empty() { rule.cluster_scope } else { contains(&rule.namespaces, asked.namespace) }
}

fn contains_resource(list: &[String], asked: &Attributes<'_>) -> bool {
    if is_everything(list) {
        return true;
    }
    list.iter().any(|wanted| match wanted.split_once('/') {
        Some((resource, subresource)) => resource == asked.resource && subresource == asked.subresource,
        None => wanted == asked.resource && asked.subresource.is_empty(),
    })
}

fn matches_path(asked: &Attributes<'_>, rule: &NonResourceRule) -> bool {
    contains(&rule.verbs, asked.verb) && rule.non_resource_urls.iter().any(|url| path_matches(url, asked.path))
}

/// A path means itself and everything below it, with a closing `*` or without.
fn path_matches(url: &str, path: &str) -> bool {
    if url == "*" || url == path {
        return true;
    }
    let prefix = url.strip_suffix('*').unwrap_or(url);
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
}

fn is_everything(list: &[String]) -> bool {
    matches!(list, [only] if only == "*")
}

fn contains(list: &[String], wanted: &str) -> bool {
    is_everything(list) || list.iter().any(|item| item == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap;
    use crate::spec::FlowSchema;

    /// The first default schema that means the request.
    fn classified(user: &UserInfo, verb: &str, path: &str) -> String {
        let words: Vec<&str> = path.split_whitespace().collect();
        let asked = match words.as_slice() {
            [path] => Attributes { verb, path, ..Attributes::by(user) },
            [group, resource, namespace] => {
                let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
                let (group, namespace) = (group.trim_matches('-'), namespace.trim_matches('-'));
                Attributes { verb, group, resource, subresource, namespace, ..Attributes::on_resource(user) }
            }
            _ => panic!("a path, or group, resource and namespace"),
        };
        let read = |value| serde_json::from_value::<FlowSchema>(value).expect("a flow schema");
        let mut schemas: Vec<FlowSchema> =
            bootstrap::flow_schemas().into_iter().map(|default| read(default.object)).collect();
        schemas.sort_by_key(|schema| schema.spec.matching_precedence);
        schemas
            .into_iter()
            .find(|schema| matches(&asked, schema))
            .map(|schema| schema.metadata.name)
            .unwrap_or_default()
    }

    #[test]
    fn requests_find_upstreams_schemas() {
        let root = UserInfo::new("root", ["system:masters"]);
        let node = UserInfo::new("system:node:a", ["system:nodes"]);
        let scheduler = UserInfo::new("system:kube-scheduler", [""; 0]);
        let manager = UserInfo::new("system:kube-controller-manager", [""; 0]);
        let account =
            |namespace: &str| UserInfo::new(format!("system:serviceaccount:{namespace}:x"), ["system:serviceaccounts"]);
        let person = UserInfo::new("jo", ["dev"]);
        for (user, verb, path, expected) in [
            (&root, "list", "- pods a", "exempt"),
            (&UserInfo::anonymous(), "get", "/livez", "probes"),
            (&UserInfo::anonymous(), "get", "/livez/ping", "probes"),
            (&UserInfo::anonymous(), "get", "/livezz", "global-default"),
            (&node, "patch", "- nodes/status -", "system-node-high"),
            (&node, "get", "- nodes/proxy -", "system-nodes"),
            (&node, "update", "coordination.k8s.io leases kube-node-lease", "system-node-high"),
            (&node, "watch", "- pods -", "system-nodes"),
            (&scheduler, "update", "coordination.k8s.io leases kube-system", "system-leader-election"),
            (&scheduler, "delete", "coordination.k8s.io leases kube-system", "kube-scheduler"),
            (&manager, "list", "- pods -", "kube-controller-manager"),
            (&account("kube-system"), "list", "- pods -", "kube-system-service-accounts"),
            (&account("kube-system"), "get", "coordination.k8s.io leases a", "system-leader-election"),
            (&account("default"), "list", "- pods a", "service-accounts"),
            (&person, "list", "- pods a", "global-default"),
            (&person, "get", "/version", "global-default"),
        ] {
            assert_eq!(classified(user, verb, path), expected, "{} {verb} {path}", user.username);
        }
    }
}
